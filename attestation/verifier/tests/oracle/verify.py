"""A second opinion on attestation documents.

Reads a JSON list of {"name", "document": hex, "root": hex SHA-256, "at": ms} from standard input
and writes a JSON list of {"name", "ok", "reason", "fields"} to standard output.

Written from AWS's description of the document with cbor2 and cryptography; it shares no code with
the verifier that it is to judge. It is stricter than AWS asks in one respect: a document must be
byte for byte what re-encoding it gives, which is how AWS's module writes them.
"""

import datetime
import hashlib
import io
import json
import sys

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

KEYS = [
    "module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle",
    "public_key", "user_data", "nonce",
]


class Refused(Exception):
    pass


def demand(condition, reason):
    if not condition:
        raise Refused(reason)


def decode(data, what):
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as error:
        raise Refused(f"{what}: {type(error).__name__}") from error
    demand(stream.tell() == len(data), f"{what}: trailing bytes")
    return value


def check_shape(payload):
    demand(isinstance(payload, dict) and list(payload) == KEYS, "keys")
    demand(isinstance(payload["module_id"], str) and payload["module_id"], "module_id")
    demand(payload["digest"] == "SHA384", "digest")
    demand(type(payload["timestamp"]) is int and payload["timestamp"] > 0, "timestamp")
    pcrs = payload["pcrs"]
    demand(isinstance(pcrs, dict) and 1 <= len(pcrs) <= 32, "pcrs")
    for index, value in pcrs.items():
        demand(type(index) is int and 0 <= index < 32, "pcr index")
        demand(isinstance(value, bytes) and len(value) == 48, "pcr value")
    bundle = payload["cabundle"]
    demand(isinstance(bundle, list) and bundle, "cabundle")
    for der in bundle + [payload["certificate"]]:
        demand(isinstance(der, bytes) and 1 <= len(der) <= 1024, "certificate size")
    for key, least in [("public_key", 1), ("user_data", 0), ("nonce", 0)]:
        value = payload[key]
        demand(value is None or isinstance(value, bytes), key)
        demand(value is None or least <= len(value) <= 1024, f"{key} size")


def extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound as error:
        raise Refused(f"no {kind.__name__}") from error


def check_chain(chain, at):
    for index, certificate in enumerate(chain):
        key = certificate.public_key()
        demand(isinstance(key, ec.EllipticCurvePublicKey), "key type")
        demand(isinstance(key.curve, ec.SECP384R1), "curve")
        demand(isinstance(certificate.signature_hash_algorithm, hashes.SHA384), "hash")
        demand(certificate.not_valid_before_utc <= at, "not yet valid")
        demand(at <= certificate.not_valid_after_utc, "expired")
        issuer = chain[max(index - 1, 0)]
        demand(certificate.issuer == issuer.subject, "order")
        issuer.public_key().verify(
            certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA384()))
        constraints = extension(certificate, x509.BasicConstraints)
        usage = extension(certificate, x509.KeyUsage)
        if index + 1 == len(chain):
            demand(not constraints.ca, "leaf is a CA")
            demand(usage.digital_signature and not usage.key_cert_sign, "leaf usage")
        else:
            demand(constraints.ca, "issuer is no CA")
            demand(usage.key_cert_sign, "issuer usage")
            below = len(chain) - index - 2
            demand(constraints.path_length is None or below <= constraints.path_length, "path")


def check(case):
    data = bytes.fromhex(case["document"])
    envelope = decode(data, "envelope")
    demand(isinstance(envelope, list) and len(envelope) == 4, "envelope")
    protected, unprotected, encoded, signature = envelope
    demand(protected == b"\xa1\x01\x38\x22", "algorithm")
    demand(unprotected == {}, "unprotected header")
    demand(isinstance(encoded, bytes) and len(encoded) <= 16384, "payload")
    demand(isinstance(signature, bytes) and len(signature) == 96, "signature size")
    payload = decode(encoded, "payload")
    check_shape(payload)
    demand(cbor2.dumps(payload) == encoded and cbor2.dumps(envelope) == data, "encoding")

    root = hashlib.sha256(payload["cabundle"][0]).hexdigest()
    demand(root == case["root"], "root")
    try:
        chain = [
            x509.load_der_x509_certificate(der)
            for der in payload["cabundle"] + [payload["certificate"]]
        ]
    except ValueError as error:
        raise Refused("certificate") from error
    at = datetime.datetime.fromtimestamp(case["at"] // 1000, datetime.timezone.utc)
    check_chain(chain, at)

    signed = cbor2.dumps(["Signature1", protected, b"", encoded])
    r, s = (int.from_bytes(half, "big") for half in (signature[:48], signature[48:]))
    chain[-1].public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    fields = {
        key: payload[key].hex() if isinstance(payload[key], bytes) else payload[key]
        for key in ("module_id", "timestamp", "public_key", "user_data", "nonce")
    }
    fields["pcrs"] = {str(index): value.hex() for index, value in payload["pcrs"].items()}
    fields["valid_until"] = int(min(c.not_valid_after_utc for c in chain).timestamp())
    return fields


def judge(case):
    try:
        return {"name": case["name"], "ok": True, "reason": None, "fields": check(case)}
    except Refused as refusal:
        reason = str(refusal)
    except InvalidSignature:
        reason = "signature"
    except Exception as error:  # whatever the libraries make of bytes that are no certificate
        reason = type(error).__name__
    return {"name": case["name"], "ok": False, "reason": reason, "fields": None}


if __name__ == "__main__":
    json.dump([judge(case) for case in json.load(sys.stdin)], sys.stdout)
