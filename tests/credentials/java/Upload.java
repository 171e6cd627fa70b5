// The vendor's credential library and second SDK for Java, with keys that the proxy hands out: as ../upload.py.

import com.aliyun.credentials.Client;
import com.aliyun.credentials.models.Config;
import com.aliyun.credentials.models.CredentialModel;
import com.aliyun.sdk.service.oss2.OSSClient;
import com.aliyun.sdk.service.oss2.credentials.Credentials;
import com.aliyun.sdk.service.oss2.exceptions.ServiceException;
import com.aliyun.sdk.service.oss2.models.GetObjectRequest;
import com.aliyun.sdk.service.oss2.models.GetObjectResult;
import com.aliyun.sdk.service.oss2.models.PutObjectRequest;
import com.aliyun.sdk.service.oss2.transport.BinaryData;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

final class Upload {
    public static void main(String[] arguments) throws Exception {
        Map<String, Config> sources = new LinkedHashMap<>();
        Map<String, String> callers = new LinkedHashMap<>();
        for (JsonElement item : JsonParser.parseString(System.getenv("SOURCES")).getAsJsonArray()) {
            JsonObject source = item.getAsJsonObject();
            sources.put(source.get("name").getAsString(), uri(System.getenv(source.get("variable").getAsString())));
            callers.put(source.get("name").getAsString(), source.get("caller").getAsString());
        }
        if (System.getenv("METADATA") != null) {
            Config ecs = new Config();
            ecs.setType("ecs_ram_role");
            ecs.setDisableIMDSv1(true);
            sources.put("ecs_ram_role", ecs);
        }
        Map<String, Client> known = new LinkedHashMap<>();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String attempt : new String[] {"first", "second"}) {
            for (Map.Entry<String, Config> source : sources.entrySet()) {
                JsonObject result = new JsonObject();
                result.addProperty("library", "credentials-java");
                result.addProperty("source", source.getKey());
                result.addProperty("attempt", attempt);
                try {
                    Client client = known.computeIfAbsent(source.getKey(), name -> new Client(source.getValue()));
                    result.addProperty("id", upload(client, callers.getOrDefault(source.getKey(), "team-a")));
                } catch (Exception error) {
                    result.addProperty("error", causes(error));
                }
                System.out.println(result);
            }
            System.out.println("{}");
            input.readLine();
        }
        System.exit(0);
    }

    private static void expectDenial(OSSClient oss, String key) {
        String code = "none";
        try {
            oss.putObject(PutObjectRequest.newBuilder().bucket("my-bucket").key(key).body(BinaryData.fromString("bytes")).build());
        } catch (RuntimeException error) {
            ServiceException denial = ServiceException.asCause(error);
            code = denial == null ? error.toString() : denial.errorCode();
        }
        if (!code.equals("AccessDenied")) {
            throw new IllegalStateException(key + ": " + code);
        }
    }

    private static Config uri(String address) {
        Config config = new Config();
        config.setType("credentials_uri");
        config.setCredentialsUri(address);
        return config;
    }

    private static String causes(Throwable error) {
        return error.getCause() == null ? error.toString() : error + ": " + causes(error.getCause());
    }

    private static String upload(Client client, String caller) throws Exception {
        for (String endpoint : System.getenv("REPLICAS").split(",")) {
            for (String version : new String[] {"v4", "v1"}) {
                try (OSSClient oss = OSSClient.newBuilder().endpoint(endpoint).region("cn-hangzhou").usePathStyle(true)
                        .retryMaxAttempts(1).signatureVersion(version).credentialsProvider(() -> {
                            CredentialModel given = client.getCredential();
                            return new Credentials(given.getAccessKeyId(), given.getAccessKeySecret(), given.getSecurityToken());
                        }).build()) {
                    String key = caller + "/java/" + version;
                    oss.putObject(PutObjectRequest.newBuilder().bucket("my-bucket").key(key).body(BinaryData.fromString("bytes")).build());
                    try (GetObjectResult got = oss.getObject(GetObjectRequest.newBuilder().bucket("my-bucket").key(key).build())) {
                        String body = new String(got.body().readAllBytes(), StandardCharsets.UTF_8);
                        if (!body.equals("bytes")) {
                            throw new IllegalStateException(body);
                        }
                    }
                    expectDenial(oss, "not-" + key); // the key of another caller
                }
            }
        }
        return client.getCredential().getAccessKeyId();
    }
}
