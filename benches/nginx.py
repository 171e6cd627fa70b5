#!/usr/bin/env python3
"""CPU per request of the proxy beside nginx as a plain reverse proxy that does not sign, on GETs of 1 KiB.

    benches/nginx.py target/release/oss-signing-proxy

Both stand before the same origin (another nginx) with upstream keep-alive and no access log. The rounds are interleaved,
because the machine is never quiet; CPU is what the kernel accounts to the processes themselves. Needs nginx and wrk, Debian
packages of these names. A first look: one size, one method, a closed loop over plain TCP.
"""

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROUNDS, SECONDS, CONNECTIONS = 7, 4, 32

NGINX = """
daemon off; worker_processes {workers}; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off; keepalive_requests 1000000000; tcp_nodelay on;
    client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {inside}
}}
"""
ORIGIN = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{body}"; }} }}'
PLAIN = """
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 1000000000; }}
    server {{ listen 127.0.0.1:{port}; location / {{
        proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }} }}
"""
PROXY = """
[[listen]]
address = "127.0.0.1:{port}"
[admin]
address = "off"
[upstream]
region = "cn-hangzhou"
endpoint = "http://127.0.0.1:{origin}"
[log]
access = false
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nginx(folder, name, inside):
    path = os.path.join(folder, name + ".conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(NGINX.format(folder=folder, name=name, workers=os.cpu_count(), inside=inside))
    return subprocess.Popen(["nginx", "-c", path, "-p", folder])


def cpu_seconds(process):
    """User and system time of a process and its children that live."""
    total = 0
    pids = [str(process.pid)]
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
        pids += children.read().split()
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def one_round(process, port):
    url = f"http://127.0.0.1:{port}/photos/k"
    before = cpu_seconds(process)
    out = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", url], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(out)
    requests = int(re.search(r"(\d+) requests in", out)[1])
    return (cpu_seconds(process) - before) / requests * 1e6, requests / SECONDS


def answers(port):
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/photos/k", timeout=5) as answer:
                return len(answer.read()) == 1024
        except OSError:
            time.sleep(0.05)
    return False


def main():
    binary = sys.argv[1]
    started = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            origin, plain, proxy = free_port(), free_port(), free_port()
            started.append(nginx(folder, "origin", ORIGIN.format(port=origin, body="x" * 1024)))
            subjects = {"nginx": (nginx(folder, "plain", PLAIN.format(port=plain, origin=origin)), plain)}
            config = os.path.join(folder, "proxy.toml")
            with open(config, "w", encoding="utf-8") as file:
                file.write(PROXY.format(port=proxy, origin=origin))
            keys = {"OSS_ACCESS_KEY_ID": "LTAI5tBenchKeyId", "OSS_ACCESS_KEY_SECRET": "bench-secret"}
            log = open(os.path.join(folder, "proxy.log"), "w", encoding="utf-8")
            command = [binary, "--config", config]
            subjects["proxy"] = (subprocess.Popen(command, env={**os.environ, **keys}, stderr=log), proxy)
            started += [process for process, _ in subjects.values()]
            if not all(answers(port) for _, port in subjects.values()):
                sys.exit("not every subject answers")
            rows = {name: [] for name in subjects}
            for _ in range(ROUNDS):
                for name, (process, port) in subjects.items():
                    rows[name].append(one_round(process, port))
            for name, row in rows.items():
                cpu, rate = (statistics.median(column) for column in zip(*row))
                spread = f"{min(c for c, _ in row):.1f}-{max(c for c, _ in row):.1f}"
                print(f"{name:6} {cpu:6.1f} us CPU per request ({spread}), {rate:8.0f} requests/s")
            ratios = [ours / theirs for (ours, _), (theirs, _) in zip(rows["proxy"], rows["nginx"])]
            print(f"ratio  {statistics.median(ratios):6.2f} median of {ROUNDS} interleaved rounds")
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(timeout=30)


main()
