"""Shared parts of the deployment tests: the emulated OSS, free ports, requests, and notifications to systemd."""

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
# No metadata service is called.
QUIET = {"PATH": "/usr/bin:/bin", "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None, headers=None):
    """Sends one request on a new connection; returns status and body."""
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
    """Returns the memory of a process in KiB and the number of its open files. It must be dumpable."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
        memory = next(line for line in status if line.startswith("VmRSS:"))
    return int(memory.split()[1]), len(os.listdir(f"/proc/{process.pid}/fd"))


def eventually(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"timeout: {what}")
        time.sleep(0.02)
    return found


@contextmanager
def started(command, **more):
    """Starts a process, and terminates it by its id at the end of the block."""
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
    """Starts the emulated OSS, optionally with an STS that accepts the token of a pod; yields its address."""
    command = [binary, "emulate", "--listen", "127.0.0.1:0", "--access-key-id", KEY_ID, "--access-key-secret", KEY_SECRET]
    for bucket in buckets:
        command += ["--bucket", bucket]
    if issuer:
        command += ["--issuer", issuer, "--role", role, "--oidc-token", POD_TOKEN]
    with started(command, stdout=subprocess.PIPE, text=True, env=QUIET) as process:
        yield process.stdout.readline().split("http://")[1].split(",")[0]


class Notified:
    """The socket of NOTIFY_SOCKET, and the notifications that it received."""

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
        """Waits until this notification was received, after the first `after` lines."""
        eventually(f"{word} at NOTIFY_SOCKET", lambda: word in self.poll()[after:])


def unit_config(source, directory, oss, admin):
    """Writes the proxy.toml of the unit, with the emulated OSS as upstream, and the credentials of LoadCredential=."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    changed = text.replace("127.0.0.1:8771", f"127.0.0.1:{admin}").replace(
        'region = "cn-hangzhou"',
        f'region = "cn-hangzhou"\nendpoint = "http://oss-cn-hangzhou.aliyuncs.com"\nconnect = "{oss}"')
    assert changed.count(oss) == 1 and str(admin) in changed, "unexpected content of proxy.toml"
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
