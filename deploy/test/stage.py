"""What the tests of the deployment share: the embedded OSS, free ports, requests, and what systemd would be told."""

import http.client
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

BUCKET = "my-bucket"
KEY_ID, KEY_SECRET = "LTAI5tDeployTestKey", "deploy-test-secret"
POD_TOKEN = "deploy-test-pod-token"
# Nobody else is asked for credentials.
QUIET = {"PATH": "/usr/bin:/bin", "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None, headers=None):
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_ready(admin):
    try:
        return ask(admin, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def footprint(process):
    """The memory of a process in KiB, and how many files it has open. It must be dumpable."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
        memory = next(line for line in status if line.startswith("VmRSS:"))
    return int(memory.split()[1]), len(os.listdir(f"/proc/{process.pid}/fd"))


def eventually(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)
    return found


@contextmanager
def started(command, **more):
    """A process that ends with the block, by its own id."""
    process = subprocess.Popen(command, **more)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def embedded_oss(binary, issuer=None, role=None, buckets=(BUCKET,)):
    """The embedded OSS, perhaps with an STS beside it that takes the token of a pod; gives its address."""
    command = [binary, "emulate", "--listen", "127.0.0.1:0", "--access-key-id", KEY_ID, "--access-key-secret", KEY_SECRET]
    for bucket in buckets:
        command += ["--bucket", bucket]
    if issuer:
        command += ["--issuer", issuer, "--role", role, "--oidc-token", POD_TOKEN]
    with started(command, stdout=subprocess.PIPE, text=True, env=QUIET) as process:
        yield process.stdout.readline().split("http://")[1].split(",")[0]


class Notified:
    """The socket of NOTIFY_SOCKET, and what came through it."""

    def __init__(self, path):
        self.path = path
        self.seen = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def poll(self):
        while True:
            try:
                self.seen += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.seen

    def wait(self, word, after=0):
        """Waits until this was told, after so many lines."""
        eventually(f"{word} at NOTIFY_SOCKET", lambda: word in self.poll()[after:])


def unit_config(source, directory, oss, admin):
    """The proxy.toml of the unit, led to the embedded OSS; and the credentials that LoadCredential= would hand over."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    changed = text.replace("127.0.0.1:8771", f"127.0.0.1:{admin}").replace(
        'region = "cn-hangzhou"',
        f'region = "cn-hangzhou"\nendpoint = "http://oss-cn-hangzhou.aliyuncs.com"\nconnect = "{oss}"')
    assert changed.count(oss) == 1 and str(admin) in changed, "proxy.toml is not what this test expects"
    path = os.path.join(directory, "proxy.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(changed)
    credentials = os.path.join(directory, "credentials")
    os.mkdir(credentials, mode=0o700)
    for name, value in (("access-key-id", KEY_ID), ("access-key-secret", KEY_SECRET)):
        with open(os.path.join(credentials, name), "w", encoding="utf-8", opener=private) as file:
            file.write(value + "\n")
    return path, credentials


def private(path, flags):
    return os.open(path, flags, 0o600)
