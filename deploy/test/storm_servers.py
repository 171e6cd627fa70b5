"""The upstreams and the credential services of the storm. Each listens on several addresses. Each server, each address and each
source at a server can be healthy or not."""

import asyncio
import ctypes
import json
import random
import re
import socket
import struct
import time
from urllib.parse import parse_qsl, urlsplit

# The modes in which a server handles requests. "refuse" also closes its listeners; the others keep them open.
WELL, SILENT, SLOW, ERROR, REFUSE = "well", "silent", "slow", "error", "refuse"
SLOW_S = (2.0, 4.0)
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
LARGE, PIECE = 64 << 20, bytes(64 << 10)
ERROR_BODY = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>storm</Message></Error>"


def drop_packets(one):
    """Makes the kernel drop all packets to this socket, including SYN, as if the network path were down."""
    instruction = ctypes.create_string_buffer(struct.pack("<HBBI", 0x06, 0, 0, 0))  # BPF_RET: keep nothing
    program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(instruction))
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def take_packets(one):
    one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


class Request:
    """A fully received request."""

    def __init__(self, head, body):
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ", 2)
        self.headers = {}
        for field in fields:
            name, _, value = field.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.body = body


class Connection(asyncio.Protocol):
    """A connection of the proxy, with sequential requests."""

    def __init__(self, address):
        self.address, self.server, self.buffer = address, address.server, bytearray()
        self.transport, self.lost, self.left = None, False, 0

    def connection_made(self, transport):
        self.transport = transport
        self.address.connections.add(self)
        if self.address.lost:
            self.lose()

    def connection_lost(self, _):
        self.address.connections.discard(self)

    def lose(self):
        self.lost = True
        drop_packets(self.transport.get_extra_info("socket"))

    def find(self):
        self.lost = False
        take_packets(self.transport.get_extra_info("socket"))

    def data_received(self, data):
        self.buffer += data
        while request := self.take():
            self.server.receive(self, request)

    def take(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.buffer[:end])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(length[1]) if length else 0
        if len(self.buffer) < end + 4 + length:
            return None
        body = bytes(self.buffer[end + 4:end + 4 + length])
        del self.buffer[:end + 4 + length]
        return Request(head, body)

    def answer(self, status, body=b"", headers=""):
        # A response over a path that is down would be lost, so it is not sent.
        if not self.lost and not self.transport.is_closing():
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nx-oss-request-id: 5C1B138A109F4E405B2D\r\n{headers}\r\n"
            self.transport.write(head.encode() + body)

    def answer_large(self):
        self.transport.write(f"HTTP/1.1 200 -\r\nContent-Length: {LARGE}\r\nx-oss-request-id: 5C1B138A109F4E405B2D\r\n\r\n".encode())
        self.left = LARGE
        self.resume_writing()

    def pause_writing(self):
        self.left = -self.left

    def resume_writing(self):
        self.left = abs(self.left)
        while self.left > 0 and not self.transport.is_closing():
            self.left -= len(PIECE)
            self.transport.write(PIECE)  # may call pause_writing

    def close(self):
        self.transport.abort()


class Address:
    """A server at one of its addresses."""

    def __init__(self, server, ip):
        self.server, self.ip, self.connections, self.lost, self.listener = server, ip, set(), False, None

    async def open(self):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((self.ip, self.server.port))
        self.listener = await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=one, backlog=4096)
        if self.lost:
            drop_packets(one)

    def close(self):
        self.listener.close()
        for connection in list(self.connections):
            connection.close()

    def lose(self):
        self.lost = True
        for one in self.listener.sockets:
            drop_packets(one)
        for connection in self.connections:
            connection.lose()

    def find(self):
        self.lost = False
        for one in self.listener.sockets:
            take_packets(one)
        for connection in self.connections:
            connection.find()


class Server:
    """A server under a name with several addresses."""

    def __init__(self, name, port, ips):
        self.name, self.port, self.addresses = name, port, [Address(self, ip) for ip in ips]
        self.modes = {}  # by source; None is for all sources

    async def open(self):
        for address in self.addresses:
            await address.open()

    def set_mode(self, mode, source=None):
        if mode == WELL:
            self.modes.pop(source, None)
        else:
            self.modes[source] = mode

    def mode(self, source):
        return self.modes.get(source) or self.modes.get(None, WELL)

    def receive(self, connection, request):
        source, serve = self.route(request)
        mode = self.mode(source)
        if mode == SLOW:
            asyncio.get_running_loop().call_later(random.uniform(*SLOW_S), serve, connection)
        elif mode == ERROR:
            connection.answer(500, ERROR_BODY)
        elif mode == WELL:
            serve(connection)


class Keys:
    """All issued keys, and the ones in use."""

    def __init__(self, life_s):
        self.life_s, self.given, self.in_use = life_s, {}, {}
        # Called with the server, the error, and whether the key was only late.
        self.on_wrong = None

    def give(self, source, life_s=None):
        name, ends = f"STS.{source}.{len(self.given)}", int(time.time() + (life_s or random.uniform(*self.life_s)))
        self.given[name] = (source, ends)
        return {"AccessKeyId": name, "AccessKeySecret": f"secret-{name[4:]}", "SecurityToken": f"token-{name[4:]}",
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))}

    def check(self, name, source, server):
        """Returns the expiry of the key; reports a key of another source, and an expired one."""
        of, ends = self.given.get(name, (None, 0))
        if of != source:
            self.on_wrong(server, f"signed with {name} instead of a key of {source}", False)
        elif ends < time.time():
            self.on_wrong(server, f"signed with {name} {time.time() - ends:.1f} s after its expiry", True)
        return ends


def object_at(bucket, path):
    """Returns the object of this name; each is different."""
    return f"{bucket}{path};".encode() * 40


class Upstream(Server):
    """An OSS that knows the source of the keys for each bucket, and has every object."""

    def __init__(self, name, port, ips, keys):
        super().__init__(name, port, ips)
        self.keys = keys

    def route(self, request):
        bucket, path = request.headers["host"].split(".")[0], urlsplit(request.target).path
        signed = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        ends = self.keys.check(signed[1] if signed else "no key", bucket, self.name)
        if path.startswith("/main/"):
            # A request over a path that was down may arrive late.
            self.keys.in_use[bucket] = max(ends, self.keys.in_use.get(bucket, 0))

        def serve(connection):
            if path.endswith("/large"):
                connection.answer_large()
            elif request.method == "GET":
                connection.answer(200, object_at(bucket, path))
            elif request.body == object_at(bucket, path):
                connection.answer(200, headers='ETag: "5B3C1A2E053D763E1B002CC607C5A0FE"\r\n')
            else:
                connection.answer(400)
        return bucket, serve


class Sts(Server):
    """STS; the name of a role is the name of the source."""

    def __init__(self, name, port, ips, keys):
        super().__init__(name, port, ips)
        self.keys, self.signers = keys, {}

    def route(self, request):
        fields = dict(parse_qsl(urlsplit(request.target).query) + parse_qsl(request.body.decode()))
        source = fields.get("RoleArn", "").rpartition("/")[2]
        signed = re.search(r"Credential=([^,]+)", request.headers.get("authorization", ""))
        signer = signed[1] if signed else fields.get("AccessKeyId", "")
        if source in self.signers:
            self.keys.check(signer, self.signers[source], self.name)

        def serve(connection):
            connection.answer(200, json.dumps({"RequestId": "storm", "Credentials": self.keys.give(source)}).encode())
        return source, serve


class Metadata(Server):
    """The metadata service of an instance whose role has the name of the source."""

    def __init__(self, name, port, ips, keys, source):
        super().__init__(name, port, ips)
        self.keys, self.source = keys, source

    def route(self, request):
        def serve(connection):
            if request.method == "PUT":
                connection.answer(200, b"metadata-token")
            elif request.target.endswith("/"):
                connection.answer(200, self.source.encode())
            else:
                connection.answer(200, json.dumps({"Code": "Success", **self.keys.give(self.source)}).encode())
        return self.source, serve


class Uri(Server):
    """A credentials URI."""

    def __init__(self, name, port, ips, keys, source, authorization=None):
        super().__init__(name, port, ips)
        self.keys, self.source, self.authorization = keys, source, authorization

    def route(self, request):
        def serve(connection):
            if self.authorization not in (None, request.headers.get("authorization")):
                connection.answer(401)
            else:
                connection.answer(200, json.dumps({"Code": "Success", **self.keys.give(self.source)}).encode())
        return self.source, serve
