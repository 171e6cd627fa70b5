package main

import (
	"fmt"
	"strings"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// audit reads the content of a bucket with signed requests. Keys that start with `op/` belong to operations.
type audit struct {
	Bucket  string   `json:"bucket"`
	Objects []object `json:"objects"`
	// Loose permits unexpected keys.
	Loose bool `json:"loose"`
}

// audit returns nil if the bucket has exactly these keys with exactly these bytes. Each error begins with the name of the key.
func (c client) audit(wanted audit) error {
	found, err := c.keysOf(wanted.Bucket)
	if err != nil {
		return err
	}
	var wrong []string
	for _, item := range wanted.Objects {
		if !found[item.Key] {
			wrong = append(wrong, fmt.Sprintf("%s: no such key", item.Name))
		} else if err := c.readBack(object{Key: item.Key, Body: item.Body, Bucket: wanted.Bucket}); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", item.Name, err))
		}
		delete(found, item.Key)
	}
	for key := range found {
		if !strings.HasPrefix(key, "op/") && !wanted.Loose {
			wrong = append(wrong, fmt.Sprintf("stray: %q", key))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return nil
}

func (c client) keysOf(bucket string) (map[string]bool, error) {
	found := map[string]bool{}
	pages := c.NewListObjectsV2Paginator(&oss.ListObjectsV2Request{Bucket: oss.Ptr(bucket), EncodingType: oss.Ptr("url"), MaxKeys: 100})
	for pages.HasNext() {
		got, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range got.Contents {
			found[oss.ToString(item.Key)] = true
		}
	}
	return found, nil
}
