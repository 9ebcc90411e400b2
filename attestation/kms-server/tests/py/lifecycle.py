"""boto3 against the server: refusals first, then every operation; each answer has the model's shape."""

import json
import uuid

from common import ACCOUNT, REGION, ROOT, client, raw, refused

kms = client()
unknown = str(uuid.uuid4())

# Keys that are not there, or named in a form that the operation does not take.
refused("NotFoundException", f"key/{unknown}' does not exist", kms.describe_key, KeyId=unknown)
refused("NotFoundException", "Invalid keyId 'nonsense'", kms.describe_key, KeyId="nonsense")
refused("NotFoundException", "alias/none is not found", kms.describe_key, KeyId="alias/none")
refused("NotFoundException", "Invalid arn us-west-2", kms.describe_key,
        KeyId=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{unknown}")
refused("InvalidArnException", "", kms.describe_key, KeyId="arn:aws:s3:::bucket")
refused("NotFoundException", "", kms.enable_key, KeyId="alias/none")
refused("NotFoundException", "", kms.encrypt, KeyId=unknown, Plaintext=b"x")

# Shapes, in AWS's words.
refused("ValidationException",
        "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: "
        "Member must not be null", kms.describe_key)
refused("ValidationException", "2 validation errors detected: ", kms.encrypt, Plaintext=b"")
refused("ValidationException", "'plaintext' failed to satisfy constraint: Member must have length "
        "less than or equal to 4096", kms.encrypt, KeyId=unknown, Plaintext=b"x" * 4097)
refused("ValidationException", "Member must have length less than or equal to 6144",
        kms.decrypt, CiphertextBlob=b"x" * 6145)
refused("ValidationException", "Value '0' at 'numberOfBytes'", kms.generate_random, NumberOfBytes=0)
refused("ValidationException", "Value '1025' at 'numberOfBytes'", kms.generate_random, NumberOfBytes=1025)
refused("ValidationException", "'numberOfBytes'", kms.generate_random)
refused("ValidationException", "Value '1001' at 'limit'", kms.list_keys, Limit=1001)
refused("ValidationException", "Value 'CUBE' at 'keySpec' failed to satisfy constraint: Member must "
        "satisfy enum value set: [AES_256, AES_128]", kms.generate_data_key, KeyId=unknown, KeySpec="CUBE")
refused("ValidationException", "Please specify either number of bytes or key spec.",
        kms.generate_data_key, KeyId=unknown)
refused("ValidationException", "Please specify either number of bytes or key spec.",
        kms.generate_data_key, KeyId=unknown, KeySpec="AES_256", NumberOfBytes=32)
refused("SerializationException", "", kms.describe_key, KeyId=["x"])
refused("SerializationException", "", kms.encrypt, KeyId=unknown, Plaintext=b"x", EncryptionContext={"a": ["b"]})
refused("InvalidGrantTokenException", "", kms.describe_key, KeyId=unknown, GrantTokens=["token"])
refused("InvalidMarkerException", "", kms.list_keys, Marker="nonsense")
refused("InvalidCiphertextException", "", kms.decrypt, CiphertextBlob=b"nonsense")
refused("InvalidKeyUsageException", "", kms.decrypt, CiphertextBlob=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256")

# What AWS has and this KMS has not.
for parameters in [
    {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
    {"KeyUsage": "GENERATE_VERIFY_MAC", "KeySpec": "HMAC_256"},
    {"Origin": "EXTERNAL"},
    {"MultiRegion": True},
    {"CustomKeyStoreId": "cks-1234"},
    {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
]:
    refused("UnsupportedOperationException", "not supported", kms.create_key, **parameters)
refused("UnsupportedOperationException", "CreateGrant", kms.create_grant, KeyId=unknown,
        GranteePrincipal=ROOT, Operations=["Decrypt"])
refused("UnsupportedOperationException", "ReEncrypt", kms.re_encrypt, CiphertextBlob=b"x", DestinationKeyId=unknown)

# Policies that cannot be read, lock their author out, or name nobody.
for policy in ["{", "{}", json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]})]:
    refused("MalformedPolicyDocumentException", "", kms.create_key, Policy=policy)


def policy_for(principal, action="kms:*"):
    statement = {"Sid": "Only", "Effect": "Allow", "Principal": {"AWS": principal},
                 "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


locked = policy_for(ROOT, "kms:Decrypt")
refused("MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future.",
        kms.create_key, Policy=locked)
refused("MalformedPolicyDocumentException", "invalid principals",
        kms.create_key, Policy=policy_for(f"arn:aws:iam::{ACCOUNT}:user/nobody"))
refused("LimitExceededException", "32768", kms.create_key, Policy=policy_for(ROOT) + " " * 32768)

# A key and its life.
key = kms.create_key(Description="records")["KeyMetadata"]
arn, key_id = key["Arn"], key["KeyId"]
assert arn == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"
assert key["Enabled"] and key["KeyState"] == "Enabled" and key["Description"] == "records"
for name in (key_id, arn):
    assert kms.describe_key(KeyId=name)["KeyMetadata"] == key
assert {"KeyId": key_id, "KeyArn": arn} in kms.list_keys()["Keys"]

context = {"purpose": "records", "ünïcode": "väl\u20ac"}
sealed = kms.encrypt(KeyId=key_id, Plaintext=b"secret", EncryptionContext=context)
assert sealed["KeyId"] == arn
blob = sealed["CiphertextBlob"]
assert kms.encrypt(KeyId=arn, Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"] != blob
opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
assert opened["Plaintext"] == b"secret" and opened["KeyId"] == arn
assert opened["KeyMaterialId"] == key["CurrentKeyMaterialId"]
for wrong in [{}, {"purpose": "other"}, {"purpose": "records"}, {**context, "more": "x"}]:
    refused("InvalidCiphertextException", "", kms.decrypt, CiphertextBlob=blob, EncryptionContext=wrong)
# What AWS's emulators confuse: names and values must not run into each other.
ab = kms.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionContext={"ab": "c"})["CiphertextBlob"]
refused("InvalidCiphertextException", "", kms.decrypt, CiphertextBlob=ab, EncryptionContext={"a": "bc"})
for position in range(0, len(blob), 7):
    damaged = bytearray(blob)
    damaged[position] ^= 1
    refused("AccessDeniedException" if 1 <= position < 17 else "InvalidCiphertextException", "",
            kms.decrypt, CiphertextBlob=bytes(damaged), EncryptionContext=context)
assert kms.decrypt(CiphertextBlob=kms.encrypt(KeyId=key_id, Plaintext=b"x" * 4096)["CiphertextBlob"])[
    "Plaintext"] == b"x" * 4096

data = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=context)
assert len(data["Plaintext"]) == 32 and data["KeyId"] == arn
assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"], EncryptionContext=context)["Plaintext"] == data["Plaintext"]
assert len(kms.generate_data_key(KeyId=key_id, KeySpec="AES_128")["Plaintext"]) == 16
assert len(kms.generate_data_key(KeyId=key_id, NumberOfBytes=1024)["Plaintext"]) == 1024
bare = kms.generate_data_key_without_plaintext(KeyId=key_id, NumberOfBytes=64)
assert "Plaintext" not in bare and len(kms.decrypt(CiphertextBlob=bare["CiphertextBlob"])["Plaintext"]) == 64
assert len(set(kms.generate_random(NumberOfBytes=1024)["Plaintext"])) > 200

other = kms.create_key()["KeyMetadata"]
refused("IncorrectKeyException", "", kms.decrypt, CiphertextBlob=blob, KeyId=other["KeyId"], EncryptionContext=context)
assert kms.decrypt(CiphertextBlob=blob, KeyId=arn, EncryptionContext=context)["Plaintext"] == b"secret"
for call, parameters in [
    (kms.encrypt, {"KeyId": key_id, "Plaintext": b"x"}),
    (kms.decrypt, {"CiphertextBlob": blob, "EncryptionContext": context}),
    (kms.generate_data_key, {"KeyId": key_id, "KeySpec": "AES_256"}),
    (kms.generate_data_key_without_plaintext, {"KeyId": key_id, "KeySpec": "AES_256"}),
]:
    refused("DryRunOperationException", "", call, DryRun=True, **parameters)
refused("NotFoundException", "", kms.encrypt, KeyId=unknown, Plaintext=b"x", DryRun=True)
refused("InvalidCiphertextException", "", kms.decrypt, CiphertextBlob=blob, DryRun=True)

# Aliases.
alias = "alias/records/2024"
for name, code in [("records", "InvalidAliasNameException"), ("alias/aws/mine", "InvalidAliasNameException"),
                   ("alias/a b", "ValidationException"), ("alias/" + "x" * 251, "ValidationException")]:
    refused(code, "", kms.create_alias, AliasName=name, TargetKeyId=key_id)
refused("NotFoundException", "", kms.create_alias, AliasName=alias, TargetKeyId=unknown)
refused("NotFoundException", "", kms.update_alias, AliasName=alias, TargetKeyId=key_id)
refused("NotFoundException", "", kms.delete_alias, AliasName=alias)
kms.create_alias(AliasName=alias, TargetKeyId=key_id)
refused("AlreadyExistsException", alias, kms.create_alias, AliasName=alias, TargetKeyId=key_id)
for name in (alias, f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"):
    assert kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == key_id
    assert kms.encrypt(KeyId=name, Plaintext=b"x")["KeyId"] == arn
    refused("NotFoundException" if name == alias else "InvalidArnException", "", kms.disable_key, KeyId=name)
assert kms.decrypt(CiphertextBlob=blob, KeyId=alias, EncryptionContext=context)["KeyId"] == arn
kms.update_alias(AliasName=alias, TargetKeyId=other["KeyId"])
assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"] == other["KeyId"]
refused("IncorrectKeyException", "", kms.decrypt, CiphertextBlob=blob, KeyId=alias, EncryptionContext=context)
for number in range(50):
    kms.create_alias(AliasName=f"alias/many-{number:02}", TargetKeyId=key_id)
refused("LimitExceededException", "50", kms.create_alias, AliasName="alias/many-50", TargetKeyId=key_id)
refused("LimitExceededException", "50", kms.update_alias, AliasName=alias, TargetKeyId=key_id)
kms.update_alias(AliasName="alias/many-00", TargetKeyId=key_id)
first = kms.list_aliases(KeyId=key_id, Limit=20)
assert first["Truncated"] and len(first["Aliases"]) == 20
pages = kms.get_paginator("list_aliases").paginate(KeyId=key_id, PaginationConfig={"PageSize": 7})
assert [a["AliasName"] for p in pages for a in p["Aliases"]] == [f"alias/many-{n:02}" for n in range(50)]
assert alias in [a["AliasName"] for p in kms.get_paginator("list_aliases").paginate() for a in p["Aliases"]]
refused("InvalidMarkerException", "", kms.list_keys, Marker=first["NextMarker"])
refused("NotFoundException", "", kms.list_aliases, KeyId=unknown)
kms.delete_alias(AliasName=alias)
refused("NotFoundException", alias, kms.describe_key, KeyId=alias)

# Pages of keys.
made = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(7)} | {key_id, other["KeyId"]}
pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}))
assert len(pages) == 5 and {k["KeyId"] for p in pages for k in p["Keys"]} == made

# Policies.
default = kms.get_key_policy(KeyId=key_id)
assert default["PolicyName"] == "default" and json.loads(default["Policy"])["Statement"][0]["Action"] == "kms:*"
assert kms.list_key_policies(KeyId=key_id)["PolicyNames"] == ["default"]
refused("NotFoundException", "No such policy exists", kms.get_key_policy, KeyId=key_id, PolicyName="other")
refused("NotFoundException", "No such policy exists", kms.put_key_policy, KeyId=key_id, PolicyName="other", Policy="{}")
refused("MalformedPolicyDocumentException", "will not allow you to update", kms.put_key_policy, KeyId=key_id, Policy=locked)
text = policy_for(ROOT).replace(",", ",  \n")
kms.put_key_policy(KeyId=key_id, Policy=text)
assert kms.get_key_policy(KeyId=key_id)["Policy"] == text
kms.put_key_policy(KeyId=other["KeyId"], Policy=locked, BypassPolicyLockoutSafetyCheck=True)
refused("AccessDeniedException", "is not authorized to perform: kms:GetKeyPolicy on resource: " + other["Arn"],
        kms.get_key_policy, KeyId=other["KeyId"])

lax = json.loads(policy_for(ROOT))
lax["Statement"][0]["Condition"] = {"StringEquals": {"kms:RecipientAttestation:PCR0": "0x" + "ab" * 48}}
lax["Statement"].append(json.loads(policy_for(ROOT))["Statement"][0])
kms.put_key_policy(KeyId=key_id, Policy=json.dumps(lax))
warnings = json.loads(raw["body"])["Warnings"]
assert any("0x" in warning for warning in warnings), warnings
kms.put_key_policy(KeyId=key_id, Policy=text)
assert raw["body"] == b""

# States.
kms.disable_key(KeyId=key_id)
assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"
refused("DisabledException", f"{arn} is disabled.", kms.encrypt, KeyId=key_id, Plaintext=b"x")
refused("DisabledException", "", kms.decrypt, CiphertextBlob=blob, EncryptionContext=context)
kms.enable_key(KeyId=key_id)
kms.encrypt(KeyId=key_id, Plaintext=b"x")
refused("KMSInvalidStateException", "is not pending deletion.", kms.cancel_key_deletion, KeyId=key_id)
for days in (6, 31):
    refused("ValidationException", "", kms.schedule_key_deletion, KeyId=key_id, PendingWindowInDays=days)
scheduled = kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
assert scheduled["KeyId"] == arn and scheduled["KeyState"] == "PendingDeletion" and scheduled["PendingWindowInDays"] == 7
assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["DeletionDate"] == scheduled["DeletionDate"]
for call, parameters in [
    (kms.encrypt, {"Plaintext": b"x"}), (kms.enable_key, {}), (kms.disable_key, {}),
    (kms.schedule_key_deletion, {}), (kms.generate_data_key, {"KeySpec": "AES_256"}),
]:
    refused("KMSInvalidStateException", "is pending deletion.", call, KeyId=key_id, **parameters)
refused("KMSInvalidStateException", "is pending deletion.", kms.create_alias, AliasName="alias/late", TargetKeyId=key_id)
kms.get_key_policy(KeyId=key_id)
kms.delete_alias(AliasName="alias/many-00")
assert kms.cancel_key_deletion(KeyId=key_id)["KeyId"] == arn
assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"
kms.enable_key(KeyId=key_id)
assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"
