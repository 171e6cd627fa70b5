"""A client that sends requests with wrong signatures at a bounded rate until the end of its standard input:

  storm_forger.py PORT RATE BUCKET KEY_ID

At the end it prints the statuses that it got, as JSON. It is a process, so that it delays no other client of the storm."""

import asyncio
import base64
import collections
import hashlib
import json
import os
import re
import sys
import time
from email.utils import formatdate

CONNECTIONS, BATCH_S = 8, 0.05
STATUS = re.compile(rb"HTTP/1\.1 (\d+) ")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


def requests(bucket, key_id):
    """Returns one request of each kind. Each has a time of now, so that only the signature is wrong."""
    now, day = time.time(), time.strftime("%Y%m%d", time.gmtime())
    iso = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    random = os.urandom(32)
    v1, v4 = base64.b64encode(hashlib.sha1(random).digest()).decode(), random.hex()
    url = v1.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    head = f"GET /{bucket}/forged/{v4} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    scope = f"{day}/cn-hangzhou/oss/aliyun_v4_request"
    return [text.encode() for text in (
        f"{head}Date: {formatdate(now, usegmt=True)}\r\nAuthorization: OSS {key_id}:{v1}\r\n\r\n",
        f"{head}Date: {formatdate(now, usegmt=True)}\r\nAuthorization: OSS unknown-{v4[:8]}:{v1}\r\n\r\n",
        f"{head}x-oss-date: {iso}\r\nx-oss-content-sha256: UNSIGNED-PAYLOAD\r\n"
        f"Authorization: OSS4-HMAC-SHA256 Credential={key_id}/{scope},Signature={v4}\r\n\r\n",
        f"GET /{bucket}/forged/{v4}?OSSAccessKeyId={key_id}&Expires={int(now) + 60}&Signature={url} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    )]


class Forger:
    """Sends batches of requests, and counts the statuses of the responses."""

    def __init__(self, port, rate, bucket, key_id):
        self.port, self.batch, self.bucket, self.key_id = port, max(1, int(rate * BATCH_S / CONNECTIONS)), bucket, key_id
        self.statuses = collections.Counter()

    async def send(self):
        """Sends batches on one connection, each after the responses to the last one, and opens another if it ends."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                while True:
                    begun = time.monotonic()
                    all_kinds = requests(self.bucket, self.key_id)
                    writer.write(b"".join(all_kinds[number % len(all_kinds)] for number in range(self.batch)))
                    for _ in range(self.batch):
                        head = await reader.readuntil(b"\r\n\r\n")
                        length = LENGTH.search(head)
                        await reader.readexactly(int(length[1]) if length else 0)
                        self.statuses[STATUS.match(head)[1].decode()] += 1
                    await asyncio.sleep(max(0.0, begun + BATCH_S - time.monotonic()))
            except (OSError, asyncio.IncompleteReadError):
                self.statuses["closed"] += 1
                await asyncio.sleep(BATCH_S)


async def main():
    forger = Forger(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    tasks = [asyncio.create_task(forger.send()) for _ in range(CONNECTIONS)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps(forger.statuses))


asyncio.run(main())
