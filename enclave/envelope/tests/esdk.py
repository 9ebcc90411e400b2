"""The Python AWS Encryption SDK as the other party of interop tests.

Reads one JSON command a line and answers with one JSON object a line:
  {"op": "encrypt", "keys": [KEY...], "suite": 0x0578, "context": {}, "required": [],
   "frame_length": 4096, "plaintext": base64}      -> {"message": base64}
  {"op": "decrypt", "keys": [KEY...], "message": base64}
                                                    -> {"plaintext": base64, "context": {}}
KEY is {"namespace", "name", "private_key": PEM}: a raw RSA key, OAEP with SHA-256.
A refusal of the SDK's comes back as {"error": class name}.
"""

import base64
import json
import sys

import aws_encryption_sdk
from aws_encryption_sdk.identifiers import (
    AlgorithmSuite,
    CommitmentPolicy,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider
from aws_encryption_sdk.materials_managers import EncryptionMaterials

COMMITTING = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
)
OLD = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
)


def provider_for(key):
    class Provider(RawMasterKeyProvider):
        provider_id = key["namespace"]

        def _get_raw_key(self, key_id):
            return WrappingKey(
                wrapping_algorithm=WrappingAlgorithm.RSA_OAEP_SHA256_MGF1,
                wrapping_key=key["private_key"].encode(),
                wrapping_key_type=EncryptionKeyType.PRIVATE,
            )

    provider = Provider()
    provider.add_master_key(key["name"])
    return provider


def providers(keys):
    first, *others = [provider_for(key) for key in keys]
    for other in others:
        first.add_master_key_provider(other)
    return first


def encrypt(command):
    suite = AlgorithmSuite.get_by_id(command["suite"])
    client = COMMITTING if suite.is_committing() else OLD
    # What the SDK's required encryption context manager sets: keys that stay out of the header.
    EncryptionMaterials.required_encryption_context_keys = command.get("required", [])
    message, _ = client.encrypt(
        source=base64.b64decode(command["plaintext"]),
        key_provider=providers(command["keys"]),
        algorithm=suite,
        encryption_context=command["context"],
        frame_length=command["frame_length"],
    )
    return {"message": base64.b64encode(message).decode()}


def decrypt(command):
    plaintext, header = COMMITTING.decrypt(
        source=base64.b64decode(command["message"]),
        key_provider=providers(command["keys"]),
    )
    return {
        "plaintext": base64.b64encode(plaintext).decode(),
        "context": header.encryption_context,
    }


def main():
    operations = {"encrypt": encrypt, "decrypt": decrypt}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = operations[command["op"]](command)
        except Exception as error:  # every refusal is the test's to judge
            answer = {"error": type(error).__name__, "reason": str(error)}
        print(json.dumps(answer), flush=True)


main()
