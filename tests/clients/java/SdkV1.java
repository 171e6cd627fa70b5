// aliyun-sdk-oss, the first Java SDK: V1 and V4.

import com.aliyun.oss.ClientBuilderConfiguration;
import com.aliyun.oss.HttpMethod;
import com.aliyun.oss.OSS;
import com.aliyun.oss.OSSClientBuilder;
import com.aliyun.oss.OSSException;
import com.aliyun.oss.common.auth.DefaultCredentialProvider;
import com.aliyun.oss.common.comm.SignVersion;
import com.aliyun.oss.common.utils.DateUtil;
import com.aliyun.oss.common.utils.HttpUtil;
import com.aliyun.oss.model.AbortMultipartUploadRequest;
import com.aliyun.oss.model.AppendObjectRequest;
import com.aliyun.oss.model.CannedAccessControlList;
import com.aliyun.oss.model.CompleteMultipartUploadRequest;
import com.aliyun.oss.model.DeleteObjectsRequest;
import com.aliyun.oss.model.GeneratePresignedUrlRequest;
import com.aliyun.oss.model.GetObjectRequest;
import com.aliyun.oss.model.InitiateMultipartUploadRequest;
import com.aliyun.oss.model.LifecycleRule;
import com.aliyun.oss.model.ListMultipartUploadsRequest;
import com.aliyun.oss.model.ListObjectsRequest;
import com.aliyun.oss.model.ListObjectsV2Request;
import com.aliyun.oss.model.ListPartsRequest;
import com.aliyun.oss.model.OSSObjectSummary;
import com.aliyun.oss.model.ObjectMetadata;
import com.aliyun.oss.model.PartETag;
import com.aliyun.oss.model.PutObjectRequest;
import com.aliyun.oss.model.ResponseHeaderOverrides;
import com.aliyun.oss.model.SetBucketLifecycleRequest;
import com.aliyun.oss.model.UploadPartCopyRequest;
import com.aliyun.oss.model.UploadPartRequest;
import com.google.gson.JsonObject;
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.util.ArrayList;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

final class SdkV1 implements Bridge.Client {
    /** The SDK's exception has no status, so it is that of the code. */
    private static final Map<String, Integer> STATUS = Map.ofEntries(
            Map.entry("NoSuchKey", 404), Map.entry("NoSuchBucket", 404), Map.entry("NoSuchUpload", 404),
            Map.entry("NoSuchLifecycle", 404), Map.entry("NotModified", 304), Map.entry("PreconditionFailed", 412),
            Map.entry("AccessDenied", 403), Map.entry("SignatureDoesNotMatch", 403),
            Map.entry("InvalidAccessKeyId", 403), Map.entry("RequestTimeTooSkewed", 403), Map.entry("BucketNotEmpty", 409),
            Map.entry("PositionNotEqualToLength", 409), Map.entry("ObjectNotAppendable", 409));

    private final OSS oss;

    SdkV1(JsonObject plan) {
        ClientBuilderConfiguration configuration = new ClientBuilderConfiguration();
        configuration.setSignatureVersion(plan.get("signature").getAsString().equals("v1") ? SignVersion.V1 : SignVersion.V4);
        configuration.setSLDEnabled(plan.get("addressing").getAsString().equals("path"));
        configuration.setSupportCname(false); // otherwise a name outside aliyuncs.com is taken for a bucket domain, and no bucket is sent
        configuration.setVerifyObjectStrictEnable(false);
        configuration.setMaxErrorRetry(0); // a retry would hide a fault
        configuration.setEnableAutoCorrectClockSkew(plan.get("corrects_clock").getAsBoolean());
        if (!plan.get("http_proxy").getAsString().isEmpty()) {
            URI proxy = URI.create(plan.get("http_proxy").getAsString());
            configuration.setProxyHost(proxy.getHost());
            configuration.setProxyPort(proxy.getPort());
        }
        String token = plan.get("security_token").getAsString();
        oss = OSSClientBuilder.create()
                .endpoint(plan.get("endpoint").getAsString())
                .region(plan.get("region").getAsString())
                .credentialsProvider(new DefaultCredentialProvider(
                        plan.get("access_key_id").getAsString(), plan.get("access_key_secret").getAsString(),
                        token.isEmpty() ? null : token))
                .clientConfiguration(configuration)
                .build();
    }

    @Override
    public Object call(Bridge.Call call) throws Exception {
        try {
            return onObject(call);
        } catch (OSSException error) {
            throw new Bridge.Refused(STATUS.getOrDefault(error.getErrorCode(), 0), error.getErrorCode(), error.getErrorMessage(), error.getRequestId());
        }
    }

    private Object onObject(Bridge.Call call) throws Exception {
        String bucket = call.bucket();
        String key = call.key();
        switch (call.text("method")) {
            case "put" -> put(call);
            case "put_stream" -> oss.putObject(bucket, key, unsized(call.body()));
            case "get" -> {
                return get(call);
            }
            case "head" -> {
                return Bridge.reply(200, headers(oss.headObject(bucket, key)), new byte[0]);
            }
            case "delete" -> oss.deleteObject(bucket, key);
            case "delete_many" -> oss.deleteObjects(new DeleteObjectsRequest(bucket).withKeys(call.keys()).withEncodingType("url"));
            case "copy" -> oss.copyObject(bucket, call.text("source"), bucket, key);
            case "append" -> {
                return oss.appendObject(new AppendObjectRequest(bucket, key, new ByteArrayInputStream(call.body()))
                        .withPosition(call.number("position"))).getNextPosition();
            }
            case "presign" -> {
                GeneratePresignedUrlRequest request = new GeneratePresignedUrlRequest(bucket, key, HttpMethod.valueOf(call.text("verb")));
                request.setExpiration(new Date(System.currentTimeMillis() + 1000 * call.number("seconds")));
                return oss.generatePresignedUrl(request).toString();
            }
            default -> {
                return onParts(call, bucket, key);
            }
        }
        return null;
    }

    private Object onParts(Bridge.Call call, String bucket, String key) throws Exception {
        switch (call.text("method")) {
            case "initiate" -> {
                return oss.initiateMultipartUpload(new InitiateMultipartUploadRequest(bucket, key)).getUploadId();
            }
            case "upload_part" -> {
                byte[] body = call.body();
                return oss.uploadPart(new UploadPartRequest(bucket, key, call.text("upload"), (int) call.number("number"),
                        new ByteArrayInputStream(body), body.length)).getETag();
            }
            case "copy_part" -> {
                return copyPart(call);
            }
            case "list_parts" -> {
                ListPartsRequest request = new ListPartsRequest(bucket, key, call.text("upload"));
                request.setMaxParts((int) call.number("limit"));
                if (call.number("after") > 0) {
                    request.setPartNumberMarker((int) call.number("after"));
                }
                return oss.listParts(request).getParts().stream().map(part -> part.getPartNumber()).toList();
            }
            case "list_uploads" -> {
                ListMultipartUploadsRequest request = new ListMultipartUploadsRequest(bucket);
                request.setPrefix(call.text("prefix"));
                request.setMaxUploads((int) call.number("limit"));
                request.setKeyMarker(call.given("after_key"));
                request.setUploadIdMarker(call.given("after_upload"));
                var page = oss.listMultipartUploads(request);
                return Bridge.uploads(page.getMultipartUploads().stream().map(item -> List.of(item.getKey(), item.getUploadId())).toList(),
                        page.isTruncated(), page.getNextKeyMarker(), page.getNextUploadIdMarker());
            }
            case "complete" -> oss.completeMultipartUpload(new CompleteMultipartUploadRequest(bucket, key, call.text("upload"),
                    new ArrayList<>(call.parts().stream()
                            .map(part -> new PartETag(part.get("number").getAsInt(), part.get("tag").getAsString())).toList())));
            case "abort" -> oss.abortMultipartUpload(new AbortMultipartUploadRequest(bucket, key, call.text("upload")));
            default -> {
                return onSettings(call, bucket, key);
            }
        }
        return null;
    }

    private Object onSettings(Bridge.Call call, String bucket, String key) throws Exception {
        switch (call.text("method")) {
            case "object_acl" -> {
                return oss.getObjectAcl(bucket, key).getPermission().toString();
            }
            case "set_object_acl" -> oss.setObjectAcl(bucket, key, CannedAccessControlList.parse(call.text("acl")));
            case "tags" -> {
                return oss.getObjectTagging(bucket, key).getAllTags();
            }
            case "set_tags" -> oss.setObjectTagging(bucket, key, call.map("tags"));
            case "delete_tags" -> oss.deleteObjectTagging(bucket, key);
            case "link" -> oss.createSymlink(bucket, key, call.text("target"));
            case "link_target" -> {
                return oss.getSymlink(bucket, key).getTarget();
            }
            case "meta" -> {
                var meta = oss.getSimplifiedObjectMeta(bucket, key);
                return List.of(meta.getSize(), meta.getETag());
            }
            default -> {
                return onBucket(call, bucket);
            }
        }
        return null;
    }

    private Object onBucket(Bridge.Call call, String bucket) throws Exception {
        switch (call.text("method")) {
            case "list_v1" -> {
                ListObjectsRequest request = new ListObjectsRequest(bucket, call.text("prefix"), call.given("after"),
                        call.given("delimiter"), (int) call.number("limit"));
                if (call.flag("encoded")) {
                    request.setEncodingType("url");
                }
                var page = oss.listObjects(request);
                return Bridge.page(names(page.getObjectSummaries(), call), page.getCommonPrefixes(), page.isTruncated(), page.getNextMarker());
            }
            case "list_v2" -> {
                var page = oss.listObjectsV2(new ListObjectsV2Request(bucket).withPrefix(call.text("prefix"))
                        .withDelimiter(call.given("delimiter")).withMaxKeys((int) call.number("limit"))
                        .withContinuationToken(call.given("after")).withEncodingType(call.flag("encoded") ? "url" : null));
                return Bridge.page(names(page.getObjectSummaries(), call), page.getCommonPrefixes(), page.isTruncated(),
                        page.getNextContinuationToken());
            }
            case "buckets" -> {
                return oss.listBuckets().stream().map(item -> item.getName()).toList();
            }
            case "bucket_info" -> {
                var found = oss.getBucketInfo(bucket).getBucket();
                return List.of(found.getName(), found.getLocation());
            }
            case "bucket_location" -> {
                return oss.getBucketLocation(bucket);
            }
            case "bucket_acl" -> {
                return oss.getBucketAcl(bucket).getCannedACL().toString();
            }
            case "set_bucket_acl" -> oss.setBucketAcl(bucket, CannedAccessControlList.parse(call.text("acl")));
            case "lifecycle" -> {
                return oss.getBucketLifecycle(bucket).stream().map(LifecycleRule::getId).toList();
            }
            case "set_lifecycle" -> {
                SetBucketLifecycleRequest request = new SetBucketLifecycleRequest(bucket);
                request.AddLifecycleRule(new LifecycleRule(call.text("rule"), "op/old/", LifecycleRule.RuleStatus.Enabled, 30));
                oss.setBucketLifecycle(request);
            }
            case "delete_lifecycle" -> oss.deleteBucketLifecycle(bucket);
            case "create_bucket" -> oss.createBucket(bucket);
            case "delete_bucket" -> oss.deleteBucket(bucket);
            default -> throw new UnsupportedOperationException(call.text("method"));
        }
        return null;
    }

    /** The keys of a page. Those that were asked for encoded, the SDK leaves so. */
    private static List<String> names(List<OSSObjectSummary> objects, Bridge.Call call) {
        return objects.stream().map(OSSObjectSummary::getKey)
                .map(key -> call.flag("encoded") ? HttpUtil.urlDecode(key, "utf-8") : key).toList();
    }

    private void put(Bridge.Call call) {
        byte[] body = call.body();
        ObjectMetadata metadata = new ObjectMetadata();
        metadata.setContentLength(body.length);
        if (call.text("content_type") != null) {
            metadata.setContentType(call.text("content_type"));
        }
        metadata.setUserMetadata(call.map("metadata"));
        oss.putObject(new PutObjectRequest(call.bucket(), call.key(), new ByteArrayInputStream(body), metadata));
    }

    private Object get(Bridge.Call call) throws Exception {
        GetObjectRequest request = new GetObjectRequest(call.bucket(), call.key());
        if (call.text("range") != null) {
            String[] ends = call.text("range").substring("bytes=".length()).split("-", -1);
            request.setRange(ends[0].isEmpty() ? -1 : Long.parseLong(ends[0]), ends[1].isEmpty() ? -1 : Long.parseLong(ends[1]));
        }
        for (Map.Entry<String, String> option : call.map("options").entrySet()) {
            String value = option.getValue();
            switch (option.getKey()) {
                case "if-match" -> request.setMatchingETagConstraints(List.of(value));
                case "if-none-match" -> request.setNonmatchingETagConstraints(List.of(value));
                case "if-modified-since" -> request.setModifiedSinceConstraint(DateUtil.parseRfc822Date(value));
                case "if-unmodified-since" -> request.setUnmodifiedSinceConstraint(DateUtil.parseRfc822Date(value));
                case "response-content-disposition" -> {
                    ResponseHeaderOverrides headers = new ResponseHeaderOverrides();
                    headers.setContentDisposition(value);
                    request.setResponseHeaders(headers);
                }
                default -> throw new UnsupportedOperationException(option.getKey());
            }
        }
        try (var object = oss.getObject(request)) {
            byte[] body = object.getObjectContent().readAllBytes();
            return Bridge.reply(object.getResponse().getStatusCode(), headers(object.getObjectMetadata()), body);
        }
    }

    private Object copyPart(Bridge.Call call) {
        UploadPartCopyRequest request = new UploadPartCopyRequest(call.bucket(), call.text("source"), call.bucket(), call.key());
        request.setUploadId(call.text("upload"));
        request.setPartNumber((int) call.number("number"));
        if (call.text("range") != null) {
            String[] ends = call.text("range").substring("bytes=".length()).split("-");
            request.setBeginIndex(Long.parseLong(ends[0]));
            request.setPartSize(Long.parseLong(ends[1]) - Long.parseLong(ends[0]) + 1);
        }
        return oss.uploadPartCopy(request).getETag();
    }

    private static Map<String, String> headers(ObjectMetadata metadata) {
        Map<String, String> headers = new LinkedHashMap<>();
        metadata.getRawMetadata().forEach((name, value) ->
                headers.put(name, value instanceof Date date ? DateUtil.formatRfc822Date(date) : String.valueOf(value)));
        metadata.getUserMetadata().forEach((name, value) -> headers.put("x-oss-meta-" + name, value));
        return headers;
    }

    /** A stream whose length the SDK cannot see. */
    private static InputStream unsized(byte[] body) {
        return new FilterInputStream(new ByteArrayInputStream(body)) {
            @Override
            public int available() throws IOException {
                return 0;
            }
        };
    }
}
