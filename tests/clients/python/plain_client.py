"""curl and wget without SDK and signature: the OSS REST API by hand.

curl sends the characters that a path may contain unencoded (`+ : @ $ & = ' ( ) * ! , ;` and dot segments), wget all of them
percent-encoded. Together they test both spellings.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from harness import Client, Page, Refused, Reply, Suite, expect, main

TIMEOUT_S = 30


class Plain(Client):
    """The operations as requests; a subclass sends them with its program."""

    raw_in_path = ""

    def __init__(self, plan):
        super().__init__(plan)
        self.directory = tempfile.TemporaryDirectory()
        self.environment = {**os.environ, **({"http_proxy": plan["http_proxy"]} if plan["http_proxy"] else {})}

    def send(self, method, url, headers, body):
        """Sends one request with the program of the subclass -> Reply."""
        raise NotImplementedError

    def ask(self, method, key="", query=None, headers=(), body=None, bucket=None):
        return self.judge(self.send(method, self.url(key, query or {}, bucket), list(headers), body))

    def url(self, key, query, bucket=None):
        scheme, host = urlsplit(self.plan["endpoint"])[:2]
        bucket = bucket or self.plan["bucket"]
        base = f"{scheme}://{host}/{bucket}/" if self.plan["addressing"] == "path" else f"{scheme}://{bucket}.{host}/"
        fields = [name if value is None else f"{name}={quote(str(value), safe='')}" for name, value in query.items()]
        return base + self.path(key) + ("?" + "&".join(fields) if fields else "")

    def path(self, key):
        return quote(key, safe="/-._~" + self.raw_in_path)

    @staticmethod
    def judge(reply):
        if 200 <= reply.status < 300:
            return reply
        text = reply.body or base64.b64decode(reply.headers.get("x-oss-err", ""))
        code = re.search(rb"<Code>(.*?)</Code>", text)
        detail = f"x-proxy-error: {reply.headers['x-proxy-error']}" if "x-proxy-error" in reply.headers else ""
        raise Refused(reply.status, code.group(1).decode() if code else "", detail)

    def file(self, name, content=None):
        path = os.path.join(self.directory.name, name)
        with open(path, "wb") as file:
            file.write(content or b"")
        return path

    def execute(self, command, **options):
        return subprocess.run(command, env=self.environment, timeout=TIMEOUT_S + 5, capture_output=True, **options)

    def put(self, key, body, content_type=None, metadata=None):
        headers = [("Content-Type", content_type)] if content_type else []
        headers += [(f"x-oss-meta-{name}", value) for name, value in (metadata or {}).items()]
        self.ask("PUT", key, headers=headers, body=body)

    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        headers = [("Range", byte_range)] if byte_range else []
        return self.ask("GET", key, query=dict([override] if override else []), headers=headers + ([condition] if condition else []), bucket=bucket)

    def head(self, key):
        return self.ask("HEAD", key)

    def delete(self, key):
        self.ask("DELETE", key)

    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        query = {"prefix": prefix, "max-keys": limit}
        if version == 2:
            query["list-type"] = 2
        if delimiter:
            query["delimiter"] = delimiter
        if after:
            query["marker" if version == 1 else "continuation-token"] = after
        if encoded:
            query["encoding-type"] = "url"
        tree = document(self.ask("GET", query=query))
        decode = unquote if encoded else str
        following = tree.findtext("NextMarker" if version == 1 else "NextContinuationToken")
        return Page([decode(node.text) for node in tree.findall("Contents/Key")],
                    [decode(node.text) for node in tree.findall("CommonPrefixes/Prefix")],
                    following if tree.findtext("IsTruncated") == "true" else "")

    def append(self, key, position, body):
        return self.ask("POST", key, query={"append": None, "position": position}, body=body).headers["x-oss-next-append-position"]

    def delete_many(self, keys):
        objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f'<?xml version="1.0" encoding="UTF-8"?><Delete><Quiet>false</Quiet>{objects}</Delete>'.encode()
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        self.ask("POST", query={"delete": None}, headers=[("Content-MD5", digest)], body=body)

    def copy(self, source, key):
        self.ask("PUT", key, headers=[("x-oss-copy-source", f"/{self.plan['bucket']}/{quote(source)}")], body=b"")

    def initiate(self, key):
        return document(self.ask("POST", key, query={"uploads": None}, body=b"")).findtext("UploadId")

    def upload_part(self, key, upload, number, body):
        return self.ask("PUT", key, query={"partNumber": number, "uploadId": upload}, body=body).headers["etag"]

    def list_parts(self, key, upload, limit=1000, after=0):
        tree = document(self.ask("GET", key, query={"uploadId": upload, "max-parts": limit, "part-number-marker": after}))
        return [int(node.text) for node in tree.findall("Part/PartNumber")]

    def list_uploads(self, prefix, limit, after):
        query = {"uploads": None, "prefix": prefix, "max-uploads": limit, "key-marker": after[0], "upload-id-marker": after[1]}
        tree = document(self.ask("GET", query=query))
        following = (tree.findtext("NextKeyMarker"), tree.findtext("NextUploadIdMarker"))
        return ([(node.findtext("Key"), node.findtext("UploadId")) for node in tree.findall("Upload")],
                following if tree.findtext("IsTruncated") == "true" else None)

    def copy_part(self, source, key, upload, number, byte_range=None):
        headers = [("x-oss-copy-source", f"/{self.plan['bucket']}/{quote(source)}")]
        headers += [("x-oss-copy-source-range", byte_range)] if byte_range else []
        query = {"partNumber": number, "uploadId": upload}
        return document(self.ask("PUT", key, query=query, headers=headers, body=b"")).findtext("ETag")

    def complete(self, key, upload, parts):
        listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>" for number, tag in parts)
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self.ask("POST", key, query={"uploadId": upload}, body=body)

    def abort(self, key, upload):
        self.ask("DELETE", key, query={"uploadId": upload})

    def buckets(self):
        reply = self.judge(self.send("GET", f"{self.plan['endpoint']}/?prefix={self.plan['bucket']}", [], None))
        return [node.text for node in document(reply).findall("Buckets/Bucket/Name")]

    def bucket_info(self):
        tree = document(self.ask("GET", query={"bucketInfo": None}))
        return tree.findtext("Bucket/Name"), tree.findtext("Bucket/Location")

    def bucket_location(self):
        return document(self.ask("GET", query={"location": None})).text

    def object_acl(self, key):
        return document(self.ask("GET", key, query={"acl": None})).findtext("AccessControlList/Grant")

    def set_object_acl(self, key, acl):
        self.ask("PUT", key, query={"acl": None}, headers=[("x-oss-object-acl", acl)])

    def tags(self, key):
        tree = document(self.ask("GET", key, query={"tagging": None}))
        return {node.findtext("Key"): node.findtext("Value") for node in tree.findall("TagSet/Tag")}

    def set_tags(self, key, tags):
        listed = "".join(f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in tags.items())
        self.ask("PUT", key, query={"tagging": None}, body=f"<Tagging><TagSet>{listed}</TagSet></Tagging>".encode())

    def delete_tags(self, key):
        self.ask("DELETE", key, query={"tagging": None})

    def link(self, key, target):
        self.ask("PUT", key, query={"symlink": None}, headers=[("x-oss-symlink-target", quote(target))])

    def link_target(self, key):
        return unquote(self.ask("GET", key, query={"symlink": None}).headers["x-oss-symlink-target"])

    def meta(self, key):
        headers = self.ask("HEAD", key, query={"objectMeta": None}).headers
        return headers["content-length"], headers["etag"]

    def bucket_acl(self):
        return document(self.ask("GET", query={"acl": None})).findtext("AccessControlList/Grant")

    def set_bucket_acl(self, acl):
        self.ask("PUT", query={"acl": None}, headers=[("x-oss-acl", acl)])

    def lifecycle(self):
        return [node.text for node in document(self.ask("GET", query={"lifecycle": None})).findall("Rule/ID")]

    def set_lifecycle(self, rule):
        text = f"<ID>{rule}</ID><Prefix>op/old/</Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>"
        body = f"<LifecycleConfiguration><Rule>{text}</Rule></LifecycleConfiguration>".encode()
        self.ask("PUT", query={"lifecycle": None}, body=body)

    def delete_lifecycle(self):
        self.ask("DELETE", query={"lifecycle": None})

    def create_bucket(self):
        self.ask("PUT")

    def delete_bucket(self):
        self.ask("DELETE")


class Curl(Plain):
    raw_in_path = "!$&'()*+,;=:@"
    version = "--http1.1"

    def send(self, method, url, headers, body, source=None):
        """`source` is the file that curl uploads, or `-` for its standard input, with unknown length."""
        head, out = self.file("head"), self.file("out")
        command = ["curl", "--disable", self.version, "--silent", "--show-error", "--path-as-is", "--globoff", "--max-time", str(TIMEOUT_S)]
        command += ["--dump-header", head, "--output", out, *[part for header in headers for part in ("-H", ": ".join(header))]]
        if method == "HEAD":
            command += ["--head"]
        elif body is None:
            command += ["--request", method]
        elif method == "PUT" and urlsplit(url).path.rpartition("/")[2] not in ("", ".", ".."):
            command += ["--upload-file", source or self.file("in", body)]
        else:  # to an address that ends in /, /. or /.. `curl -T` appends the file's name
            command += ["--request", method, "--data-binary", "@" + self.file("in", body)]
            command += [] if any(name == "Content-Type" for name, _ in headers) else ["-H", "Content-Type:"]
        result = self.execute([*command, url], input=body if source == "-" else None)
        if result.returncode:
            raise RuntimeError(f"curl exit {result.returncode}: {result.stderr.decode().strip()}")
        return self.reply(head, out)

    def reply(self, head, out):
        with open(head, encoding="latin-1", newline="") as file:
            blocks = [block.splitlines() for block in file.read().split("\r\n\r\n") if block]
        with open(out, "rb") as file:
            reply = Reply(int(blocks[-1][0].split()[1]), parse(blocks[-1][1:]), file.read())
        reply.interim = [int(block[0].split()[1]) for block in blocks[:-1]]
        return reply

    def put_stream(self, key, chunks):
        self.judge(self.send("PUT", self.url(key, {}), [], b"".join(chunks), source="-"))

    def put_expecting(self, key, body):
        """Uploads with `Expect: 100-continue` -> the interim statuses."""
        return self.judge(self.send("PUT", self.url(key, {}), [("Expect", "100-continue")], body)).interim


class CurlH2(Curl):
    """curl over HTTP/2 with prior knowledge."""

    version = "--http2-prior-knowledge"

    def reply(self, head, out):
        with open(head, "rb") as file:
            expect(file.read(7), b"HTTP/2 ")
        return super().reply(head, out)


class Wget(Plain):
    def path(self, key):
        """wget folds dot segments unless the dots are encoded."""
        return "/".join(segment.replace(".", "%2E") if segment in (".", "..") else segment for segment in super().path(key).split("/"))

    def send(self, method, url, headers, body):
        out = self.file("out")
        command = ["wget", "--no-config", "--no-verbose", "--server-response", "--tries=1", "--max-redirect=0",
                   f"--timeout={TIMEOUT_S}", f"--output-document={out}", f"--method={method}"]
        if not any(name.startswith("If-") for name, _ in headers):  # with the option wget waits for the body of a 304, which has none
            command.append("--content-on-error")
        for name, value in headers:
            command.append(f"--start-pos={value[6:-1]}" if name == "Range" and value.endswith("-") else f"--header={name}: {value}")
        if body is not None:
            command.append(f"--body-file={self.file('in', body)}")
        result = self.execute([*command, url])
        lines = [line.strip() for line in result.stderr.decode("latin-1").splitlines() if line.startswith("  ")]
        if not lines or not lines[0].startswith("HTTP/"):
            raise RuntimeError(f"wget exit {result.returncode}: {result.stderr.decode(errors='replace').strip()}")
        with open(out, "rb") as file:
            return Reply(int(lines[0].split()[1]), parse(lines[1:]), file.read())


class PlainSuite(Suite):
    def expect_continue(self):
        body = os.urandom(50_000)
        expect(100 in self.client.put_expecting("op/expect", body), True)
        expect(self.client.get("op/expect").body, body)


def parse(lines):
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def document(reply):
    return xml.fromstring(reply.body)


if __name__ == "__main__":
    main({"curl": Curl, "curl-h2": CurlH2, "wget": Wget}[sys.argv.pop(1)], PlainSuite)
