"""The environment of the storm: four upstreams, the credential services, the sources that use them, and the proxy.toml that
configures them."""

import json
import time
from dataclasses import dataclass, field

import storm_mount
from storm_servers import Metadata, Sts, Upstream, Uri

UPSTREAM_PORT, TOKEN = 9000, "token-of-the-admin"
# A caller that signs its requests. Requests without a signature are of another one.
CALLER_ID, CALLER_SECRET = "team-a-1", "the-secret-of-the-caller-of-the-storm"
UPSTREAMS = {f"up{number}": [f"127.0.1{number}.{last}" for last in (1, 2, 3)] for number in (1, 2, 3, 4)}
# The only name from which credentials may be fetched without TLS; it has three addresses too.
LOCALHOST = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
HOSTS = "".join(f"{ip} {name}\n" for name, ips in [("localhost", LOCALHOST), *((f"{up}.test", ips) for up, ips in UPSTREAMS.items())]
                for ip in ips)
FILE_LIFE_S, FILE_RENEWED_S = 40, 10


@dataclass
class Source:
    """A credential source; the bucket that it signs for has the same name."""

    name: str
    text: str
    server: str = ""
    # The parts that must be healthy for it, apart from the upstream.
    parts: set = field(default_factory=set)
    upstream: str = ""


class RenewedFile:
    """A credential file that is rotated."""

    def __init__(self, keys, source):
        self.keys, self.source, self.made, self.data = keys, source, 0.0, b""

    def content(self):
        if time.time() > self.made + FILE_RENEWED_S:
            self.made = time.time()
            given = self.keys.give(self.source, FILE_LIFE_S)
            self.data = json.dumps(given).encode()
        return self.data, self.made


class Surroundings:
    """All servers and files that the proxy uses, by name."""

    def __init__(self, directory, keys):
        self.directory, self.mount, self.sources, self.servers = directory, directory / "mount", {}, {}
        self.mount.mkdir()
        for name, data in (("oidc-token", b"oidc-token"), ("authorization", b"Bearer of-the-file"), ("secret", b"secret-of-the-base"),
                           ("caller-secret", CALLER_SECRET.encode())):
            put(directory / name, data)
        mounted = RenewedFile(keys, "file-1")
        self.contents = {"admin-token": storm_mount.fixed(TOKEN), "oidc-token": storm_mount.fixed("oidc-token"),
                         "authorization": storm_mount.fixed("Bearer of-the-mount"), "key.json": mounted.content}
        self.written = RenewedFile(keys, "file-2")
        for name, ips in UPSTREAMS.items():
            self.servers[name] = Upstream(name, UPSTREAM_PORT, ips, keys)
        for number, name in enumerate(["sts-a", "sts-b", "sts-c", "sts-d"]):
            self.servers[name] = Sts(name, 7001 + number, LOCALHOST, keys)
        for number in (1, 2, 3):
            self.servers[f"ecs-{number}"] = Metadata(f"ecs-{number}", 7010 + number, LOCALHOST, keys, f"ecs-{number}")
        for number, authorization in enumerate([None, "Bearer of-the-file", "Bearer of-the-mount", None, None], start=1):
            self.servers[f"uri-{number}"] = Uri(f"uri-{number}", 7020 + number, LOCALHOST, keys, f"uri-{number}", authorization)
        self.fill()
        for number, source in enumerate(self.sources.values()):
            source.upstream = list(UPSTREAMS)[number % len(UPSTREAMS)]

    def add(self, name, text, server="", parts=()):
        at = {server, f"{server}:{name}"} if server else set()
        self.sources[name] = Source(name, text, server, at | set(parts))

    def sts(self, server):
        return f'sts_endpoint = "http://localhost:{self.servers[server].port}"'

    def fill(self):
        for number in (1, 2, 3):
            self.role(f"role-{number}", "base", "sts-a")
        self.chained("chain-1", "role-1", "sts-a")
        self.oidc("oidc-1", self.directory, "sts-a")
        self.profile("profile-1", "sts-a")
        for number in (1, 2):
            self.role(f"rpc-{number}", "base", "sts-b", 'sts_signature = "rpc"')
        self.ini("ini-1", "sts-b")
        self.oidc("oidc-2", self.directory, "sts-c")
        self.oidc("oidc-3", self.mount, "sts-d", ["mount"])
        for number in (1, 2, 3):
            server = f"ecs-{number}"
            self.add(server, f'type = "ecs"\nendpoint = "http://localhost:{self.servers[server].port}"', server)
        self.chained("chain-2", "ecs-2", "sts-d")
        files = {2: self.directory, 3: self.mount}
        for number in (1, 2, 3, 4, 5):
            server, file = f"uri-{number}", files.get(number)
            authorization = f'\nauthorization_file = "{file}/authorization"' if file else ""
            self.add(server, f'type = "uri"\nurl = "http://localhost:{self.servers[server].port}/key"{authorization}', server,
                     ["mount"] if file == self.mount else [])
        self.add("file-1", f'type = "file"\npath = "{self.mount}/key.json"', parts=["mount"])
        self.add("file-2", f'type = "file"\npath = "{self.directory}/key.json"')

    def role(self, name, of, server, more="", parts=()):
        arn = f'role_arn = "acs:ram::1234567890123456:role/{name}"'
        self.add(name, f'type = "assume_role"\nsource = "{of}"\n{arn}\n{self.sts(server)}\n{more}', server, parts)

    def chained(self, name, of, server):
        self.role(name, of, server, parts=self.sources[of].parts)
        self.servers[server].signers[name] = of

    def oidc(self, name, directory, server, parts=()):
        self.add(name, f'type = "oidc"\nrole_arn = "acs:ram::1234567890123456:role/{name}"\n'
                 f'oidc_provider_arn = "acs:ram::1234567890123456:oidc-provider/storm"\ntoken_file = "{directory}/oidc-token"\n'
                 f"{self.sts(server)}", server, parts)

    def profile(self, name, server):
        profile = {"name": name, "mode": "RamRoleArn", "access_key_id": "LTAIbase", "access_key_secret": "secret-of-the-base",
                   "ram_role_arn": f"acs:ram::1234567890123456:role/{name}",
                   "sts_endpoint": f"http://localhost:{self.servers[server].port}"}
        put(self.directory / "config.json", json.dumps({"current": name, "profiles": [profile]}).encode())
        self.add(name, f'type = "profile"\npath = "{self.directory}/config.json"', server)

    def ini(self, name, server):
        text = (
            "[default]\ntype = ram_role_arn\naccess_key_id = LTAIbase\naccess_key_secret = secret-of-the-base\n"
            f"role_arn = acs:ram::1234567890123456:role/{name}\nsts_endpoint = http://localhost:{self.servers[server].port}\n")
        put(self.directory / "credentials.ini", text.encode())
        self.add(name, f'type = "ini"\npath = "{self.directory}/credentials.ini"', server)

    def write_file(self):
        """Replaces the file outside the mount atomically if its content has changed."""
        before, (data, changed) = self.written.data, self.written.content()
        if data != before:
            put(self.directory / "key.json", data)

    def config(self, port, admin, turn):
        """Returns the configuration of this turn; a limit alternates between two values."""
        endpoint = 'region = "cn-hangzhou"\nendpoint = "http://oss-cn-hangzhou.aliyuncs.com"\n'
        at = f'connect = "{{}}.test:{UPSTREAM_PORT}"\n'
        routes = "".join(f'[[route]]\nmatch = {{ bucket = "{source.name}" }}\n{endpoint}{at.format(source.upstream)}'
                         f'credentials = "{source.name}"\n' for source in self.sources.values())
        sources = "".join(f"[credentials.{source.name}]\n{source.text}\n" for source in self.sources.values())
        return f"""[process]
dumpable = true
[[listen]]
address = "127.0.0.1:{port}"
identify = ["key"]
[[caller]]
name = "open"
open = true
allow = "everything"
[[caller]]
name = "team-a"
allow = "everything"
key = [{{ id = "{CALLER_ID}", secret = "file:{self.directory}/caller-secret" }}]
[admin]
address = "127.0.0.1:{admin}"
token = "file:{self.mount}/admin-token"
[log]
format = "text"
sample = 1000000
[limits]
upstream_connections = {256 - turn % 2}
[timeouts]
drain = "5s"
idle = "8s"
[upstream]
{endpoint}{at.format("up1")}credentials = "role-1"
{routes}[credentials.base]
type = "static"
access_key_id = "LTAIbase"
access_key_secret = "file:{self.directory}/secret"
{sources}"""


def put(path, data):
    """Writes a file atomically."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    fresh.replace(path)
