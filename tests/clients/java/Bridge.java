// The loop of a Java client: one JSON line per call, one per result; see ../python/bridge.py.

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

public final class Bridge {
    /** A client of one SDK. */
    interface Client {
        Object call(Call call) throws Exception;
    }

    /** An error of the service. */
    static final class Refused extends Exception {
        final int status;
        final String code;
        final String requestId;

        Refused(int status, String code, String message, String requestId) {
            super(message);
            this.status = status;
            this.code = code;
            this.requestId = requestId;
        }
    }

    /** What the harness asks for; a name that is absent is null. */
    record Call(JsonObject json) {
        String text(String name) {
            return json.has(name) ? json.get(name).getAsString() : null;
        }

        /** The text, or null where it is empty. */
        String given(String name) {
            String text = text(name);
            return text == null || text.isEmpty() ? null : text;
        }

        long number(String name) {
            return json.get(name).getAsLong();
        }

        boolean flag(String name) {
            return json.has(name) && json.get(name).getAsBoolean();
        }

        String bucket() {
            return text("bucket");
        }

        String key() {
            return text("key");
        }

        byte[] body() {
            return Base64.getDecoder().decode(text("body"));
        }

        Map<String, String> map(String name) {
            Map<String, String> map = new LinkedHashMap<>();
            if (json.has(name)) {
                json.getAsJsonObject(name).entrySet().forEach(entry -> map.put(entry.getKey(), entry.getValue().getAsString()));
            }
            return map;
        }

        List<JsonObject> parts() {
            List<JsonObject> parts = new ArrayList<>();
            json.getAsJsonArray("parts").forEach(part -> parts.add(part.getAsJsonObject()));
            return parts;
        }

        List<String> keys() {
            JsonArray array = json.getAsJsonArray("keys");
            List<String> keys = new ArrayList<>();
            array.forEach(key -> keys.add(key.getAsString()));
            return keys;
        }
    }

    private Bridge() {}

    public static void main(String[] arguments) throws Exception {
        Gson gson = new Gson();
        JsonObject plan = gson.fromJson(Files.readString(Path.of(arguments[1])), JsonObject.class);
        Client client = arguments[0].equals("v1") ? new SdkV1(plan) : new SdkV2(plan, arguments[0].equals("v2-async"));
        PrintStream output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            output.println(gson.toJson(answer(client, new Call(gson.fromJson(line, JsonObject.class)))));
        }
        System.exit(0); // the SDKs leave threads running
    }

    private static Map<String, Object> answer(Client client, Call call) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put("value", client.call(call));
        } catch (Refused refused) {
            answer.put("status", refused.status);
            answer.put("code", refused.code);
            answer.put("message", refused.getMessage());
            answer.put("request_id", refused.requestId);
        } catch (Exception error) {
            answer.put("error", error + (error.getCause() == null ? "" : ", from " + error.getCause()));
        }
        return answer;
    }

    static Map<String, Object> reply(int status, Map<String, ?> headers, byte[] body) {
        Map<String, String> lower = new LinkedHashMap<>();
        headers.forEach((name, value) -> lower.put(name.toLowerCase(Locale.ROOT), String.valueOf(value)));
        return Map.of("status", status, "headers", lower, "body", Base64.getEncoder().encodeToString(body));
    }

    static Map<String, Object> page(List<String> keys, List<String> prefixes, boolean more, String next) {
        return Map.of("keys", keys, "prefixes", prefixes, "next", more ? next : "");
    }

    static Map<String, Object> uploads(List<List<String>> uploads, boolean more, String nextKey, String nextUpload) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("uploads", uploads);
        if (more) {
            answer.put("next", List.of(nextKey, nextUpload));
        }
        return answer;
    }
}
