"""botocore as the judge of signatures.

Reads one JSON command a line: {"access_key_id", "secret_access_key", "session_token", "region",
"service", "seconds", "headers": {name: value}, "body": base64}; answers with the headers that
botocore's signature adds.
"""

import base64
import datetime
import json
import sys

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def sign(command):
    at = datetime.datetime.fromtimestamp(command["seconds"], datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda *_, **__: at.replace(tzinfo=None)
    request = AWSRequest(
        method="POST",
        url="https://unused.example/",
        headers=command["headers"],
        data=base64.b64decode(command["body"]),
    )
    credentials = Credentials(
        command["access_key_id"], command["secret_access_key"], command["session_token"]
    )
    botocore.auth.SigV4Auth(credentials, command["service"], command["region"]).add_auth(request)
    names = ["Authorization", "X-Amz-Date", "X-Amz-Security-Token"]
    return {name: request.headers.get(name) for name in names}


for line in sys.stdin:
    print(json.dumps(sign(json.loads(line))), flush=True)
