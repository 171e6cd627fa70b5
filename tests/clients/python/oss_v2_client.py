"""alibabacloud-oss-v2, the second Python SDK: anonymous, V1 and V4."""

import datetime
import os
import tempfile
from urllib.parse import quote, unquote

import alibabacloud_oss_v2 as oss

from harness import Client, Page, Refused, Reply, main


def refusals(call):
    """Converts the exception of the SDK to `Refused`."""

    def wrapped(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except oss.exceptions.OperationError as error:
            cause = error.unwrap()
            if not isinstance(cause, oss.exceptions.ServiceError):
                raise
            raise Refused(cause.status_code, cause.code, cause.message, cause.request_id) from error

    return wrapped


class OssV2(Client):
    def __init__(self, plan):
        super().__init__(plan)
        config = oss.config.load_default()
        config.credentials_provider = self.credentials(plan)
        config.signature_version = None if plan["signature"] == "none" else plan["signature"]
        config.region, config.endpoint = plan["region"], plan["endpoint"]
        config.use_path_style = plan["addressing"] == "path"
        config.retry_max_attempts = plan["attempts"] or 2  # with 1 its get_object_to_file makes no attempt at all
        if plan["http_proxy"]:
            os.environ["http_proxy"] = plan["http_proxy"]
        self.bucket, self.client = plan["bucket"], oss.Client(config)

    @staticmethod
    def credentials(plan):
        if plan["signature"] == "none":
            return oss.credentials.AnonymousCredentialsProvider()
        return oss.credentials.StaticCredentialsProvider(
            plan["access_key_id"], plan["access_key_secret"], plan["security_token"] or None)

    @refusals
    def put(self, key, body, content_type=None, metadata=None):
        self.client.put_object(oss.PutObjectRequest(
            bucket=self.bucket, key=key, body=body, content_type=content_type, metadata=metadata))

    @refusals
    def put_stream(self, key, chunks):
        self.client.put_object(oss.PutObjectRequest(bucket=self.bucket, key=key, body=chunks))

    @refusals
    def get(self, key, bucket=None, byte_range=None, condition=None, override=None):
        fields = {name.lower().replace("-", "_"): value for name, value in filter(None, (condition, override))}
        result = self.client.get_object(oss.GetObjectRequest(
            bucket=bucket or self.bucket, key=key, range_header=byte_range, **fields))
        return Reply(result.status_code, lower(result.headers), result.body.read())

    @refusals
    def download(self, key):
        with tempfile.NamedTemporaryFile() as file:
            self.client.get_object_to_file(oss.GetObjectRequest(bucket=self.bucket, key=key), file.name)
            with open(file.name, "rb") as written:
                return written.read()

    @refusals
    def head(self, key):
        result = self.client.head_object(oss.HeadObjectRequest(bucket=self.bucket, key=key))
        return Reply(result.status_code, lower(result.headers))

    @refusals
    def delete(self, key):
        self.client.delete_object(oss.DeleteObjectRequest(bucket=self.bucket, key=key))

    @refusals
    def list(self, version, prefix, delimiter="", limit=100, after="", encoded=False):
        common = dict(bucket=self.bucket, prefix=prefix, delimiter=delimiter or None, max_keys=limit,
                      encoding_type="url" if encoded else None)
        if version == 1:
            result = self.client.list_objects(oss.ListObjectsRequest(marker=after or None, **common))
            following = result.next_marker
        else:
            result = self.client.list_objects_v2(oss.ListObjectsV2Request(continuation_token=after or None, **common))
            following = result.next_continuation_token
        return Page([item.key for item in result.contents or []], [item.prefix for item in result.common_prefixes or []],
                    following if result.is_truncated else "")

    @refusals
    def append(self, key, position, body):
        return self.client.append_object(oss.AppendObjectRequest(
            bucket=self.bucket, key=key, position=position, body=body)).next_position

    @refusals
    def delete_many(self, keys):
        self.client.delete_multiple_objects(oss.DeleteMultipleObjectsRequest(
            bucket=self.bucket, objects=[oss.DeleteObject(key=key) for key in keys]))

    @refusals
    def copy(self, source, key):
        self.client.copy_object(oss.CopyObjectRequest(bucket=self.bucket, key=key, source_key=source))

    @refusals
    def initiate(self, key):
        return self.client.initiate_multipart_upload(
            oss.InitiateMultipartUploadRequest(bucket=self.bucket, key=key)).upload_id

    @refusals
    def upload_part(self, key, upload, number, body):
        return self.client.upload_part(oss.UploadPartRequest(
            bucket=self.bucket, key=key, upload_id=upload, part_number=number, body=body)).etag

    @refusals
    def list_parts(self, key, upload, limit=1000, after=0):
        result = self.client.list_parts(oss.ListPartsRequest(
            bucket=self.bucket, key=key, upload_id=upload, max_parts=limit, part_number_marker=after))
        return [part.part_number for part in result.parts]

    @refusals
    def list_uploads(self, prefix, limit, after):
        result = self.client.list_multipart_uploads(oss.ListMultipartUploadsRequest(
            bucket=self.bucket, prefix=prefix, max_uploads=limit, key_marker=after[0] or None, upload_id_marker=after[1] or None))
        following = (result.next_key_marker, result.next_upload_id_marker)
        return [(item.key, item.upload_id) for item in result.uploads], following if result.is_truncated else None

    @refusals
    def copy_part(self, source, key, upload, number, byte_range=None):
        return self.client.upload_part_copy(oss.UploadPartCopyRequest(
            bucket=self.bucket, key=key, upload_id=upload, part_number=number, source_key=source, source_range=byte_range)).etag

    @refusals
    def complete(self, key, upload, parts):
        listed = oss.CompleteMultipartUpload(parts=[oss.UploadPart(part_number=number, etag=tag) for number, tag in parts])
        self.client.complete_multipart_upload(oss.CompleteMultipartUploadRequest(
            bucket=self.bucket, key=key, upload_id=upload, complete_multipart_upload=listed))

    @refusals
    def abort(self, key, upload):
        self.client.abort_multipart_upload(oss.AbortMultipartUploadRequest(bucket=self.bucket, key=key, upload_id=upload))

    @refusals
    def buckets(self):
        return [bucket.name for bucket in self.client.list_buckets(oss.ListBucketsRequest(prefix=self.bucket)).buckets]

    @refusals
    def bucket_info(self):
        info = self.client.get_bucket_info(oss.GetBucketInfoRequest(bucket=self.bucket)).bucket_info
        return info.name, info.location

    @refusals
    def bucket_location(self):
        return self.client.get_bucket_location(oss.GetBucketLocationRequest(bucket=self.bucket)).location

    def presign(self, key, method="GET", seconds=600):
        request = {"GET": oss.GetObjectRequest, "PUT": oss.PutObjectRequest}[method]
        return self.client.presign(request(bucket=self.bucket, key=key), expires=datetime.timedelta(seconds=seconds)).url

    @refusals
    def object_acl(self, key):
        return self.client.get_object_acl(oss.GetObjectAclRequest(bucket=self.bucket, key=key)).acl

    @refusals
    def set_object_acl(self, key, acl):
        self.client.put_object_acl(oss.PutObjectAclRequest(bucket=self.bucket, key=key, acl=acl))

    @refusals
    def tags(self, key):
        result = self.client.get_object_tagging(oss.GetObjectTaggingRequest(bucket=self.bucket, key=key))
        return {tag.key: tag.value for tag in result.tag_set.tags or []}

    @refusals
    def set_tags(self, key, tags):
        listed = [oss.Tag(key=name, value=value) for name, value in tags.items()]
        self.client.put_object_tagging(oss.PutObjectTaggingRequest(
            bucket=self.bucket, key=key, tagging=oss.Tagging(tag_set=oss.TagSet(tags=listed))))

    @refusals
    def delete_tags(self, key):
        self.client.delete_object_tagging(oss.DeleteObjectTaggingRequest(bucket=self.bucket, key=key))

    @refusals
    def link(self, key, target):
        self.client.put_symlink(oss.PutSymlinkRequest(bucket=self.bucket, key=key, target=quote(target)))

    @refusals
    def link_target(self, key):
        return unquote(self.client.get_symlink(oss.GetSymlinkRequest(bucket=self.bucket, key=key)).target)

    @refusals
    def meta(self, key):
        result = self.client.get_object_meta(oss.GetObjectMetaRequest(bucket=self.bucket, key=key))
        return result.content_length, result.etag

    @refusals
    def bucket_acl(self):
        return self.client.get_bucket_acl(oss.GetBucketAclRequest(bucket=self.bucket)).acl

    @refusals
    def set_bucket_acl(self, acl):
        self.client.put_bucket_acl(oss.PutBucketAclRequest(bucket=self.bucket, acl=acl))

    @refusals
    def lifecycle(self):
        result = self.client.get_bucket_lifecycle(oss.GetBucketLifecycleRequest(bucket=self.bucket))
        return [rule.id for rule in result.lifecycle_configuration.rules]

    @refusals
    def set_lifecycle(self, rule):
        listed = [oss.LifecycleRule(id=rule, prefix="op/old/", status="Enabled", expiration=oss.LifecycleRuleExpiration(days=30))]
        self.client.put_bucket_lifecycle(oss.PutBucketLifecycleRequest(
            bucket=self.bucket, lifecycle_configuration=oss.LifecycleConfiguration(rules=listed)))

    @refusals
    def delete_lifecycle(self):
        self.client.delete_bucket_lifecycle(oss.DeleteBucketLifecycleRequest(bucket=self.bucket))

    @refusals
    def create_bucket(self):
        self.client.put_bucket(oss.PutBucketRequest(bucket=self.bucket))

    @refusals
    def delete_bucket(self):
        self.client.delete_bucket(oss.DeleteBucketRequest(bucket=self.bucket))


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


if __name__ == "__main__":
    main(OssV2)
