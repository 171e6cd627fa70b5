"""@alicloud/oss-client, which the vendor generates. It returns no response headers, and with an address its Host has a path."""

import os

from bridge import Bridge
from harness import Suite, expect, expect_refusal, main


class OssClientSuite(Suite):
    def copy(self):
        body = os.urandom(5000)
        self.client.put("op/copy/源 +%2F&?#'$@=.txt", body)
        self.client.copy("op/copy/源 +%2F&?#'$@=.txt", "op/copy/target +1")
        expect(self.client.get("op/copy/target +1").body, body)

    def host_with_path(self):
        expect_refusal(lambda: self.client.put("key", b"x"), 400)


if __name__ == "__main__":
    main(Bridge, OssClientSuite)
