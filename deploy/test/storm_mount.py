"""A mount of a few small secrets that can stall, like a network file system whose server is down. It implements the FUSE protocol
itself. While it is stalled, each access to a file waits until it resumes."""

import ctypes
import errno
import os
import select
import stat
import struct
import threading
import time

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, INTERRUPT, FORGET_MANY = 1, 2, 3, 14, 15, 18, 25, 26, 36, 42
OPENDIR, RELEASEDIR = 27, 29
ROOT, DIRECT_IO = 1, 1
MNT_DETACH = 2

libc = ctypes.CDLL(None, use_errno=True)


class StallingMount:
    """Files at `path`. `contents` has for each name a function that returns the bytes and the time of the last change."""

    def __init__(self, path, contents):
        self.path, self.contents, self.names = path, contents, sorted(contents)
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = b"fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other" % (self.device, os.getuid(), os.getgid())
        if libc.mount(b"storm", os.fsencode(path), b"fuse", 0, options) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot mount {path}: {os.strerror(number)}")
        self.goes_on, self.over = threading.Event(), False
        self.goes_on.set()
        # Held from reading a request to its response: a request that was read is answered before the mount stalls. A process that
        # is killed meanwhile can then exit, like on NFS.
        self.answering = threading.Lock()
        self.thread = threading.Thread(target=self.serve, name="mount", daemon=True)
        self.thread.start()

    def stop(self):
        with self.answering:
            self.goes_on.clear()

    def resume(self):
        self.goes_on.set()

    def end(self):
        self.over = True
        self.resume()
        libc.umount2(os.fsencode(self.path), MNT_DETACH)
        self.thread.join()
        os.close(self.device)

    def serve(self):
        while not self.over:
            self.goes_on.wait()
            select.select([self.device], [], [], 0.2)
            with self.answering:
                try:
                    if self.goes_on.is_set():
                        self.answer(os.read(self.device, 256 << 10))
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno == errno.ENODEV:  # unmounted
                        return
                    if error.errno not in (errno.ENOENT, errno.EINTR):  # cancelled by the caller
                        raise

    def answer(self, question):
        _, operation, unique, node, *_ = struct.unpack_from("<IIQQIIII", question)
        if operation in (FORGET, INTERRUPT, FORGET_MANY):
            return
        try:
            code, body = 0, self.reply(operation, node, question[40:])
        except OSError as error:
            code, body = -error.errno, b""
        os.write(self.device, struct.pack("<IiQ", 16 + len(body), code, unique) + body)

    def reply(self, operation, node, rest):
        if operation == INIT:
            major, minor, readahead, _ = struct.unpack_from("<IIII", rest)
            return struct.pack("<IIIIHHIIHHI28x", major, min(minor, 31), readahead, 0, 8, 6, 64 << 10, 1, 16, 0, 0)
        if operation == LOOKUP:
            name = rest.split(b"\0")[0].decode()
            if node != ROOT or name not in self.contents:
                raise OSError(errno.ENOENT, name)
            found = ROOT + 1 + self.names.index(name)
            return struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + self.attributes(found)
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if operation in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", rest)
            return self.content(node)[0][offset:offset + size]
        if operation in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, str(operation))

    def content(self, node):
        if node == ROOT:
            return b"", 0.0
        return self.contents[self.names[node - ROOT - 1]]()

    def attributes(self, node):
        data, changed = self.content(node)
        seconds, rest = int(changed), int(changed % 1 * 1e9)
        mode = stat.S_IFDIR | 0o700 if node == ROOT else stat.S_IFREG | 0o600
        return struct.pack("<QQQQQQIIIIIIIIII", node, len(data), 1, seconds, seconds, seconds, rest, rest, rest, mode, 1,
                           os.getuid(), os.getgid(), 0, 4096, 0)


def fixed(text):
    """Returns the function of a content that never changes."""
    data, begun = text.encode(), time.time()
    return lambda: (data, begun)
