package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Operations of a caller who is limited to keys that begin with `a/`.

// foreign is a key of another, which the driver has stored, and thousand keys below `a/many/`.
const foreign = "b/kept"

var requestID = regexp.MustCompile("^[0-9A-F]{24}$")

// denied returns nil if the SDK reports code, message and request id of a denial.
func denied(err error, action string) error {
	if wrong := refused(err, 403, "AccessDenied"); wrong != nil {
		return wrong
	}
	var answer *oss.ServiceError
	errors.As(err, &answer)
	if !strings.Contains(answer.Message, action+" ") || !requestID.MatchString(answer.RequestID) {
		return fmt.Errorf("got message %q and request id %q", answer.Message, answer.RequestID)
	}
	return nil
}

// deny returns a step that expects a denial.
func deny(call func() error, action string) func() error {
	return func() error { return denied(call(), action) }
}

func (c client) scoped() map[string]func() error {
	put := func(key string) func() error { return func() error { return c.put(key, []byte("own")) } }
	return map[string]func() error{
		"scoped-put": func() error {
			return first(put("a/put")(), deny(put("b/put"), "oss:PutObject"), deny(put("a"), "oss:PutObject"))
		},
		"scoped-get": func() error {
			get := func() error {
				_, _, err := c.get(oss.GetObjectRequest{Key: oss.Ptr(foreign)})
				return err
			}
			return first(put("a/get")(), func() error { return c.downloads("a/get", []byte("own")) }, deny(get, "oss:GetObject"))
		},
		"scoped-head": func() error {
			head := func(key string) func() error {
				return func() error {
					_, err := c.headOf(key)
					return err
				}
			}
			return first(put("a/head")(), head("a/head"), deny(head(foreign), "oss:GetObject"))
		},
		"scoped-copy": func() error {
			copied := func(source, target string) func() error {
				return func() error {
					_, err := c.CopyObject(ctx, &oss.CopyObjectRequest{Bucket: c.bucket, Key: oss.Ptr(target), SourceKey: oss.Ptr(source)})
					return err
				}
			}
			return first(put("a/source")(), copied("a/source", "a/copy"),
				func() error { return c.downloads("a/copy", []byte("own")) },
				deny(copied(foreign, "a/stolen"), "oss:GetObject"), deny(copied("a/source", "b/copy"), "oss:PutObject"))
		},
		"scoped-list":      c.scopedList,
		"scoped-multipart": c.scopedMultipart,
		"scoped-delete": func() error {
			gone := func() error { return c.lists("a/delete", nil) }
			remove := func(key string) func() error { return func() error { return c.remove(key) } }
			return first(put("a/delete")(), remove("a/delete"), gone, deny(remove(foreign), "oss:DeleteObject"))
		},
		"scoped-delete-many": c.scopedDeleteMany,
	}
}

func (c client) lists(prefix string, want []string) error {
	got, err := c.listV2(query{prefix: prefix, limit: 1000})
	return first(err, func() error { return equal(got.keys, want) })
}

func (c client) scopedList() error {
	err := c.put("a/list/one", []byte("own"))
	for _, list := range []lister{c.listV1, c.listV2} {
		err = first(err, func() error {
			got, err := list(query{prefix: "a/list/"})
			return first(err, func() error { return equal(got.keys, []string{"a/list/one"}) })
		})
		for _, prefix := range []string{"", "b/", "a"} {
			err = first(err, deny(func() error {
				_, err := list(query{prefix: prefix})
				return err
			}, "oss:ListObjects"))
		}
	}
	return err
}

func (c client) scopedMultipart() error {
	key, source, body := "a/parts", "a/part source", random(100*1024)
	if err := c.put(source, body); err != nil {
		return err
	}
	upload, err := c.initiate(key)
	if err != nil {
		return err
	}
	part, err := c.uploadPart(key, upload, 1, body)
	if err != nil {
		return err
	}
	copied := func(source string, number int32, limit string) (oss.UploadPart, error) {
		result, err := c.UploadPartCopy(ctx, &oss.UploadPartCopyRequest{
			Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, PartNumber: number, SourceKey: oss.Ptr(source), Range: oss.Ptr(limit)})
		if err != nil {
			return oss.UploadPart{}, err
		}
		return oss.UploadPart{PartNumber: number, ETag: result.ETag}, nil
	}
	second, err := copied(source, 2, "bytes=10-99")
	return first(err,
		deny(func() error {
			_, err := copied(foreign, 3, "bytes=0-1")
			return err
		}, "oss:GetObject"),
		func() error {
			numbers, err := c.parts(key, upload)
			return first(err, func() error { return equal(numbers, []int32{1, 2}) })
		},
		func() error {
			_, err := c.CompleteMultipartUpload(ctx, &oss.CompleteMultipartUploadRequest{
				Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload,
				CompleteMultipartUpload: &oss.CompleteMultipartUpload{Parts: []oss.UploadPart{part, second}}})
			return err
		},
		func() error { return c.downloads(key, append(bytes.Clone(body), body[10:100]...)) },
		deny(func() error {
			_, err := c.initiate("b/parts")
			return err
		}, "oss:PutObject"),
		deny(func() error {
			_, err := c.uploadPart("b/parts", upload, 1, body)
			return err
		}, "oss:PutObject"))
}

func (c client) scopedDeleteMany() error {
	var many []string
	for number := range 1000 {
		many = append(many, fmt.Sprintf("a/many/%04d", number))
	}
	remove := func(keys ...string) func() error {
		return func() error {
			var objects []oss.DeleteObject
			for _, key := range keys {
				objects = append(objects, oss.DeleteObject{Key: oss.Ptr(key)})
			}
			_, err := c.DeleteMultipleObjects(ctx, &oss.DeleteMultipleObjectsRequest{Bucket: c.bucket, Objects: objects})
			return err
		}
	}
	withForeign := append(append([]string{}, many[:999]...), foreign)
	return first(nil, deny(remove(withForeign...), "oss:DeleteObject"),
		func() error { return c.lists("a/many/", many) }, remove(many...), func() error { return c.lists("a/many/", nil) })
}
