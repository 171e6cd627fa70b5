"""Adapter of a client in another language: sends each call of the harness as one JSON line to its program, and reads one line.

`bridge.py PROGRAM... PLAN`. The program gets the plan as its last argument. A call is `{"method", "bucket", ...}`; bytes are
Base64. The result is `{"value"}`, `{"status", "code", "message"}` for an error of the service, or `{"error"}` for any other.
"""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from functools import cache

from harness import Client, Page, Refused, Reply, main


@cache
def program():
    """The process of the client. It exits at the end of its standard input, and so with this process."""
    return subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")


class Bridge(Client):
    def ask(self, method, body=None, **arguments):
        call = {"method": method, "bucket": self.plan["bucket"], **{name: value for name, value in arguments.items() if value is not None}}
        if body is not None:
            call["body"] = b64encode(body).decode()
        peer = program()
        peer.stdin.write(json.dumps(call) + "\n")
        peer.stdin.flush()
        line = peer.stdout.readline()
        if not line:
            raise RuntimeError(f"the program exited with {peer.wait()}")
        answer = json.loads(line)
        if "status" in answer:
            raise Refused(answer["status"], answer["code"], answer.get("message", ""), answer.get("request_id", ""))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def put(self, key, body, content_type=None, metadata=None):
        self.ask("put", body, key=key, content_type=content_type, metadata=metadata)

    def put_stream(self, key, chunks):
        self.ask("put_stream", b"".join(chunks), key=key)

    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        options = dict(filter(None, (condition, override)))
        answer = self.ask("get", key=key, bucket=bucket, range=byte_range, options={name.lower(): value for name, value in options.items()})
        return Reply(answer["status"], answer["headers"], b64decode(answer["body"]))

    def head(self, key):
        answer = self.ask("head", key=key)
        return Reply(answer["status"], answer["headers"])

    def delete(self, key):
        self.ask("delete", key=key)

    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        answer = self.ask(f"list_v{version}", prefix=prefix, delimiter=delimiter, limit=limit, after=after, encoded=encoded)
        return Page(answer["keys"], answer["prefixes"], answer.get("next", ""))

    def append(self, key, position, body):
        return self.ask("append", body, key=key, position=position)

    def delete_many(self, keys):
        self.ask("delete_many", keys=keys)

    def copy(self, source, key):
        self.ask("copy", source=source, key=key)

    def initiate(self, key):
        return self.ask("initiate", key=key)

    def upload_part(self, key, upload, number, body):
        return self.ask("upload_part", body, key=key, upload=upload, number=number)

    def list_parts(self, key, upload, limit=1000, after=0):
        return self.ask("list_parts", key=key, upload=upload, limit=limit, after=after)

    def list_uploads(self, prefix, limit, after):
        answer = self.ask("list_uploads", prefix=prefix, limit=limit, after_key=after[0], after_upload=after[1])
        return [tuple(item) for item in answer["uploads"]], answer.get("next")

    def copy_part(self, source, key, upload, number, byte_range=None):
        return self.ask("copy_part", source=source, key=key, upload=upload, number=number, range=byte_range)

    def complete(self, key, upload, parts):
        self.ask("complete", key=key, upload=upload, parts=[{"number": number, "tag": tag} for number, tag in parts])

    def abort(self, key, upload):
        self.ask("abort", key=key, upload=upload)

    def buckets(self):
        return self.ask("buckets")

    def bucket_info(self):
        return tuple(self.ask("bucket_info"))

    def bucket_location(self):
        return self.ask("bucket_location")

    def presign(self, key, method="GET", seconds=600):
        return self.ask("presign", key=key, verb=method, seconds=seconds)

    def object_acl(self, key):
        return self.ask("object_acl", key=key)

    def set_object_acl(self, key, acl):
        self.ask("set_object_acl", key=key, acl=acl)

    def tags(self, key):
        return self.ask("tags", key=key)

    def set_tags(self, key, tags):
        self.ask("set_tags", key=key, tags=tags)

    def delete_tags(self, key):
        self.ask("delete_tags", key=key)

    def link(self, key, target):
        self.ask("link", key=key, target=target)

    def link_target(self, key):
        return self.ask("link_target", key=key)

    def meta(self, key):
        return tuple(self.ask("meta", key=key))

    def bucket_acl(self):
        return self.ask("bucket_acl")

    def set_bucket_acl(self, acl):
        self.ask("set_bucket_acl", acl=acl)

    def lifecycle(self):
        return self.ask("lifecycle")

    def set_lifecycle(self, rule):
        self.ask("set_lifecycle", rule=rule)

    def delete_lifecycle(self):
        self.ask("delete_lifecycle")

    def create_bucket(self):
        self.ask("create_bucket")

    def delete_bucket(self):
        self.ask("delete_bucket")


if __name__ == "__main__":
    main(Bridge)
