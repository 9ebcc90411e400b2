"""botocore's signer against our verifier: random requests are taken, every mutation is refused."""

import datetime
import http.client
import json
import os
import random
import urllib.parse

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
print("seed", SEED)
rng = random.Random(SEED)
host = urllib.parse.urlparse(os.environ["AWS_ENDPOINT_URL_KMS"]).netloc
region = os.environ["AWS_REGION"]
key = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
connection = http.client.HTTPConnection(host)
genuine_now = botocore.auth.get_current_datetime


def signed(body, extra=(), credentials=None, shift=0, service="kms", where=region):
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.ListKeys", **dict(extra)}
    request = AWSRequest("POST", f"http://{host}/", headers=headers, data=body)
    moved = lambda **k: genuine_now(**k) + datetime.timedelta(seconds=shift)
    botocore.auth.get_current_datetime = moved
    botocore.auth.SigV4Auth(credentials or Credentials(*key), service, where).add_auth(request)
    botocore.auth.get_current_datetime = genuine_now
    return {**dict(request.headers.items()), "Host": host}, body


def send(headers, body):
    connection.putrequest("POST", "/", skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if "Content-Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"{}")


def refused(name, headers, body):
    status, answer = send(headers, body)
    assert status == 400 and answer["__type"] == name, f"expected {name}, got {answer}"


def random_request():
    body = json.dumps({"Limit": rng.randint(1, 1000), "Ignored": "".join(
        chr(rng.choice([rng.randint(32, 126), rng.randint(160, 0x24ff), 0x1f512])) for _ in range(rng.randint(0, 200)))},
        ensure_ascii=rng.random() < 0.5).encode()
    extra = {}
    for number in range(rng.randint(0, 6)):
        name = rng.choice(["X-Amz-Meta", "My-Header", "a", "Zz-9", "amz-sdk-request"]) + f"-{number}"
        words = ["".join(rng.choices("abcXYZ019!#$%&'*+./:;=?@^_`|~\"(){}[]<>,-", k=rng.randint(1, 12)))
                 for _ in range(rng.randint(1, 4))]
        extra[name] = " " * rng.randint(0, 2) + (" " * rng.randint(1, 3)).join(words) + " " * rng.randint(0, 2)
    if rng.random() < 0.3:
        extra["X-Amz-Content-SHA256"] = __import__("hashlib").sha256(body).hexdigest()
    return body, extra


for _ in range(300):
    status, answer = send(*signed(*random_request()))
    assert status == 200 and "Keys" in answer, answer

# One change at a time, each to a request that was good before it.
mutations, rounds = 0, 0
while mutations <= 50 or rounds < 12:
    rounds += 1
    body, extra = random_request()
    headers, body = signed(body, extra)
    refused("InvalidSignatureException", headers, body + b" ")
    covered = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    for name in list(headers):
        if name.lower() not in covered or name.lower() in ("host", "x-amz-date", "content-length", "content-type"):
            continue
        for value in (headers[name] + "x", "y" + headers[name].strip()):
            status, answer = send({**headers, name: value}, body)
            assert status == 400 and answer["__type"] in ("InvalidSignatureException", "UnknownOperationException"), answer
            mutations += 1
        without = {k: v for k, v in headers.items() if k != name}
        status, answer = send(without, body)
        assert status == 400 and answer["__type"] in (
            "IncompleteSignatureException", "UnknownOperationException"), answer
headers, body = signed(b"{}")
refused("InvalidSignatureException", {**headers, "Host": "kms.example"}, body)
refused("InvalidSignatureException", {**headers, "X-Amz-Target": "TrentService.ListAliases"}, body)
refused("InvalidSignatureException", {**headers, "X-Amz-Late": "unsigned"}, body)
refused("MissingAuthenticationTokenException", {k: v for k, v in headers.items() if k != "Authorization"}, body)
refused("IncompleteSignatureException", {k: v for k, v in headers.items() if k != "X-Amz-Date"}, body)
refused("IncompleteSignatureException", {**headers, "Authorization": "AWS4-HMAC-SHA256 nonsense"}, body)
refused("IncompleteSignatureException", {**headers, "Authorization": "Bearer nonsense"}, body)
flipped = headers["Authorization"][:-1] + ("0" if headers["Authorization"][-1] != "0" else "1")
refused("InvalidSignatureException", {**headers, "Authorization": flipped}, body)
refused("InvalidSignatureException", {**headers, "X-Amz-Date": "20200101T000000Z"}, body)

# Time, scope, and keys that are not known.
for shift in (-290, 290):
    assert send(*signed(b"{}", shift=shift))[0] == 200
for shift in (-310, 310):
    refused("InvalidSignatureException", *signed(b"{}", shift=shift))
refused("InvalidSignatureException", *signed(b"{}", where="us-west-2"))
refused("InvalidSignatureException", *signed(b"{}", service="sts"))
refused("UnrecognizedClientException", *signed(b"{}", credentials=Credentials("AHIAAAAAAAAAAAAAAAAA", key[1])))
refused("UnrecognizedClientException", *signed(b"{}", credentials=Credentials(*key, "a-session-token")))
refused("InvalidSignatureException", *signed(b"{}", credentials=Credentials(key[0], key[1][::-1])))
# A replay within the window is AWS's behaviour too: TLS is what stops it.
assert send(headers, body)[0] == 200
