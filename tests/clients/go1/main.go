// The Go SDK v1 as a client: V1 and V4. One JSON line per call, one per result; see ../python/bridge.py.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

type plan struct {
	Endpoint   string `json:"endpoint"`
	Proxy      string `json:"http_proxy"`
	Addressing string `json:"addressing"`
	Region     string `json:"region"`
	Signature  string `json:"signature"`
	KeyID      string `json:"access_key_id"`
	KeySecret  string `json:"access_key_secret"`
	Token      string `json:"security_token"`
}

// call is a call of the harness. A field that the call does not have is empty.
type call struct {
	Method      string            `json:"method"`
	Bucket      string            `json:"bucket"`
	Key         string            `json:"key"`
	Keys        []string          `json:"keys"`
	Body        []byte            `json:"body"`
	ContentType string            `json:"content_type"`
	Metadata    map[string]string `json:"metadata"`
	Range       string            `json:"range"`
	Options     map[string]string `json:"options"`
	Prefix      string            `json:"prefix"`
	Delimiter   string            `json:"delimiter"`
	Limit       int               `json:"limit"`
	After       json.RawMessage   `json:"after"`
	Source      string            `json:"source"`
	Target      string            `json:"target"`
	Position    int64             `json:"position"`
	Upload      string            `json:"upload"`
	Number      int               `json:"number"`
	Parts       []part            `json:"parts"`
	AfterKey    string            `json:"after_key"`
	AfterUpload string            `json:"after_upload"`
	Verb        string            `json:"verb"`
	Seconds     int64             `json:"seconds"`
	ACL         string            `json:"acl"`
	Tags        map[string]string `json:"tags"`
	Rule        string            `json:"rule"`
}

type part struct {
	Number int    `json:"number"`
	Tag    string `json:"tag"`
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	var wanted plan
	if err = errors.Join(err, json.Unmarshal(text, &wanted)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client, err := open(wanted)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		text, _ := json.Marshal(answer(client, line))
		fmt.Println(string(text))
	}
}

// open returns a client of the SDK, which has no retries.
func open(p plan) (*oss.Client, error) {
	version := oss.AuthV1
	if p.Signature == "v4" {
		version = oss.AuthV4
	}
	options := []oss.ClientOption{
		oss.AuthVersion(version), oss.Region(p.Region), oss.ForcePathStyle(p.Addressing == "path"), oss.VerifyObjectStrict(false)}
	if p.Token != "" {
		options = append(options, oss.SecurityToken(p.Token))
	}
	if p.Proxy != "" {
		options = append(options, oss.Proxy(p.Proxy))
	}
	return oss.New(p.Endpoint, p.KeyID, p.KeySecret, options...)
}

func answer(client *oss.Client, line []byte) map[string]any {
	var asked call
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]any{"error": err.Error()}
	}
	value, err := perform(client, asked)
	var refusal oss.ServiceError
	var status int
	switch {
	case errors.As(err, &refusal):
		return map[string]any{"status": refusal.StatusCode, "code": refusal.Code, "message": refusal.Message, "request_id": refusal.RequestID}
	case err == nil:
		return map[string]any{"value": value}
	}
	// The SDK has no type for a response without a body.
	if _, failed := fmt.Sscanf(err.Error(), "oss: service returned %d,", &status); failed == nil {
		return map[string]any{"status": status, "code": "", "message": err.Error()}
	}
	return map[string]any{"error": err.Error()}
}

func perform(client *oss.Client, asked call) (any, error) {
	bucket, err := client.Bucket(asked.Bucket)
	if err != nil {
		return nil, err
	}
	for _, group := range []func(*oss.Bucket, call) (any, error){onObject, onParts, onSettings, onBucket} {
		if value, err := group(bucket, asked); !errors.Is(err, errNoMethod) {
			return value, err
		}
	}
	return nil, fmt.Errorf("no method %s", asked.Method)
}

var errNoMethod = errors.New("no such method in this group")
