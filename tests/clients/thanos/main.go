// The object storage of Thanos with its OSS provider: one JSON line per call, one per result; see ../python/bridge.py.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	alioss "github.com/aliyun/aliyun-oss-go-sdk/oss"
	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/oss"
)

type plan struct {
	Endpoint  string `json:"endpoint"`
	Bucket    string `json:"bucket"`
	KeyID     string `json:"access_key_id"`
	KeySecret string `json:"access_key_secret"`
	Proxy     string `json:"http_proxy"`
}

type call struct {
	Method    string `json:"method"`
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	Body      []byte `json:"body"`
	Range     string `json:"range"`
	Prefix    string `json:"prefix"`
	Delimiter string `json:"delimiter"`
}

type reply struct {
	Status  int            `json:"status"`
	Headers map[string]any `json:"headers"`
	Body    []byte         `json:"body"`
}

type page struct {
	Keys     []string `json:"keys"`
	Prefixes []string `json:"prefixes"`
}

var ctx = context.Background()

func main() {
	text, err := os.ReadFile(os.Args[1])
	var wanted plan
	if err = errors.Join(err, json.Unmarshal(text, &wanted)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if wanted.Proxy != "" {
		os.Setenv("http_proxy", wanted.Proxy)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		answer, _ := json.Marshal(wanted.answer(line))
		fmt.Println(string(answer))
	}
}

func (p plan) answer(line []byte) map[string]any {
	var asked call
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]any{"error": err.Error()}
	}
	value, err := p.perform(asked)
	var refusal alioss.ServiceError
	switch {
	case errors.As(err, &refusal):
		return map[string]any{"status": refusal.StatusCode, "code": refusal.Code, "message": refusal.Message}
	case err != nil:
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"value": value}
}

// bucket returns a new client for each call; with a wrapped transport it uses http_proxy.
func (p plan) bucket(name string) (*oss.Bucket, error) {
	config := oss.Config{Endpoint: p.Endpoint, Bucket: name, AccessKeyID: p.KeyID, AccessKeySecret: p.KeySecret}
	same := func(transport http.RoundTripper) http.RoundTripper { return transport }
	return oss.NewBucketWithConfig(log.NewNopLogger(), config, "clients", same)
}

func (p plan) perform(asked call) (any, error) {
	bucket, err := p.bucket(asked.Bucket)
	if err != nil {
		return nil, err
	}
	switch asked.Method {
	case "put":
		return nil, bucket.Upload(ctx, asked.Key, bytes.NewReader(asked.Body))
	case "get":
		return get(bucket, asked)
	case "head":
		found, err := bucket.Attributes(ctx, asked.Key)
		return reply{Status: 200, Headers: map[string]any{"content-length": found.Size, "last-modified": found.LastModified}}, err
	case "delete":
		return nil, bucket.Delete(ctx, asked.Key)
	case "list_v1":
		return list(bucket, asked)
	}
	return nil, fmt.Errorf("no method %s", asked.Method)
}

func get(bucket *oss.Bucket, asked call) (any, error) {
	from, length := int64(0), int64(-1)
	if asked.Range != "" {
		var last int64
		if _, err := fmt.Sscanf(asked.Range, "bytes=%d-%d", &from, &last); err != nil {
			return nil, err
		}
		length = last - from + 1
	}
	var body io.ReadCloser
	var err error
	if length < 0 {
		body, err = bucket.Get(ctx, asked.Key)
	} else {
		body, err = bucket.GetRange(ctx, asked.Key, from, length)
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return reply{Status: 200, Body: text}, err
}

func list(bucket *oss.Bucket, asked call) (any, error) {
	found := page{Keys: []string{}, Prefixes: []string{}}
	var options []objstore.IterOption
	if asked.Delimiter == "" {
		options = append(options, objstore.WithRecursiveIter())
	}
	err := bucket.Iter(ctx, asked.Prefix, func(name string) error {
		if strings.HasSuffix(name, "/") {
			found.Prefixes = append(found.Prefixes, name)
		} else {
			found.Keys = append(found.Keys, name)
		}
		return nil
	}, options...)
	return found, err
}
