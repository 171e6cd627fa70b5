"""HTTP of FFmpeg: chunked uploads whose responses it does not read, ranged downloads, and HLS with PUT and DELETE.

The static build of the package crashes where it must load a library, so names are not resolved, and MPEG-TS is not read.
"""

import os
import subprocess
import tempfile
import time
from urllib.parse import quote, urlsplit

import imageio_ffmpeg

from harness import Client, Refused, Reply, Suite, expect, expect_refusal, main

TIMEOUT_S = 60
STORED_S = 10
PICTURE = ["-f", "lavfi", "-i", "testsrc=duration=3:size=160x120:rate=10", "-c:v", "mpeg4", "-g", "5", "-threads", "1",
           "-flags:v", "+bitexact", "-fflags", "+bitexact"]
HLS = [*PICTURE, "-f", "hls", "-hls_time", "0.5"]
LIVE = [*HLS, "-hls_list_size", "3", "-hls_flags", "delete_segments", "-hls_delete_threshold", "1"]


class Ffmpeg(Client):
    def url(self, key, bucket=None):
        endpoint, bucket = urlsplit(self.plan["endpoint"]), bucket or self.plan["bucket"]
        if self.plan["addressing"] == "path":
            return f"{endpoint.scheme}://{endpoint.netloc}/{bucket}/{quote(key)}"
        return f"{endpoint.scheme}://{bucket}.{endpoint.netloc}/{quote(key)}"

    def execute(self, *arguments, body=b""):
        proxy = {"http_proxy": self.plan["http_proxy"]} if self.plan["http_proxy"] else {}
        result = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments],
                                env={**os.environ, **proxy}, input=body, timeout=TIMEOUT_S, capture_output=True, check=False)
        errors = result.stderr.decode(errors="replace")
        for status, text in (("404", "Server returned 404"), ("403", "Server returned 403")):
            if text in errors:
                raise Refused(int(status), "NoSuchKey" if status == "404" else "", errors[-300:])
        if result.returncode:
            raise RuntimeError(f"exit {result.returncode}: {errors[-300:]}")
        return result.stdout

    def put(self, key, body, content_type=None, metadata=None):
        """FFmpeg exits before the response, so this waits until the bytes can be read."""
        options = ["-content_type", content_type] if content_type else []
        options += ["-headers", "".join(f"x-oss-meta-{name}: {value}\r\n" for name, value in metadata.items())] if metadata else []
        self.execute("-f", "data", "-i", "pipe:0", "-map", "0", "-c", "copy", "-f", "data", "-method", "PUT", *options,
                     self.url(key), body=body)
        self.stored(key, body)

    def stored(self, key, body):
        deadline = time.monotonic() + STORED_S
        while True:
            try:
                found = self.get(key).body
            except Refused:
                found = None
            if found == body or time.monotonic() > deadline:
                return expect(found, body)
            time.sleep(0.05)

    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        return Reply(200, {}, self.execute("-f", "data", "-i", self.url(key, bucket), "-map", "0", "-c", "copy", "-f", "data", "pipe:1"))


class FfmpegSuite(Suite):
    def hls(self):
        """Stores a live list of three segments under a name that needs encoding; old segments are deleted, as on a disk."""
        kept = self.on_disk(LIVE)
        expect(("list0.ts" in kept, "list5.ts" in kept), (False, True))
        self.record(LIVE, "op/live é +&=/", kept)
        expect_refusal(lambda: self.client.get("op/live é +&=/list0.ts"), 404)

    def hls_playback(self):
        """Plays a stored list, and compares it with the recording."""
        fragments = [*HLS, "-hls_list_size", "0", "-hls_segment_type", "fmp4"]
        self.record(fragments, "op/played é/", self.on_disk(fragments))
        played = self.frames("-i", self.client.url("op/played é/list.m3u8"))
        expect(len(played), 30)
        expect(played, self.frames("-f", "avi", "-i", "pipe:0", body=self.client.execute(*PICTURE, "-f", "avi", "pipe:1")))

    def on_disk(self, options):
        """Returns the files of such a recording in a folder."""
        with tempfile.TemporaryDirectory() as folder:
            self.client.execute(*options, f"{folder}/list.m3u8")
            files = {}
            for name in sorted(os.listdir(folder)):
                with open(f"{folder}/{name}", "rb") as file:
                    files[name] = file.read()
            return files

    def record(self, options, prefix, wanted):
        """Records to the store and waits until it holds these files.

        In real time: FFmpeg does not wait for responses, so without pauses an earlier list could be stored last.
        """
        self.client.execute("-re", *options, "-method", "PUT", self.client.url(f"{prefix}list.m3u8"))
        for name, body in wanted.items():
            self.client.stored(prefix + name, body)

    def frames(self, *source, body=b""):
        """Returns the hash of each frame."""
        lines = self.client.execute(*source, "-f", "framemd5", "pipe:1", body=body).decode().splitlines()
        return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


if __name__ == "__main__":
    main(Ffmpeg, FfmpegSuite)
