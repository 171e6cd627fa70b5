// alibabacloud-oss-v2, the second Java SDK, by its synchronous or its asynchronous client: anonymous, V1 and V4.

import com.aliyun.sdk.service.oss2.BaseClientBuilder;
import com.aliyun.sdk.service.oss2.OSSAsyncClient;
import com.aliyun.sdk.service.oss2.OSSClient;
import com.aliyun.sdk.service.oss2.PresignOptions;
import com.aliyun.sdk.service.oss2.Presignable;
import com.aliyun.sdk.service.oss2.credentials.AnonymousCredentialsProvider;
import com.aliyun.sdk.service.oss2.credentials.StaticCredentialsProvider;
import com.aliyun.sdk.service.oss2.exceptions.ServiceException;
import com.aliyun.sdk.service.oss2.models.*;
import com.aliyun.sdk.service.oss2.transport.BinaryData;
import com.google.gson.JsonObject;
import java.io.ByteArrayInputStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;

final class SdkV2 implements Bridge.Client {
    private final Object client;

    SdkV2(JsonObject plan, boolean asynchronous) {
        client = asynchronous ? configured(OSSAsyncClient.newBuilder(), plan) : configured(OSSClient.newBuilder(), plan);
    }

    private static <B extends BaseClientBuilder<B, T>, T> T configured(B builder, JsonObject plan) {
        String signature = plan.get("signature").getAsString();
        String token = plan.get("security_token").getAsString();
        builder.endpoint(plan.get("endpoint").getAsString())
                .region(plan.get("region").getAsString())
                .usePathStyle(plan.get("addressing").getAsString().equals("path"))
                .retryMaxAttempts(Math.max(1, plan.get("attempts").getAsInt())) // a retry would hide a fault
                .credentialsProvider(signature.equals("none")
                        ? new AnonymousCredentialsProvider()
                        : new StaticCredentialsProvider(plan.get("access_key_id").getAsString(),
                                plan.get("access_key_secret").getAsString(), token.isEmpty() ? null : token));
        if (!signature.equals("none")) {
            builder.signatureVersion(signature);
        }
        return builder.build();
    }

    @Override
    public Object call(Bridge.Call call) throws Exception {
        try {
            return onObject(call);
        } catch (RuntimeException error) {
            ServiceException refusal = ServiceException.asCause(error);
            if (refusal == null) {
                throw error;
            }
            throw new Bridge.Refused(refusal.statusCode(), refusal.errorCode(), refusal.errorMessage(), refusal.requestId());
        }
    }

    /** The operation of this name: of the synchronous client, or of the asynchronous one and waited for. */
    @SuppressWarnings("unchecked")
    private <T> T run(String operation, Object request) {
        boolean asynchronous = client instanceof OSSAsyncClient;
        try {
            Object result = (asynchronous ? OSSAsyncClient.class : OSSClient.class)
                    .getMethod(asynchronous ? operation + "Async" : operation, request.getClass())
                    .invoke(client, request);
            return (T) (asynchronous ? ((CompletableFuture<?>) result).get() : result);
        } catch (InvocationTargetException | ExecutionException error) {
            throw error.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(error.getCause());
        } catch (ReflectiveOperationException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private Object onObject(Bridge.Call call) throws Exception {
        String bucket = call.bucket();
        String key = call.key();
        switch (call.text("method")) {
            case "put" -> {
                PutObjectRequest.Builder request =
                        PutObjectRequest.newBuilder().bucket(bucket).key(key).body(BinaryData.fromBytes(call.body()));
                if (call.text("content_type") != null) {
                    request.contentType(call.text("content_type"));
                }
                run("putObject", request.metadata(call.map("metadata")).build());
            }
            case "put_stream" -> run("putObject", PutObjectRequest.newBuilder().bucket(bucket).key(key)
                    .body(BinaryData.fromStream(new ByteArrayInputStream(call.body()))).build());
            case "get" -> {
                return get(call);
            }
            case "head" -> {
                HeadObjectResult result = run("headObject", HeadObjectRequest.newBuilder().bucket(bucket).key(key).build());
                return Bridge.reply(result.statusCode(), result.headers(), new byte[0]);
            }
            case "delete" -> run("deleteObject", DeleteObjectRequest.newBuilder().bucket(bucket).key(key).build());
            case "delete_many" -> run("deleteMultipleObjects", DeleteMultipleObjectsRequest.newBuilder().bucket(bucket)
                    .deleteObjects(call.keys().stream().map(name -> DeleteObject.newBuilder().key(name).build()).toList()).build());
            case "copy" -> run("copyObject",
                    CopyObjectRequest.newBuilder().bucket(bucket).key(key).sourceKey(call.text("source")).build());
            case "append" -> {
                AppendObjectResult result = run("appendObject", AppendObjectRequest.newBuilder().bucket(bucket).key(key)
                        .position(call.number("position")).body(BinaryData.fromBytes(call.body())).build());
                return result.nextAppendPosition();
            }
            case "presign" -> {
                if (!(client instanceof Presignable presigner)) {
                    throw new UnsupportedOperationException("the asynchronous client cannot presign");
                }
                PresignOptions options = PresignOptions.newBuilder().expiration(Duration.ofSeconds(call.number("seconds"))).build();
                return (call.text("verb").equals("GET")
                        ? presigner.presign(GetObjectRequest.newBuilder().bucket(bucket).key(key).build(), options)
                        : presigner.presign(PutObjectRequest.newBuilder().bucket(bucket).key(key).build(), options)).url();
            }
            default -> {
                return onParts(call, bucket, key);
            }
        }
        return null;
    }

    private Object onParts(Bridge.Call call, String bucket, String key) {
        String upload = call.text("upload");
        switch (call.text("method")) {
            case "initiate" -> {
                InitiateMultipartUploadResult result = run("initiateMultipartUpload",
                        InitiateMultipartUploadRequest.newBuilder().bucket(bucket).key(key).build());
                return result.initiateMultipartUpload().uploadId();
            }
            case "upload_part" -> {
                UploadPartResult result = run("uploadPart", UploadPartRequest.newBuilder().bucket(bucket).key(key).uploadId(upload)
                        .partNumber(call.number("number")).body(BinaryData.fromBytes(call.body())).build());
                return result.eTag();
            }
            case "copy_part" -> {
                UploadPartCopyRequest.Builder request = UploadPartCopyRequest.newBuilder().bucket(bucket).key(key).uploadId(upload)
                        .partNumber(call.number("number")).sourceKey(call.text("source"));
                if (call.text("range") != null) {
                    request.copySourceRange(call.text("range"));
                }
                UploadPartCopyResult result = run("uploadPartCopy", request.build());
                return result.copyPartResult().eTag();
            }
            case "list_parts" -> {
                ListPartsResult result = run("listParts", ListPartsRequest.newBuilder().bucket(bucket).key(key).uploadId(upload)
                        .maxParts(call.number("limit")).partNumberMarker(call.number("after")).build());
                return items(result.parts()).map(Part::partNumber).toList();
            }
            case "list_uploads" -> {
                ListMultipartUploadsRequest.Builder request = ListMultipartUploadsRequest.newBuilder().bucket(bucket)
                        .prefix(call.text("prefix")).maxUploads(call.number("limit"));
                if (call.given("after_key") != null) {
                    request.keyMarker(call.text("after_key")).uploadIdMarker(call.text("after_upload"));
                }
                ListMultipartUploadsResult page = run("listMultipartUploads", request.build());
                return Bridge.uploads(items(page.uploads()).map(item -> List.of(item.key(), item.uploadId())).toList(),
                        page.isTruncated(), page.nextKeyMarker(), page.nextUploadIdMarker());
            }
            case "complete" -> {
                List<Part> parts = call.parts().stream().map(part ->
                        Part.newBuilder().partNumber(part.get("number").getAsLong()).eTag(part.get("tag").getAsString()).build()).toList();
                run("completeMultipartUpload", CompleteMultipartUploadRequest.newBuilder().bucket(bucket).key(key).uploadId(upload)
                        .completeMultipartUpload(CompleteMultipartUpload.newBuilder().parts(parts).build()).build());
            }
            case "abort" -> run("abortMultipartUpload",
                    AbortMultipartUploadRequest.newBuilder().bucket(bucket).key(key).uploadId(upload).build());
            default -> {
                return onSettings(call, bucket, key);
            }
        }
        return null;
    }

    private Object onSettings(Bridge.Call call, String bucket, String key) {
        switch (call.text("method")) {
            case "object_acl" -> {
                GetObjectAclResult result = run("getObjectAcl", GetObjectAclRequest.newBuilder().bucket(bucket).key(key).build());
                return result.accessControlPolicy().accessControlList().grant();
            }
            case "set_object_acl" ->
                run("putObjectAcl", PutObjectAclRequest.newBuilder().bucket(bucket).key(key).objectAcl(call.text("acl")).build());
            case "tags" -> {
                GetObjectTaggingResult result =
                        run("getObjectTagging", GetObjectTaggingRequest.newBuilder().bucket(bucket).key(key).build());
                Map<String, String> tags = new LinkedHashMap<>();
                items(result.tagging().tagSet().tags()).forEach(tag -> tags.put(tag.key(), tag.value()));
                return tags;
            }
            case "set_tags" -> {
                List<Tag> tags = call.map("tags").entrySet().stream()
                        .map(tag -> Tag.newBuilder().key(tag.getKey()).value(tag.getValue()).build()).toList();
                run("putObjectTagging", PutObjectTaggingRequest.newBuilder().bucket(bucket).key(key)
                        .tagging(Tagging.newBuilder().tagSet(TagSet.newBuilder().tags(tags).build()).build()).build());
            }
            case "delete_tags" -> run("deleteObjectTagging", DeleteObjectTaggingRequest.newBuilder().bucket(bucket).key(key).build());
            case "link" -> run("putSymlink", PutSymlinkRequest.newBuilder().bucket(bucket).key(key)
                    .symlinkTarget(URLEncoder.encode(call.text("target"), StandardCharsets.UTF_8)).build());
            case "link_target" -> {
                GetSymlinkResult result = run("getSymlink", GetSymlinkRequest.newBuilder().bucket(bucket).key(key).build());
                return URLDecoder.decode(result.symlinkTarget(), StandardCharsets.UTF_8);
            }
            case "meta" -> {
                GetObjectMetaResult result = run("getObjectMeta", GetObjectMetaRequest.newBuilder().bucket(bucket).key(key).build());
                return List.of(result.contentLength(), result.eTag());
            }
            default -> {
                return onBucket(call, bucket);
            }
        }
        return null;
    }

    private Object onBucket(Bridge.Call call, String bucket) {
        switch (call.text("method")) {
            case "list_v1" -> {
                ListObjectsRequest.Builder request = ListObjectsRequest.newBuilder().bucket(bucket).prefix(call.text("prefix"))
                        .delimiter(call.text("delimiter")).maxKeys(call.number("limit")).marker(call.text("after"));
                if (call.flag("encoded")) {
                    request.encodingType("url");
                }
                ListObjectsResult page = run("listObjects", request.build());
                return page(page.contents(), page.commonPrefixes(), page.isTruncated(), page.nextMarker());
            }
            case "list_v2" -> {
                ListObjectsV2Request.Builder request = ListObjectsV2Request.newBuilder().bucket(bucket).prefix(call.text("prefix"))
                        .delimiter(call.text("delimiter")).maxKeys(call.number("limit"));
                if (call.given("after") != null) {
                    request.continuationToken(call.text("after"));
                }
                if (call.flag("encoded")) {
                    request.encodingType("url");
                }
                ListObjectsV2Result page = run("listObjectsV2", request.build());
                return page(page.contents(), page.commonPrefixes(), page.isTruncated(), page.nextContinuationToken());
            }
            case "buckets" -> {
                ListBucketsResult result = run("listBuckets", ListBucketsRequest.newBuilder().prefix(bucket).build());
                return items(result.buckets()).map(BucketSummary::name).toList();
            }
            case "bucket_info" -> {
                GetBucketInfoResult result = run("getBucketInfo", GetBucketInfoRequest.newBuilder().bucket(bucket).build());
                return List.of(result.bucketInfo().name(), result.bucketInfo().location());
            }
            case "bucket_location" -> {
                GetBucketLocationResult result = run("getBucketLocation", GetBucketLocationRequest.newBuilder().bucket(bucket).build());
                return result.locationConstraint();
            }
            case "bucket_acl" -> {
                GetBucketAclResult result = run("getBucketAcl", GetBucketAclRequest.newBuilder().bucket(bucket).build());
                return result.accessControlPolicy().accessControlList().grant();
            }
            case "set_bucket_acl" -> run("putBucketAcl", PutBucketAclRequest.newBuilder().bucket(bucket).acl(call.text("acl")).build());
            case "lifecycle" -> {
                GetBucketLifecycleResult result =
                        run("getBucketLifecycle", GetBucketLifecycleRequest.newBuilder().bucket(bucket).build());
                return result.lifecycleConfiguration().rules().stream().map(LifecycleRule::id).toList();
            }
            case "set_lifecycle" -> {
                LifecycleRule rule = LifecycleRule.newBuilder().id(call.text("rule")).prefix("op/old/").status("Enabled")
                        .expiration(LifecycleRuleExpiration.newBuilder().days(30).build()).build();
                run("putBucketLifecycle", PutBucketLifecycleRequest.newBuilder().bucket(bucket)
                        .lifecycleConfiguration(LifecycleConfiguration.newBuilder().rules(List.of(rule)).build()).build());
            }
            case "delete_lifecycle" -> run("deleteBucketLifecycle", DeleteBucketLifecycleRequest.newBuilder().bucket(bucket).build());
            case "create_bucket" -> run("putBucket", PutBucketRequest.newBuilder().bucket(bucket).build());
            case "delete_bucket" -> run("deleteBucket", DeleteBucketRequest.newBuilder().bucket(bucket).build());
            default -> throw new UnsupportedOperationException(call.text("method"));
        }
        return null;
    }

    private Object get(Bridge.Call call) throws Exception {
        GetObjectRequest.Builder request = GetObjectRequest.newBuilder().bucket(call.bucket()).key(call.key());
        if (call.text("range") != null) {
            request.range(call.text("range"));
        }
        for (Map.Entry<String, String> option : call.map("options").entrySet()) {
            String value = option.getValue();
            switch (option.getKey()) {
                case "if-match" -> request.ifMatch(value);
                case "if-none-match" -> request.ifNoneMatch(value);
                case "if-modified-since" -> request.ifModifiedSince(value);
                case "if-unmodified-since" -> request.ifUnmodifiedSince(value);
                case "response-content-disposition" -> request.responseContentDisposition(value);
                default -> throw new UnsupportedOperationException(option.getKey());
            }
        }
        try (GetObjectResult result = run("getObject", request.build())) {
            return Bridge.reply(result.statusCode(), result.headers(), result.body().readAllBytes());
        }
    }

    private static Object page(List<ObjectSummary> objects, List<CommonPrefix> prefixes, Boolean more, String next) {
        return Bridge.page(items(objects).map(ObjectSummary::key).toList(), items(prefixes).map(CommonPrefix::prefix).toList(),
                Boolean.TRUE.equals(more), next);
    }

    /** The items of a list, none where the SDK has no list. */
    private static <T> Stream<T> items(List<T> list) {
        return list == null ? Stream.empty() : list.stream().filter(Objects::nonNull);
    }
}
