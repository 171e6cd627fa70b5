"""Installs the clients at their pinned versions into a cache folder; a client that cannot be had is an error."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
LIMIT_S = 600


class CannotInstall(Exception):
    """A client is not to be had; the text says which and why."""


def install(cache):
    """Everything the suite needs -> (programs by client, seconds by step)."""
    cache.mkdir(parents=True, exist_ok=True)
    steps = {"curl and wget": tools, "Python SDKs": python, "ali-oss": node, "Go SDK": go, "ossutil": ossutil}
    programs, seconds = {}, {}
    for name, step in steps.items():
        started = time.monotonic()
        programs.update(step(cache))
        seconds[name] = time.monotonic() - started
    return programs, seconds


def tools(_cache):
    missing = [name for name in ("curl", "wget") if not shutil.which(name)]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        execute("curl and wget", ["apt-get", "install", "--yes", "--no-install-recommends", *missing])
    for name in missing:
        if not shutil.which(name):
            raise CannotInstall(f"{name}: not found; install the package {name}")
    script = str(SUITE / "python/plain_client.py")
    return {name: [sys.executable, script, name] for name in ("curl", "curl-h2", "wget")}


def python(cache):
    requirements = SUITE / "python/requirements.txt"
    interpreter = str(cache / "venv/bin/python")

    def build():
        shutil.rmtree(cache / "venv", ignore_errors=True)
        execute("Python SDKs", [sys.executable, "-m", "venv", cache / "venv"])
        execute("Python SDKs", [interpreter, "-m", "pip", "install", "--quiet", "--requirement", requirements])

    once(cache, "venv", [requirements], build)
    return {client: [interpreter, str(SUITE / f"python/{script}")]
            for client, script in (("oss2", "oss2_client.py"), ("alibabacloud-oss-v2", "oss_v2_client.py"))}


def node(cache):
    folder = cache / "node"
    manifests = [SUITE / "node/package.json", SUITE / "node/package-lock.json"]

    def build():
        folder.mkdir(exist_ok=True)
        for manifest in manifests:
            shutil.copy(manifest, folder)
        execute("ali-oss", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder=folder)

    once(cache, "node", manifests, build)
    return {"ali-oss": ["env", f"NODE_PATH={folder}/node_modules", "node", str(SUITE / "node/ali_oss.js")]}


def go(cache):
    program = cache / "go-client"
    execute("Go SDK", ["go", "build", "-o", program, "."], folder=SUITE / "go")
    return {"go-sdk-v2": [str(program)]}


def ossutil(cache):
    program = cache / "ossutil"
    execute("ossutil", ["go", "build", "-o", program, "github.com/aliyun/ossutil"], folder=SUITE / "ossutil")
    return {"ossutil": [sys.executable, str(SUITE / "python/ossutil_client.py"), str(program)]}


def once(cache, name, inputs, build):
    """Builds unless it was built from the same inputs before."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = cache / f"{name}.stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        build()
        stamp.write_text(digest)


def execute(client, command, folder=None):
    try:
        result = subprocess.run([str(part) for part in command], cwd=folder, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{client}: {error}") from error
    if result.returncode:
        raise CannotInstall(f"{client}: `{' '.join(map(str, command))}` exit {result.returncode}\n{result.stderr[-2000:]}")
