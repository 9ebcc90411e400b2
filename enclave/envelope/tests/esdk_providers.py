"""The Python AWS Encryption SDK with the Material Providers Library, and its materials cache.

Reads one JSON command a line and answers with one JSON object a line:
  {"op": "encrypt", "keys": [KEY...], "suite": NAME, "context": {}, "required": [],
   "frame_length": n, "plaintext": base64}               -> {"message": base64}
  {"op": "decrypt", "keys": [KEY...], "required": [], "reproduced": {}, "message": base64}
                                                          -> {"plaintext": base64}
  {"op": "encrypt_file" | "decrypt_file", ..., "from": path, "to": path}  -> {"sha256": hex}
  {"op": "cache_keys", "partition": text, "suite": id, "context": {}, "keys": [[id, info, base64]...]}
                                                          -> {"encrypt", "encrypt_any", "decrypt": hex}
  {"op": "cache_trace", "capacity", "max_age", "max_messages", "max_bytes",
   "steps": [{"at", "open", "context", "length"}...]}     -> {"made": [bool...]}
KEY is {"namespace", "name", "private_key": PEM, "public_key": PEM}: raw RSA, OAEP with SHA-256; with
"half": "public" only its public half is used.
A refusal comes back as {"error": class name, "reason": text}.
"""

import base64
import hashlib
import json
import logging
import sys
from unittest import mock

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateDefaultCryptographicMaterialsManagerInput,
    CreateMultiKeyringInput,
    CreateRawRsaKeyringInput,
    CreateRequiredEncryptionContextCMMInput,
    PaddingScheme,
)
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.caches import (
    build_decryption_materials_cache_key,
    build_encryption_materials_cache_key,
)
from aws_encryption_sdk.caches.local import LocalCryptoMaterialsCache
from aws_encryption_sdk.identifiers import AlgorithmSuite
from aws_encryption_sdk.materials_managers import (
    DecryptionMaterials,
    DecryptionMaterialsRequest,
    EncryptionMaterials,
    EncryptionMaterialsRequest,
)
from aws_encryption_sdk.materials_managers.base import CryptoMaterialsManager
from aws_encryption_sdk.materials_managers.caching import CachingCryptoMaterialsManager
from aws_encryption_sdk.structures import DataKey, EncryptedDataKey, MasterKeyInfo

# A refusal is an answer here, and its trace would only hide one that is none.
logging.disable(logging.CRITICAL)

CLIENT = aws_encryption_sdk.EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
)
PROVIDERS = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def keyring(key):
    private = None if key.get("half") == "public" else key["private_key"].encode()
    return PROVIDERS.create_raw_rsa_keyring(
        CreateRawRsaKeyringInput(
            key_namespace=key["namespace"],
            key_name=key["name"],
            padding_scheme=PaddingScheme.OAEP_SHA256_MGF1,
            public_key=key["public_key"].encode(),
            private_key=private,
        )
    )


def manager(command):
    first, *others = [keyring(key) for key in command["keys"]]
    if others:
        first = PROVIDERS.create_multi_keyring(
            CreateMultiKeyringInput(generator=first, child_keyrings=others)
        )
    default = PROVIDERS.create_default_cryptographic_materials_manager(
        CreateDefaultCryptographicMaterialsManagerInput(keyring=first)
    )
    if not command.get("required"):
        return default
    return PROVIDERS.create_required_encryption_context_cmm(
        CreateRequiredEncryptionContextCMMInput(
            underlying_cmm=default,
            required_encryption_context_keys=command["required"],
        )
    )


def encrypting(command):
    return {
        "materials_manager": manager(command),
        "algorithm": AlgorithmSuite.get_by_id(command["suite"]),
        "encryption_context": command["context"],
        "frame_length": command["frame_length"],
    }


def decrypting(command):
    return {
        "materials_manager": manager(command),
        "encryption_context": command.get("reproduced", {}),
    }


def encrypt(command):
    source = base64.b64decode(command["plaintext"])
    message, _ = CLIENT.encrypt(source=source, **encrypting(command))
    return {"message": base64.b64encode(message).decode()}


def decrypt(command):
    source = base64.b64decode(command["message"])
    plaintext, _ = CLIENT.decrypt(source=source, **decrypting(command))
    return {"plaintext": base64.b64encode(plaintext).decode()}


def stream(command, mode, arguments):
    digest = hashlib.sha256()
    with open(command["from"], "rb") as source, open(command["to"], "wb") as target:
        with CLIENT.stream(mode=mode, source=source, **arguments) as parts:
            while part := parts.read(1 << 20):
                digest.update(part)
                target.write(part)
    return {"sha256": digest.hexdigest()}


def encrypt_file(command):
    return stream(command, "e", encrypting(command))


def decrypt_file(command):
    return stream(command, "d", decrypting(command))


def wrapped(provider, info, ciphertext):
    return EncryptedDataKey(
        key_provider=MasterKeyInfo(provider_id=provider, key_info=info),
        encrypted_data_key=ciphertext,
    )


def cache_keys(command):
    suite = AlgorithmSuite.get_by_id(command["suite"])
    partition = command["partition"].encode()
    keys = {wrapped(p, i.encode(), base64.b64decode(c)) for p, i, c in command["keys"]}

    def for_encrypting(algorithm):
        request = EncryptionMaterialsRequest(
            encryption_context=command["context"], frame_length=4096, algorithm=algorithm
        )
        return build_encryption_materials_cache_key(partition, request).hex()

    request = DecryptionMaterialsRequest(
        algorithm=suite, encrypted_data_keys=keys, encryption_context=command["context"]
    )
    return {
        "encrypt": for_encrypting(suite),
        "encrypt_any": for_encrypting(None),
        "decrypt": build_decryption_materials_cache_key(partition, request).hex(),
    }


SUITE = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY


class Counting(CryptoMaterialsManager):
    def __init__(self):
        self.calls = 0

    def get_encryption_materials(self, request):
        self.calls += 1
        info = MasterKeyInfo(provider_id="p", key_info=b"k")
        key = DataKey(key_provider=info, data_key=b"d" * 32, encrypted_data_key=b"w")
        return EncryptionMaterials(
            algorithm=SUITE,
            data_encryption_key=key,
            encrypted_data_keys={wrapped("p", b"k", b"w")},
            encryption_context=request.encryption_context,
        )

    def decrypt_materials(self, request):
        self.calls += 1
        info = MasterKeyInfo(provider_id="p", key_info=b"k")
        return DecryptionMaterials(
            data_key=DataKey(key_provider=info, data_key=b"d" * 32, encrypted_data_key=b"w")
        )


def cache_trace(command):
    backing = Counting()
    now = 1_000_000.0
    with mock.patch("aws_encryption_sdk.caches.time.time", lambda: now):
        caching = CachingCryptoMaterialsManager(
            cache=LocalCryptoMaterialsCache(capacity=command["capacity"]),
            max_age=float(command["max_age"]),
            max_messages_encrypted=command["max_messages"],
            max_bytes_encrypted=command["max_bytes"],
            backing_materials_manager=backing,
            partition_name=b"trace",
        )
        made = []
        for step in command["steps"]:
            now = 1_000_000.0 + step["at"]
            before = backing.calls
            context = {"number": str(step["context"])}
            if step["open"]:
                caching.decrypt_materials(
                    DecryptionMaterialsRequest(
                        algorithm=SUITE,
                        encrypted_data_keys={wrapped("p", b"k", b"w")},
                        encryption_context=context,
                    )
                )
            else:
                caching.get_encryption_materials(
                    EncryptionMaterialsRequest(
                        encryption_context=context,
                        frame_length=4096,
                        algorithm=SUITE,
                        plaintext_length=step["length"],
                    )
                )
            made.append(backing.calls > before)
    return {"made": made}


OPERATIONS = {
    name.__name__: name
    for name in (encrypt, decrypt, encrypt_file, decrypt_file, cache_keys, cache_trace)
}


def main():
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = OPERATIONS[command["op"]](command)
        except Exception as error:  # every refusal is the test's to judge
            answer = {"error": type(error).__name__, "reason": str(error)}
        print(json.dumps(answer), flush=True)


main()
