"""The clients of the storm: they use persistent and fresh connections, and some stop reading."""

import asyncio
import base64
import hmac
import re
import socket
from email.utils import formatdate

from storm_servers import object_at
from storm_sources import CALLER_ID, CALLER_SECRET

PATIENCE_S = 10
IDLE_MAX = 32


class Client:
    """Sends requests on persistent connections, and opens as many as necessary."""

    def __init__(self):
        self.idle, self.resent = {}, 0

    async def ask(self, port, method, bucket, path, is_fresh, is_signed=False):
        """Sends one request; returns "200" if the whole response is correct, and otherwise the error."""
        body = object_at(bucket, path) if method == "PUT" else b""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        request = f"{method} /{bucket}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{length}"
        request = (request + (signature(method, bucket, path) if is_signed else "") + "\r\n").encode() + body
        outcome, answer = await self.settled(port, request, is_fresh)
        if outcome == "200" and method == "GET" and answer != object_at(bucket, path):
            return "another object"
        return outcome

    async def post(self, port, path, token):
        request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        return (await self.settled(port, request, True, 30))[0]

    async def settled(self, port, request, is_fresh, patience_s=PATIENCE_S):
        try:
            async with asyncio.timeout(patience_s):
                return await self.exchange(port, request, is_fresh)
        except TimeoutError:
            return "no response", b""
        except (OSError, asyncio.IncompleteReadError) as error:
            return type(error).__name__, b""

    async def exchange(self, port, request, is_fresh):
        kept = None if is_fresh else self.take(port)
        if kept:
            try:
                return await self.once(port, kept, request)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                # A server may close an idle connection, and a client then retries (RFC 9112, 9.3.1).
                if getattr(error, "partial", b""):
                    raise
                self.resent += 1
        return await self.once(port, await asyncio.open_connection("127.0.0.1", port), request)

    def take(self, port):
        idle = self.idle.setdefault(port, [])
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def once(self, port, connection, request):
        reader, writer = connection
        is_kept = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            idle = self.idle.setdefault(port, [])
            is_kept = b"\r\nconnection: close" not in head and len(idle) < IDLE_MAX
            if is_kept:
                idle.append(connection)
            return head.split(b" ", 2)[1].decode(), body
        finally:
            if not is_kept:
                writer.transport.abort()


def signature(method, bucket, path):
    """Returns the lines that sign a request with V1 for the caller."""
    date = formatdate(usegmt=True)
    signed = f"{method}\n\n\n{date}\n/{bucket}{path}"
    mac = base64.b64encode(hmac.digest(CALLER_SECRET.encode(), signed.encode(), "sha1")).decode()
    return f"Date: {date}\r\nAuthorization: OSS {CALLER_ID}:{mac}\r\n"


async def livez(port):
    """Returns the outcome of a request to /livez."""
    return (await Client().settled(port, f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), True))[0]


def stalled_reader(port, path):
    """Returns a connection with a request for a large object, whose response is not read."""
    one = socket.socket()
    one.connect(("127.0.0.1", port))
    one.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return one
