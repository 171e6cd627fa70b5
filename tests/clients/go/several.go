package main

import (
	"bytes"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Operations with several objects or requests.

func (c client) multiDelete() error {
	keys := []string{"op/many/a b+c%2F", "op/many/<&>'\"", "op/many/中文", "op/many/plain"}
	var objects []oss.DeleteObject
	for _, key := range append([]string{"op/many-kept"}, keys...) {
		if err := c.put(key, []byte("x")); err != nil {
			return err
		}
	}
	for _, key := range keys {
		objects = append(objects, oss.DeleteObject{Key: oss.Ptr(key)})
	}
	if _, err := c.DeleteMultipleObjects(ctx, &oss.DeleteMultipleObjectsRequest{Bucket: c.bucket, Objects: objects}); err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.absent(key); err != nil {
			return err
		}
	}
	return c.downloads("op/many-kept", []byte("x"))
}

func (c client) copy() error {
	source, target := "op/copy/源 +%2F&?#'$@=.txt", "op/copy/target +1"
	body := random(5000)
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr(source), ContentType: oss.Ptr("text/x-copied"), Body: bytes.NewReader(body)})
	if err != nil {
		return err
	}
	_, err = c.CopyObject(ctx, &oss.CopyObjectRequest{Bucket: c.bucket, Key: oss.Ptr(target), SourceKey: oss.Ptr(source)})
	if err != nil {
		return err
	}
	head, err := c.headOf(target)
	return first(err, func() error { return equal(*head.ContentType, "text/x-copied") }, func() error { return c.downloads(target, body) })
}

func (c client) initiate(key string) (*string, error) {
	result, err := c.InitiateMultipartUpload(ctx, &oss.InitiateMultipartUploadRequest{Bucket: c.bucket, Key: oss.Ptr(key)})
	if err != nil {
		return nil, err
	}
	return result.UploadId, nil
}

func (c client) uploadPart(key string, upload *string, number int32, body []byte) (oss.UploadPart, error) {
	result, err := c.UploadPart(ctx, &oss.UploadPartRequest{
		Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, PartNumber: number, Body: bytes.NewReader(body)})
	if err != nil {
		return oss.UploadPart{}, err
	}
	return oss.UploadPart{PartNumber: number, ETag: result.ETag}, nil
}

func (c client) parts(key string, upload *string) ([]int32, error) {
	result, err := c.ListParts(ctx, &oss.ListPartsRequest{Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload})
	if err != nil {
		return nil, err
	}
	var numbers []int32
	for _, part := range result.Parts {
		numbers = append(numbers, part.PartNumber)
	}
	return numbers, nil
}

func (c client) multipart() error {
	key := "op/multi part+1"
	upload, err := c.initiate(key)
	if err != nil {
		return err
	}
	bodies := [][]byte{random(128 * 1024), random(128 * 1024), random(smallBytes)}
	var sent oss.CompleteMultipartUpload
	for index, body := range bodies {
		part, err := c.uploadPart(key, upload, int32(index+1), body)
		if err != nil {
			return err
		}
		sent.Parts = append(sent.Parts, part)
	}
	numbers, err := c.parts(key, upload)
	if err := first(err, func() error { return equal(numbers, []int32{1, 2, 3}) }); err != nil {
		return err
	}
	_, err = c.CompleteMultipartUpload(ctx, &oss.CompleteMultipartUploadRequest{
		Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload, CompleteMultipartUpload: &sent})
	return first(err, func() error { return c.downloads(key, bytes.Join(bodies, nil)) })
}

func (c client) multipartAbort() error {
	key := "op/aborted"
	upload, err := c.initiate(key)
	if err != nil {
		return err
	}
	if _, err := c.uploadPart(key, upload, 1, random(smallBytes)); err != nil {
		return err
	}
	if _, err := c.AbortMultipartUpload(ctx, &oss.AbortMultipartUploadRequest{Bucket: c.bucket, Key: oss.Ptr(key), UploadId: upload}); err != nil {
		return err
	}
	_, err = c.parts(key, upload)
	return refused(err, 404, "NoSuchUpload")
}
