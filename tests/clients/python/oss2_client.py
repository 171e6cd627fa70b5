"""oss2, the first Python SDK: anonymous, V1 and V4."""

import oss2

from harness import Client, Page, Refused, Reply, main


def refusals(call):
    """Converts the exception of the SDK to `Refused`."""

    def wrapped(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except oss2.exceptions.NoSuchKey as error:
            raise Refused(404, "NoSuchKey") from error
        except oss2.exceptions.ServerError as error:
            raise Refused(error.status, error.code, str(error.details), error.request_id) from error

    return wrapped


class Oss2(Client):
    def __init__(self, plan):
        super().__init__(plan)
        self.proxies = {"http": plan["http_proxy"]} if plan["http_proxy"] else None
        self.options = dict(connect_timeout=30, proxies=self.proxies, region=plan["region"],
                            is_path_style=plan["addressing"] == "path")
        self.auth = self.credentials(plan)
        self.bucket = self.open(plan["bucket"])

    @staticmethod
    def credentials(plan):
        if plan["signature"] == "none":
            return oss2.AnonymousAuth()
        version = {"v1": oss2.AUTH_VERSION_1, "v4": oss2.AUTH_VERSION_4}[plan["signature"]]
        pair = plan["access_key_id"], plan["access_key_secret"]
        if plan["security_token"]:
            return oss2.StsAuth(*pair, plan["security_token"], auth_version=version)
        return oss2.make_auth(*pair, version)

    def open(self, bucket):
        return oss2.Bucket(self.auth, self.plan["endpoint"], bucket, is_verify_object_strict=False, **self.options)

    @refusals
    def put(self, key, body, content_type=None, metadata=None):
        headers = {f"x-oss-meta-{name}": value for name, value in (metadata or {}).items()}
        if content_type:
            headers["Content-Type"] = content_type
        self.bucket.put_object(key, body, headers=headers)

    @refusals
    def put_stream(self, key, chunks):
        self.bucket.put_object(key, chunks)

    @refusals
    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        headers = dict([condition] if condition else [])
        if byte_range:
            headers["Range"] = byte_range
        source = self.open(bucket) if bucket else self.bucket
        result = source.get_object(key, headers=headers, params=dict([override] if override else []))
        return Reply(result.status, lower(result.headers), result.read())

    @refusals
    def head(self, key):
        result = self.bucket.head_object(key)
        return Reply(result.status, lower(result.headers))

    @refusals
    def delete(self, key):
        self.bucket.delete_object(key)

    @refusals
    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        if version == 1:
            result = self.bucket.list_objects(prefix, delimiter, after, limit)  # always requests encoding-type=url
            following = result.next_marker
        else:
            result = self.bucket.list_objects_v2(prefix, delimiter, after, max_keys=limit, encoding_type="url" if encoded else "")
            following = result.next_continuation_token
        return Page([item.key for item in result.object_list], result.prefix_list, following if result.is_truncated else "")

    @refusals
    def append(self, key, position, body):
        return self.bucket.append_object(key, position, body).next_position

    @refusals
    def delete_many(self, keys):
        self.bucket.batch_delete_objects(keys)

    @refusals
    def copy(self, source, key):
        self.bucket.copy_object(self.plan["bucket"], source, key)

    @refusals
    def initiate(self, key):
        return self.bucket.init_multipart_upload(key).upload_id

    @refusals
    def upload_part(self, key, upload, number, body):
        return self.bucket.upload_part(key, upload, number, body).etag

    @refusals
    def list_parts(self, key, upload, limit=1000, after=0):
        return [part.part_number for part in self.bucket.list_parts(key, upload, str(after), limit).parts]

    @refusals
    def list_uploads(self, prefix, limit, after):
        result = self.bucket.list_multipart_uploads(prefix, "", after[0], after[1], limit)
        following = (result.next_key_marker, result.next_upload_id_marker)
        return [(item.key, item.upload_id) for item in result.upload_list], following if result.is_truncated else None

    @refusals
    def copy_part(self, source, key, upload, number, byte_range=None):
        numbers = [int(part) for part in byte_range.removeprefix("bytes=").split("-")] if byte_range else None
        return self.bucket.upload_part_copy(self.plan["bucket"], source, numbers, key, upload, number).etag

    @refusals
    def complete(self, key, upload, parts):
        self.bucket.complete_multipart_upload(key, upload, [oss2.models.PartInfo(*part) for part in parts])

    @refusals
    def abort(self, key, upload):
        self.bucket.abort_multipart_upload(key, upload)

    @refusals
    def buckets(self):
        service = oss2.Service(self.auth, self.plan["endpoint"], **self.options)
        return [bucket.name for bucket in service.list_buckets(prefix=self.plan["bucket"]).buckets]

    @refusals
    def bucket_info(self):
        info = self.bucket.get_bucket_info()
        return info.name, info.location

    @refusals
    def bucket_location(self):
        return self.bucket.get_bucket_location().location

    def presign(self, key, method="GET", seconds=600):
        return self.bucket.sign_url(method, key, seconds)

    @refusals
    def object_acl(self, key):
        return self.bucket.get_object_acl(key).acl

    @refusals
    def set_object_acl(self, key, acl):
        self.bucket.put_object_acl(key, acl)

    @refusals
    def tags(self, key):
        return self.bucket.get_object_tagging(key).tag_set.tagging_rule

    @refusals
    def set_tags(self, key, tags):
        rule = oss2.models.TaggingRule()
        for name, value in tags.items():
            rule.add(name, value)
        self.bucket.put_object_tagging(key, oss2.models.Tagging(rule))

    @refusals
    def delete_tags(self, key):
        self.bucket.delete_object_tagging(key)

    @refusals
    def link(self, key, target):
        self.bucket.put_symlink(target, key)

    @refusals
    def link_target(self, key):
        return self.bucket.get_symlink(key).target_key

    @refusals
    def meta(self, key):
        result = self.bucket.get_object_meta(key)
        return result.content_length, result.etag

    @refusals
    def bucket_acl(self):
        return self.bucket.get_bucket_acl().acl

    @refusals
    def set_bucket_acl(self, acl):
        self.bucket.put_bucket_acl(acl)

    @refusals
    def lifecycle(self):
        return [rule.id for rule in self.bucket.get_bucket_lifecycle().rules]

    @refusals
    def set_lifecycle(self, rule):
        expiration = oss2.models.LifecycleExpiration(days=30)
        self.bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle([oss2.models.LifecycleRule(rule, "op/old/", expiration=expiration)]))

    @refusals
    def delete_lifecycle(self):
        self.bucket.delete_bucket_lifecycle()

    @refusals
    def create_bucket(self):
        self.bucket.create_bucket()

    @refusals
    def delete_bucket(self):
        self.bucket.delete_bucket()


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


if __name__ == "__main__":
    main(Oss2)
