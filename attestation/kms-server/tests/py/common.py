"""What the scripts share: a client, and a check of answers against the API model."""

import json
import os
import re

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "111122223333"
REGION = os.environ["AWS_REGION"]
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
UNMODELLED = {"Warnings"}  # Ours, beside the model; clients ignore it.

raw = {}


def client(**settings):
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False, **settings)
    kms = boto3.client("kms", config=config)
    kms.meta.events.register("before-parse.kms", keep_raw)
    kms.meta.events.register("after-call.kms", check_answer)
    return kms


def keep_raw(response_dict, **_):
    raw["body"] = response_dict["body"]
    raw["headers"] = response_dict["headers"]


def check_answer(http_response, parsed, model, **_):
    """Every answer, whatever its call, has the model's shape."""
    assert re.fullmatch(r"[0-9a-f-]{36}", parsed["ResponseMetadata"]["RequestId"]), parsed
    assert raw["headers"]["content-type"] == "application/x-amz-json-1.1"
    if http_response.status_code != 200:
        return
    body = json.loads(raw["body"]) if raw["body"] else {}
    if model.output_shape is None:
        assert set(body) <= UNMODELLED, body
        return
    check(model.output_shape, body, model.name)


def check(shape, value, path):
    kind = shape.type_name
    if kind == "structure":
        assert isinstance(value, dict), path
        for name, member in value.items():
            if name in UNMODELLED:
                continue
            assert name in shape.members, f"{path}.{name} is not in the model"
            check(shape.members[name], member, f"{path}.{name}")
        missing = set(shape.required_members) - set(value)
        assert not missing, f"{path} lacks {missing}"
    elif kind == "list":
        assert isinstance(value, list), path
        for member in value:
            check(shape.member, member, f"{path}[]")
    elif kind == "string":
        assert isinstance(value, str), path
        limits = shape.metadata
        assert limits.get("min", 0) <= len(value) <= limits.get("max", 1 << 30), path
        assert not shape.enum or value in shape.enum, f"{path}: {value}"
        if "pattern" in limits and not limits["pattern"].startswith("[\\u"):
            assert re.search(limits["pattern"], value), f"{path}: {value}"
    elif kind == "blob":
        assert isinstance(value, str), path
    elif kind == "boolean":
        assert isinstance(value, bool), path
    elif kind == "timestamp":
        assert isinstance(value, (int, float)) and 1.6e9 < value < 1e10, f"{path}: {value}"
    elif kind in ("integer", "long"):
        assert isinstance(value, int) and not isinstance(value, bool), path
    else:
        raise AssertionError(f"{path}: {kind}")


def refused(code, message, call, *args, **parameters):
    """The call must fail with this code, and its message must hold this text."""
    try:
        answer = call(*args, **parameters)
    except ClientError as error:
        got = error.response["Error"]
        assert got["Code"] == code, f"{parameters}: expected {code}, got {got}"
        assert message in got.get("Message", ""), f"{parameters}: {got}"
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status == (500 if code == "KMSInternalException" else 400), status
        body = json.loads(raw["body"])
        word = "Message" if code == "AccessDeniedException" else "message"
        assert set(body) <= {"__type", word}, body
        return error
    raise AssertionError(f"{parameters}: expected {code}, got {answer}")
