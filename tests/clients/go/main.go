// The Go SDK v2 as a client: anonymous, V1 and V4. `go-client PLAN`: one JSON line per operation.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
)

// plan is the plan of `run`: endpoint, credentials, operations and keys.
type plan struct {
	Endpoint        string   `json:"endpoint"`
	HTTPProxy       string   `json:"http_proxy"`
	Addressing      string   `json:"addressing"`
	Region          string   `json:"region"`
	Bucket          string   `json:"bucket"`
	Signature       string   `json:"signature"`
	AccessKeyID     string   `json:"access_key_id"`
	AccessKeySecret string   `json:"access_key_secret"`
	SecurityToken   string   `json:"security_token"`
	Refusal         string   `json:"refusal"`
	Operations      []string `json:"operations"`
	Writes          []object `json:"writes"`
	Reads           []object `json:"reads"`
	Audits          []audit  `json:"audits"`
	URLs            []link   `json:"urls"`
	Attempts        int      `json:"attempts"`
}

type object struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Body   string `json:"body"`
	Bucket string `json:"bucket"`
}

// link is a URL to presign.
type link struct {
	Name    string `json:"name"`
	Method  string `json:"method"`
	Key     string `json:"key"`
	Body    string `json:"body"`
	Seconds int64  `json:"seconds"`
}

type report struct {
	Operation string `json:"operation"`
	OK        bool   `json:"ok"`
	Detail    string `json:"detail,omitempty"`
	URL       string `json:"url,omitempty"`
}

// client is the client of the SDK with its bucket.
type client struct {
	*oss.Client
	plan   plan
	bucket *string
	// signed has the presigned URLs by name.
	signed map[string]string
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var p plan
	if err := json.Unmarshal(text, &p); err != nil {
		panic(err)
	}
	c := client{Client: open(p), plan: p, bucket: oss.Ptr(p.Bucket), signed: map[string]string{}}
	table := c.operations()
	out := json.NewEncoder(os.Stdout)
	for _, name := range p.Operations {
		call, known := table[name]
		if !known {
			call = func() error { return errors.New("no such operation") }
		}
		line := report{Operation: name, OK: true}
		if err := call(); err != nil {
			line.OK, line.Detail = false, err.Error()
		}
		line.URL = c.signed[name]
		if err := out.Encode(line); err != nil {
			panic(err)
		}
	}
}

func open(p plan) *oss.Client {
	config := oss.LoadDefaultConfig().
		WithRegion(p.Region).
		WithEndpoint(p.Endpoint).
		WithUsePathStyle(p.Addressing == "path").
		WithRetryMaxAttempts(max(1, p.Attempts)) // a retry would hide a fault
	switch p.Signature {
	case "v1":
		config.WithSignatureVersion(oss.SignatureVersionV1)
	case "v4":
		config.WithSignatureVersion(oss.SignatureVersionV4)
	}
	if p.Signature == "none" {
		config.WithCredentialsProvider(credentials.NewAnonymousCredentialsProvider())
	} else {
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.AccessKeySecret, p.SecurityToken))
	}
	if p.HTTPProxy != "" {
		config.WithProxyHost(p.HTTPProxy)
	}
	return oss.NewClient(config)
}

// refused returns nil if the call failed with the expected error of the SDK; an empty code permits any code.
func refused(err error, status int, code string) error {
	var answer *oss.ServiceError
	switch {
	case err == nil:
		return fmt.Errorf("succeeded, expected %d %s", status, code)
	case !errors.As(err, &answer):
		return err
	case answer.StatusCode != status || (code != "" && answer.Code != code):
		return fmt.Errorf("got %d %s, expected %d %s", answer.StatusCode, answer.Code, status, code)
	}
	return nil
}
