"""Installs the clients at their pinned versions into a cache folder; a client that cannot be installed is an error."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
LIMIT_S = 600
DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


class CannotInstall(Exception):
    """A client cannot be installed; the text has its name and the cause."""


def install(cache):
    """Installs everything; returns the programs by client and the seconds by step."""
    cache.mkdir(parents=True, exist_ok=True)
    steps = {"curl and wget": tools, "Python clients": python, "Node.js clients": node, "Go SDK v2": go, "Go SDK v1": go1,
             "ossutil": ossutil, "Thanos": thanos, "Java SDKs": java}
    programs, seconds = {}, {}
    for name, step in steps.items():
        started = time.monotonic()
        programs.update(step(cache))
        seconds[name] = time.monotonic() - started
    return programs, seconds


def tools(_cache):
    packages({"curl": "curl", "wget": "wget"})
    script = str(SUITE / "python/plain_client.py")
    return {name: [sys.executable, script, name] for name in ("curl", "curl-h2", "wget")}


def packages(wanted):
    """Installs the Debian packages of missing commands; `wanted` maps a command to its package."""
    missing = {command: package for command, package in wanted.items() if not shutil.which(command)}
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        execute(", ".join(missing), ["apt-get", "install", "--yes", "--no-install-recommends", *missing.values()])
    for command, package in missing.items():
        if not shutil.which(command):
            raise CannotInstall(f"{command}: not found; install the package {package}")


def python(cache):
    requirements = SUITE / "python/requirements.txt"
    interpreter = str(cache / "venv/bin/python")

    def build():
        shutil.rmtree(cache / "venv", ignore_errors=True)
        execute("Python clients", [sys.executable, "-m", "venv", cache / "venv"])
        execute("Python clients", [interpreter, "-m", "pip", "install", "--quiet", "--requirement", requirements])

    once(cache, "venv", [requirements], build)
    return {client: [interpreter, str(SUITE / f"python/{script}")]
            for client, script in (("oss2", "oss2_client.py"), ("alibabacloud-oss-v2", "oss_v2_client.py"), ("libcloud", "libcloud_client.py"),
                                   ("libcloud-proxied", "libcloud_client.py"), ("ffmpeg", "ffmpeg_client.py"))}


def node(cache):
    folder = cache / "node"
    manifests = [SUITE / "node/package.json", SUITE / "node/package-lock.json"]

    def build():
        folder.mkdir(exist_ok=True)
        for manifest in manifests:
            shutil.copy(manifest, folder)
        execute("Node.js clients", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder=folder)

    once(cache, "node", manifests, build)
    launch = ["env", f"NODE_PATH={folder}/node_modules", "node"]
    generated = [*bridge(cache, "oss_client.py"), *launch, str(SUITE / "node/generated.js")]
    return {"ali-oss": [*launch, str(SUITE / "node/ali_oss.js")], "oss-client": generated, "oss-client-by-address": generated}


def go(cache):
    program = cache / "go-client"
    execute("Go SDK v2", ["go", "build", "-o", program, "."], folder=SUITE / "go")
    return {"go-sdk-v2": [str(program)]}


def go1(cache):
    program = cache / "go1-client"
    execute("Go SDK v1", ["go", "build", "-o", program, "."], folder=SUITE / "go1")
    return {"go-sdk-v1": [*bridge(cache), str(program)]}


def ossutil(cache):
    program = cache / "ossutil"
    execute("ossutil", ["go", "build", "-o", program, "github.com/aliyun/ossutil"], folder=SUITE / "ossutil")
    return {"ossutil": [sys.executable, str(SUITE / "python/ossutil_client.py"), str(program)]}


def thanos(cache):
    program = cache / "thanos"
    execute("Thanos", ["go", "build", "-o", program, "."], folder=SUITE / "thanos")
    return {"thanos": [*bridge(cache, "thanos_client.py"), str(program)]}


def java(cache):
    folder, sources = cache / "java", sorted((SUITE / "java").glob("*.java"))
    manifest = SUITE / "java/pom.xml"
    packages({"mvn": "maven", "javac": "openjdk-17-jdk-headless"})

    def libraries():
        shutil.rmtree(folder, ignore_errors=True)
        execute("Java SDKs", ["mvn", "--batch-mode", "--file", manifest, f"{DEPENDENCIES}:copy-dependencies", f"-DoutputDirectory={folder}/lib"])

    def classes():
        execute("Java SDKs", ["javac", "-nowarn", "-cp", f"{folder}/lib/*", "-d", folder / "classes", *sources])

    once(cache, "java-lib", [manifest], libraries)
    once(cache, "java-classes", [manifest, *sources], classes)
    launch = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", f"{folder}/classes:{folder}/lib/*", "Bridge"]
    return {client: [*bridge(cache), *launch, which]
            for client, which in (("java-v1", "v1"), ("java-v2", "v2"), ("java-v2-async", "v2-async"))}


def bridge(cache, script="bridge.py"):
    """Returns the command prefix of a client in another language, whose operations Python drives."""
    return [str(cache / "venv/bin/python"), str(SUITE / "python" / script)]


def once(cache, name, inputs, build):
    """Builds, unless the inputs are the same as in the last build."""
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
