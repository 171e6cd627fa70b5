//! Form uploads: a browser sends a form that was signed with a key of a caller, and the proxy signs it
//! again. The emulated OSS verifies what arrives there.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::internals::time::{day, iso_basic, iso_extended};
use oss_signing_proxy::time::{Clock as _, Timestamp};
use sha1::Sha1;
use sha2::Sha256;

use crate::support::script::line_of;
use crate::support::{Answer, Client, Proxy, SECRET, STS_ID, Script, TOKEN, bucket, oss, proxy};

const ID: &str = "team-a-1";
const CALLER_SECRET: &str = "TeamAPlantedSecretOf30Letters0";

const CALLER: &str = "
    [[caller]]
    name = \"team-a\"
    key = [{ id = \"team-a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]
    allow = [{ group = [\"write\"], bucket = \"photos\", prefix = \"a/\" }]
";

/// A form to sign and send.
struct UploadForm {
    /// The fields without those of the signature.
    fields: Vec<(&'static str, String)>,
    conditions: String,
    /// Seconds from now to the expiration of the policy.
    expires_s: i64,
    is_v4: bool,
    secret: &'static str,
    content: Vec<u8>,
}

impl UploadForm {
    fn new(key: &str) -> Self {
        Self {
            fields: vec![("key", key.to_owned())],
            conditions: "[[\"starts-with\",\"$key\",\"a/\"],{\"bucket\":\"photos\"}]".to_owned(),
            expires_s: 600,
            is_v4: true,
            secret: CALLER_SECRET,
            content: b"content\r\n--of the file".to_vec(),
        }
    }

    fn v1(self) -> Self {
        Self { is_v4: false, ..self }
    }

    fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    fn conditions(self, conditions: &str) -> Self {
        Self { conditions: conditions.to_owned(), ..self }
    }

    /// Returns the fields of the signature, as the SDKs compute them.
    fn signature(&self) -> Vec<(&'static str, String)> {
        let now = SystemEnv.now().unix_s();
        let expiration = iso_extended(Timestamp::from_unix_s(now + self.expires_s));
        let conditions = &self.conditions;
        let policy = format!("{{\"expiration\":\"{expiration}\",\"conditions\":{conditions}}}");
        let policy = STANDARD.encode(policy);
        if !self.is_v4 {
            let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).expect("a key");
            mac.update(policy.as_bytes());
            let signature = STANDARD.encode(mac.finalize().into_bytes());
            return vec![("OSSAccessKeyId", ID.to_owned()), ("policy", policy), ("Signature", signature)];
        }
        let at = Timestamp::from_unix_s(now);
        let day = day(at).to_string();
        let mut key = format!("aliyun_v4{}", self.secret).into_bytes();
        for part in [day.as_str(), "cn-shanghai", "oss", "aliyun_v4_request", policy.as_str()] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let signature: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        vec![
            ("policy", policy),
            ("x-oss-signature-version", "OSS4-HMAC-SHA256".to_owned()),
            ("x-oss-credential", format!("{ID}/{day}/cn-shanghai/oss/aliyun_v4_request")),
            ("x-oss-date", iso_basic(at)),
            ("x-oss-signature", signature),
        ]
    }

    /// Returns the body up to the content of the file, and the rest.
    fn parts(&self, behind: &str) -> (Vec<u8>, Vec<u8>) {
        let mut head = Vec::new();
        for (name, value) in self.fields.iter().chain(&self.signature()) {
            let part = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            head.extend_from_slice(part.as_bytes());
        }
        head.extend_from_slice(
            b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.png\"\r\nContent-Type: image/png\r\n\r\n",
        );
        let rest = [&self.content, &b"\r\n--XX"[..], behind.as_bytes(), b"--\r\n"].concat();
        (head, rest)
    }

    fn send(&self, proxy: &Proxy) -> Answer {
        self.send_with(proxy, "/photos/", "", "")
    }

    fn send_with(&self, proxy: &Proxy, target: &str, lines: &str, behind: &str) -> Answer {
        let (head, rest) = self.parts(behind);
        let body = [head, rest].concat();
        let mut client = Client::connect(proxy.address);
        client.send(request_head(proxy, target, lines, body.len()));
        client.send(body);
        client.answer("POST").expect("an answer")
    }
}

fn request_head(proxy: &Proxy, target: &str, lines: &str, length: usize) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {length}\r\n{lines}\r\n",
        proxy.address
    )
}

fn verifying(upstream: std::net::SocketAddr, caller: &str) -> Proxy {
    proxy(upstream).listen("verified_forms = true\nidentify = [\"key\"]").sections(caller).start()
}

#[test]
fn a_form_signed_with_the_key_of_a_caller_is_signed_again_and_stored() {
    let oss = oss();
    let temporary = format!(
        "type = \"static\"\naccess_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\"\n"
    );
    let start = || proxy(oss.address).listen("verified_forms = true\nidentify = [\"key\"]").sections(CALLER);
    let proxies = [
        start().start(),
        start().credentials(&temporary).start(),
        start().upstream("signature = \"v1\"").start(),
    ];
    for (index, proxy) in proxies.iter().enumerate() {
        for (name, form) in [("v4", UploadForm::new("")), ("v1", UploadForm::new("").v1())] {
            let key = format!("a/{index}-{name}-é");
            let form =
                UploadForm { fields: vec![("key", key.clone()), ("x-oss-meta-k", "v".to_owned())], ..form };
            let answer = form.send(proxy);
            assert_eq!(answer.status, 204, "{key} {}", answer.text());
            let stored = oss.service.object(&bucket("photos"), key.as_bytes());
            assert_eq!(stored.as_deref(), Some(&form.content[..]), "{key}");
        }
    }
}

#[test]
fn the_fields_of_a_form_are_kept() {
    let oss = oss();
    let proxy = verifying(oss.address, CALLER);
    let named = UploadForm::new("a/${filename}").field("success_action_status", "201").send(&proxy);
    assert_eq!(named.status, 201, "{}", named.text());
    assert!(oss.service.object(&bucket("photos"), b"a/cat.png").is_some());
    let url = "https://app.example/done";
    let redirected = UploadForm::new("a/r").field("success_action_redirect", url).send(&proxy);
    assert_eq!((redirected.status, redirected.header("location")), (303, Some(url)));
    // OSS enforces the length, which the proxy does not know before the end of the file.
    let range = "[[\"starts-with\",\"$key\",\"\"],[\"content-length-range\",1,5]]";
    let long = UploadForm::new("a/long").conditions(range).send(&proxy);
    assert_eq!((long.status, long.refused()), (403, None), "{}", long.text());
    // The submit button of a page may follow the file.
    let button = "\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nb/other\r\n--XX";
    let answer = UploadForm::new("a/button").send_with(&proxy, "/photos/", "", button);
    assert_eq!(answer.status, 204, "{}", answer.text());
    let stored = oss.service.object(&bucket("photos"), b"a/button").expect("an object");
    assert_eq!(stored, &UploadForm::new("").content[..]);
}

#[test]
fn a_form_beyond_the_rights_or_the_policy_is_rejected() {
    let upstream = Script::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let proxy = verifying(upstream.address, CALLER);
    let new = || UploadForm::new("a/k");
    let any = "[[\"starts-with\",\"$key\",\"\"]]";
    let unsigned = UploadForm { secret: "another secret of thirty letters", ..new() };
    let expired = UploadForm { expires_s: -10, ..new() };
    for (form, status, code, words) in [
        (unsigned, 403, "bad-signature", "SignatureDoesNotMatch"),
        (
            UploadForm { secret: "another secret of thirty letters", ..new() }.v1(),
            403,
            "bad-signature",
            "SignatureDoesNotMatch",
        ),
        (expired, 403, "expired", "AccessDenied"),
        (UploadForm { expires_s: -10, ..new() }.v1(), 403, "expired", "AccessDenied"),
        (UploadForm::new("b/k"), 403, "post-form", "Policy Condition failed: key"),
        (UploadForm::new("b/k").conditions(any), 403, "denied", "oss:PutObject"),
        (UploadForm::new("b/${filename}").conditions(any), 403, "denied", "photos/b/cat.png"),
        (new().conditions("[{\"bucket\":\"files\"}]"), 403, "post-form", "Policy Condition failed: bucket"),
        (new().conditions("[[\"matches\",\"$key\",\"a\"]]"), 400, "malformed-signature", "policy"),
        (new().field("X-Oss-Object-Acl", "public-read"), 403, "denied", "oss:PutObjectAcl"),
        (new().field("callback", "e30="), 400, "not-understood", "callback"),
        (new().field("x:var", "1"), 400, "not-understood", "callback"),
        (new().field("x-oss-new", "1"), 400, "not-understood", "x-oss-new"),
        (new().field("KEY", "b/k"), 400, "bad-request", "twice"),
        (new().field("OSSAccessKeyId", "x"), 400, "malformed-signature", "both versions"),
    ] {
        let answer = form.send(&proxy);
        assert_eq!((answer.status, answer.refused()), (status, Some(code)), "{}", answer.text());
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    for (target, lines) in [
        ("/photos/?callback=e30=", ""),
        ("/photos/", "x-oss-object-acl: public-read\r\n"),
        ("/photos/", "x-oss-security-token: t\r\n"),
        ("/photos/", "Authorization: OSS a:AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
        ("/files/", ""),
    ] {
        let answer = new().send_with(&proxy, target, lines, "");
        assert!(matches!(answer.status, 400 | 403), "{target} {lines} {}", answer.text());
    }
    let nothing = Client::connect(proxy.address);
    let body = "--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--XX--\r\n";
    let mut client = nothing;
    client.send(request_head(&proxy, "/photos/", "", body.len()) + body);
    let answer = client.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.refused()), (403, Some("no-identity")), "{}", answer.text());
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
}

#[test]
fn the_lifetime_of_a_form_is_limited_like_that_of_a_url() {
    let upstream = Script::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let proxy = verifying(upstream.address, &format!("{CALLER}presign_max = \"5m\"\n"));
    let new = || UploadForm::new("a/k");
    for (form, status) in [
        (new(), 403),
        (new().v1(), 403),
        (UploadForm { expires_s: 290, ..new() }, 204),
        (UploadForm { expires_s: 290, ..new() }.v1(), 204),
    ] {
        let answer = form.send(&proxy);
        assert_eq!(answer.status, status, "{} {}", form.is_v4, answer.text());
    }
}

#[test]
fn what_the_upstream_gets_has_nothing_of_the_caller() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let upstream = Script::start(move |peer| {
        while let Some(head) = peer.head() {
            seen.lock().expect("no panic").push(peer.body(&head));
            peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let everything = "[[caller]]\nname = \"a\"\nallow = \"everything\"\nkey = [{ id = \"team-a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]\n";
    let proxy = verifying(upstream.address, everything);
    let form = UploadForm::new("a/k").field("submit", "Upload").field("x:Var", "1").field("callback", "e30=");
    let behind = "\r\nContent-Disposition: form-data; name=\"x-oss-object-acl\"\r\n\r\npublic-read\r\n--XX";
    assert_eq!(form.send_with(&proxy, "/photos/", "", behind).status, 204);
    let bodies = bodies.lock().expect("no panic");
    let body = String::from_utf8_lossy(&bodies[0]);
    for expected in ["name=\"key\"\r\n\r\na/k\r\n", "name=\"x:Var\"", "name=\"callback\"", "LTAItestkeyid/"] {
        assert!(body.contains(expected), "{expected}: {body}");
    }
    for foreign in [ID, "submit", "public-read", "cat.png", "cn-shanghai"] {
        assert!(!body.contains(foreign), "{foreign}: {body}");
    }
    let head = &upstream.heads()[0];
    assert_eq!(line_of(head, "authorization"), None, "{head}");
    assert!(body.trim_end_matches(' ').ends_with("--of the file\r\n--XX--\r\n"), "{body}");
}

#[test]
fn the_file_of_a_form_is_streamed() {
    const PIECE: usize = 300 * 1024;
    let (arrived, first_piece) = mpsc::channel();
    let arrived = Mutex::new(arrived);
    let upstream = Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        let length: usize =
            line_of(&head, "content-length").and_then(|text| text.parse().ok()).expect("a length");
        let first = peer.take(PIECE);
        arrived.lock().expect("no panic").send(()).expect("the test waits");
        let rest = peer.take(length - PIECE);
        assert!(first.windows(9).any(|window| window == b"image/png") && rest.ends_with(b"\r\n--XX--\r\n"));
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let proxy = verifying(upstream.address, CALLER);
    let form = UploadForm { content: vec![b'x'; 2 * PIECE], ..UploadForm::new("a/k") };
    let (head, rest) = form.parts("");
    let mut client = Client::connect(proxy.address);
    client.send(request_head(&proxy, "/photos/", "", head.len() + rest.len()));
    client.send(head);
    client.send(&rest[..PIECE]);
    // The second half is sent after the upstream has the first.
    first_piece.recv().expect("a piece");
    client.send(&rest[PIECE..]);
    assert_eq!(client.answer("POST").expect("an answer").status, 204);
}

#[test]
fn forms_are_rejected_without_the_setting_or_credentials() {
    let upstream = Script::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let refusing = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLER).start();
    let answer = UploadForm::new("a/k").send(&refusing);
    assert!(matches!(answer.refused(), Some("post-form" | "no-identity")), "{}", answer.text());
    let unsigned = proxy(upstream.address).listen("verified_forms = true\nidentify = [\"key\"]");
    let unsigned = unsigned.credentials("type = \"anonymous\"\n").sections(CALLER).start();
    let answer = UploadForm::new("a/k").send(&unsigned);
    assert_eq!((answer.status, answer.refused()), (403, Some("post-form")), "{}", answer.text());
    assert!(upstream.heads().is_empty());
}
