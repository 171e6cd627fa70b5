"""A relay as of a service mesh: it accepts plain requests on this host, and sends them over TLS with a client certificate."""

import threading
from contextlib import closing
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def start_relay(port, context):
    """Starts a relay of GET requests to a port of this host; returns its own port."""

    class Relay(BaseHTTPRequestHandler):
        def do_GET(self):
            with closing(HTTPSConnection("localhost", port, timeout=30, context=context)) as connection:
                connection.request("GET", self.path)
                with connection.getresponse() as answer:
                    body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
