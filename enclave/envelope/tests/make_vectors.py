"""Writes the vector files of `vectors/` with the Python AWS Encryption SDK.

    python make_vectors.py vectors

Good messages are the SDK's; bad ones are good ones with one thing changed. Keys and message ids are
random, so a new run writes other bytes of the same meaning.
"""

import pathlib
import struct
import sys

import aws_encryption_sdk
from aws_encryption_sdk.identifiers import AlgorithmSuite, CommitmentPolicy
from aws_encryption_sdk.internal.crypto.encryption import encrypt as gcm
from aws_encryption_sdk.internal.crypto.data_keys import derive_data_encryption_key
from aws_encryption_sdk.key_providers.base import MasterKey, MasterKeyConfig
from aws_encryption_sdk.structures import DataKey, EncryptedDataKey

SIGNED = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384
PLAIN = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
OLD = AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384
KEY = bytes(range(32))
CONTEXT = {"purpose": "records"}
FRAME = 128
TEXT = bytes(range(256)) + b"the last frame"


class StaticConfig(MasterKeyConfig):
    provider_id = "static"


class StaticKey(MasterKey):
    """Wraps nothing: the vector file names the data key."""

    provider_id = "static"
    _config_class = StaticConfig

    def _generate_data_key(self, algorithm, encryption_context):
        return DataKey(self.key_provider, KEY, b"static data key")

    def _encrypt_data_key(self, data_key, algorithm, encryption_context):
        return EncryptedDataKey(self.key_provider, b"static data key")

    def _decrypt_data_key(self, encrypted_data_key, algorithm, encryption_context):
        return DataKey(self.key_provider, KEY, b"static data key")


def message(suite, text=TEXT, context=CONTEXT, frame=FRAME):
    old = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    new = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=new if suite.is_committing() else old
    )
    ciphertext, _ = client.encrypt(
        source=text,
        key_provider=StaticKey(key_id=b"key"),
        algorithm=suite,
        encryption_context=context,
        frame_length=frame,
    )
    return ciphertext


def parts(data):
    """Header, list of frames, footer of a framed message."""
    at = 35
    at += 2 + struct.unpack_from(">H", data, at)[0]
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    for _ in range(3 * count):
        at += 2 + struct.unpack_from(">H", data, at)[0]
    at += 1 + 4 + 32 + 16
    header, frames = data[:at], []
    while True:
        final = data[at : at + 4] == b"\xff" * 4
        size = 24 + struct.unpack_from(">I", data, at + 20)[0] + 16 if final else 16 + FRAME + 16
        frames.append(data[at : at + size])
        at += size
        if final:
            return header, frames, data[at:]


def reseal_header(data, change):
    """Changes a header and makes its tag anew: only whoever has the data key can."""
    header, frames, footer = parts(data)
    suite = AlgorithmSuite.get_by_id(struct.unpack_from(">H", header, 1)[0])
    body = change(header[:-16])
    key = derive_data_encryption_key(KEY, suite, body[3:35])
    tag = gcm(suite, key, b"", body, b"\0" * 12).tag
    return body + tag + b"".join(frames) + footer


def flip(data, at, bit=1):
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


def write(folder, name, comment, expect, data, context=CONTEXT, key=KEY, text=TEXT):
    lines = ["# " + comment, "expect: " + expect, "data-key: " + key.hex()]
    lines += ["context: {}={}".format(*pair) for pair in sorted(context.items())]
    if expect == "ok":
        lines.append("plaintext: " + text.hex())
    lines.append("message: " + data.hex())
    (folder / (name + ".vec")).write_text("\n".join(lines) + "\n")


def good(folder):
    for name, suite in [("signed", SIGNED), ("unsigned", PLAIN)]:
        for kind, text in [
            ("empty", b""),
            ("one-byte", b"x"),
            ("frame-less-one", TEXT[: FRAME - 1]),
            ("frame", TEXT[:FRAME]),
            ("frame-and-one", TEXT[: FRAME + 1]),
            ("three-frames", TEXT),
        ]:
            write(folder, f"ok-{name}-{kind}", "By the SDK, as it is.", "ok", message(suite, text), text=text)
        for kind, text in [("empty", b""), ("body", TEXT)]:
            comment = "An unframed body."
            data = message(suite, text, frame=0)
            write(folder, f"ok-{name}-unframed-{kind}", comment, "ok", data, text=text)
        empty = message(suite, context={})
        write(folder, f"ok-{name}-no-context", "No pairs of the sealer's.", "ok", empty, context={})


def bad_headers(folder):
    base = message(PLAIN)
    write(folder, "bad-version-1", "A version 1 message.", "header.version", message(OLD))
    changed = base[:1] + struct.pack(">H", 0x0378) + base[3:]
    write(folder, "bad-suite", "A suite without commitment in version 2.", "header.suite", changed)
    write(folder, "bad-other-key", "Another data key.", "header.commitment", base, key=b"\1" * 32)
    write(folder, "bad-message-id", "Another message id.", "header.commitment", flip(base, 3))
    write(folder, "bad-context-value", "A changed value in the header.", "header.tag",
          base.replace(b"records", b"recordz"), context={"purpose": "recordz"})
    write(folder, "bad-wrapped-key", "A changed wrapped key.", "header.tag",
          base.replace(b"static data key", b"static data kez"))
    write(folder, "bad-context-expected", "The caller expects another value.", "context.mismatch",
          base, context={"purpose": "tokens"})
    write(folder, "bad-context-missing", "The caller expects another pair.", "context.missing",
          base, context={"data-set": "1", "purpose": "records"})
    write(folder, "bad-context-more", "The message has a pair more.", "context.unexpected",
          message(PLAIN, context={"purpose": "records", "z": "1"}))
    pair = b"\0\x07purpose\0\x07records"

    def twice(body):
        return body.replace(struct.pack(">HH", 2 + len(pair), 1) + pair,
                            struct.pack(">HH", 2 + 2 * len(pair), 2) + pair + pair)

    write(folder, "bad-context-twice", "A key twice, under a fresh tag.", "context.duplicate",
          reseal_header(base, twice))

    def frame_length(body):
        return body[:-36] + struct.pack(">I", 0xFFFFFFFF) + body[-32:]

    write(folder, "bad-frame-length", "Frames of 4 GiB, under a fresh tag.",
          "header.frame-length", reseal_header(base, frame_length))

    def downgrade(body):
        return body[:1] + struct.pack(">H", PLAIN.algorithm_id) + body[3:]

    signed = message(SIGNED)
    write(folder, "bad-downgrade", "The signing suite replaced, under a fresh tag.",
          "context.public-key", reseal_header(signed, downgrade))


def bad_bodies(folder):
    for name, suite in [("signed", SIGNED), ("unsigned", PLAIN)]:
        base = message(suite)
        header, frames, footer = parts(base)

        def case(kind, comment, expect, chosen, end=footer):
            data = header + b"".join(chosen) + end
            write(folder, f"bad-{name}-{kind}", comment, expect, data)

        case("swapped", "Two frames swapped.", "frame.number", [frames[1], frames[0], frames[2]])
        case("twice", "A frame twice.", "frame.number", [frames[0], frames[0], *frames[1:]])
        case("dropped", "A frame dropped.", "frame.number", [frames[0], frames[2]])
        case("flipped", "A bit of a frame flipped.", "frame.tag",
             [frames[0], flip(frames[1], 20), frames[2]])
        case("nonce", "A frame's nonce changed.", "frame.nonce",
             [frames[0], flip(frames[1], 4, 0x80), frames[2]])
        case("final-longer", "A final frame longer than a frame.", "frame.length",
             [*frames[:2], frames[2][:20] + struct.pack(">I", FRAME + 1) + frames[2][24:]])
        case("cut", "Cut after the second frame.", "message.truncated", frames[:2], b"")
        case("longer", "A byte after the end.", "message.trailing", frames, footer + b"\0")
        renumbered = b"\xff" * 4 + frames[1][:16] + struct.pack(">I", FRAME) + frames[1][16:]
        case("final-forged", "A frame relabelled as the final one.", "frame.tag",
             [frames[0], renumbered])
    header, frames, footer = parts(message(SIGNED))
    _, _, other = parts(message(SIGNED))
    body = header + b"".join(frames)
    write(folder, "bad-footer-other", "The footer of another message.", "footer.signature", body + other)
    write(folder, "bad-footer-flipped", "A bit of the signature flipped.", "footer.signature",
          body + flip(footer, 40))
    write(folder, "bad-footer-missing", "No footer.", "message.truncated", body)
    write(folder, "bad-footer-empty", "A signature of no bytes.", "footer.length", body + b"\0\0")
    unframed = message(PLAIN, frame=0)
    write(folder, "bad-unframed-flipped", "A bit of an unframed body flipped.", "frame.tag",
          flip(unframed, len(unframed) - 20))
    length_at = len(unframed) - 16 - len(TEXT) - 8
    write(folder, "bad-unframed-length", "An unframed body of 2^63 bytes.", "frame.length",
          flip(unframed, length_at, 0x80))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    good(folder)
    bad_headers(folder)
    bad_bodies(folder)


main()
