package main

import (
	"fmt"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Listings, and properties of buckets.

type query struct {
	prefix, delimiter, after, encoding string
	limit                              int32
}

type page struct {
	keys, prefixes []string
	next           string
}

func (c client) listV1(q query) (page, error) {
	result, err := c.ListObjects(ctx, &oss.ListObjectsRequest{
		Bucket: c.bucket, Prefix: oss.Ptr(q.prefix), Delimiter: optional(q.delimiter), Marker: optional(q.after),
		EncodingType: optional(q.encoding), MaxKeys: q.limit})
	if err != nil {
		return page{}, err
	}
	return paged(result.Contents, result.CommonPrefixes, result.IsTruncated, result.NextMarker), nil
}

func (c client) listV2(q query) (page, error) {
	result, err := c.ListObjectsV2(ctx, &oss.ListObjectsV2Request{
		Bucket: c.bucket, Prefix: oss.Ptr(q.prefix), Delimiter: optional(q.delimiter), ContinuationToken: optional(q.after),
		EncodingType: optional(q.encoding), MaxKeys: q.limit})
	if err != nil {
		return page{}, err
	}
	return paged(result.Contents, result.CommonPrefixes, result.IsTruncated, result.NextContinuationToken), nil
}

func paged(contents []oss.ObjectProperties, prefixes []oss.CommonPrefix, truncated bool, next *string) page {
	var p page
	for _, item := range contents {
		p.keys = append(p.keys, oss.ToString(item.Key))
	}
	for _, item := range prefixes {
		p.prefixes = append(p.prefixes, oss.ToString(item.Prefix))
	}
	if truncated {
		p.next = oss.ToString(next)
	}
	return p
}

type lister func(query) (page, error)

func (c client) tree() (string, []string, error) {
	prefix := "op/list/"
	keys := under(prefix, "a", "b", "dir/1", "dir/2", "sub dir+/x", "z", "é")
	for _, key := range keys {
		if err := c.put(key, []byte("x")); err != nil {
			return "", nil, err
		}
	}
	return prefix, keys, nil
}

func (c client) listing(list lister) error {
	prefix, _, err := c.tree()
	if err != nil {
		return err
	}
	got, err := list(query{prefix: prefix, delimiter: "/"})
	want := page{keys: under(prefix, "a", "b", "z", "é"), prefixes: under(prefix, "dir/", "sub dir+/")}
	return first(err, func() error { return equal(got, want) })
}

func (c client) paging(list lister) error {
	prefix, keys, err := c.tree()
	if err != nil {
		return err
	}
	var seen []string
	q := query{prefix: prefix, limit: 2}
	for range keys {
		got, err := list(q)
		if err != nil {
			return err
		}
		if len(got.keys) > 2 {
			return fmt.Errorf("a page of %d keys", len(got.keys))
		}
		seen = append(seen, got.keys...)
		if q.after = got.next; q.after == "" {
			break
		}
	}
	return equal(seen, keys)
}

func (c client) encoding(list lister) error {
	prefix := "op/encoding +/"
	keys := under(prefix, "\x01control", " space", "%20", "+", "<&>", "é", "中文")
	for _, key := range keys {
		if err := c.put(key, nil); err != nil {
			return err
		}
	}
	got, err := list(query{prefix: prefix, encoding: "url"})
	return first(err, func() error { return equal(got.keys, keys) })
}

func (c client) listBuckets() error {
	result, err := c.ListBuckets(ctx, &oss.ListBucketsRequest{Prefix: c.bucket})
	if err != nil {
		return err
	}
	for _, bucket := range result.Buckets {
		if oss.ToString(bucket.Name) == c.plan.Bucket {
			return nil
		}
	}
	return fmt.Errorf("%s is not among %d buckets", c.plan.Bucket, len(result.Buckets))
}

func (c client) bucketInfo() error {
	result, err := c.GetBucketInfo(ctx, &oss.GetBucketInfoRequest{Bucket: c.bucket})
	if err != nil {
		return err
	}
	info := result.BucketInfo
	return equal([]string{oss.ToString(info.Name), oss.ToString(info.Location)}, []string{c.plan.Bucket, "oss-" + c.plan.Region})
}

func (c client) bucketLocation() error {
	result, err := c.GetBucketLocation(ctx, &oss.GetBucketLocationRequest{Bucket: c.bucket})
	return first(err, func() error { return equal(oss.ToString(result.LocationConstraint), "oss-"+c.plan.Region) })
}
