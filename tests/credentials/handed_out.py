"""Keys that the proxy hands out, for the unmodified libraries and SDKs of the vendor, and for botocore.

Two replicas of a central proxy hand out keys with a lifetime of one minute, to a caller with a token, to one with a JSON Web Token,
and to one with a client certificate. For libraries that send a bare GET, a local instance fetches them with the token or the JSON Web
Token, and passes them on; a relay, as of a service mesh, has the certificate. `run` does so too, for its command. Each caller may use the objects
below its name only. Between the two attempts of each library the keys expire, and both replicas are restarted."""

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from identities import AUDIENCE, CERTIFICATE_NAME, ISSUER, Identities
from mesh_relay import start_relay

SUITE = Path(__file__).resolve().parent
DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
CENTRAL = """
[[listen]]
address = "127.0.0.1:{data}"
identify = ["key"]
[[listen]]
address = "127.0.0.1:{keys}"
serve = "credentials"
identify = ["token", "jwt"]
[[listen]]
address = "127.0.0.1:{certificates}"
serve = "credentials"
identify = ["certificate"]
tls = {{ cert_file = "{folder}/cert.pem", key_file = "{folder}/key.pem", client_ca_file = "{identities.authority}" }}
[hand_out]
master = ["env:MASTER"]
lifetime = "1m"
[[caller]]
name = "team-a"
allow = [{{ group = ["read", "write"], bucket = "my-bucket", prefix = "team-a/" }}]
token = "env:TOKEN"
[[caller]]
name = "team-b"
allow = [{{ group = ["read", "write"], bucket = "my-bucket", prefix = "team-b/" }}]
[caller.jwt]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
subject = "system:serviceaccount:team-b:*"
jwks_file = "{identities.jwks}"
[[caller]]
name = "team-c"
allow = [{{ group = ["read", "write"], bucket = "my-bucket", prefix = "team-c/" }}]
certificate = {{ dns = "{CERTIFICATE_NAME}" }}
[admin]
address = "127.0.0.1:{admin}"
[upstream]
region = "cn-hangzhou"
endpoint = "http://oss-cn-hangzhou.aliyuncs.com"
connect = "127.0.0.1:{oss}"
[credentials.default]
type = "static"
access_key_id = "LTAI5tBaseKeyId"
access_key_secret = "env:SECRET"
"""
LOCAL = """
[[listen]]
address = "127.0.0.1:{data}"
[[listen]]
address = "127.0.0.1:{keys}"
serve = "credentials"
[hand_out]
credentials = "central"
[admin]
address = "127.0.0.1:{admin}"
[upstream]
region = "cn-hangzhou"
endpoint = "http://127.0.0.1:{central}"
credentials = "central"
[credentials.central]
type = "uri"
url = "http://127.0.0.1:{central_keys}/credentials"
bearer_token_file = "{token}"
"""
LIFETIME_S = 60
# The libraries that send the user name and the password of a credentials URI.
SEND_USERINFO = {"credentials-go"}
# The sources of each library for a credentials URI: the variable with the address, and the caller that the keys are for.
URIS = {
    "uri": ("LOCAL", "team-a"),
    "uri with userinfo": ("USERINFO", "team-a"),
    "uri by JWT": ("LOCAL_JWT", "team-b"),
    "uri with a JWT as password": ("USERINFO_JWT", "team-b"),
    "uri by certificate": ("RELAY_CERTIFICATE", "team-c"),
}
PASSWORDS = {"uri with userinfo", "uri with a JWT as password"}


def install(cache):
    """Installs the libraries and SDKs, beside those of Python."""
    def once(name, manifests, build):
        stamp, text = cache / f"{name}.stamp", "".join(path.read_text(encoding="utf-8") for path in manifests)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != text:
            shutil.rmtree(cache / name, ignore_errors=True)
            (cache / name).mkdir(parents=True)
            build(cache / name)
            stamp.write_text(text, encoding="utf-8")

    def node(folder):
        for manifest in ("package.json", "package-lock.json"):
            shutil.copy(SUITE / "node" / manifest, folder)
        execute(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder)

    def java(folder):
        execute(["mvn", "--batch-mode", "--quiet", "--file", SUITE / "java/pom.xml", DEPENDENCIES, f"-DoutputDirectory={folder}/lib"])
        execute(["javac", "-nowarn", "-cp", f"{folder}/lib/*", "-d", folder / "classes", SUITE / "java/Upload.java"])

    once("node", [SUITE / "node/package.json", SUITE / "node/package-lock.json"], node)
    once("java", [SUITE / "java/pom.xml", SUITE / "java/Upload.java"], java)
    execute(["go", "build", "-o", cache / "upload", "./upload"], cwd=SUITE / "go")


def programs(cache):
    return [
        [cache / "venv/bin/python", SUITE / "upload.py"],
        [cache / "upload"],
        ["env", f"NODE_PATH={cache}/node/node_modules", "node", SUITE / "node/upload.js"],
        ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{cache}/java/classes:{cache}/java/lib/*", "Upload"],
    ]


def execute(command, **more):
    subprocess.run(command, check=True, timeout=600, **more)


class Servers:
    def __init__(self, binary, folder, oss_port, free_port):
        self.binary, self.folder, self.oss_port, self.free_port = binary, folder, oss_port, free_port
        self.token, self.master, self.processes = secrets.token_hex(20), secrets.token_hex(32), []
        self.identities = Identities(folder)
        self.jwt = self.identities.token()
        self.centrals = [self.ports() for _ in range(2)]
        self.locals = {"token": self.ports(), "jwt": self.ports()}
        self.relay = start_relay(self.centrals[0]["certificates"], self.identities.client_context(folder / "cert.pem"))

    def ports(self):
        return {name: self.free_port() for name in ("data", "keys", "certificates", "admin")}

    def serve(self, name, text, admin):
        path = self.folder / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        environment = {"TOKEN": self.token, "MASTER": self.master, "SECRET": "base-secret", "PATH": os.environ["PATH"]}
        process = subprocess.Popen([self.binary, "serve", "--config", path, "--log-level", "warn"], env=environment)
        self.processes.append(process)
        limit = time.monotonic() + 30
        while time.monotonic() < limit and process.poll() is None:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5).read()
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{name} is not ready")

    def start_centrals(self):
        for index, ports in enumerate(self.centrals):
            text = CENTRAL.format(oss=self.oss_port, folder=self.folder, identities=self.identities, ISSUER=ISSUER, AUDIENCE=AUDIENCE,
                                  CERTIFICATE_NAME=CERTIFICATE_NAME, **ports)
            self.serve(f"central-{index}", text, ports["admin"])

    def start_locals(self):
        for name, text in (("token", self.token), ("jwt", self.jwt)):
            token = self.folder / f"token-{name}"
            token.write_text(text, encoding="utf-8")
            token.chmod(0o600)
            text = LOCAL.format(token=token, central=self.centrals[0]["data"],
                                central_keys=self.centrals[0]["keys"], **self.locals[name])
            self.serve(f"local-{name}", text, self.locals[name]["admin"])

    def run(self, program):
        """Returns the program as the command of `run`, which ignores the listeners of the local instance."""
        run = [self.binary, "run", "--config", self.folder / "local-token.toml", "--log-level", "error", "--"]
        # A library asks the metadata service before the credentials URI.
        return ["env", "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true", *run, *program]

    def restart_centrals(self):
        for process in self.processes[:2]:
            process.terminate()
            process.wait()
        del self.processes[:2]
        self.start_centrals()

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def environment(servers, has_metadata):
    keys = servers.centrals[0]["keys"]
    for name, token in (("token", servers.token), ("jwt", servers.jwt)):
        (servers.folder / f"aws-{name}").write_text(token, encoding="utf-8")
    sources = [{"name": name, "variable": variable, "caller": caller} for name, (variable, caller) in URIS.items()]
    return {
        "PATH": os.environ["PATH"], "HOME": str(servers.folder), "NO_PROXY": "*",
        "REPLICAS": ",".join(f"http://127.0.0.1:{ports['data']}" for ports in servers.centrals),
        "SOURCES": json.dumps(sources),
        "LOCAL": f"http://127.0.0.1:{servers.locals['token']['keys']}/credentials",
        "LOCAL_JWT": f"http://127.0.0.1:{servers.locals['jwt']['keys']}/credentials",
        "RELAY_CERTIFICATE": f"http://127.0.0.1:{servers.relay}/credentials",
        "USERINFO": f"http://any:{servers.token}@127.0.0.1:{keys}/credentials",
        "USERINFO_JWT": f"http://any:{servers.jwt}@127.0.0.1:{keys}/credentials",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{keys}/aws",
        "AWS_TOKEN_FILES": str(servers.folder / "aws-{}"),
        **({"METADATA": "1"} if has_metadata else {}),
    }


def attempt(process):
    """Reads the results of one attempt."""
    for line in process.stdout:
        if not line.startswith("{"):
            continue  # a library writes its log there
        result = json.loads(line)
        if not result:
            return
        yield result


def judge(result, keys):
    """Returns whether a result is right. `keys` holds the id of the first attempt of each source."""
    source = result["library"], result["source"]
    if result["source"] in PASSWORDS and result["library"] not in SEND_USERINFO:
        return "401" in result.get("error", "")
    key = result.get("id", "")
    is_new = keys.setdefault(source, key) != key or result["attempt"] == "first"
    return key.startswith("HO.") and is_new


def report(programs, servers, has_metadata):
    """Runs the programs; returns how many of their results are right and wrong."""
    begun = time.monotonic()
    started = [subprocess.Popen(program, env=environment(servers, has_metadata), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
               for program in [*programs, servers.run(programs[0])]]
    passed = failed = 0
    keys = {}
    for number in range(2):
        for process in started:
            for result in attempt(process):
                good = judge(result, keys)
                passed, failed = passed + good, failed + (not good)
                name = f"{result['library']}: handed-out keys by {result['source']}, {result['attempt']} attempt"
                print(f"  {'ok' if good else 'FAILED':7}  {name}  {result.get('error', '')[:200] if not good else ''}")
        if number == 0:
            servers.restart_centrals()
            time.sleep(max(0, begun + LIFETIME_S + 30 - time.monotonic()))
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
    for process in started:
        process.wait(timeout=30)
    return passed, failed
