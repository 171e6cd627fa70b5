module oss-signing-proxy/tests/clients/go1

go 1.24

require github.com/aliyun/aliyun-oss-go-sdk v3.0.2+incompatible

require golang.org/x/time v0.4.0 // indirect
