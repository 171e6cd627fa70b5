"""Forwards TCP connections and searches the bytes that pass, so that the runs can show which keys and signatures were on the wire."""

import re
import socket
import threading
from contextlib import suppress

SIGNATURE = re.compile(rb"\b[0-9a-f]{64}\b|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{27}=(?!=)")  # V4 and V1
OVERLAP_BYTES = 1024  # the longest text that two reads may split
READ_BYTES = 256 * 1024


class WireTap:
    """A forwarder to a local port, with the texts and signatures that it saw in either direction."""

    def __init__(self, port, texts):
        self.target, self.texts = port, [text.encode() for text in texts]
        self.seen, self.signatures = set(), set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        back = threading.Thread(target=self.forward, args=(server, client), daemon=True)
        back.start()
        self.forward(client, server)
        back.join()
        client.close()
        server.close()

    def forward(self, source, sink):
        """Forwards one direction to its end, and passes the end on."""
        tail = b""
        with suppress(OSError):  # either side reset the connection, so both are closed
            while data := source.recv(READ_BYTES):
                window = tail + data
                self.search(window)
                tail = window[-OVERLAP_BYTES:]
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def search(self, window):
        self.seen.update(text for text in self.texts if text in window)
        self.signatures.update(SIGNATURE.findall(window))

    def saw(self, text):
        """Returns whether a text of the constructor was on the wire."""
        return text.encode() in self.seen

    def stop(self):
        self.listener.close()
