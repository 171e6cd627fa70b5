"""The matrix of runs: every client in every mode, with each signature that it supports, through both signatures of the proxy."""

import json
import secrets
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import Event

from . import presigned
from .servers import DOMAIN, ENDPOINT, REGION
from .wire import WireTap

RIGHT, WRONG, UNSIGNED, DUMMY = "right keys", "wrong secret", "unsigned", "dummy"
REFUSED = ["refused-put", "refused-get", "refused-list"]
NOTHING = {"access_key_id": "", "access_key_secret": "", "security_token": ""}


def key_of(key_id, secret, token=""):
    return {"access_key_id": key_id, "access_key_secret": secret, "security_token": token}


@dataclass
class CallerKey:
    """The key of a client that runs through a listener with callers."""

    keys: dict
    refusal: str = ""  # the error code, if the key must be rejected
    url_refusal: str = ""  # the error code of a presigned URL, if one is requested
    operations: list = field(default_factory=list)  # only these, if any
    is_correcting: bool = False  # the client corrects its clock, if it has such a setting
    attempts: int = 0  # the attempts of each request, or 0 for those that the client has in all other runs
    is_late: bool = False  # the run starts after the others and after a reload


@dataclass
class Run:
    """One client program, started once."""

    client: str
    mode: str
    world: str
    proxy: str  # the signature of the proxy, or "-" for a direct connection to the emulated OSS
    signature: str  # the signature of the client
    keys: str
    bucket: str = ""
    caller: CallerKey | None = None  # the proxy verifies the signature of the client
    tapped: bool = False  # the bytes between client and proxy are searched
    tap: WireTap | None = None
    writes: list = field(default_factory=list)
    urls: list = field(default_factory=list)  # the URLs to presign
    results: dict = field(default_factory=dict)  # operation -> None, or the error
    skipped: dict = field(default_factory=dict)  # operation -> reason
    tried: dict = field(default_factory=dict)  # results of skipped operations, under --try-skipped
    done: Event = field(default_factory=Event)

    @property
    def own(self):
        if self.signature == "none":
            return "none"
        return f"{self.signature}, {self.keys}" + (" + token" if self.token else "")

    @property
    def through(self):
        return self.proxy + (" + STS" if self.world == "sts" else "") + (", callers" if self.caller else "")

    @property
    def token(self):
        """Returns whether there is a token. Dummy keys have a dummy token in one mode, to test that both are removed."""
        return not self.caller and (self.world == "sts" or (self.keys == DUMMY and self.mode == "virtual"))

    @property
    def judged(self):
        """Returns whether the run is only expected to be rejected."""
        return self.keys in (WRONG, UNSIGNED) or bool(self.caller and self.caller.refusal and not self.caller.operations)

    @property
    def is_brief(self):
        """Returns whether the run has its own few operations, and no unusual keys."""
        return bool(self.caller and self.caller.operations)

    @property
    def label(self):
        return f"{self.client} | {self.mode} | {self.through} | {self.own}"

    def wrote(self, name):
        """Returns whether the client reported that it wrote this key."""
        return self.results.get(f"write:{name}", "") is None

    def keep(self, told):
        """Stores the results of the client; those of skipped operations are kept separately."""
        for operation, wrong in told.items():
            (self.tried if operation in self.skipped else self.results)[operation] = wrong


def matrix(cases, whole):
    """Returns all runs without callers, in order. In every world the Go SDK with the right keys is first.

    A client that is marked `sampled` gets only a sample of its runs, unless `whole` is set.
    """
    runs = []
    for world in ("plain", "sts"):
        runs += judge_runs(cases, world)
        clients = [(client, mode, signature) for mode in ("path", "virtual", "http_proxy", "ip-host")
                   for client in cases["clients"] if mode in client["modes"] for signature in client["signatures"]]
        for index, (client, mode, signature) in enumerate(clients):
            if world == "sts" and (mode != "path" or signature != client["signatures"][-1]):
                continue
            for proxy in ("v4", "v1") if index % 2 else ("v1", "v4"):
                runs.append(Run(client["client"], mode, world, proxy, signature, DUMMY))
    sampled = {} if whole else {client["client"]: client for client in cases["clients"] if client.get("sampled")}
    return [run for run in runs if run.client not in sampled or in_sample(run, sampled[run.client])]


def numbered(runs):
    """Returns the runs, each with a separate bucket."""
    # libcloud reads one page of the list of buckets, the first 100 by name.
    for index, run in enumerate(sorted(runs, key=lambda run: run.client != "libcloud")):
        run.bucket = f"run-{index:03d}"
    return runs


def in_sample(run, client):
    """Returns whether a run is in the sample: each mode once, with one signature of the client and one of the proxy."""
    signatures = client["signatures"]
    if run.proxy == "-":
        return run.mode == "direct" and run.signature in (signatures[-1], "none")
    if run.world == "sts":
        return run.proxy == "v4"
    turn = client["modes"].index(run.mode)
    return (run.signature, run.proxy) == (signatures[turn % len(signatures)], ("v4", "v1")[turn % 2])


def judge_runs(cases, world):
    signing = [(client["client"], signature) for client in cases["clients"] if not client.get("proxy_only")
               for signature in client["signatures"] if signature != "none"]
    signing.sort(key=lambda pair: pair != ("go-sdk-v2", "v4"))
    runs = [Run(client, mode, world, "-", signature, RIGHT) for mode in ("direct", "direct-virtual")
            for client, signature in signing if world == "plain" or mode == "direct"]
    if world == "plain":
        runs += [Run(client, "direct", world, "-", signature, WRONG) for client, signature in signing]
        runs += [Run(client["client"], "direct", world, "-", "none", UNSIGNED)
                 for client in cases["clients"] if "none" in client["signatures"] and not client.get("proxy_only")]
    return runs


def operations(run, cases):
    """Returns the names of the operations of this run."""
    if run.judged:
        return REFUSED + [f"sign:{item['name']}" for item in run.urls]
    patterns = next(client.get("operations", ["*"]) for client in cases["clients"] if client["client"] == run.client)
    common = [item["name"] for item in cases["operations"]
              if run.client in item.get("only", [run.client]) and not (item.get("signed") and run.signature == "none")
              and (run.caller or not item.get("caller"))]
    names = common + [f"{verb}:{key['name']}" for verb in ("write", "read") for key in cases["keys"]]
    if run.is_brief:
        names = run.caller.operations
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def expand(key):
    """Returns a key of the table, padded to its length."""
    text = key["key"]
    while "fill" in key and len((text + key["fill"]).encode()) <= key["bytes"]:
        text += key["fill"]
    return text


def prepare(run, cases, skips):
    """Sets the skipped operations with their reasons, the keys to write, and the URLs to presign."""
    run.urls = presigned.items(run)
    for operation in operations(run, cases):
        reason = skips.reason(run, operation)
        if reason:
            run.skipped[operation] = reason
    if not run.judged and not run.is_brief:
        run.writes = [{"name": key["name"], "key": expand(key).replace("{bucket}", run.bucket), "body": f"{key['name']} {secrets.token_hex(8)}"}
                      for key in cases["keys"]]


def sources_of(runs, index):
    """Returns the runs whose keys this one reads, the best first: the nearest earlier one with another client and another mode,
    then the first of its world, the Go SDK with the right keys, which can write every key."""
    run = runs[index]
    before = [other for other in runs[:index] if other.world == run.world and other.writes]
    apart = [other for other in before if other.client != run.client and other.mode != run.mode]
    return [*(apart[:-1] or apart)[-1:], *before[:1]] or [run]


def reads(run, sources):
    """Returns the keys to read back, with their buckets."""
    items = []
    for item in run.writes:
        writer = next((source for source in sources if source.wrote(item["name"])), sources[-1])
        written = next(other for other in writer.writes if other["name"] == item["name"])
        items.append({**written, "bucket": writer.bucket})
    return items


def plan(run, world, names, read_items=()):
    """Returns the plan of a run with these operations."""
    port = run.tap.port if run.tap else world.port(run)
    modes = {
        "path": (f"http://127.0.0.1:{port}", "path", ""),
        "virtual": (f"http://{DOMAIN}:{port}", "virtual", ""),
        "http_proxy": (f"http://{ENDPOINT}", "virtual", f"http://127.0.0.1:{port}"),
        "ip-host": (f"http://127.0.0.1:{port}", "virtual", ""),
        "direct": (f"http://127.0.0.1:{port}", "path", ""),
        "direct-virtual": (f"http://{ENDPOINT}:{port}", "virtual", ""),
    }
    endpoint, addressing, http_proxy = modes[run.mode]
    if run.client == "ali-oss" and run.mode == "path":
        endpoint = f"http://localhost:{port}"  # for an IP address ali-oss always sends a virtual host
    if run.client == "ali-oss" and run.mode == "direct":
        addressing = "virtual"
    return {
        "endpoint": endpoint, "addressing": addressing, "http_proxy": http_proxy, "region": REGION, "bucket": run.bucket,
        "signature": run.signature, **keys_of(run, world), "writes": run.writes, "reads": list(read_items), "urls": run.urls,
        "refusal": run.caller.refusal if run.caller else "SignatureDoesNotMatch" if run.keys == WRONG else "AccessDenied",
        "attempts": run.caller.attempts if run.caller else 0, "corrects_clock": bool(run.caller and run.caller.is_correcting),
        "operations": names,
    }


def keys_of(run, world):
    if run.signature == "none":
        return NOTHING
    if run.caller:
        return run.caller.keys
    if run.keys == DUMMY:
        return {"access_key_id": "dummy-id", "access_key_secret": "dummy-secret", "security_token": "dummy-token" if run.token else ""}
    return {**world.keys, "access_key_secret": "wrong"} if run.keys == WRONG else world.keys


class Skips:
    """The table of operations that a client does not support, each with its reason."""

    def __init__(self, path):
        self.entries = json.loads(path.read_text(encoding="utf-8"))
        self.used = set()

    def reason(self, run, operation):
        for index, entry in enumerate(self.entries):
            if all(self.covers(entry[name], value) for name, value in
                   (("client", run.client), ("mode", run.mode), ("operation", operation))) and fnmatchcase(run.own, entry.get("own", "*")):
                self.used.add(index)
                return entry["reason"]
        return None

    @staticmethod
    def covers(patterns, value):
        return any(fnmatchcase(value, pattern) for pattern in patterns.split())

    def unused(self):
        return [entry for index, entry in enumerate(self.entries) if index not in self.used]
