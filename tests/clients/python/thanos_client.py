"""The object storage of Thanos with its OSS provider: a range is returned as bytes without headers. V1."""

from bridge import Bridge
from harness import Suite, expect, main


class ThanosSuite(Suite):
    def ranged(self, byte_range, part, content_range):
        key, body = self.stored("range")
        expect(self.client.get(key, byte_range=byte_range).body, body[part])


if __name__ == "__main__":
    main(Bridge, ThanosSuite)
