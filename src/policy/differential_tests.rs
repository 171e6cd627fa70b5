//! A second evaluator of RAM documents, which works on JSON and plain text, compared with the first
//! on random documents and requests. Each case has 80 pairs.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::decision_tests::decide;

const ACTIONS: [&str; 12] = [
    "oss:GetObject",
    "oss:PutObject",
    "oss:DeleteObject",
    "oss:ListObjects",
    "oss:GetObjectVersion",
    "oss:PutObjectTagging",
    "oss:PutObjectAcl",
    "oss:Get*",
    "oss:*Object",
    "oss:?utObject",
    "OSS:GETOBJECT",
    "*",
];
const RESOURCES: [&str; 14] = [
    "*",
    "acs:oss:*:*:*",
    "acs:oss:*:*:team-data",
    "acs:oss:*:*:team-data/*",
    "acs:oss:*:*:team-data/a/*",
    "acs:oss:*:*:team-data/a/b/*",
    "acs:oss:*:*:team-data/a?",
    "acs:oss:*:*:team-data/*/c",
    "acs:oss:*:*:team-*",
    "acs:oss:*:*:t*a/a*",
    "acs:oss:cn-hang*:*:team-data/*",
    "acs:oss:cn-beijing:*:*",
    "acs:ossvector:*:*:*",
    "acs:*:*:*:other-data/*",
];
const KEYS: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "ab", "b", "a/é", "c", "a/b/"];
const BUCKETS: [&str; 2] = ["team-data", "other-data"];
const TEXTS: [&str; 7] = ["a/", "a/*", "a*", "", "a/b", "*", "private"];

fn one<T: Copy>(random: &mut fastrand::Rng, all: &[T]) -> T {
    all[random.usize(..all.len())]
}

fn some(random: &mut fastrand::Rng, all: &[&str]) -> Value {
    if random.bool() {
        return one(random, all).into();
    }
    let count = random.usize(1..4);
    (0..count).map(|_| one(random, all)).collect::<Vec<_>>().into()
}

fn condition(random: &mut fastrand::Rng) -> Value {
    let (operator, key, values) = match random.u8(..8) {
        0 => ("IpAddress", "acs:SourceIp", json!(["10.0.0.0/8", "::1"])),
        1 => ("NotIpAddress", "acs:SourceIp", json!("10.0.0.7")),
        2 => ("Bool", "acs:SecureTransport", one(random, &["true", "false"]).into()),
        3 => (
            "DateLessThan",
            "acs:CurrentTime",
            one(random, &["2026-06-01T12:00:00Z", "2026-06-01T20:00:01+08:00"]).into(),
        ),
        4 => ("DateGreaterThanEquals", "acs:CurrentTime", json!("2026-06-01T12:00:00Z")),
        5 => {
            let operators =
                ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase"];
            (one(random, &operators), "oss:Prefix", some(random, &TEXTS))
        }
        6 => (one(random, &["StringEquals", "StringNotLike"]), "oss:x-oss-object-acl", json!("private")),
        _ => ("StringLike", "oss:Delimiter", json!("/")),
    };
    json!({ operator: { key: values } })
}

fn document(random: &mut fastrand::Rng) -> Value {
    let count = random.usize(1..4);
    let statement = |random: &mut fastrand::Rng| {
        let mut statement = json!({
            "Effect": if random.u8(..4) == 0 { "Deny" } else { "Allow" },
            "Resource": some(random, &RESOURCES),
        });
        let name = if random.u8(..5) == 0 { "NotAction" } else { "Action" };
        statement[name] = some(random, &ACTIONS);
        if random.u8(..3) == 0 {
            statement["Condition"] = condition(random);
        }
        statement
    };
    let statements: Vec<Value> = (0..count).map(|_| statement(random)).collect();
    json!({ "Version": "1", "Statement": statements })
}

fn request(random: &mut fastrand::Rng) -> Value {
    let (bucket, key, source) = (one(random, &BUCKETS), one(random, &KEYS), one(random, &KEYS));
    let object = |method: &str| json!({ "method": method, "bucket": bucket, "key": key });
    let mut request = match random.u8(..9) {
        0 => object("GET"),
        1 => object("DELETE"),
        2 => {
            let mut get = object("GET");
            get["query"] = "versionId=v1".into();
            get
        }
        3 => json!({ "method": "GET", "bucket": bucket, "query": format!("prefix={source}&delimiter=/") }),
        4 => json!({ "method": "GET", "bucket": bucket, "query": "list-type=2" }),
        5 => {
            let mut copy = object("PUT");
            copy["headers"] =
                json!({ "x-oss-copy-source": format!("/team-data/{}", source.replace('é', "%C3%A9")) });
            copy
        }
        6 => {
            let mut put = object("PUT");
            put["headers"] = json!({ "x-oss-tagging": "k=v" });
            put
        }
        7 => {
            let mut put = object("PUT");
            put["headers"] = json!({ "x-oss-object-acl": one(random, &["private", "public-read"]) });
            put
        }
        _ => json!({
            "method": "POST", "bucket": bucket, "query": "delete",
            "body": format!("<Delete><Object><Key>{key}</Key></Object><Object><Key>{source}</Key></Object></Delete>"),
        }),
    };
    request["source_ip"] = one(random, &["10.0.0.7", "10.9.9.9", "192.168.0.1", "::1"]).into();
    request["secure"] = random.bool().into();
    request["time"] =
        one(random, &["2026-06-01T11:59:59Z", "2026-06-01T12:00:00Z", "2026-06-01T12:00:01Z"]).into();
    request
}

/// What the second evaluator knows about a request: actions on resources, and values of keys.
struct Plain {
    needs: Vec<(String, String)>,
    values: Vec<(&'static str, String)>,
}

fn plain(request: &Value) -> Plain {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (method, bucket, query) =
        (text(&request["method"]), text(&request["bucket"]), text(&request["query"]));
    let object = format!("{bucket}/{}", text(&request["key"]));
    let headers = &request["headers"];
    let mut values = vec![
        ("acs:SourceIp", text(&request["source_ip"])),
        ("acs:SecureTransport", request["secure"].to_string()),
        ("acs:CurrentTime", text(&request["time"])),
    ];
    let need = |action: &str, on: &str| (format!("oss:{action}"), on.to_owned());
    let needs = match method.as_str() {
        "GET" if request["key"].is_null() => {
            let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix="));
            values.push(("oss:Prefix", prefix.unwrap_or_default().to_owned()));
            if query.contains("delimiter") {
                values.push(("oss:Delimiter", "/".to_owned()));
            }
            vec![need("ListObjects", &bucket)]
        }
        "GET" if query.contains("versionId") => vec![need("GetObjectVersion", &object)],
        "GET" => vec![need("GetObject", &object)],
        "DELETE" => vec![need("DeleteObject", &object)],
        "POST" => {
            let body = text(&request["body"]);
            let keys = body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap_or_default());
            keys.map(|key| need("DeleteObject", &format!("{bucket}/{key}"))).collect()
        }
        _ => {
            let mut needs = vec![need("PutObject", &object)];
            if let Some(source) = headers["x-oss-copy-source"].as_str() {
                needs.push(need("GetObject", &source[1..].replace("%C3%A9", "é")));
            }
            if !headers["x-oss-tagging"].is_null() {
                needs.push(need("PutObjectTagging", &object));
            }
            if let Some(acl) = headers["x-oss-object-acl"].as_str() {
                needs.push(need("PutObjectAcl", &object));
                values.push(("oss:x-oss-object-acl", acl.to_owned()));
            }
            needs
        }
    };
    Plain { needs, values }
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            value.as_str().map(str::to_owned).into_iter().collect()
        }
    }
}

/// Matches by recursion over characters.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], rest) => rest.is_empty(),
        (['*', after @ ..], rest) => {
            glob(after, rest) || matches!(rest, [_, less @ ..] if glob(pattern, less))
        }
        (['?', after @ ..], [_, less @ ..]) => glob(after, less),
        ([literal, after @ ..], [character, less @ ..]) => literal == character && glob(after, less),
        (_, []) => false,
    }
}

fn like(pattern: &str, text: &str) -> bool {
    glob(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// `Some` if the request has the key: whether the test holds.
fn holds(operator: &str, key: &str, values: &[String], plain: &Plain) -> Option<bool> {
    let actual = &plain.values.iter().find(|(name, _)| *name == key)?.1;
    let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(value));
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_second();
    let in_network = |value: &str| match value.split_once('/') {
        Some(_) => actual.starts_with("10."),
        None => value == actual,
    };
    Some(match operator {
        "StringEquals" | "Bool" => any(&|value| value == actual),
        "StringNotEquals" => !any(&|value| value == actual),
        "StringEqualsIgnoreCase" => any(&|value| value.to_lowercase() == actual.to_lowercase()),
        "StringLike" => any(&|value| like(value, actual)),
        "StringNotLike" => !any(&|value| like(value, actual)),
        "IpAddress" => any(&in_network),
        "NotIpAddress" => !any(&in_network),
        "DateLessThan" => any(&|value| seconds(actual) < seconds(value)),
        "DateGreaterThanEquals" => any(&|value| seconds(actual) >= seconds(value)),
        other => panic!("{other}"),
    })
}

fn applies(statement: &Value, action: &str, resource: &str, plain: &Plain) -> bool {
    let names =
        |value: &Value| list(value).iter().any(|one| like(&one.to_lowercase(), &action.to_lowercase()));
    let acts = if statement["Action"].is_null() {
        !names(&statement["NotAction"])
    } else {
        names(&statement["Action"])
    };
    let covers = list(&statement["Resource"]).iter().any(|pattern| {
        let parts: Vec<&str> = pattern.splitn(5, ':').collect();
        match parts[..] {
            [_] => true,
            [_, service, region, _, relative] => {
                (service == "oss" || service == "*")
                    && like(region, "cn-hangzhou")
                    && like(relative, resource)
            }
            _ => panic!("{pattern}"),
        }
    });
    let is_deny = statement["Effect"] == "Deny";
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let mut tests = conditions.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| (operator, key, list(values)))
    });
    let met = tests.all(|(operator, key, values)| {
        // A negated operator on an absent key counts for a Deny and not for an Allow.
        holds(operator, key, &values, plain).unwrap_or_else(|| is_deny && operator.contains("Not"))
    });
    acts && covers && met
}

fn second(document: &Value, request: &Value) -> &'static str {
    let plain = plain(request);
    let statements = document["Statement"].as_array().expect("a list");
    let found = |effect: &str, (action, resource): &(String, String)| {
        statements.iter().any(|one| one["Effect"] == effect && applies(one, action, resource, &plain))
    };
    let granted = plain.needs.iter().all(|need| !found("Deny", need) && found("Allow", need));
    if granted { "allow" } else { "deny" }
}

proptest! {
    #[test]
    fn two_evaluators_agree_on_random_documents_and_requests(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..4 {
            let document = document(&mut random);
            for _ in 0..20 {
                let request = request(&mut random);
                let (found, expected) = (decide(&document, &request, &Value::Null), second(&document, &request));
                prop_assert_eq!(found, expected, "{} {}", document, request);
            }
        }
    }
}

#[test]
fn random_requests_are_allowed_and_denied() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut allowed = 0;
    for _ in 0..2_000 {
        let (document, request) = (document(&mut random), request(&mut random));
        allowed += usize::from(second(&document, &request) == "allow");
    }
    assert!((100..1_900).contains(&allowed), "{allowed} of 2000");
}
