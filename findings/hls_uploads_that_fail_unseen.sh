#!/usr/bin/env bash
# FFmpeg 7.0.2 (as in imageio-ffmpeg 0.6.0 for Linux on x86-64) writes HLS to http:// with PUT, and reads no response.
#
# Each segment and each playlist is a separate chunked request with `Connection: close`; FFmpeg closes the connection after the
# last chunk. It does not notice a 403, whether the server sends it after the head of the request or after its body. FFmpeg exits
# with 0, and its verbose log does not mention the 403, while nothing was stored. It does fail if it cannot connect. Its exit code
# therefore does not show whether the uploads succeeded; only the log of the server does.
#
# Observed output:
#   403 after the body: 12 uploads rejected, ffmpeg exited with 0, lines of its log about it: 0
#   403 before the body: 12 uploads rejected, ffmpeg exited with 0, lines of its log about it: 0
#   closed port: ffmpeg exited with an error
set -euo pipefail

work=$(mktemp -d)
server=
clean() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$work"
}
trap clean EXIT

python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0
ffmpeg=$("$work/env/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -version | head -1 | grep -q '^ffmpeg version 7\.0\.2'

cat > "$work/server.py" << 'PYTHON'
# Rejects each upload, at the moment given as argument, and prints a line for each that was fully received.
import socket
import sys
import threading

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforbidden"


def serve(peer):
    with peer:
        peer.settimeout(10)
        text = b""
        answered = False
        while not text.endswith(b"\r\n0\r\n\r\n"):
            data = peer.recv(65536)
            if not data:
                return
            text += data
            if sys.argv[1] == "before" and b"\r\n\r\n" in text and not answered:
                answered = True
                peer.sendall(REFUSAL)
        print(text.split(b"\r\n")[0].decode(), flush=True)
        if not answered:
            try:
                peer.sendall(REFUSAL)
            except OSError:
                pass


with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PYTHON

# Writes six seconds of a test picture, in segments of one second, to this port.
record() {
    timeout 60 "$ffmpeg" -hide_banner -loglevel verbose -f lavfi -i testsrc=duration=6:size=160x120:rate=10 \
        -c:v mpeg2video -g 10 -f hls -hls_time 1 -method PUT "http://127.0.0.1:$1/live/list.m3u8" > "$work/log" 2>&1
}

for moment in after before; do
    python3 "$work/server.py" "$moment" > "$work/uploads-$moment" &
    server=$!
    until [ -s "$work/uploads-$moment" ]; do sleep 0.05; done
    code=0
    record "$(head -1 "$work/uploads-$moment")" || code=$?
    for _ in $(seq 100); do
        [ "$(grep -c '^PUT ' "$work/uploads-$moment")" -lt 12 ] || break
        sleep 0.05
    done
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=
    uploads=$(grep -c '^PUT ' "$work/uploads-$moment" || true)
    told=$(grep -ciE 'http error|forbidden' "$work/log" || true)
    echo "403 $moment the body: $uploads uploads rejected, ffmpeg exited with $code, lines of its log about it: $told"
    [ "$uploads" -eq 12 ] && [ "$code" -eq 0 ] && [ "$told" -eq 0 ]
done

# A port that was free a moment ago.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
if record "$port"; then
    echo "closed port: ffmpeg exited with 0"
    exit 1
fi
echo "closed port: ffmpeg exited with an error"
