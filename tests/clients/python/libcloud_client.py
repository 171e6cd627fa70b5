"""apache-libcloud: connects to the given address and names the bucket only in Host. V1, in the query."""

import os
import tempfile

from libcloud.common.types import InvalidCredsError
from libcloud.storage.base import Container, Object
from libcloud.storage.drivers.oss import OSSStorageDriver
from libcloud.storage.types import ContainerIsNotEmptyError, ObjectDoesNotExistError
from urllib.parse import urlsplit

from harness import Client, Page, Refused, Reply, Suite, expect, expect_refusal, main


def refusals(call):
    """Converts the exceptions of the library to `Refused`. They have a code only in their text."""

    def wrapped(self, *args, **kwargs):
        try:
            return call(self, *args, **kwargs)
        except KeyError as error:  # of an upload whose response was 400, 404 or 409
            answer = self.driver.connection.connection.response
            raise Refused(answer.status_code, code_in(answer.text), answer.text[:300]) from error
        except ObjectDoesNotExistError as error:
            raise Refused(404, "NoSuchKey") from error
        except ContainerIsNotEmptyError as error:
            raise Refused(409, "BucketNotEmpty") from error
        except InvalidCredsError as error:
            raise Refused(403, code_in(str(error))) from error

    return wrapped


def code_in(text):
    return text.partition("<Code>")[2].partition("</Code>")[0]


class Libcloud(Client):
    def __init__(self, plan):
        super().__init__(plan)
        if plan["http_proxy"]:
            os.environ["http_proxy"] = plan["http_proxy"]
        endpoint = urlsplit(plan["endpoint"])
        self.driver = OSSStorageDriver(plan["access_key_id"], plan["access_key_secret"], secure=False,
                                       host=endpoint.hostname, port=endpoint.port or 80)
        self.container = self.named(plan["bucket"])

    def named(self, bucket):
        return Container(bucket, {"location": f"oss-{self.plan['region']}"}, self.driver)

    def object(self, key, bucket=None):
        return Object(key, 0, "", {}, {}, self.named(bucket or self.plan["bucket"]), self.driver)

    @refusals
    def put(self, key, body, content_type=None, metadata=None):
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.driver.upload_object(file.name, self.container, key, extra={
                "content_type": content_type or "application/octet-stream", "meta_data": metadata}, verify_hash=False)

    @refusals
    def put_stream(self, key, chunks):
        self.driver.upload_object_via_stream(chunks, self.container, key)

    @refusals
    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        """Downloads to a file: `download_object_as_stream` returns the whole body repeatedly, without end."""
        with tempfile.TemporaryDirectory() as folder:
            self.driver.download_object(self.object(key, bucket), f"{folder}/body", delete_on_failure=False)
            with open(f"{folder}/body", "rb") as file:
                return Reply(200, {}, file.read())

    @refusals
    def head(self, key):
        found = self.driver.get_object(self.plan["bucket"], key)
        metadata = {f"x-oss-meta-{name}": value for name, value in found.meta_data.items()}
        return Reply(200, {"content-length": found.size, "etag": found.hash, "content-type": found.extra["content_type"],
                           "last-modified": found.extra["last_modified"], **metadata})

    @refusals
    def delete(self, key):
        expect(self.driver.delete_object(self.object(key)), True)

    @refusals
    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        return Page([item.name for item in self.driver.iterate_container_objects(self.container, prefix=prefix)])

    @refusals
    def buckets(self):
        return [container.name for container in self.driver.iterate_containers()]

    @refusals
    def create_bucket(self):
        self.driver.create_container(self.plan["bucket"], ex_location=f"oss-{self.plan['region']}")

    @refusals
    def delete_bucket(self):
        expect(self.driver.delete_container(self.container), True)


class LibcloudSuite(Suite):
    def list_v1(self):
        """Lists all keys below the prefix; a delimiter is unsupported."""
        prefix, keys = self.tree(1)
        expect(self.client.list(1, prefix).keys, keys)

    def split_target(self):
        """The target names the endpoint, and Host the bucket. In path style it would be a write to a different bucket."""
        expect_refusal(lambda: self.client.put(f"{self.plan['bucket']}/stray", b"x"), 400)


if __name__ == "__main__":
    main(Libcloud, LibcloudSuite)
