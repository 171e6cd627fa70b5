// The unmodified Go credential library of the vendor, against the emulator: one line of JSON for each source.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/aliyun/credentials-go/credentials"
)

func main() {
	host, role, file, uri, wrong := os.Getenv("STS_HOST"), os.Getenv("ROLE"), os.Getenv("TOKEN_FILE"), os.Getenv("URI"), os.Getenv("WRONG")
	sources := []struct {
		name   string
		config *credentials.Config
	}{
		{"ram_role_arn", new(credentials.Config).SetType("ram_role_arn").SetAccessKeyId("LTAI5tBaseKeyId").
			SetAccessKeySecret("base-secret" + wrong).SetRoleArn(role).SetRoleSessionName("suite").SetSTSEndpoint(host)},
		{"oidc_role_arn", new(credentials.Config).SetType("oidc_role_arn").SetRoleArn(role).SetOIDCProviderArn("acs:ram::1:oidc-provider/p").
			SetOIDCTokenFilePath(file).SetRoleSessionName("suite").SetSTSEndpoint(host)},
		{"credentials_uri", new(credentials.Config).SetType("credentials_uri").SetURLCredential(uri)},
		{"ecs_ram_role", new(credentials.Config).SetType("ecs_ram_role").SetDisableIMDSv1(true)},
		{"ecs_ram_role named", new(credentials.Config).SetType("ecs_ram_role").SetRoleName("app").SetDisableIMDSv1(true)},
	}
	for _, source := range sources {
		result := map[string]any{"library": "credentials-go", "source": source.name}
		if given, err := ask(source.config); err != nil {
			result["error"] = err.Error()
		} else {
			result["id"], result["token"] = *given.AccessKeyId, given.SecurityToken != nil && *given.SecurityToken != ""
			result["provider"] = *given.ProviderName
		}
		line, _ := json.Marshal(result)
		fmt.Println(string(line))
	}
}

func ask(config *credentials.Config) (*credentials.CredentialModel, error) {
	client, err := credentials.NewCredential(config)
	if err != nil {
		return nil, err
	}
	return client.GetCredential()
}
