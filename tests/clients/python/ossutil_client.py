"""ossutil 1, the command line tool, driven as in a cron job: V1 and V4."""

import os
import re
import subprocess
import sys
import tempfile
from urllib.parse import quote, unquote

from harness import Client, Page, Refused, Reply, Suite, expect, main

TIMEOUT_S = 30


class Ossutil(Client):
    def __init__(self, plan):
        super().__init__(plan)
        self.home = tempfile.TemporaryDirectory()
        self.options = ["--endpoint", plan["endpoint"], "--access-key-id", plan["access_key_id"],
                        "--access-key-secret", plan["access_key_secret"], "--region", plan["region"],
                        "--sign-version", plan["signature"], "--config-file", self.path("config")]
        if plan["security_token"]:
            self.options += ["--sts-token", plan["security_token"]]
        self.connection = ["--proxy-host", plan["http_proxy"]] if plan["http_proxy"] else []
        if plan["addressing"] == "path":
            self.options += ["--force-path-style"]
        with open(self.path("config"), "w", encoding="utf-8") as file:
            file.write("[Credentials]\nlanguage=EN\n")

    def path(self, name):
        return os.path.join(self.home.name, name)

    def url(self, key, bucket=None):
        return f"oss://{bucket or self.plan['bucket']}/{quote(key, safe='/')}"

    def execute(self, *arguments):
        command = [PROGRAM, *arguments, *self.options]
        if arguments[0] != "sign":
            command += self.connection
        if arguments[0] not in ("cat", "sign", "appendfromfile", "lifecycle", "object-tagging"):
            command += ["--retry-times", "1"]  # a retry would hide a fault
        environment = {**os.environ, "HOME": self.home.name}
        result = subprocess.run(command, cwd=self.home.name, env=environment, timeout=TIMEOUT_S, capture_output=True, check=False)
        output = result.stdout.decode() + result.stderr.decode()
        refusal = re.search(r"StatusCode=(\d+), ErrorCode=(\w*)", output)
        if refusal:
            raise Refused(int(refusal[1]), refusal[2], output.strip()[-300:])
        if result.returncode or "Error" in output:
            raise RuntimeError(f"exit {result.returncode}: {output.strip()[-300:]}")
        return result.stdout.decode()

    def named(self, *arguments):
        """Runs a command with percent-encoded object names."""
        return self.execute(*arguments, "--encoding-type", "url")

    def put(self, key, body, content_type=None, metadata=None):
        headers = [f"Content-Type:{content_type}"] if content_type else []
        headers += [f"x-oss-meta-{name}:{value}" for name, value in (metadata or {}).items()]
        self.upload(key, body, *(["--meta", "#".join(headers)] if headers else []))

    def upload(self, key, body, *options):
        with open(self.path("in"), "wb") as file:
            file.write(body)
        self.named("cp", self.path("in"), self.url(key), "--force", *options)

    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        if os.path.exists(self.path("out")):
            os.remove(self.path("out"))
        if key.endswith("/"):  # `cp` treats such a name as a folder; `cat` prints the object, then an empty line and its duration
            return Reply(200, {}, self.named("cat", self.url(key, bucket)).rpartition("\n\n")[0].encode())
        options = [f"--range={byte_range.removeprefix('bytes=')}"] if byte_range else []
        self.named("cp", self.url(key, bucket), self.path("out"), "--force", *options)
        with open(self.path("out"), "rb") as file:
            return Reply(200, {}, file.read())

    def head(self, key):
        lines = self.named("stat", self.url(key)).splitlines()
        fields = (line.partition(":") for line in lines if ":" in line)
        return Reply(200, {name.strip().lower(): value.strip() for name, _, value in fields})

    def delete(self, key):
        self.named("rm", self.url(key))

    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        if version == 2:
            raise NotImplementedError("ossutil lists with ListObjects only")
        options = ["--directory"] if delimiter else []
        options += ["--marker", quote(after)] if after else []
        output = self.named("ls", self.url(prefix), "--short-format", "--limited-num", str(limit), *options)
        mark = f"oss://{self.plan['bucket']}/"
        names = [line.removeprefix(mark) for line in output.split("\n") if line.startswith(mark)]
        folders = [name for name in names if delimiter and name.endswith("/")]
        return Page([name for name in names if name not in folders], folders, names[-1] if len(names) == limit else "")

    def append(self, key, position, body):
        with open(self.path("in"), "wb") as file:
            file.write(body)
        self.named("appendfromfile", self.path("in"), self.url(key))
        return position + len(body)

    def delete_many(self, keys):
        self.named("rm", self.url(os.path.commonprefix(keys)), "--recursive", "--force")

    def copy(self, source, key):
        self.named("cp", self.url(source), self.url(key), "--force")

    def buckets(self):
        return [line.removeprefix("oss://") for line in self.execute("ls", "--short-format").splitlines()]

    def bucket_info(self):
        fields = dict(re.findall(r"^(\w+)\s*: (\S+)", self.execute("stat", f"oss://{self.plan['bucket']}"), re.MULTILINE))
        return fields["Name"], fields["Location"]

    def presign(self, key, method="GET", seconds=600):
        return self.named("sign", self.url(key), "--timeout", str(seconds)).split()[0]

    def object_acl(self, key):
        return self.head(key).headers["acl"]

    def set_object_acl(self, key, acl):
        self.named("set-acl", self.url(key), acl)

    def tags(self, key):
        output = self.named("object-tagging", "--method", "get", self.url(key))
        rows = (line.split('"') for line in output.splitlines() if line.count('"') >= 4)
        return {row[-4]: row[-2] for row in rows}

    def set_tags(self, key, tags):
        self.named("object-tagging", "--method", "put", self.url(key), *(f"{name}#{value}" for name, value in tags.items()))

    def delete_tags(self, key):
        self.named("object-tagging", "--method", "delete", self.url(key))

    def link(self, key, target):
        self.named("create-symlink", self.url(key), target)

    def link_target(self, key):
        fields = dict(re.findall(r"^([\w-]+)\s*: (.+)", self.named("read-symlink", self.url(key)), re.MULTILINE))
        return unquote(fields["X-Oss-Symlink-Target"].strip())

    def bucket_acl(self):
        fields = dict(re.findall(r"^(\w+)\s*: (\S+)", self.execute("stat", f"oss://{self.plan['bucket']}"), re.MULTILINE))
        return fields["ACL"]

    def set_bucket_acl(self, acl):
        self.execute("set-acl", f"oss://{self.plan['bucket']}", acl, "--bucket", "--force")

    def lifecycle(self):
        return re.findall(r"<ID>(.*?)</ID>", self.execute("lifecycle", "--method", "get", f"oss://{self.plan['bucket']}"))

    def set_lifecycle(self, rule):
        text = f"<ID>{rule}</ID><Prefix>op/old/</Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>"
        with open(self.path("rule.xml"), "w", encoding="utf-8") as file:
            file.write(f"<LifecycleConfiguration><Rule>{text}</Rule></LifecycleConfiguration>")
        self.execute("lifecycle", "--method", "put", f"oss://{self.plan['bucket']}", self.path("rule.xml"))

    def delete_lifecycle(self):
        self.execute("lifecycle", "--method", "delete", f"oss://{self.plan['bucket']}")

    def create_bucket(self):
        self.execute("mb", f"oss://{self.plan['bucket']}")

    def delete_bucket(self):
        self.execute("rm", f"oss://{self.plan['bucket']}", "--bucket", "--force")


class OssutilSuite(Suite):
    def ranged(self, byte_range, part, content_range):
        key, body = self.stored("range")
        expect(self.client.get(key, byte_range=byte_range).body, body[part])

    def copy(self):
        source, target = "op/copy/源 +%2F&?#'$@=.txt", "op/copy/target +1"  # its type is not kept: ossutil requests REPLACE
        body = os.urandom(5000)
        self.client.put(source, body)
        self.client.copy(source, target)
        expect(self.client.get(target).body, body)

    def part_copy(self):
        key, source, body = "op/part copy+1", "op/copy/源 +%2F&?#'$@=.txt", os.urandom(300_000)
        self.client.put(source, body)
        self.client.named("cp", self.client.url(source), self.client.url(key), "--force", "--bigfile-threshold", "100000",
                          "--part-size", "131072", "--checkpoint-dir", self.client.path("checkpoint"))
        expect(self.client.get(key).body, body)
        expect(self.client.head(key).headers["x-oss-object-type"], "Multipart")

    def multipart(self):
        body = os.urandom(300_000)
        self.client.upload("op/multi part+1", body, "--bigfile-threshold", "100000", "--part-size", "131072",
                           "--checkpoint-dir", self.client.path("checkpoint"))
        expect(self.client.download("op/multi part+1"), body)
        expect(self.client.head("op/multi part+1").headers["x-oss-object-type"], "Multipart")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    main(Ossutil, OssutilSuite)
