package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Operations on one object.

func (c client) put(key string, body []byte) error {
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key), Body: bytes.NewReader(body)})
	return err
}

func (c client) get(request oss.GetObjectRequest) (*oss.GetObjectResult, []byte, error) {
	if request.Bucket == nil {
		request.Bucket = c.bucket
	}
	result, err := c.GetObject(ctx, &request)
	if err != nil {
		return nil, nil, err
	}
	defer result.Body.Close()
	body, err := io.ReadAll(result.Body)
	return result, body, err
}

// download uses the function of the SDK that checks the checksum.
func (c client) download(key string) ([]byte, error) {
	directory, err := os.MkdirTemp("", "go-client-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "object")
	if _, err := c.GetObjectToFile(ctx, &oss.GetObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key)}, path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (c client) headOf(key string) (*oss.HeadObjectResult, error) {
	return c.HeadObject(ctx, &oss.HeadObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key)})
}

func (c client) remove(key string) error {
	_, err := c.DeleteObject(ctx, &oss.DeleteObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key)})
	return err
}

func (c client) stored(key string, size int) ([]byte, error) {
	body := random(size)
	return body, c.put(key, body)
}

func (c client) putGet(key string, size int) error {
	body, err := c.stored(key, size)
	if err != nil {
		return err
	}
	return c.downloads(key, body)
}

func (c client) downloads(key string, body []byte) error {
	got, err := c.download(key)
	return first(err, func() error { return same(got, body) })
}

func (c client) readBack(item object) error {
	_, got, err := c.get(oss.GetObjectRequest{Bucket: oss.Ptr(item.Bucket), Key: oss.Ptr(item.Key)})
	return first(err, func() error { return same(got, []byte(item.Body)) })
}

func (c client) head() error {
	body, err := c.stored("op/head", smallBytes)
	if err != nil {
		return err
	}
	head, err := c.headOf("op/head")
	if err != nil {
		return err
	}
	if head.LastModified == nil {
		return errors.New("no Last-Modified")
	}
	return equal([]any{head.ContentLength, *head.ETag}, []any{int64(len(body)), etag(body)})
}

func (c client) headMissing() error {
	_, err := c.headOf("op/absent")
	return refused(err, 404, "NoSuchKey")
}

func (c client) absent(key string) error {
	return c.refusedGet(key, nil, 404, "NoSuchKey")
}

func (c client) refusedGet(key string, condition func(*oss.GetObjectRequest), status int, code string) error {
	request := oss.GetObjectRequest{Key: oss.Ptr(key)}
	if condition != nil {
		condition(&request)
	}
	_, _, err := c.get(request)
	return refused(err, status, code)
}

func (c client) deleteOne() error {
	_, err := c.stored("op/delete", smallBytes)
	return first(err, func() error { return c.remove("op/delete") }, func() error { return c.absent("op/delete") })
}

func (c client) contentType() error {
	want := "text/x-clients; charset=utf-8"
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr("op/content-type"), ContentType: oss.Ptr(want), Body: strings.NewReader("typed")})
	if err != nil {
		return err
	}
	head, err := c.headOf("op/content-type")
	return first(err, func() error { return equal(*head.ContentType, want) })
}

func (c client) userMetadata() error {
	want := map[string]string{"plain": "value", "spaced": "two  words, and a comma", "symbols": "a+b=c&d%20%41/?~!'()*"}
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr("op/metadata"), Metadata: want, Body: strings.NewReader("described")})
	if err != nil {
		return err
	}
	head, err := c.headOf("op/metadata")
	return first(err, func() error { return equal(head.Metadata, want) })
}

func (c client) utf8Metadata() error {
	want := map[string]string{"name": "名 é"}
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr("op/metadata-utf8"), Metadata: want, Body: strings.NewReader("described")})
	if err != nil {
		return err
	}
	head, err := c.headOf("op/metadata-utf8")
	return first(err, func() error { return equal(head.Metadata, want) })
}

func (c client) responseOverride() error {
	body, err := c.stored("op/override", smallBytes)
	if err != nil {
		return err
	}
	value := `attachment; filename="a b+c&d=%2F.txt"`
	result, got, err := c.get(oss.GetObjectRequest{Key: oss.Ptr("op/override"), ResponseContentDisposition: oss.Ptr(value)})
	return first(err,
		func() error { return equal(result.Headers.Get("Content-Disposition"), value) },
		func() error { return same(got, body) })
}

func (c client) append() error {
	var position int64
	parts := [][]byte{random(smallBytes), random(5)}
	if err := c.remove("op/append"); err != nil {
		return err
	}
	for _, part := range parts {
		result, err := c.AppendObject(ctx, &oss.AppendObjectRequest{
			Bucket: c.bucket, Key: oss.Ptr("op/append"), Position: oss.Ptr(position), Body: bytes.NewReader(part)})
		if err != nil {
			return err
		}
		position = result.NextPosition
	}
	return c.downloads("op/append", bytes.Join(parts, nil))
}

func (c client) ranged(value string, from, to int) error {
	body, err := c.stored("op/range", smallBytes)
	if err != nil {
		return err
	}
	result, got, err := c.get(oss.GetObjectRequest{Key: oss.Ptr("op/range"), Range: oss.Ptr(value)})
	if err != nil {
		return err
	}
	want := fmt.Sprintf("206 bytes %d-%d/%d", from, to-1, smallBytes)
	if err := equal(fmt.Sprint(result.StatusCode, " ", oss.ToString(result.ContentRange)), want); err != nil {
		return err
	}
	return same(got, body[from:to])
}

func (c client) ifNoneMatch() error {
	body, err := c.stored("op/condition", smallBytes)
	return first(err, func() error {
		return c.refusedGet("op/condition", func(r *oss.GetObjectRequest) { r.IfNoneMatch = oss.Ptr(etag(body)) }, 304, "")
	})
}

func (c client) ifMatch() error {
	_, err := c.stored("op/condition", smallBytes)
	return first(err, func() error {
		return c.refusedGet("op/condition", func(r *oss.GetObjectRequest) { r.IfMatch = oss.Ptr(etag([]byte("another"))) }, 412, "")
	})
}

func (c client) ifModifiedSince() error {
	_, err := c.stored("op/condition", smallBytes)
	if err != nil {
		return err
	}
	head, err := c.headOf("op/condition")
	if err != nil {
		return err
	}
	since := head.LastModified.UTC().Format(http.TimeFormat)
	return c.refusedGet("op/condition", func(r *oss.GetObjectRequest) { r.IfModifiedSince = oss.Ptr(since) }, 304, "")
}

func (c client) ifUnmodifiedSince() error {
	_, err := c.stored("op/condition", smallBytes)
	since := time.Unix(1_000_000_000, 0).UTC().Format(http.TimeFormat)
	return first(err, func() error {
		return c.refusedGet("op/condition", func(r *oss.GetObjectRequest) { r.IfUnmodifiedSince = oss.Ptr(since) }, 412, "")
	})
}

func (c client) streamUpload() error {
	chunks := [][]byte{random(1), random(70_000), random(8192), random(200_001)}
	reader, writer := io.Pipe() // not seekable and without a length
	go func() {
		for _, chunk := range chunks {
			writer.Write(chunk)
		}
		writer.Close()
	}()
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{Bucket: c.bucket, Key: oss.Ptr("op/stream"), Body: reader})
	return first(err, func() error { return c.downloads("op/stream", bytes.Join(chunks, nil)) })
}

func (c client) expectContinue() error {
	body := random(50_000)
	_, err := c.PutObject(ctx, &oss.PutObjectRequest{
		Bucket: c.bucket, Key: oss.Ptr("op/expect"), Body: bytes.NewReader(body),
		RequestCommon: oss.RequestCommon{Headers: map[string]string{"Expect": "100-continue"}}})
	return first(err, func() error { return c.downloads("op/expect", body) })
}

func (c client) presignedGet() error {
	key := "op/presigned +&?.bin"
	body, err := c.stored(key, smallBytes)
	if err != nil {
		return err
	}
	signed, err := c.Presign(ctx, &oss.GetObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key)})
	if err != nil {
		return err
	}
	got, err := c.plainly(http.MethodGet, signed.URL, nil)
	return first(err, func() error { return same(got, body) })
}

func (c client) presignedPut() error {
	key, body := "op/presigned put +&?.bin", random(smallBytes)
	signed, err := c.Presign(ctx, &oss.PutObjectRequest{Bucket: c.bucket, Key: oss.Ptr(key)})
	if err != nil {
		return err
	}
	_, err = c.plainly(http.MethodPut, signed.URL, body)
	return first(err, func() error { return c.downloads(key, body) })
}

// sign presigns a URL, which the driver requests with curl.
func (c client) sign(item link) error {
	if item.Body != "" {
		if err := c.put(item.Key, []byte(item.Body)); err != nil {
			return err
		}
	}
	var request any = &oss.GetObjectRequest{Bucket: c.bucket, Key: oss.Ptr(item.Key)}
	if item.Method == http.MethodPut {
		request = &oss.PutObjectRequest{Bucket: c.bucket, Key: oss.Ptr(item.Key)}
	}
	signed, err := c.Presign(ctx, request, oss.PresignExpires(time.Duration(item.Seconds)*time.Second))
	if err == nil {
		c.signed["sign:"+item.Name] = signed.URL
	}
	return err
}

// plainly sends a request with the HTTP client of Go, through the forward proxy if there is one.
func (c client) plainly(method, address string, body []byte) ([]byte, error) {
	transport := &http.Transport{}
	if c.plan.HTTPProxy != "" {
		through, err := url.Parse(c.plan.HTTPProxy)
		if err != nil {
			return nil, err
		}
		transport.Proxy = http.ProxyURL(through)
	}
	request, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	return got, first(err, func() error { return equal(answer.StatusCode, 200) })
}
