"""The AWS Encryption SDK for Python with a strict provider, both committing suites."""

import aws_encryption_sdk
import botocore.session
from aws_encryption_sdk import CommitmentPolicy, StrictAwsKmsMasterKeyProvider
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError, DecryptKeyError
from aws_encryption_sdk.identifiers import Algorithm
from common import client

kms = client()
keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
sdk = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def provider(*arns):
    return StrictAwsKmsMasterKeyProvider(key_ids=list(arns), botocore_session=botocore.session.Session())


source = b"customer,card\n" + b"4111111111111111," * 5000
for suite in (Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384, Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY):
    sealed, _ = sdk.encrypt(source=source, key_provider=provider(*keys), algorithm=suite,
                            encryption_context={"purpose": "records"})
    for arn in keys:
        opened, header = sdk.decrypt(source=sealed, key_provider=provider(arn))
        assert opened == source and header.encryption_context["purpose"] == "records"
    stranger = kms.create_key()["KeyMetadata"]["Arn"]
    try:
        sdk.decrypt(source=sealed, key_provider=provider(stranger))
    except (DecryptKeyError, AWSEncryptionSDKClientError):
        pass
    else:
        raise AssertionError("a stranger's key opened the message")
    kms.disable_key(KeyId=keys[0])
    try:
        sdk.decrypt(source=sealed, key_provider=provider(keys[0]))
    except (DecryptKeyError, AWSEncryptionSDKClientError):
        pass
    else:
        raise AssertionError("a disabled key opened the message")
    kms.enable_key(KeyId=keys[0])
