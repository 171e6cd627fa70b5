"""Starts and stops the servers under test, and runs a client with private host names."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from .wire import WireTap

READY_S = 20
STOP_S = 30
CLIENT_S = 150
REGION = "cn-hangzhou"
ENDPOINT = f"oss-{REGION}.aliyuncs.com"
DOMAIN = "oss.example.test"


class Broken(Exception):
    """A server, or the host, does not meet a requirement of the suite."""


class Server:
    """A process of the binary under test, with its log and its exit status."""

    def __init__(self, name, command, environment, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **environment}, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT)

    def wait(self, ready):
        deadline = time.monotonic() + READY_S
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"{self.name} is not ready (exit {self.process.poll()}):\n{self.text()[-2000:]}")
            time.sleep(0.05)

    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        """Sends TERM; returns the exit status, or `None` if the process had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


class World:
    """An emulated OSS with its keys, and in front of it a proxy per signature, and one whose listener identifies callers."""

    def __init__(self, name, keys, buckets, skew_s=0):
        self.name, self.keys, self.buckets, self.skew_s = name, keys, buckets, skew_s
        self.emulator_port, self.proxy_ports, self.servers = free_port(), {}, []
        self.scoped_buckets = []  # those of callers who are limited to a part of them
        self.callers_port, self.callers_config, self.taps, self.admin_ports = free_port(), None, [], {}

    def start(self, binary, folder):
        flags = ["--access-key-id", self.keys["access_key_id"], "--access-key-secret", self.keys["access_key_secret"]]
        flags += ["--security-token", self.keys["security_token"]] if self.keys["security_token"] else []
        flags += ["--fault", f"skew={self.skew_s}"] if self.skew_s else []
        for bucket in self.buckets:
            flags += ["--bucket", bucket]
        emulator = self.launch(f"{self.name}-oss", folder, {}, binary, "emulate",
                               "--listen", f"127.0.0.1:{self.emulator_port}", "--region", REGION, *flags)
        emulator.wait(lambda: accepts(self.emulator_port))
        if self.skew_s:
            return
        config = folder / f"{self.name}.toml"
        config.write_text(upstream(self.emulator_port))
        for signature in ("v4", "v1"):
            self.proxy_ports[signature] = free_port()
            self.start_proxy(binary, folder, f"proxy-{signature}", config, {}, "--signature", signature,
                             "--listen", f"127.0.0.1:{self.proxy_ports[signature]}", "--domain", DOMAIN)

    def start_proxy(self, binary, folder, name, config, secrets, *flags):
        admin = self.admin_ports[name] = free_port()
        # Each worker learns the time of OSS by itself, so there is only one, on one processor.
        one = ["taskset", "--cpu-list", min(os.sched_getaffinity(0))] if self.skew_s else []
        proxy = self.launch(f"{self.name}-{name}", folder, {**self.environment(), **secrets}, *one, binary, "serve",
                            "--admin-listen", f"127.0.0.1:{admin}", "--region", REGION, "--config", str(config), *flags)
        proxy.wait(lambda: answers(f"http://127.0.0.1:{admin}/readyz"))

    def reload(self, name):
        """Reloads the configuration of a proxy, and returns when it is in force."""
        url = f"http://127.0.0.1:{self.admin_ports[name]}/-/reload"
        if not answers(url, "POST"):
            raise Broken(f"{self.name}-{name} rejects its new configuration")

    def port(self, run):
        """Returns the port to which the client of a run connects."""
        if run.proxy == "-":
            return self.emulator_port
        return self.callers_port if run.caller else self.proxy_ports[run.proxy]

    def tap(self, port, texts):
        """Starts to search the bytes of connections to a port."""
        tap = WireTap(port, texts)
        self.taps.append(tap)
        return tap

    def environment(self):
        names = {"OSS_ACCESS_KEY_ID": "access_key_id", "OSS_ACCESS_KEY_SECRET": "access_key_secret", "OSS_SESSION_TOKEN": "security_token"}
        return {name: self.keys[key] for name, key in names.items() if self.keys[key]}

    def stop(self):
        for started in [*self.servers, *self.taps]:
            started.stop()

    def launch(self, name, folder, environment, *command):
        server = Server(name, [str(part) for part in command], environment, folder)
        self.servers.append(server)
        return server


def upstream(port):
    return f'[upstream]\nregion = "{REGION}"\nendpoint = "http://{ENDPOINT}"\nconnect = "127.0.0.1:{port}"\n'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url, method="GET", headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def host_names(buckets):
    """Yields a command prefix that resolves the host names of the test to 127.0.0.1 for an unmodified program.

    The real names of OSS are included: a client that bypasses its proxy finds a closed port, never the real service.
    """
    buckets = [name for bucket in buckets for name in (bucket, f"{bucket}-made")]  # the second is for bucket-create-delete
    names = [DOMAIN, ENDPOINT, *(f"{bucket}.{parent}" for bucket in buckets for parent in (DOMAIN, ENDPOINT))]
    text = "127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in names)
    with tempfile.NamedTemporaryFile("w", prefix="hosts-") as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o644)
        bind = ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', file.name]
        for prefix in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
            if shutil.which("unshare") and subprocess.run([*prefix, *bind, "true"], capture_output=True, check=False).returncode == 0:
                yield [*prefix, *bind]
                return
        with edited_hosts(text):
            yield []


@contextmanager
def edited_hosts(text):
    """Appends the names to /etc/hosts and removes them at the end, for hosts without mount namespaces (a plain container)."""
    if not (os.environ.get("CI") or os.environ.get("CLIENTS_EDIT_HOSTS")):
        raise Broken("cannot create a mount namespace; CLIENTS_EDIT_HOSTS=1 allows the suite to edit /etc/hosts while it runs")
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    try:
        hosts.write_text(f"{before.rstrip()}\n{text}")  # in place: in a container the file is a separate mount
        yield
    finally:
        hosts.write_text(before)


def run_client(command, folder):
    """Runs a client in a separate process group; returns its standard output and the error."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=CLIENT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            return output, f"still running after {CLIENT_S} s"
    return output, f"exit {process.returncode}: {errors.strip()[-500:]}" if process.returncode else errors.strip()[-500:]
