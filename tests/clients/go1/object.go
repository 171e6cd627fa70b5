package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// Operations on one object, and on the parts of an upload.

type reply struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

func onObject(bucket *oss.Bucket, asked call) (any, error) {
	switch asked.Method {
	case "put":
		return nil, bucket.PutObject(asked.Key, bytes.NewReader(asked.Body), described(asked)...)
	case "put_stream":
		return nil, bucket.PutObject(asked.Key, struct{ io.Reader }{bytes.NewReader(asked.Body)}) // a reader of unknown length
	case "get":
		return get(bucket, asked)
	case "head":
		headers, err := bucket.GetObjectDetailedMeta(asked.Key)
		return reply{Status: 200, Headers: lower(headers)}, err
	case "meta":
		headers, err := bucket.GetObjectMeta(asked.Key)
		return []string{headers.Get("Content-Length"), headers.Get("ETag")}, err
	case "delete":
		return nil, bucket.DeleteObject(asked.Key)
	case "delete_many":
		_, err := bucket.DeleteObjects(asked.Keys)
		return nil, err
	case "copy":
		_, err := bucket.CopyObject(asked.Source, asked.Key)
		return nil, err
	case "append":
		return bucket.AppendObject(asked.Key, bytes.NewReader(asked.Body), asked.Position)
	case "presign":
		return bucket.SignURL(asked.Key, oss.HTTPMethod(asked.Verb), asked.Seconds)
	}
	return nil, errNoMethod
}

func described(asked call) []oss.Option {
	var options []oss.Option
	if asked.ContentType != "" {
		options = append(options, oss.ContentType(asked.ContentType))
	}
	for name, value := range asked.Metadata {
		options = append(options, oss.Meta(name, value))
	}
	return options
}

// get reads an object, and compares its checksum as GetObjectToFile does.
func get(bucket *oss.Bucket, asked call) (any, error) {
	var options []oss.Option
	if asked.Range != "" {
		options = append(options, oss.NormalizedRange(strings.TrimPrefix(asked.Range, "bytes=")))
	}
	for name, value := range asked.Options {
		option, err := condition(name, value)
		if err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	result, err := bucket.DoGetObject(&oss.GetObjectRequest{ObjectKey: asked.Key}, options)
	if err != nil {
		return nil, err
	}
	defer result.Response.Body.Close()
	body, err := io.ReadAll(result.Response.Body)
	if err == nil && result.ClientCRC != nil {
		result.Response.ClientCRC = result.ClientCRC.Sum64()
		err = oss.CheckCRC(result.Response, "GetObject")
	}
	return reply{result.Response.StatusCode, lower(result.Response.Headers), body}, err
}

func condition(name, value string) (oss.Option, error) {
	at, err := time.Parse(http.TimeFormat, value)
	switch {
	case name == "if-match":
		return oss.IfMatch(value), nil
	case name == "if-none-match":
		return oss.IfNoneMatch(value), nil
	case name == "response-content-disposition":
		return oss.ResponseContentDisposition(value), nil
	case name == "if-modified-since":
		return oss.IfModifiedSince(at), err
	case name == "if-unmodified-since":
		return oss.IfUnmodifiedSince(at), err
	}
	return nil, fmt.Errorf("no option %s", name)
}

func lower(headers http.Header) map[string]string {
	found := map[string]string{}
	for name := range headers {
		found[strings.ToLower(name)] = headers.Get(name)
	}
	return found
}

func onParts(bucket *oss.Bucket, asked call) (any, error) {
	upload := oss.InitiateMultipartUploadResult{Bucket: bucket.BucketName, Key: asked.Key, UploadID: asked.Upload}
	switch asked.Method {
	case "initiate":
		started, err := bucket.InitiateMultipartUpload(asked.Key)
		return started.UploadID, err
	case "upload_part":
		sent, err := bucket.UploadPart(upload, bytes.NewReader(asked.Body), int64(len(asked.Body)), asked.Number)
		return sent.ETag, err
	case "copy_part":
		return copyPart(bucket, upload, asked)
	case "list_parts":
		page, err := bucket.ListUploadedParts(upload, oss.MaxParts(asked.Limit), oss.PartNumberMarker(number(asked.After)))
		numbers := []int{}
		for _, item := range page.UploadedParts {
			numbers = append(numbers, item.PartNumber)
		}
		return numbers, err
	case "list_uploads":
		return uploads(bucket, asked)
	case "complete":
		var parts []oss.UploadPart
		for _, item := range asked.Parts {
			parts = append(parts, oss.UploadPart{PartNumber: item.Number, ETag: item.Tag})
		}
		_, err := bucket.CompleteMultipartUpload(upload, parts)
		return nil, err
	case "abort":
		return nil, bucket.AbortMultipartUpload(upload)
	}
	return nil, errNoMethod
}

// copyPart copies a range. The SDK has no call without one, so that of a whole object is its length.
func copyPart(bucket *oss.Bucket, upload oss.InitiateMultipartUploadResult, asked call) (any, error) {
	var first, last int64
	if asked.Range == "" {
		headers, err := bucket.GetObjectMeta(asked.Source)
		if err != nil {
			return nil, err
		}
		length, err := strconv.ParseInt(headers.Get("Content-Length"), 10, 64)
		if err != nil {
			return nil, err
		}
		last = length - 1
	} else if _, err := fmt.Sscanf(asked.Range, "bytes=%d-%d", &first, &last); err != nil {
		return nil, err
	}
	sent, err := bucket.UploadPartCopy(upload, bucket.BucketName, asked.Source, first, last-first+1, asked.Number)
	return sent.ETag, err
}

func uploads(bucket *oss.Bucket, asked call) (any, error) {
	options := []oss.Option{oss.Prefix(asked.Prefix), oss.MaxUploads(asked.Limit)}
	if asked.AfterKey != "" {
		options = append(options, oss.KeyMarker(asked.AfterKey), oss.UploadIDMarker(asked.AfterUpload))
	}
	page, err := bucket.ListMultipartUploads(options...)
	if err != nil {
		return nil, err
	}
	found := [][2]string{}
	for _, item := range page.Uploads {
		found = append(found, [2]string{item.Key, item.UploadID})
	}
	value := map[string]any{"uploads": found}
	if page.IsTruncated {
		value["next"] = [2]string{page.NextKeyMarker, page.NextUploadIDMarker}
	}
	return value, nil
}
