"""The vendor's credential library and SDKs for Python, and botocore, with keys that the proxy hands out.

Each source uploads and downloads with each SDK, prints one line of JSON, waits for a line on standard input, and does so again."""

import json
import os
import sys

import alibabacloud_oss_v2 as oss
import botocore.session
import oss2
from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config

REPLICAS = os.environ["REPLICAS"].split(",")
BUCKET, REGION = "my-bucket", "cn-hangzhou"


def vendor(config):
    client = Client(config)

    def get():
        given = client.get_credential()
        return given.access_key_id, given.access_key_secret, given.security_token

    return get


def container(name):
    session = botocore.session.get_session()

    def get():
        if name:
            # Read for each fetch. The command of `run` needs none.
            os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = os.environ["AWS_TOKEN_FILES"].format(name)
        given = session.get_credentials().get_frozen_credentials()
        return given.access_key, given.secret_key, given.token

    return get


class Provider(oss.credentials.CredentialsProvider):
    def __init__(self, get):
        self.get = get

    def get_credentials(self):
        return oss.credentials.Credentials(*self.get())


def v2(get, endpoint, version, key):
    config = oss.config.load_default()
    config.credentials_provider = Provider(get)
    config.signature_version, config.region, config.endpoint, config.use_path_style = version, REGION, endpoint, True
    client = oss.Client(config)
    client.put_object(oss.PutObjectRequest(bucket=BUCKET, key=key, body=b"bytes"))
    assert client.get_object(oss.GetObjectRequest(bucket=BUCKET, key=key)).body.content == b"bytes"


def v1(get, endpoint, version, key):
    auth = oss2.StsAuth(*get(), auth_version={"v1": oss2.AUTH_VERSION_1, "v4": oss2.AUTH_VERSION_4}[version])
    bucket = oss2.Bucket(auth, endpoint, BUCKET, region=REGION, is_path_style=True)
    bucket.put_object(key, b"bytes")
    assert bucket.get_object(key).read() == b"bytes"


def upload(get, caller):
    for endpoint in REPLICAS:
        for sdk in (v2, v1):
            for version in ("v4", "v1"):
                sdk(get, endpoint, version, f"{caller}/python/{sdk.__name__} {version}")
    try:
        v2(get, REPLICAS[0], "v4", f"not-{caller}/python")
    except oss.exceptions.OperationError as error:
        assert error.unwrap().code == "AccessDenied", error
        return {"id": get()[0]}
    raise AssertionError("wrote the key of another caller")


def uri(variable):
    return lambda: vendor(Config(type="credentials_uri", credentials_uri=os.environ[variable]))


# The makers of the clients, with the callers that the keys are for.
SOURCES = {source["name"]: (uri(source["variable"]), source["caller"]) for source in json.loads(os.environ["SOURCES"])}
if "ALIBABA_CLOUD_CREDENTIALS_URI" in os.environ:  # this is the command of `run`
    SOURCES = {"default chain of run": (lambda: vendor(None), "team-a"),
               "container of run": (lambda: container(None), "team-a")}
else:
    SOURCES["container"] = lambda: container("token"), "team-a"
    SOURCES["container by JWT"] = lambda: container("jwt"), "team-b"
    if "METADATA" in os.environ:
        SOURCES["ecs_ram_role"] = lambda: vendor(Config(type="ecs_ram_role", disable_imds_v1=True)), "team-a"


def main():
    known = {}
    for attempt in ("first", "second"):
        for name, (make, caller) in SOURCES.items():
            try:
                get = known.setdefault(name, None) or make()
                known[name] = get
                result = upload(get, caller)
            except Exception as error:  # any exception is a result
                result = {"error": f"{type(error).__name__}: {error}"}
            library = "botocore" if name.startswith("container") else "alibabacloud_credentials"
            print(json.dumps({"library": library, "source": name, "attempt": attempt, **result}), flush=True)
        print("{}", flush=True)
        sys.stdin.readline()


main()
