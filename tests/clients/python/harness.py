"""The operations, written once for every client that Python drives.

A client is an adapter: a class with the methods of `Client`. The plan, a JSON file written by `run`, has its endpoint, its keys
and its mode. It prints one JSON line for each operation.
"""

import json
import os
import sys
import traceback
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import HTTPConnection
from urllib.parse import urlsplit

from check import Refused, expect, expect_refusal, md5  # noqa: F401 (adapters import Refused from here)
from scoped import Scoped
from subresources import Subresources


@dataclass
class Reply:
    """A response as the client returned it, with header names in lower case."""

    status: int
    headers: dict
    body: bytes = b""


@dataclass
class Page:
    """One page of a listing, decoded as the client decodes it."""

    keys: list
    prefixes: list = field(default_factory=list)
    next: str = ""


class Client:
    """The interface of an adapter. Errors of the service are raised as `Refused`."""

    def __init__(self, plan):
        self.plan = plan

    def put(self, key, body, content_type=None, metadata=None): ...
    def put_stream(self, key, chunks): ...
    def get(self, key, bucket=None, byte_range=None, condition=None, override=None): ...  # -> Reply
    def head(self, key): ...  # -> Reply
    def delete(self, key): ...
    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False): ...  # -> Page
    def append(self, key, position, body): ...  # -> next position
    def delete_many(self, keys): ...
    def copy(self, source, key): ...
    def initiate(self, key): ...  # -> upload id
    def upload_part(self, key, upload, number, body): ...  # -> ETag
    def list_parts(self, key, upload, limit=1000, after=0): ...  # -> part numbers
    def list_uploads(self, prefix, limit, after): ...  # -> ([(key, id)], (key, id) of the next page, or None)
    def copy_part(self, source, key, upload, number, byte_range=None): ...  # -> ETag
    def complete(self, key, upload, parts): ...
    def abort(self, key, upload): ...
    def buckets(self): ...  # -> names
    def bucket_info(self): ...  # -> (name, location)
    def bucket_location(self): ...
    def presign(self, key, method="GET", seconds=600): ...  # -> URL
    def object_acl(self, key): ...
    def set_object_acl(self, key, acl): ...
    def tags(self, key): ...  # -> dict
    def set_tags(self, key, tags): ...
    def delete_tags(self, key): ...
    def link(self, key, target): ...
    def link_target(self, key): ...
    def meta(self, key): ...  # -> (length, ETag)
    def bucket_acl(self): ...
    def set_bucket_acl(self, acl): ...
    def lifecycle(self): ...  # -> ids of the rules
    def set_lifecycle(self, rule): ...  # a rule with this id, which expires `op/old/` after 30 days
    def delete_lifecycle(self): ...
    def create_bucket(self): ...  # the one of the plan
    def delete_bucket(self): ...

    def download(self, key):
        """Downloads the object, with the checksum test of the client where it has one."""
        return self.get(key).body


class Suite(Subresources, Scoped):
    """Runs the operations of a plan with one client."""

    sizes = {"0": 0, "1": 1, "1k": 1024, "256k": 256 * 1024 + 1, "5m": 5 * 1024 * 1024 + 3}

    def __init__(self, client, plan):
        self.client, self.plan = client, plan
        self.writes = {f"write:{item['name']}": item for item in plan["writes"]}
        self.reads = {f"read:{item['name']}": item for item in plan["reads"]}
        self.urls = {f"sign:{item['name']}": item for item in plan["urls"]}

    def run(self):
        for operation in self.plan["operations"]:
            try:
                value = self.perform(operation)
                report = {"operation": operation, "ok": True, **({"url": value} if operation in self.urls else {})}
            except Exception as error:  # any exception of a client is a failed operation, not the end of the run
                where = traceback.extract_tb(error.__traceback__)[-1]
                report = {"operation": operation, "ok": False,
                          "detail": f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"}
            print(json.dumps(report), flush=True)

    def perform(self, operation):
        if operation in self.writes:
            item = self.writes[operation]
            return self.client.put(item["key"], item["body"].encode())
        if operation in self.reads:
            item = self.reads[operation]
            return expect(self.client.get(item["key"], bucket=item["bucket"]).body, item["body"].encode())
        if operation in self.urls:
            return self.sign(self.urls[operation])
        if operation.startswith("put-get-"):
            return self.put_get(operation, self.sizes[operation.removeprefix("put-get-")])
        return getattr(self, operation.replace("-", "_"))()

    def put_get(self, name, size):
        body = os.urandom(size)
        self.client.put(f"op/{name}", body)
        expect(self.client.download(f"op/{name}"), body)

    def stored(self, name, size=1000):
        body = os.urandom(size)
        self.client.put(f"op/{name}", body)
        return f"op/{name}", body

    # -- one object ----------------------------------------------------------------------------------------------

    def head(self):
        key, body = self.stored("head")
        headers = self.client.head(key).headers
        expect(int(headers["content-length"]), len(body))
        expect(headers["etag"].strip('"'), md5(body))
        expect("last-modified" in headers, True)

    def head_missing(self):
        expect_refusal(lambda: self.client.head("op/absent"), 404)

    def delete(self):
        key, _ = self.stored("delete")
        self.client.delete(key)
        expect_refusal(lambda: self.client.get(key), 404, "NoSuchKey")

    def delete_missing(self):
        self.client.delete("op/absent")

    def content_type(self):
        self.client.put("op/content-type", b"typed", content_type="text/x-clients; charset=utf-8")
        expect(self.client.head("op/content-type").headers["content-type"], "text/x-clients; charset=utf-8")

    def user_metadata(self):
        metadata = {"plain": "value", "spaced": "two  words, and a comma", "symbols": "a+b=c&d%20%41/?~!'()*"}
        self.client.put("op/metadata", b"described", metadata=metadata)
        headers = self.client.head("op/metadata").headers
        expect({name: headers.get(f"x-oss-meta-{name}") for name in metadata}, metadata)

    def utf8_metadata(self):
        self.client.put("op/metadata-utf8", b"described", metadata={"name": "名 é"})
        got = self.client.head("op/metadata-utf8").headers["x-oss-meta-name"]
        expect(got.encode("latin-1").decode() if got.isascii() or max(got) < "\u0100" else got, "名 é")

    def response_override(self):
        key, body = self.stored("override")
        value = 'attachment; filename="a b+c&d=%2F.txt"'
        reply = self.client.get(key, override=("response-content-disposition", value))
        expect((reply.headers.get("content-disposition"), reply.body), (value, body))

    def range(self):
        self.ranged("bytes=10-99", slice(10, 100), "bytes 10-99/1000")

    def range_open(self):
        self.ranged("bytes=900-", slice(900, None), "bytes 900-999/1000")

    def range_suffix(self):
        self.ranged("bytes=-25", slice(-25, None), "bytes 975-999/1000")

    def ranged(self, byte_range, part, content_range):
        key, body = self.stored("range")
        reply = self.client.get(key, byte_range=byte_range)
        expect(reply.body, body[part])
        expect((reply.status, reply.headers.get("content-range")), (206, content_range))

    def if_none_match(self):
        key, body = self.stored("condition")
        self.conditional(key, ("If-None-Match", f'"{md5(body)}"'), 304)

    def if_match(self):
        key, _ = self.stored("condition")
        self.conditional(key, ("If-Match", f'"{md5(b"another")}"'), 412)

    def if_modified_since(self):
        key, _ = self.stored("condition")
        self.conditional(key, ("If-Modified-Since", self.client.head(key).headers["last-modified"]), 304)

    def if_unmodified_since(self):
        key, _ = self.stored("condition")
        self.conditional(key, ("If-Unmodified-Since", formatdate(1_000_000_000, usegmt=True)), 412)

    def conditional(self, key, condition, status):
        expect_refusal(lambda: self.client.get(key, condition=condition), status)

    def missing_key(self):
        expect_refusal(lambda: self.client.get("op/absent"), 404, "NoSuchKey")

    def stream_upload(self):
        chunks = [os.urandom(size) for size in (1, 70_000, 8192, 200_001)]
        self.client.put_stream("op/stream", iter(chunks))
        expect(self.client.download("op/stream"), b"".join(chunks))

    def presigned_get(self):
        key, body = self.stored("presigned +&?.bin")
        expect(self.plainly("GET", self.client.presign(key)), body)

    def presigned_put(self):
        key, body = "op/presigned put +&?.bin", os.urandom(1000)
        self.plainly("PUT", self.client.presign(key, "PUT"), body)
        expect(self.client.get(key).body, body)

    def sign(self, item):
        """Returns a presigned URL, which the driver requests with curl."""
        if "body" in item:
            self.client.put(item["key"], item["body"].encode())
        return self.client.presign(item["key"], item["method"], item["seconds"])

    def plainly(self, method, url, body=None):
        """Sends a request with the HTTP client of Python, without unsigned headers; returns the body of the response."""
        target, through = urlsplit(url), urlsplit(self.plan["http_proxy"])
        connection = HTTPConnection(through.netloc or target.netloc, timeout=30)
        connection.request(method, url if through.netloc else url.partition(target.netloc)[2], body, {"Host": target.netloc})
        with closing(connection), connection.getresponse() as answer:
            text = answer.read()
            expect((answer.status, text if answer.status != 200 else b""), (200, b""))
            return text

    # -- listings ------------------------------------------------------------------------------------------------

    def list_v1(self):
        self.listing(1)

    def list_v2(self):
        self.listing(2)

    def list_v1_paging(self):
        self.paging(1)

    def list_v2_paging(self):
        self.paging(2)

    def list_v1_encoding(self):
        self.encoding(1)

    def list_v2_encoding(self):
        self.encoding(2)

    def listing(self, version):
        prefix, _ = self.tree(version)
        page = self.client.list(version, prefix, delimiter="/")
        expect(page.keys, [prefix + name for name in ("a", "b", "z", "é")])
        expect(page.prefixes, [prefix + name for name in ("dir/", "sub dir+/")])

    def paging(self, version):
        prefix, keys = self.tree(version)
        seen, after = [], ""
        for _ in range(len(keys)):
            page = self.client.list(version, prefix, limit=2, after=after)
            expect(len(page.keys) <= 2, True)
            seen, after = seen + page.keys, page.next
            if not after:
                break
        expect(seen, keys)

    def encoding(self, version):
        prefix = f"op/encoding {version}+/"
        keys = [prefix + name for name in ("\x01control", " space", "%20", "+", "<&>", "é", "中文")]
        for key in keys:
            self.client.put(key, b"")
        expect(self.client.list(version, prefix, encoded=True).keys, keys)

    def tree(self, version):
        prefix = f"op/list v{version}/"
        keys = [prefix + name for name in ("a", "b", "dir/1", "dir/2", "sub dir+/x", "z", "é")]
        for key in keys:
            self.client.put(key, b"x")
        return prefix, keys

    # -- several objects -----------------------------------------------------------------------------------------

    def append(self):
        parts = [os.urandom(1000), os.urandom(5)]
        self.client.delete("op/append")
        position = self.client.append("op/append", 0, parts[0])
        self.client.append("op/append", position, parts[1])
        expect(self.client.download("op/append"), b"".join(parts))

    def multi_delete(self):
        keys = ["op/many/a b+c%2F", "op/many/<&>'\"", "op/many/中文", "op/many/plain"]
        for key in [*keys, "op/many-kept"]:
            self.client.put(key, b"x")
        self.client.delete_many(keys)
        for key in keys:
            expect_refusal(lambda: self.client.get(key), 404, "NoSuchKey")
        expect(self.client.get("op/many-kept").body, b"x")

    def copy(self):
        source, target = "op/copy/源 +%2F&?#'$@=.txt", "op/copy/target +1"
        body = os.urandom(5000)
        self.client.put(source, body, content_type="text/x-copied")
        self.client.copy(source, target)
        expect(self.client.get(target).body, body)
        expect(self.client.head(target).headers["content-type"], "text/x-copied")

    def multipart(self):
        key, parts = "op/multi part+1", [os.urandom(size) for size in (128 * 1024, 128 * 1024, 1000)]
        upload = self.client.initiate(key)
        tags = [(number, self.client.upload_part(key, upload, number, body)) for number, body in enumerate(parts, 1)]
        expect(self.client.list_parts(key, upload), [1, 2, 3])
        self.client.complete(key, upload, tags)
        expect(self.client.download(key), b"".join(parts))

    def multipart_abort(self):
        key = "op/aborted"
        upload = self.client.initiate(key)
        self.client.upload_part(key, upload, 1, os.urandom(1000))
        self.client.abort(key, upload)
        expect_refusal(lambda: self.client.list_parts(key, upload), 404, "NoSuchUpload")

    # -- buckets -------------------------------------------------------------------------------------------------

    def list_buckets(self):
        expect(self.plan["bucket"] in self.client.buckets(), True)

    def bucket_info(self):
        expect(self.client.bucket_info(), (self.plan["bucket"], f"oss-{self.plan['region']}"))

    def bucket_location(self):
        expect(self.client.bucket_location(), f"oss-{self.plan['region']}")

    # -- rejected requests ---------------------------------------------------------------------------------------

    def refused_put(self):
        expect_refusal(lambda: self.client.put("op/refused", b"x"), 403, self.plan["refusal"])

    def refused_get(self):
        expect_refusal(lambda: self.client.get("op/refused"), 403, self.plan["refusal"])

    def refused_list(self):
        expect_refusal(lambda: self.client.list(1, "op/"), 403, self.plan["refusal"])


def main(client, suite=Suite):
    """Runs the operations of the plan with the client of this class: `PROGRAM... PLAN`."""
    with open(sys.argv[-1], encoding="utf-8") as file:
        plan = json.load(file)
    suite(client(plan), plan).run()
