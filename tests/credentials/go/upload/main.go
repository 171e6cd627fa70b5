// The vendor's credential library and SDK for Go, with keys that the proxy hands out: as ../../upload.py.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	osscredentials "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/credentials-go/credentials"
)

// source is a way to obtain keys, and the caller that they are for.
type source struct {
	Name     string `json:"name"`
	Variable string `json:"variable"`
	Caller   string `json:"caller"`
	config   *credentials.Config
}

func main() {
	var sources []source
	if err := json.Unmarshal([]byte(os.Getenv("SOURCES")), &sources); err != nil {
		panic(err)
	}
	for index, source := range sources {
		sources[index].config = new(credentials.Config).SetType("credentials_uri").SetURLCredential(os.Getenv(source.Variable))
	}
	if os.Getenv("METADATA") != "" {
		ecs := new(credentials.Config).SetType("ecs_ram_role").SetDisableIMDSv1(true)
		sources = append(sources, source{Name: "ecs_ram_role", Caller: "team-a", config: ecs})
	}
	known := make([]credentials.Credential, len(sources))
	input := bufio.NewReader(os.Stdin)
	for _, attempt := range []string{"first", "second"} {
		for index, source := range sources {
			result := map[string]any{"library": "credentials-go", "source": source.Name, "attempt": attempt}
			if id, err := upload(&known[index], source); err != nil {
				result["error"] = err.Error()
			} else {
				result["id"] = id
			}
			line, _ := json.Marshal(result)
			fmt.Println(string(line))
		}
		fmt.Println("{}")
		input.ReadString('\n')
	}
}

func upload(known *credentials.Credential, from source) (string, error) {
	if *known == nil {
		client, err := credentials.NewCredential(from.config)
		if err != nil {
			return "", err
		}
		*known = client
	}
	provider := osscredentials.CredentialsProviderFunc(func(context.Context) (osscredentials.Credentials, error) {
		given, err := (*known).GetCredential()
		if err != nil {
			return osscredentials.Credentials{}, err
		}
		return osscredentials.Credentials{
			AccessKeyID: *given.AccessKeyId, AccessKeySecret: *given.AccessKeySecret, SecurityToken: *given.SecurityToken,
		}, nil
	})
	for _, endpoint := range strings.Split(os.Getenv("REPLICAS"), ",") {
		for _, version := range []oss.SignatureVersionType{oss.SignatureVersionV4, oss.SignatureVersionV1} {
			client := oss.NewClient(oss.LoadDefaultConfig().WithCredentialsProvider(provider).WithRegion("cn-hangzhou").
				WithEndpoint(endpoint).WithUsePathStyle(true).WithSignatureVersion(version).WithRetryMaxAttempts(1))
			bucket, key := oss.Ptr("my-bucket"), fmt.Sprintf("%s/go/%v", from.Caller, version)
			put := oss.PutObjectRequest{Bucket: bucket, Key: oss.Ptr(key), Body: bytes.NewReader([]byte("bytes"))}
			if _, err := client.PutObject(context.Background(), &put); err != nil {
				return "", err
			}
			got, err := client.GetObject(context.Background(), &oss.GetObjectRequest{Bucket: bucket, Key: oss.Ptr(key)})
			if err != nil {
				return "", err
			}
			if body, err := io.ReadAll(got.Body); err != nil || string(body) != "bytes" {
				return "", fmt.Errorf("the body is %q: %v", body, err)
			}
			put.Key = oss.Ptr("not-" + key)
			var denial *oss.ServiceError
			if _, err := client.PutObject(context.Background(), &put); !errors.As(err, &denial) || denial.Code != "AccessDenied" {
				return "", fmt.Errorf("the key of another caller: %v", err)
			}
		}
	}
	given, err := (*known).GetCredential()
	if err != nil {
		return "", err
	}
	return *given.AccessKeyId, nil
}
