"""The runs of callers who are limited by a policy to keys that begin with `a/`."""

import json
from contextlib import closing
from http.client import HTTPConnection

from .matrix import CallerKey, Run, key_of

KEYS = "key limited to a/"
ID, SECRET = "scoped-1", "clients-suite-scoped-secret-KEEP-OUT-OF-LOGS"
SECRETS = {"SCOPED_SECRET": SECRET}
OPERATIONS = [f"scoped-{name}" for name in ("put", "get", "head", "copy", "list", "multipart", "delete", "delete-many")]
OWN = [f"a/many/{number:04}" for number in range(1000)]
FOREIGN, FOREIGN_BODY = "b/kept", b"the bytes of another"


def section(buckets):
    """Returns the caller, with a policy document for these buckets."""
    if not buckets:
        return ""
    resources = [f"acs:oss:*:*:{bucket}" for bucket in buckets]
    document = {"Version": "1", "Statement": [
        {"Effect": "Allow", "Action": ["oss:GetObject", "oss:PutObject", "oss:DeleteObject", "oss:ListParts"],
         "Resource": [f"{resource}/a/*" for resource in resources]},
        {"Effect": "Allow", "Action": "oss:ListObjects", "Resource": resources, "Condition": {"StringLike": {"oss:Prefix": "a/*"}}},
    ]}
    return f"""[[caller]]
name = "scoped"
policy = ['{json.dumps(document)}']
key = [{{ id = "{ID}", secret = "env:SCOPED_SECRET" }}]
"""


def runs(clients, whole):
    """Returns a run for each signature of each SDK, or for one of them without `whole`."""
    found = []
    for index, client in enumerate(client for client in clients if client.get("scoped")):
        signatures = [signature for signature in client["signatures"] if signature != "none"]
        for signature in signatures if whole else [signatures[index % len(signatures)]]:
            caller = CallerKey(key_of(ID, SECRET), operations=OPERATIONS)
            found.append(Run(client["client"], "path", "plain", "v4", signature, KEYS, caller=caller))
    return found


def store(run, world):
    """Stores the keys of the caller that it deletes, and the key of another."""
    with closing(HTTPConnection("127.0.0.1", world.proxy_ports["v4"], timeout=30)) as connection:
        for key, body in [(FOREIGN, FOREIGN_BODY), *((key, b"own") for key in OWN)]:
            send(connection, "PUT", f"/{run.bucket}/{key}", body)


def check(run, world):
    """Returns the error of the keys of others after the run: there must be the same one with the same bytes."""
    with closing(HTTPConnection("127.0.0.1", world.proxy_ports["v4"], timeout=30)) as connection:
        listing = send(connection, "GET", f"/{run.bucket}?start-after=a0&list-type=2")
        kept = send(connection, "GET", f"/{run.bucket}/{FOREIGN}")
        first = send(connection, "GET", f"/{run.bucket}?max-keys=1&list-type=2")
    if kept != FOREIGN_BODY or listing.count(b"<Contents>") != 1:
        return "a key of another was changed, or made"
    return None if b"<Key>a/" in first else "a key before a/ was made"


def send(connection, method, target, body=None):
    connection.request(method, target, body)
    with connection.getresponse() as answer:
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {target}: {answer.status} {text.decode(errors='replace')}")
        return text
