package main

import (
	"bytes"
	"errors"
	"net/url"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Operations on parts, links, tags, access and bucket settings.

func (c client) appendAt(key string, position int64, body string) error {
	_, err := c.AppendObject(ctx, &oss.AppendObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr(key), Position: oss.Ptr(position), Body: bytes.NewReader([]byte(body))})
	return err
}

func (c client) appendConflict() error {
	key, plain := "op/append-conflict", "op/append-plain"
	_, err := c.stored(plain, smallBytes)
	return first(err,
		func() error { return c.remove(key) },
		func() error { return c.appendAt(key, 0, "first") },
		func() error { return refused(c.appendAt(key, 3, "late"), 409, "PositionNotEqualToLength") },
		func() error { return refused(c.appendAt(plain, smallBytes, "x"), 409, "ObjectNotAppendable") })
}

func (c client) partCopy() error {
	source, key := "op/copy/源 +%2F&?#'$@=.txt", "op/part copy+1"
	body, err := c.stored(source, 150_000)
	if err != nil {
		return err
	}
	upload, err := c.initiate(key)
	if err != nil {
		return err
	}
	var sent oss.CompleteMultipartUpload
	for index, part := range []struct {
		limit *string
		want  []byte
	}{{nil, body}, {oss.Ptr("bytes=10-99"), body[10:100]}} {
		number := int32(index + 1)
		result, err := c.UploadPartCopy(ctx, &oss.UploadPartCopyRequest{
			Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, PartNumber: number, SourceKey: oss.Ptr(source), Range: part.limit})
		if err := first(err, func() error { return equal(*result.ETag, etag(part.want)) }); err != nil {
			return err
		}
		sent.Parts = append(sent.Parts, oss.UploadPart{PartNumber: number, ETag: result.ETag})
	}
	_, err = c.CompleteMultipartUpload(ctx, &oss.CompleteMultipartUploadRequest{
		Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, CompleteMultipartUpload: &sent})
	return first(err, func() error { return c.downloads(key, append(bytes.Clone(body), body[10:100]...)) })
}

func (c client) listPartsPaging() error {
	key := "op/many parts"
	upload, err := c.initiate(key)
	if err != nil {
		return err
	}
	for _, number := range []int32{1, 2, 5} {
		if _, err := c.uploadPart(key, upload, number, []byte("x")); err != nil {
			return err
		}
	}
	var pages [][]int32
	for _, after := range []int32{0, 2} {
		result, err := c.ListParts(ctx, &oss.ListPartsRequest{
			Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, MaxParts: 2, PartNumberMarker: after})
		if err != nil {
			return err
		}
		var numbers []int32
		for _, part := range result.Parts {
			numbers = append(numbers, part.PartNumber)
		}
		pages = append(pages, numbers)
	}
	return first(equal(pages, [][]int32{{1, 2}, {5}}), func() error { return c.abort(key, upload) })
}

func (c client) listUploads() error {
	var started, found [][2]string
	for _, key := range under("op/uploads/", "a +", "b%2F", "中") {
		upload, err := c.initiate(key)
		if err != nil {
			return err
		}
		started = append(started, [2]string{key, *upload})
	}
	request := &oss.ListMultipartUploadsRequest{Bucket: c.bucket, Prefix: oss.Ptr("op/uploads/"), MaxUploads: 1}
	for more := true; more && len(found) <= len(started); {
		page, err := c.ListMultipartUploads(ctx, request)
		if err != nil {
			return err
		}
		for _, upload := range page.Uploads {
			found = append(found, [2]string{*upload.Key, *upload.UploadId})
		}
		request.KeyMarker, request.UploadIdMarker, more = page.NextKeyMarker, page.NextUploadIdMarker, page.IsTruncated
	}
	if err := equal(found, started); err != nil {
		return err
	}
	for _, upload := range started {
		if err := c.abort(upload[0], oss.Ptr(upload[1])); err != nil {
			return err
		}
	}
	return nil
}

func (c client) abort(key string, upload *string) error {
	_, err := c.AbortMultipartUpload(ctx, &oss.AbortMultipartUploadRequest{Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload})
	return err
}

func (c client) objectACL() error {
	key := oss.Ptr("op/acl")
	_, err := c.stored(*key, smallBytes)
	is := func(want string) func() error {
		return func() error {
			result, err := c.GetObjectAcl(ctx, &oss.GetObjectAclRequest{Bucket: c.bucket, Key: key})
			return first(err, func() error { return equal(*result.ACL, want) })
		}
	}
	return first(err, is("default"), func() error {
		_, err := c.PutObjectAcl(ctx, &oss.PutObjectAclRequest{Bucket: c.bucket, Key: key, Acl: oss.ObjectACLPublicRead})
		return err
	}, is("public-read"))
}

func (c client) objectTagging() error {
	key := oss.Ptr("op/tagging")
	tags := []oss.Tag{{Key: oss.Ptr("team"), Value: oss.Ptr("a b")}, {Key: oss.Ptr("plus+"), Value: oss.Ptr("c=d/e:f")}}
	_, err := c.stored(*key, smallBytes)
	told := func() ([]oss.Tag, error) {
		result, err := c.GetObjectTagging(ctx, &oss.GetObjectTaggingRequest{Bucket: c.bucket, Key: key})
		if err != nil {
			return nil, err
		}
		return result.Tags, nil
	}
	return first(err, func() error {
		_, err := c.PutObjectTagging(ctx, &oss.PutObjectTaggingRequest{
			Bucket: c.bucket, Key: key, Tagging: &oss.Tagging{TagSet: &oss.TagSet{Tags: tags}}})
		return err
	}, func() error {
		got, err := told()
		return first(err, func() error { return equal(got, tags) })
	}, func() error {
		_, err := c.DeleteObjectTagging(ctx, &oss.DeleteObjectTaggingRequest{Bucket: c.bucket, Key: key})
		return err
	}, func() error {
		got, err := told()
		return first(err, func() error { return equal(len(got), 0) })
	})
}

func (c client) symlink() error {
	target := "op/link target 中"
	body, err := c.stored(target, smallBytes)
	if err != nil {
		return err
	}
	escaped := url.PathEscape(target) // the SDK sends the name unchanged, and OSS requires it encoded
	_, err = c.PutSymlink(ctx, &oss.PutSymlinkRequest{Bucket: c.bucket, Key: oss.Ptr("op/link"), Target: oss.Ptr(escaped)})
	return first(err, func() error { return c.downloads("op/link", body) }, func() error {
		result, err := c.GetSymlink(ctx, &oss.GetSymlinkRequest{Bucket: c.bucket, Key: oss.Ptr("op/link")})
		return first(err, func() error { return equal(*result.Target, escaped) })
	})
}

func (c client) objectMeta() error {
	body, err := c.stored("op/meta", smallBytes)
	if err != nil {
		return err
	}
	result, err := c.GetObjectMeta(ctx, &oss.GetObjectMetaRequest{Bucket: c.bucket, Key: oss.Ptr("op/meta")})
	return first(err, func() error {
		return equal([]any{result.ContentLength, *result.ETag}, []any{int64(len(body)), etag(body)})
	})
}

func (c client) bucketACL() error {
	for _, acl := range []oss.BucketACLType{oss.BucketACLPublicRead, oss.BucketACLPrivate} {
		if _, err := c.PutBucketAcl(ctx, &oss.PutBucketAclRequest{Bucket: c.bucket, Acl: acl}); err != nil {
			return err
		}
		result, err := c.GetBucketAcl(ctx, &oss.GetBucketAclRequest{Bucket: c.bucket})
		if err := first(err, func() error { return equal(*result.ACL, string(acl)) }); err != nil {
			return err
		}
	}
	return nil
}

func (c client) bucketLifecycle() error {
	unset := func() error {
		_, err := c.GetBucketLifecycle(ctx, &oss.GetBucketLifecycleRequest{Bucket: c.bucket})
		return refused(err, 404, "NoSuchLifecycle")
	}
	rule := oss.LifecycleRule{ID: oss.Ptr("rule-1"), Prefix: oss.Ptr("op/old/"), Status: oss.Ptr("Enabled"),
		Expiration: &oss.LifecycleRuleExpiration{Days: oss.Ptr(int32(30))}}
	return first(unset(), func() error {
		_, err := c.PutBucketLifecycle(ctx, &oss.PutBucketLifecycleRequest{
			Bucket: c.bucket, LifecycleConfiguration: &oss.LifecycleConfiguration{Rules: []oss.LifecycleRule{rule}}})
		return err
	}, func() error {
		result, err := c.GetBucketLifecycle(ctx, &oss.GetBucketLifecycleRequest{Bucket: c.bucket})
		if err != nil {
			return err
		}
		if len(result.LifecycleConfiguration.Rules) != 1 {
			return errors.New("not one rule")
		}
		return equal(*result.LifecycleConfiguration.Rules[0].ID, "rule-1")
	}, func() error {
		_, err := c.DeleteBucketLifecycle(ctx, &oss.DeleteBucketLifecycleRequest{Bucket: c.bucket})
		return err
	}, unset)
}

func (c client) bucketCreateDelete() error {
	made := client{Client: c.Client, plan: c.plan, bucket: oss.Ptr(*c.bucket + "-made")}
	drop := func() error {
		_, err := made.DeleteBucket(ctx, &oss.DeleteBucketRequest{Bucket: made.bucket})
		return err
	}
	_, err := made.PutBucket(ctx, &oss.PutBucketRequest{Bucket: made.bucket})
	return first(err,
		func() error { return made.put("k", []byte("x")) },
		func() error { return refused(drop(), 409, "BucketNotEmpty") },
		func() error { return made.remove("k") },
		drop,
		func() error { return refused(made.put("k", []byte("x")), 404, "NoSuchBucket") })
}
