#!/usr/bin/env bash
# apache-libcloud 3.9.1: `download_object_as_stream` of its driver for Aliyun OSS never ends.
#
# The generator yields the whole body as one chunk, whatever `chunk_size` says, and then the same body again, without end. It asks
# the server once. A program that writes the chunks to a file fills its disk, and one that joins them its memory. `download_object`,
# which writes a file itself, stores the right bytes.
#
# Output seen:
#   chunks of at most 4 bytes: ['12345678', '12345678', '12345678', '12345678', '12345678'] and more; requests: 1
#   download_object: 12345678
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check apache-libcloud==3.9.1

cat > "$work/download.py" << 'PYTHON'
import http.server
import itertools
import sys
import threading

from libcloud.storage.base import Container, Object
from libcloud.storage.drivers.oss import OSSStorageDriver

requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global requests
        requests += 1
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"12345678")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
driver = OSSStorageDriver("id", "secret", host="127.0.0.1", port=server.server_address[1], secure=False)
found = Object("key", 8, "", {}, {}, Container("bucket", {"location": "oss-cn-hangzhou"}, driver), driver)

chunks = itertools.islice(driver.download_object_as_stream(found, chunk_size=4), 1000)
first = [chunk.decode() for chunk in itertools.islice(chunks, 5)]
more = sum(1 for _ in chunks)
print(f"chunks of at most 4 bytes: {first} and {'more' if more == 995 else more}; requests: {requests}")

driver.download_object(found, sys.argv[1])
with open(sys.argv[1]) as file:
    print(f"download_object: {file.read()}")
PYTHON
timeout 60 "$work/env/bin/python" "$work/download.py" "$work/body" | tee "$work/output"
diff "$work/output" - << 'EXPECTED'
chunks of at most 4 bytes: ['12345678', '12345678', '12345678', '12345678', '12345678'] and more; requests: 1
download_object: 12345678
EXPECTED
