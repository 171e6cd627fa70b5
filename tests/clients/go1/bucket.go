package main

import (
	"encoding/json"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// Operations on the properties of objects, listings, and buckets.

type page struct {
	Keys     []string `json:"keys"`
	Prefixes []string `json:"prefixes"`
	Next     string   `json:"next"`
}

func onSettings(bucket *oss.Bucket, asked call) (any, error) {
	switch asked.Method {
	case "object_acl":
		found, err := bucket.GetObjectACL(asked.Key)
		return found.ACL, err
	case "set_object_acl":
		return nil, bucket.SetObjectACL(asked.Key, oss.ACLType(asked.ACL))
	case "tags":
		found, err := bucket.GetObjectTagging(asked.Key)
		tags := map[string]string{}
		for _, tag := range found.Tags {
			tags[tag.Key] = tag.Value
		}
		return tags, err
	case "set_tags":
		var tagging oss.Tagging
		for name, value := range asked.Tags {
			tagging.Tags = append(tagging.Tags, oss.Tag{Key: name, Value: value})
		}
		return nil, bucket.PutObjectTagging(asked.Key, tagging)
	case "delete_tags":
		return nil, bucket.DeleteObjectTagging(asked.Key)
	case "link":
		return nil, bucket.PutSymlink(asked.Key, asked.Target)
	case "link_target":
		headers, err := bucket.GetSymlink(asked.Key)
		return headers.Get(oss.HTTPHeaderOssSymlinkTarget), err
	}
	return nil, errNoMethod
}

func onBucket(bucket *oss.Bucket, asked call) (any, error) {
	client, name := bucket.Client, bucket.BucketName
	switch asked.Method {
	case "list_v1":
		return listV1(bucket, asked)
	case "list_v2":
		return listV2(bucket, asked)
	case "buckets":
		found, err := client.ListBuckets(oss.Prefix(name))
		names := []string{}
		for _, item := range found.Buckets {
			names = append(names, item.Name)
		}
		return names, err
	case "bucket_info":
		found, err := client.GetBucketInfo(name)
		return []string{found.BucketInfo.Name, found.BucketInfo.Location}, err
	case "bucket_location":
		return client.GetBucketLocation(name)
	case "bucket_acl":
		found, err := client.GetBucketACL(name)
		return found.ACL, err
	case "set_bucket_acl":
		return nil, client.SetBucketACL(name, oss.ACLType(asked.ACL))
	case "lifecycle":
		found, err := client.GetBucketLifecycle(name)
		ids := []string{}
		for _, rule := range found.Rules {
			ids = append(ids, rule.ID)
		}
		return ids, err
	case "set_lifecycle":
		return nil, client.SetBucketLifecycle(name, []oss.LifecycleRule{oss.BuildLifecycleRuleByDays(asked.Rule, "op/old/", true, 30)})
	case "delete_lifecycle":
		return nil, client.DeleteBucketLifecycle(name)
	case "create_bucket":
		return nil, client.CreateBucket(name)
	case "delete_bucket":
		return nil, client.DeleteBucket(name)
	}
	return nil, errNoMethod
}

func listV1(bucket *oss.Bucket, asked call) (any, error) {
	found, err := bucket.ListObjects(append(listed(asked), oss.Marker(text(asked.After)))...)
	if err != nil {
		return nil, err
	}
	return paged(found.Objects, found.CommonPrefixes, found.IsTruncated, found.NextMarker), nil
}

func listV2(bucket *oss.Bucket, asked call) (any, error) {
	options := listed(asked)
	if after := text(asked.After); after != "" {
		options = append(options, oss.ContinuationToken(after))
	}
	found, err := bucket.ListObjectsV2(options...)
	if err != nil {
		return nil, err
	}
	return paged(found.Objects, found.CommonPrefixes, found.IsTruncated, found.NextContinuationToken), nil
}

// listed returns the options of both listings. The SDK always requests encoding-type=url, and decodes.
func listed(asked call) []oss.Option {
	return []oss.Option{oss.Prefix(asked.Prefix), oss.Delimiter(asked.Delimiter), oss.MaxKeys(asked.Limit)}
}

func paged(objects []oss.ObjectProperties, prefixes []string, truncated bool, next string) page {
	found := page{Keys: []string{}, Prefixes: append([]string{}, prefixes...)}
	for _, item := range objects {
		found.Keys = append(found.Keys, item.Key)
	}
	if truncated {
		found.Next = next
	}
	return found
}

// number returns a position of the harness, which is a number for parts.
func number(value json.RawMessage) int {
	var found int
	_ = json.Unmarshal(value, &found)
	return found
}

// text returns a position of the harness, which is a text for listings.
func text(value json.RawMessage) string {
	var found string
	_ = json.Unmarshal(value, &found)
	return found
}
