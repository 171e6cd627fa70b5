//! Responses of the metadata service and their interpretation: the published responses, each
//! unchanged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::{EcsConfig, EcsProvider, read};
use crate::credentials::test_env::TestEnv;
use crate::credentials::{Provide as _, ProvideError, SourceEnv};
use crate::time::{Clock, Timestamp};
use crate::transport::{HttpResponse, Url};

/// An environment without variables.
struct Empty;

impl Clock for Empty {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_500_000_000)
    }
}

impl SourceEnv for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// The heads of all requests.
type Heads = Arc<Mutex<Vec<String>>>;

/// Starts a service that answers each request by its head.
async fn service(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (Url, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                head.push(char::from(stream.read_u8().await.expect("a byte")));
            }
            let (status, body) = answer(&head);
            seen.lock().expect("no panic").push(head);
            let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).await.expect("written");
        }
    });
    (Url::parse(&url).expect("a URL"), heads)
}

/// Returns the published response of this name.
fn sample(id: &str) -> (u16, String) {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/vectors/ecs_answers.json")).expect("json");
    let all = all["samples"].as_array().expect("samples").clone();
    let found = all.iter().find(|sample| sample["id"] == id).expect("a sample");
    let status = u16::try_from(found["status"].as_u64().expect("a status")).expect("a status");
    (status, found["body"].as_str().expect("a body").to_owned())
}

/// Fetches from a service that answers with the samples of these names. They answer the requests
/// for a token, for the role, and for its credentials.
async fn asked(samples: [&str; 3], imds_v1: bool) -> (Result<String, ProvideError>, Vec<String>) {
    let answers = samples.map(sample);
    let (url, heads) = service(move |head| {
        let which = match head {
            head if head.starts_with("PUT /latest/api/token ") => 0,
            head if head.starts_with("GET /latest/meta-data/ram/security-credentials/ ") => 1,
            _ => 2,
        };
        answers[which].clone()
    })
    .await;
    let instance = EcsConfig { endpoint: Some(url), imds_v1, by_name: false, ..EcsConfig::default() };
    let given = EcsProvider::new(instance, &Arc::default()).provide(&Empty).await.map(|given| given.id);
    let heads = heads.lock().expect("no panic").clone();
    (given, heads)
}

#[test]
fn each_published_answer_with_credentials_comes_to_what_it_should() {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/vectors/ecs_answers.json")).expect("json");
    let samples = all["samples"].as_array().expect("samples").iter();
    // The other samples are about tokens and names. tests/it/ecs.rs covers them.
    let samples: Vec<_> =
        samples.filter(|sample| sample["body"].as_str().expect("a body").starts_with('{')).collect();
    assert_eq!(samples.len(), 7);
    let url = Url::parse("http://100.100.100.200").expect("a URL");
    for sample in samples {
        let body = sample["body"].as_str().expect("a body").replace("{now-60s}", "2021-10-20T04:27:09Z");
        let reply =
            HttpResponse { status: 200, headers: HeaderMap::new(), body: Zeroizing::new(body.into_bytes()) };
        let outcome = match read(&reply, &url) {
            // Expired credentials are rejected by the cache, not here.
            Ok(_) if sample["expect"] == "expired_on_arrival" => "expired_on_arrival",
            Ok(_) => "credentials",
            Err(ProvideError::Refused(_)) => "permanent_error",
            Err(ProvideError::Unavailable(_)) => "retryable_error",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(outcome, sample["expect"], "{}", sample["id"]);
    }
}

#[tokio::test]
async fn a_published_token_is_sent_and_a_published_name_is_asked_for() {
    for name in ["role-name", "role-name-trailing-newline"] {
        let (given, heads) = asked(["token", name, "success"], false).await;
        assert_eq!(given, Ok("saki".to_owned()), "{name}");
        let last = heads.last().expect("requests");
        assert!(
            last.starts_with("GET /latest/meta-data/ram/security-credentials/rolename HTTP/1.1\r\n"),
            "{last}"
        );
        assert!(last.contains("x-aliyun-ecs-metadata-token: tokenxxxxx\r\n"), "{last}");
    }
}

#[tokio::test]
async fn a_published_refusal_of_tokens_leads_to_version_1_only_if_that_may_be() {
    for refusal in ["token-403", "token-405"] {
        let (given, heads) = asked([refusal, "role-name", "success"], true).await;
        assert_eq!(given, Ok("saki".to_owned()), "{refusal}");
        assert!(heads.iter().all(|head| !head.contains("x-aliyun-ecs-metadata-token:")), "{heads:?}");
        let (given, heads) = asked([refusal, "role-name", "success"], false).await;
        assert!(matches!(&given, Err(ProvideError::Refused(why)) if why.contains("imds_v1")), "{given:?}");
        assert_eq!(heads.len(), 1, "{refusal}");
    }
}

#[tokio::test]
async fn an_instance_without_a_role_is_passed_over_and_one_that_wants_tokens_is_not() {
    let (given, _) = asked(["token", "no-role-404", "success"], true).await;
    assert!(matches!(&given, Err(ProvideError::NotConfigured(why)) if !why.contains("html")), "{given:?}");
    let (given, _) = asked(["token-403", "hardened-401", "success"], true).await;
    assert!(matches!(&given, Err(ProvideError::Unavailable(why)) if why.contains("version 2")), "{given:?}");
}

#[tokio::test]
async fn an_answer_without_code_or_without_an_end_is_no_panic() {
    let (given, _) = asked(["token", "role-name", "no-code-field"], true).await;
    assert_eq!(given, Ok("ak".to_owned()));
    let without_end = |head: &str| match head {
        head if head.starts_with("PUT") => sample("token"),
        head if head.contains("/rolename ") => (
            200,
            r#"{"Code":"Success","AccessKeyId":"a","AccessKeySecret":"s","SecurityToken":"t"}"#.to_owned(),
        ),
        _ => sample("role-name"),
    };
    let (url, _) = service(without_end).await;
    let instance = EcsConfig { endpoint: Some(url), ..EcsConfig::default() };
    let given = EcsProvider::new(instance, &Arc::default()).provide(&Empty).await.map(|given| given.id);
    assert!(
        matches!(&given, Err(ProvideError::Unavailable(why)) if why.contains("Expiration is missing")),
        "{given:?}"
    );
}

#[tokio::test]
async fn a_role_that_was_exchanged_is_found_again_with_the_token_that_is_there() {
    let exchanged = Arc::new(AtomicBool::new(false));
    let is_exchanged = Arc::clone(&exchanged);
    let (url, heads) = service(move |head| {
        let role = if is_exchanged.load(Ordering::Relaxed) { "second" } else { "first" };
        match head {
            head if head.starts_with("PUT") => sample("token"),
            head if head.contains("/security-credentials/ ") => (200, role.to_owned()),
            head if head.contains(&format!("/security-credentials/{role} ")) => sample("success"),
            _ => sample("no-role-404"),
        }
    })
    .await;
    let ecs = EcsProvider::new(EcsConfig { endpoint: Some(url), ..EcsConfig::default() }, &Arc::default());
    assert!(ecs.provide(&Empty).await.is_ok());
    exchanged.store(true, Ordering::Relaxed);
    let given = ecs.provide(&Empty).await.map(|given| given.id);
    assert!(matches!(&given, Err(ProvideError::Unavailable(why)) if why.contains("\"first\"")), "{given:?}");
    assert!(ecs.provide(&Empty).await.is_ok());
    let heads = heads.lock().expect("no panic").clone();
    assert_eq!(heads.iter().filter(|head| head.starts_with("PUT")).count(), 1);
    assert_eq!(heads.len(), 6, "{heads:?}");
}

#[test]
fn an_answer_that_lacks_something_is_an_error_and_no_panic() {
    let url = Url::parse("http://100.100.100.200").expect("a URL");
    let whole = [
        "\"Code\":\"Success\"",
        "\"AccessKeyId\":\"STS.a\"",
        "\"AccessKeySecret\":\"planted\"",
        "\"SecurityToken\":\"planted\"",
        "\"Expiration\":\"2999-01-01T00:00:00Z\"",
    ];
    for left_out in 0..whole.len() {
        let mut some = whole.to_vec();
        some.remove(left_out);
        let body = Zeroizing::new(format!("{{{}}}", some.join(",")).into_bytes());
        let given = read(&HttpResponse { status: 200, headers: HeaderMap::new(), body }, &url);
        match given {
            Ok(_) => assert_eq!(left_out, 0, "only the Code may be left out"),
            Err(ProvideError::Unavailable(why)) => {
                assert!(left_out > 0 && !why.contains("planted"), "{why}")
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Fetches from a service that answers every request with this response.
async fn ask(instance: EcsConfig, status: u16, body: &'static str) -> ProvideError {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let endpoint = Some(Url::parse(&format!("http://{at}")).expect("a URL"));
    let serving = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let (status, body) = if head.starts_with(b"PUT") { (200, "token") } else { (status, body) };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    };
    let source = EcsProvider::new(EcsConfig { endpoint, ..instance }, &Arc::default());
    let world = TestEnv::with(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")]);
    tokio::select! {
        () = serving => panic!("it never ends"),
        given = source.provide(&world) => given.expect_err("no credentials"),
    }
}

#[tokio::test]
async fn an_instance_without_a_role_is_passed_over_unless_it_was_asked_for() {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/vectors/ecs_answers.json")).expect("json");
    let samples = all["samples"].as_array().expect("samples");
    let sample = samples.iter().find(|sample| sample["id"] == "no-role-404").expect("the sample");
    assert_eq!((&sample["status"], &sample["expect"]), (&404.into(), &"not_configured".into()));
    let body: &'static str = sample["body"].as_str().expect("a body").to_owned().leak();
    let nobody = EcsConfig { by_name: false, ..EcsConfig::default() };
    let error = ask(nobody, 404, body).await;
    assert!(matches!(&error, ProvideError::NotConfigured(why) if why.contains("no RAM role")), "{error:?}");
    let error = ask(EcsConfig::default(), 404, body).await;
    assert!(matches!(&error, ProvideError::Refused(why) if why.contains("attach one")), "{error:?}");
}
