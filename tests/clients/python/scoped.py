"""The operations of a caller who is limited to keys that begin with `a/`: those below it pass, all others are denied."""

import os
import re

from check import expect, refusal_of

FOREIGN = "b/kept"  # the driver has stored it, and thousand keys below `a/many/`
MANY = [f"a/many/{number:04}" for number in range(1000)]


class Scoped:
    """A part of the suite, which uses `client`, `plan` and `stored`."""

    def denied(self, call, action):
        """Expects that the client reports code, message and request id of a denial."""
        refusal = refusal_of(call)
        expect((refusal.status, refusal.code), (403, "AccessDenied"))
        expect(bool(re.search(rf"\b{action}\b", refusal.text)), True)
        expect(bool(re.fullmatch("[0-9A-F]{24}", refusal.request_id)), True)

    def scoped_put(self):
        self.client.put("a/put", b"own")
        self.denied(lambda: self.client.put("b/put", b"x"), "oss:PutObject")
        self.denied(lambda: self.client.put("a", b"x"), "oss:PutObject")

    def scoped_get(self):
        self.client.put("a/get", b"own")
        expect(self.client.download("a/get"), b"own")
        self.denied(lambda: self.client.get(FOREIGN), "oss:GetObject")

    def scoped_head(self):
        self.client.put("a/head", b"own")
        expect(self.client.head("a/head").headers["content-length"], "3")
        self.denied(lambda: self.client.head(FOREIGN), "oss:GetObject")

    def scoped_copy(self):
        self.client.put("a/source", b"own")
        self.client.copy("a/source", "a/copy")
        expect(self.client.download("a/copy"), b"own")
        self.denied(lambda: self.client.copy(FOREIGN, "a/stolen"), "oss:GetObject")
        self.denied(lambda: self.client.copy("a/source", "b/copy"), "oss:PutObject")

    def scoped_list(self):
        self.client.put("a/list/one", b"own")
        for version in (1, 2):
            expect(self.client.list(version, "a/list/").keys, ["a/list/one"])
            for prefix in ("", "b/", "a"):
                self.denied(lambda: self.client.list(version, prefix), "oss:ListObjects")

    def scoped_multipart(self):
        key, body = "a/parts", os.urandom(100 * 1024)
        self.client.put("a/part source", body)
        upload = self.client.initiate(key)
        tags = [self.client.upload_part(key, upload, 1, body), self.client.copy_part("a/part source", key, upload, 2, "bytes=10-99")]
        self.denied(lambda: self.client.copy_part(FOREIGN, key, upload, 3, "bytes=0-1"), "oss:GetObject")
        expect(self.client.list_parts(key, upload), [1, 2])
        self.client.complete(key, upload, list(enumerate(tags, 1)))
        expect(self.client.download(key), body + body[10:100])
        self.denied(lambda: self.client.initiate("b/parts"), "oss:PutObject")
        self.denied(lambda: self.client.upload_part("b/parts", upload, 1, body), "oss:PutObject")

    def scoped_delete(self):
        self.client.put("a/delete", b"own")
        self.client.delete("a/delete")
        expect(self.client.list(2, "a/delete").keys, [])
        self.denied(lambda: self.client.delete(FOREIGN), "oss:DeleteObject")

    def scoped_delete_many(self):
        self.denied(lambda: self.client.delete_many([*MANY[:-1], FOREIGN]), "oss:DeleteObject")
        expect(self.client.list(2, "a/many/", limit=1000).keys, MANY)
        self.client.delete_many(MANY)
        expect(self.client.list(2, "a/many/", limit=1000).keys, [])
