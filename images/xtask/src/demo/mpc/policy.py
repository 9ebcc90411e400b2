"""An owner puts a policy on its key that its own program would not write: PutKeyPolicy with boto3."""

import argparse
import json

import boto3


def main():
    parser = argparse.ArgumentParser()
    for name in ("endpoint", "region", "ca", "credentials", "key", "policy"):
        parser.add_argument(f"--{name}", required=True)
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
    kms.put_key_policy(KeyId=args.key, Policy=args.policy)


if __name__ == "__main__":
    main()
