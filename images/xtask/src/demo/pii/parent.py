"""The parent's own Decrypt call: the enclave's credentials, the records' wrapped key, boto3.

Prints {"error": {"rule", "message"}} and exits 1 when the KMS refuses, else what it released.
"""

import argparse
import json
import struct
import sys

import boto3
from botocore.exceptions import ClientError


def header(path):
    """The encryption context and the first wrapped key of an AWS Encryption SDK v2 message."""
    with open(path, "rb") as file:
        data = file.read(1 << 20)
    at = 1 + 2 + 32

    def field():
        nonlocal at
        (length,) = struct.unpack_from(">H", data, at)
        value = data[at + 2 : at + 2 + length]
        at += 2 + length
        return value

    start = at
    field()
    context_end = at
    at = start + 2
    (pairs,) = struct.unpack_from(">H", data, at)
    at += 2
    context = {}
    for _ in range(pairs):
        key = field().decode()
        context[key] = field().decode()
    assert at == context_end
    at += 2
    _provider, arn, wrapped = field(), field().decode(), field()
    return context, arn, wrapped


def main():
    parser = argparse.ArgumentParser()
    for name in ("endpoint", "region", "ca", "credentials", "records"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--document")
    args = parser.parse_args()
    with open(args.credentials, encoding="utf-8") as file:
        credentials = json.load(file)
    kms = boto3.client(
        "kms",
        endpoint_url=args.endpoint,
        region_name=args.region,
        verify=args.ca,
        aws_access_key_id=credentials["access_key_id"],
        aws_secret_access_key=credentials["secret_access_key"],
    )
    context, arn, wrapped = header(args.records)
    request = {"KeyId": arn, "CiphertextBlob": wrapped, "EncryptionContext": context}
    if args.document:
        with open(args.document, "rb") as file:
            document = file.read()
        request["Recipient"] = {
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": document,
        }
    try:
        answer = kms.decrypt(**request)
    except ClientError as error:
        said = error.response["Error"]
        named = {"rule": "kms." + said["Code"], "message": said.get("Message", "")}
        print(json.dumps({"error": named}))
        return 1
    print(json.dumps(sorted(answer)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
