//! `explain --server-error` with the document of a proxy like this one, which rejected the signature
//! of its client. Compares the texts in the document with those of the described request.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::super::exit::CommandExit;
use super::super::output::{complain, line};
use super::error_document::ServerErrorDocument;
use super::redact::printable;
use super::request::{ExplainError, ExplainedRequest, ReadyConfig};
use super::text_finding::TextFinding;
use crate::app::system_env::SystemEnv;
use crate::config::ProxyConfig;
use crate::oss::{Bucket, Key, Query};
use crate::proxy::DryRunReport;
use crate::sign::v4::{self, AdditionalHeaders};
use crate::sign::{SignableRequest, SignatureVersion, SigningTexts, v1};
use crate::time::{Clock as _, Timestamp};

/// Compares the texts in the document with those of a request of the client.
pub(super) async fn compare(
    config: ProxyConfig,
    asked: &ExplainedRequest<'_>,
    error: &ServerErrorDocument,
) -> Result<CommandExit, ExplainError> {
    let ready = ReadyConfig::new(config).await?;
    let id = printable(error.key_id.as_deref().unwrap_or("an unknown key").as_bytes());
    let at = error.signed_at().map_or_else(|| "an unknown time".to_owned(), Timestamp::rfc3339);
    line(format_args!("{:12}{}, request {}", "error", error.code, printable(error.request_id.as_bytes())));
    line(format_args!("{:12}{} by {id}, made at {at}", "signature", error.version().as_str()));
    let DryRunReport { bucket, key, query, refused, .. } = ready.explain(asked, SystemEnv.now()).await?;
    let (Some(key), Some(query)) = (key, query) else {
        let reason = refused.map_or_else(String::new, |reason| format!(": {}", reason.message));
        complain(format_args!("nothing to compare: this request names no object{reason}"));
        return Ok(CommandExit::Failure);
    };
    let headers = ready.headers(asked)?;
    let sent = DescribedRequest { method: asked.request.method, bucket, key, query, headers };
    line(
        "\nA proxy like this one rejected the signature of its client. \"ours\" is the request described here.",
    );
    let found = TextFinding::all(error, &sent.texts(error), None);
    found.iter().for_each(TextFinding::print);
    if found.is_empty() {
        line("Nothing differs: the client and the proxy sign the same text.");
        line(format_args!(
            "    usual cause: the client has another secret for {id} than the proxy: mistyped, truncated, or replaced; set it again"
        ));
    }
    Ok(CommandExit::Ok)
}

/// The request of a client, as the user describes it.
struct DescribedRequest<'a> {
    method: &'a Method,
    bucket: Option<Bucket>,
    key: Key,
    query: Query,
    headers: HeaderMap,
}

impl DescribedRequest<'_> {
    /// Returns the texts that a client signs for this request. What only the client knows is taken
    /// from the document: the times, the scope and the list of additional headers.
    fn texts(mut self, error: &ServerErrorDocument) -> SigningTexts {
        let theirs = error.canonical_request.as_deref().unwrap_or(&error.string_to_sign);
        self.add_headers_of_signature(theirs);
        let Self { method, bucket, key, query, headers } = &self;
        let request = SignableRequest { method, bucket: bucket.as_ref(), key, query, headers };
        let text = String::from_utf8_lossy(&error.string_to_sign);
        if error.version() == SignatureVersion::V1 {
            let date = text.split('\n').nth(3).unwrap_or_default();
            return SigningTexts {
                canonical_request: None,
                string_to_sign: v1::string_to_sign_with(&request, date),
            };
        }
        let list = additional_headers(theirs);
        let names: Vec<String> = list
            .split(';')
            .map(str::to_ascii_lowercase)
            .filter(|name| !v4::is_signed(name) && headers.contains_key(name.as_str()))
            .collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let canonical =
            v4::write_canonical_request(&request, &[], AdditionalHeaders { names: &names, list: &list });
        let mut lines = text.split('\n').skip(1);
        let date = lines.next().unwrap_or_default();
        let scope = lines.next().unwrap_or_default();
        let string_to_sign = v4::string_to_sign(&canonical, date, scope).into_bytes();
        SigningTexts { canonical_request: Some(canonical), string_to_sign }
    }

    /// Adds the headers that a client sets while it signs, with the values in the signed text.
    fn add_headers_of_signature(&mut self, text: &[u8]) {
        for name in [v4::DATE, v4::CONTENT_SHA256, TOKEN] {
            if let Some(value) = header_line(text, &name).filter(|_| !self.headers.contains_key(&name)) {
                self.headers.insert(name, value);
            }
        }
    }
}

/// The token of a key that was handed out. The proxy masks it in the document.
const TOKEN: HeaderName = HeaderName::from_static("x-oss-security-token");

/// Returns the value of a header in a signed text.
fn header_line(text: &[u8], name: &HeaderName) -> Option<HeaderValue> {
    let value = |line: &[u8]| {
        let value = line.strip_prefix(name.as_str().as_bytes())?.strip_prefix(b":")?;
        HeaderValue::from_bytes(value).ok()
    };
    text.split(|byte| *byte == b'\n').find_map(value)
}

/// Returns the list of additional headers in a canonical request: its last line but one.
fn additional_headers(canonical: &[u8]) -> String {
    let list = canonical.rsplit(|byte| *byte == b'\n').nth(1).unwrap_or_default();
    String::from_utf8_lossy(list).into_owned()
}
