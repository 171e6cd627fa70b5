#!/usr/bin/env bash
# The Java SDK alibabacloud-oss-v2 0.4.0 accepts a `proxyHost` and ignores it, in its synchronous and in its asynchronous client.
#
# The builder of a client has `proxyHost(String)`, the only setting for a proxy. The value reaches the options of the HTTP
# client, where nothing reads it: each request is sent directly to the endpoint, without an error or a warning. A program that
# must not, or cannot, reach the endpoint itself only notices it on the network. The first Java SDK (aliyun-sdk-oss 3.18.5)
# sends its requests to the proxy of `setProxyHost` and `setProxyPort`.
#
# Observed output:
#   v1: endpoint 0, proxy 1
#   v2: endpoint 1, proxy 0
#   v2 with Apache's HTTP client 4: endpoint 1, proxy 0
#   v2 asynchronous: endpoint 1, proxy 0
set -euo pipefail

work=$(mktemp -d)
server=
clean() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$work"
}
trap clean EXIT

cat > "$work/pom.xml" << 'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>findings</groupId>
  <artifactId>proxy-host</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>com.aliyun.oss</groupId><artifactId>aliyun-sdk-oss</artifactId><version>3.18.5</version></dependency>
    <dependency><groupId>com.aliyun</groupId><artifactId>alibabacloud-oss-v2</artifactId><version>0.4.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.16</version></dependency>
  </dependencies>
</project>
XML
mvn --batch-mode --quiet --file "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    "-DoutputDirectory=$work/lib" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

cat > "$work/Get.java" << 'JAVA'
import com.aliyun.oss.ClientBuilderConfiguration;
import com.aliyun.oss.OSSClientBuilder;
import com.aliyun.oss.common.auth.DefaultCredentialProvider;
import com.aliyun.sdk.service.oss2.OSSAsyncClient;
import com.aliyun.sdk.service.oss2.OSSClient;
import com.aliyun.sdk.service.oss2.credentials.StaticCredentialsProvider;
import com.aliyun.sdk.service.oss2.models.GetObjectRequest;

/** One download from `bucket` at http://localhost:ENDPOINT, path style, with the proxy http://127.0.0.1:PROXY. */
public class Get {
    public static void main(String[] arguments) throws Exception {
        String endpoint = "http://localhost:" + arguments[1];
        String proxy = "http://127.0.0.1:" + arguments[2];
        var keys = new StaticCredentialsProvider("id", "secret");
        var request = GetObjectRequest.newBuilder().bucket("bucket").key("key").build();
        switch (arguments[0]) {
            case "v1" -> {
                var configuration = new ClientBuilderConfiguration();
                configuration.setSLDEnabled(true);
                configuration.setProxyHost("127.0.0.1");
                configuration.setProxyPort(Integer.parseInt(arguments[2]));
                var client = OSSClientBuilder.create().endpoint(endpoint).region("cn-hangzhou").clientConfiguration(configuration)
                        .credentialsProvider(new DefaultCredentialProvider("id", "secret")).build();
                client.getObject("bucket", "key").close();
            }
            case "v2", "v2 with Apache's HTTP client 4" ->
                OSSClient.newBuilder().endpoint(endpoint).region("cn-hangzhou").usePathStyle(true).credentialsProvider(keys)
                        .useApacheHttpClient4(!arguments[0].equals("v2")).proxyHost(proxy).build().getObject(request).close();
            default ->
                OSSAsyncClient.newBuilder().endpoint(endpoint).region("cn-hangzhou").usePathStyle(true).credentialsProvider(keys)
                        .proxyHost(proxy).build().getObjectAsync(request).get().close();
        }
        System.exit(0);
    }
}
JAVA
javac -nowarn -cp "$work/lib/*" -d "$work/classes" "$work/Get.java"

cat > "$work/server.py" << 'PYTHON'
# Two servers, the endpoint and the proxy: prints both ports, and then the receiver of each request.
import http.server
import threading


def serve(name):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            print(name, flush=True)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    return server.server_address[1]


print(serve("endpoint"), serve("proxy"), flush=True)
PYTHON
python3 "$work/server.py" > "$work/seen" &
server=$!
until [ -s "$work/seen" ]; do sleep 0.05; done
read -r endpoint proxy < "$work/seen"

# Downloads once with this client, and counts the requests to the endpoint and to the proxy.
download() {
    before=$(wc -l < "$work/seen")
    timeout 60 java -cp "$work/classes:$work/lib/*" Get "$1" "$endpoint" "$proxy"
    came=$(tail -n "+$((before + 1))" "$work/seen")
    found="endpoint $(grep -c endpoint <<< "$came" || true), proxy $(grep -c proxy <<< "$came" || true)"
    echo "$1: $found"
    [ "$found" = "$2" ]
}

download "v1" "endpoint 0, proxy 1"
download "v2" "endpoint 1, proxy 0"
download "v2 with Apache's HTTP client 4" "endpoint 1, proxy 0"
download "v2 asynchronous" "endpoint 1, proxy 0"
