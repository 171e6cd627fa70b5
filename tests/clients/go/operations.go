package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

var ctx = context.Background()

const smallBytes = 1000

func (c client) operations() map[string]func() error {
	table := map[string]func() error{
		"head":                 c.head,
		"head-missing":         c.headMissing,
		"delete":               c.deleteOne,
		"delete-missing":       func() error { return c.remove("op/absent") },
		"content-type":         c.contentType,
		"user-metadata":        c.userMetadata,
		"utf8-metadata":        c.utf8Metadata,
		"response-override":    c.responseOverride,
		"append":               c.append,
		"range":                func() error { return c.ranged("bytes=10-99", 10, 100) },
		"range-open":           func() error { return c.ranged("bytes=900-", 900, smallBytes) },
		"range-suffix":         func() error { return c.ranged("bytes=-25", smallBytes-25, smallBytes) },
		"if-none-match":        c.ifNoneMatch,
		"if-match":             c.ifMatch,
		"if-modified-since":    c.ifModifiedSince,
		"if-unmodified-since":  c.ifUnmodifiedSince,
		"list-v1":              func() error { return c.listing(c.listV1) },
		"list-v1-paging":       func() error { return c.paging(c.listV1) },
		"list-v1-encoding":     func() error { return c.encoding(c.listV1) },
		"list-v2":              func() error { return c.listing(c.listV2) },
		"list-v2-paging":       func() error { return c.paging(c.listV2) },
		"list-v2-encoding":     func() error { return c.encoding(c.listV2) },
		"append-conflict":      c.appendConflict,
		"multi-delete":         c.multiDelete,
		"copy":                 c.copy,
		"multipart":            c.multipart,
		"multipart-abort":      c.multipartAbort,
		"part-copy":            c.partCopy,
		"list-parts-paging":    c.listPartsPaging,
		"list-uploads":         c.listUploads,
		"object-acl":           c.objectACL,
		"object-tagging":       c.objectTagging,
		"symlink":              c.symlink,
		"object-meta":          c.objectMeta,
		"bucket-acl":           c.bucketACL,
		"bucket-lifecycle":     c.bucketLifecycle,
		"bucket-create-delete": c.bucketCreateDelete,
		"presigned-put":        c.presignedPut,
		"list-buckets":         c.listBuckets,
		"bucket-info":          c.bucketInfo,
		"bucket-location":      c.bucketLocation,
		"missing-key":          func() error { return c.absent("op/absent") },
		"stream-upload":        c.streamUpload,
		"presigned-get":        c.presignedGet,
		"expect-continue":      c.expectContinue,
		"refused-put":          func() error { return refused(c.put("op/refused", []byte("x")), 403, c.plan.Refusal) },
		"refused-get":          func() error { return c.refusedGet("op/refused", nil, 403, c.plan.Refusal) },
		"refused-list": func() error {
			_, err := c.listV2(query{prefix: "op/"})
			return refused(err, 403, c.plan.Refusal)
		},
	}
	for name, size := range map[string]int{"0": 0, "1": 1, "1k": 1024, "256k": 256*1024 + 1, "5m": 5*1024*1024 + 3} {
		table["put-get-"+name] = func() error { return c.putGet("op/put-get-"+name, size) }
	}
	maps.Copy(table, c.scoped())
	for _, item := range c.plan.Writes {
		table["write:"+item.Name] = func() error { return c.put(item.Key, []byte(item.Body)) }
	}
	for _, item := range c.plan.Reads {
		table["read:"+item.Name] = func() error { return c.readBack(item) }
	}
	for _, item := range c.plan.URLs {
		table["sign:"+item.Name] = func() error { return c.sign(item) }
	}
	for _, item := range c.plan.Audits {
		table["audit:"+item.Bucket] = func() error { return c.audit(item) }
	}
	return table
}

// first runs the steps until one fails, unless there is an error already.
func first(err error, steps ...func() error) error {
	for _, step := range steps {
		if err != nil {
			break
		}
		err = step()
	}
	return err
}

func equal(got, want any) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("got %.160q, expected %.160q", fmt.Sprint(got), fmt.Sprint(want))
	}
	return nil
}

func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got %d bytes %.60q, expected %d bytes %.60q", len(got), got, len(want), want)
	}
	return nil
}

func random(size int) []byte {
	body := make([]byte, size)
	rand.Read(body)
	return body
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"`
}

func under(prefix string, names ...string) []string {
	keys := make([]string, len(names))
	for index, name := range names {
		keys[index] = prefix + name
	}
	return keys
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
