"""The operations on parts, links, tags, access and bucket settings."""

import os

from check import expect, expect_refusal, md5


class Subresources:
    """A part of the suite, which uses `client`, `plan` and `stored`."""

    def append_conflict(self):
        key = "op/append-conflict"
        self.client.delete(key)
        self.client.append(key, 0, b"first")
        expect_refusal(lambda: self.client.append(key, 3, b"late"), 409, "PositionNotEqualToLength")
        plain, _ = self.stored("append-plain")
        expect_refusal(lambda: self.client.append(plain, 1000, b"x"), 409, "ObjectNotAppendable")

    def part_copy(self):
        source, key, body = "op/copy/源 +%2F&?#'$@=.txt", "op/part copy+1", os.urandom(150_000)
        self.client.put(source, body)
        upload = self.client.initiate(key)
        tags = [self.client.copy_part(source, key, upload, 1), self.client.copy_part(source, key, upload, 2, "bytes=10-99")]
        expect([tag.strip('"') for tag in tags], [md5(body), md5(body[10:100])])
        self.client.complete(key, upload, list(enumerate(tags, 1)))
        expect(self.client.get(key).body, body + body[10:100])

    def list_parts_paging(self):
        key = "op/many parts"
        upload = self.client.initiate(key)
        for number in (1, 2, 5):
            self.client.upload_part(key, upload, number, b"x")
        pages = [self.client.list_parts(key, upload, limit=2), self.client.list_parts(key, upload, limit=2, after=2)]
        expect(pages, [[1, 2], [5]])
        self.client.abort(key, upload)

    def list_uploads(self):
        keys = ["op/uploads/a +", "op/uploads/b%2F", "op/uploads/中"]
        started = [(key, self.client.initiate(key)) for key in keys]
        found, after = [], ("", "")
        while after and len(found) <= len(keys):
            page, after = self.client.list_uploads("op/uploads/", 1, after)
            expect(len(page) <= 1, True)
            found += page
        expect(found, started)
        for key, upload in started:
            self.client.abort(key, upload)

    def object_acl(self):
        key, _ = self.stored("acl")
        expect(self.client.object_acl(key), "default")
        self.client.set_object_acl(key, "public-read")
        expect(self.client.object_acl(key), "public-read")

    def object_tagging(self):
        key, _ = self.stored("tagging")
        tags = {"team": "a b", "plus+": "c=d/e:f"}
        self.client.set_tags(key, tags)
        expect(self.client.tags(key), tags)
        self.client.delete_tags(key)
        expect(self.client.tags(key), {})

    def symlink(self):
        target, body = self.stored("link target 中")
        self.client.link("op/link", target)
        expect(self.client.get("op/link").body, body)
        expect(self.client.link_target("op/link"), target)

    def object_meta(self):
        key, body = self.stored("meta")
        length, tag = self.client.meta(key)
        expect((int(length), tag.strip('"')), (len(body), md5(body)))

    def bucket_acl(self):
        self.client.set_bucket_acl("public-read")
        expect(self.client.bucket_acl(), "public-read")
        self.client.set_bucket_acl("private")
        expect(self.client.bucket_acl(), "private")

    def bucket_lifecycle(self):
        expect_refusal(self.client.lifecycle, 404, "NoSuchLifecycle")
        self.client.set_lifecycle("rule-1")
        expect(self.client.lifecycle(), ["rule-1"])
        self.client.delete_lifecycle()
        expect_refusal(self.client.lifecycle, 404, "NoSuchLifecycle")

    def bucket_create_delete(self):
        made = type(self.client)({**self.plan, "bucket": f"{self.plan['bucket']}-made"})
        made.create_bucket()
        made.put("k", b"x")
        expect_refusal(made.delete_bucket, 409, "BucketNotEmpty")
        made.delete("k")
        made.delete_bucket()
        expect_refusal(lambda: made.put("k", b"x"), 404, "NoSuchBucket")
