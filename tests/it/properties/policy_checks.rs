//! Properties of policy documents, and of the requests that they judge, that hold for any bytes.
//! Shared by the property tests and the fuzz targets. Values that the proxy writes are read here by
//! separate code.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use oss_signing_proxy::internals::policy::{
    CallerRights, JudgedRequest, is_granted, judged_request, rights_of,
};
use serde_json::{Value, json};

use super::checks::locate;

/// An accepted document is JSON with the grammar of RAM. Written again, with its statements in
/// another order, it decides the same. A `Deny` of everything beside it denies everything.
pub(crate) fn policy_document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(rights) = rights_of(text) else { return };
    let mut document: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?} is accepted"));
    check_document(&document);
    let allows = document["Statement"].as_array().into_iter().flatten().any(|one| one["Effect"] == "Allow");
    let before = decisions(&rights);
    assert!(allows || !before.contains(&Some(true)), "nothing is allowed by {text:?}");
    let statements = document["Statement"].as_array_mut().expect("a list");
    statements.reverse();
    let again = rights_of(&document.to_string()).unwrap_or_else(|| panic!("{document} of {text:?}"));
    assert_eq!(decisions(&again), before, "{text:?}");
    let statements = document["Statement"].as_array_mut().expect("a list");
    statements.push(json!({ "Effect": "Deny", "Action": "*", "Resource": "*" }));
    let denied = rights_of(&document.to_string()).expect("a document");
    assert!(!denied.is_unrestricted() && !decisions(&denied).contains(&Some(true)), "{document}");
}

fn decisions(rights: &CallerRights) -> Vec<Option<bool>> {
    let requests = [
        (Method::GET, "/team-data/a/k"),
        (Method::PUT, "/team-data/a/k"),
        (Method::GET, "/team-data?prefix=a%2F&delimiter=%2F"),
        (Method::GET, "/team-data?list-type=2"),
        (Method::DELETE, "/team-data/b/k?versionId=v"),
        (Method::PUT, "/team-data?acl"),
        (Method::GET, "/"),
    ];
    let decide = |(method, target): (Method, &str)| {
        let headers = host();
        let object = locate(&method, &target.parse().expect("a target"), &headers).expect("an object");
        let decision = is_granted(rights, &method, &object, &headers, b"");
        assert!(decision.is_some(), "{method} {target}");
        decision
    };
    requests.into_iter().map(decide).collect()
}

/// Checks the grammar of RAM, without the meaning of its texts.
fn check_document(document: &Value) {
    let top = document.as_object().expect("an object");
    assert!(top.keys().all(|key| ["Version", "Statement"].contains(&key.as_str())), "{document}");
    assert_eq!(document["Version"], "1");
    let statements = document["Statement"].as_array().expect("a list");
    assert!(!statements.is_empty());
    for statement in statements {
        let elements = statement.as_object().expect("an object");
        const NAMES: [&str; 5] = ["Effect", "Action", "NotAction", "Resource", "Condition"];
        assert!(elements.keys().all(|key| NAMES.contains(&key.as_str())), "{statement}");
        assert!(["Allow", "Deny"].iter().any(|effect| statement["Effect"] == *effect), "{statement}");
        assert_ne!(elements.contains_key("Action"), elements.contains_key("NotAction"), "{statement}");
        let lists = ["Action", "NotAction", "Resource"].map(|name| elements.get(name));
        assert!(
            elements.contains_key("Resource") && lists.into_iter().flatten().all(is_texts),
            "{statement}"
        );
        if let Some(condition) = elements.get("Condition") {
            let operators = condition.as_object().expect("operators");
            let values = operators.values().map(|keys| keys.as_object().expect("keys"));
            assert!(!operators.is_empty() && values.flat_map(|keys| keys.values()).all(is_texts));
        }
    }
}

fn is_texts(value: &Value) -> bool {
    value.is_string()
        || value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_string))
}

/// The body that is sent names the objects that were judged, and is judged as the received one.
pub(crate) fn batch_delete(data: &[u8]) {
    let Some(judged) = judge(&Method::POST, "/team-data?delete", &host(), data) else { return };
    let body = judged.body.as_deref().expect("a body");
    let required: Vec<_> = written_objects(std::str::from_utf8(body).expect("UTF-8"));
    assert_eq!(judged.permissions, required, "{}", data.escape_ascii());
    let again = judge(&Method::POST, "/team-data?delete", &host(), body);
    assert_eq!(again.as_ref(), Some(&judged), "{}", body.escape_ascii());
}

/// Returns the permissions that a written body requires.
fn written_objects(body: &str) -> Vec<(&'static str, String)> {
    let rest = body.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete>").expect("a root");
    let rest = rest.strip_suffix("</Delete>").expect("an end");
    let quiet = ["<Quiet>true</Quiet>", "<Quiet>false</Quiet>"];
    let rest = quiet.iter().find_map(|quiet| rest.strip_prefix(quiet)).unwrap_or(rest);
    let objects = rest.split_terminator("</Object>").map(|object| {
        let object = object.strip_prefix("<Object><Key>").expect("a key");
        let (key, version) = object.split_once("</Key>").expect("the end of a key");
        let key = format!("acs:oss:*:*:team-data/{}", unescaped(key));
        if version.is_empty() {
            return ("oss:DeleteObject", key);
        }
        let version = version.strip_prefix("<VersionId>").expect("a version");
        assert!(!version.strip_suffix("</VersionId>").expect("its end").contains('<'), "{body}");
        ("oss:DeleteObjectVersion", key)
    });
    objects.collect()
}

/// Returns the text of XML.
fn unescaped(text: &str) -> String {
    assert!(!text.contains(['<', '>', '\r']), "{text:?}");
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';').expect("an entity");
        let known = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
        let known = known.iter().find(|(name, _)| *name == entity).map(|(_, character)| *character);
        out.push(known.unwrap_or_else(|| {
            let number = entity.strip_prefix('#').expect("a number").parse().expect("decimal");
            char::from_u32(number).expect("a character")
        }));
        out.push_str(rest);
    }
    out
}

/// An instruction, in a parameter and as a body, is not understood, or it requires the right to read
/// each image that it names, and to write its only target.
pub(crate) fn process(data: &[u8]) {
    let escaped: String = data.iter().map(|byte| format!("%{byte:02X}")).collect();
    let target = format!("/team-data/a/k?x-oss-process={escaped}");
    let read = |key: String| ("oss:GetObject", format!("acs:oss:*:*:team-data/{key}"));
    if let Some(judged) = judge(&Method::GET, &target, &host(), b"") {
        let text = std::str::from_utf8(data).expect("UTF-8");
        assert!(!has_system_step(text), "{text}");
        let keys = images(text).into_iter().chain(["a/k".to_owned()]);
        let mut required: Vec<_> = keys.map(read).collect();
        let mut permissions = judged.permissions;
        required.sort_unstable();
        permissions.sort_unstable();
        assert_eq!((permissions, judged.headers, judged.body), (required, Vec::new(), None), "{text}");
    }
    if let Some(judged) = judge(&Method::POST, "/team-data/a/k?x-oss-process", &host(), data) {
        let text = std::str::from_utf8(data).expect("UTF-8");
        let (steps, saved) = text.rsplit_once("|sys/saveas,").expect("a target");
        let steps = steps.strip_prefix("x-oss-process=").expect("steps");
        assert!(!has_system_step(steps) && !saved.contains('|'), "{text}");
        let value = |name: &str| {
            let mut values = saved.split(',').filter_map(|part| part.strip_prefix(name));
            let first = values.next().map(decoded);
            assert_eq!(values.next(), None, "{text}");
            first
        };
        let bucket = value("b_").unwrap_or_else(|| "team-data".to_owned());
        let written = format!("acs:oss:*:*:{bucket}/{}", value("o_").expect("a key"));
        let writes = judged.permissions.iter().filter(|(action, _)| *action == "oss:PutObject");
        assert_eq!(writes.collect::<Vec<_>>(), [&("oss:PutObject", written)], "{text}");
        for key in images(steps) {
            assert!(judged.permissions.contains(&read(key)), "{text}");
        }
        // It is forwarded as it was received.
        assert_eq!((judged.headers, judged.body), (Vec::new(), None));
    }
}

/// Returns whether a step does not process an image, but saves it, for example.
fn has_system_step(text: &str) -> bool {
    text.split('|').any(|step| step.starts_with("sys/"))
}

/// Returns the keys of all images that an instruction names.
fn images(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for part in text.split(['|', '/', ',']) {
        assert!(!part.to_ascii_lowercase().starts_with("image_") || part.starts_with("image_"), "{text}");
        let Some(value) = part.strip_prefix("image_") else { continue };
        let named = decoded(value);
        let (key, inner) = named.split_once('?').unwrap_or((&named, ""));
        keys.extend(images(inner.strip_prefix("x-oss-process=").unwrap_or(inner)));
        keys.push(key.to_owned());
    }
    keys
}

fn decoded(value: &str) -> String {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&URL_SAFE, config).decode(value);
    String::from_utf8(bytes.unwrap_or_else(|error| panic!("{error}: {value}"))).expect("UTF-8")
}

/// A source of a copy, a target of a link or a source of a rename is not understood, or the header
/// that is sent names what was judged, and is judged as the received one.
pub(crate) fn copy_source(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for (method, target, name) in [
        (Method::PUT, "/team-data/a/k", "x-oss-copy-source"),
        (Method::PUT, "/team-data/a/k?partNumber=1&uploadId=u", "x-oss-copy-source"),
        (Method::PUT, "/team-data/a/k?symlink", "x-oss-symlink-target"),
        (Method::POST, "/team-data/a/k?x-oss-rename", "x-oss-rename-source"),
    ] {
        let name = HeaderName::from_static(name);
        let with = |value: &HeaderValue| {
            let mut headers = host();
            headers.insert(name.clone(), value.clone());
            judge(&method, target, &headers, b"")
        };
        let Some(judged) = with(&value) else { continue };
        let [(_, Some(written))] = &judged.headers[..] else { panic!("{:?}", judged.headers) };
        assert_eq!(with(written).as_ref(), Some(&judged), "{value:?} {written:?}");
        let written = written.to_str().expect("ASCII");
        let path = written.split('?').next().unwrap_or_default();
        let named = if name == "x-oss-copy-source" {
            unescaped_path(path.strip_prefix('/').expect("a path"))
        } else {
            format!("team-data/{}", unescaped_path(path))
        };
        let resource = format!("acs:oss:*:*:{named}");
        assert!(judged.permissions.iter().any(|(_, one)| *one == resource), "{value:?}: {judged:?}");
    }
}

fn unescaped_path(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).expect("an escape"));
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(out).expect("UTF-8")
}

fn host() -> HeaderMap {
    HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1"))])
}

fn judge(method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> Option<JudgedRequest> {
    let uri = Uri::try_from(target).ok()?;
    let object = locate(method, &uri, headers)?;
    let mut unsigned = headers.clone();
    unsigned.remove(header::HOST);
    judged_request(method, &object, &unsigned, body)
}
