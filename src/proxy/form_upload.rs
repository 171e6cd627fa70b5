//! A form upload whose signature the proxy verifies, and replaces by its own. Only the fields before
//! the file are read; the file is streamed.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::form_file::FormFileFilter;
use crate::caller::PostPolicy;
use crate::oss::{Bucket, FormBoundary, FormField, FormHead, InvalidForm, Key, Query};
use crate::sign::{FormPolicy, SigningKey, SigningTime};
use crate::time::Timestamp;

/// A form upload, as far as the content of its file.
pub(super) struct FormUpload {
    pub(super) head: FormHead,
    boundary: FormBoundary,
    /// The beginning of the content of the file.
    content: Bytes,
}

/// A form upload that its own policy allows.
pub(super) struct JudgedForm {
    /// The fields that are sent, without those of a signature.
    fields: Vec<(String, String)>,
    /// The key of the object.
    pub(super) key: String,
    /// The headers of an upload with the same meaning.
    pub(super) headers: HeaderMap,
    content_type: Option<String>,
    length_range: Option<(u64, u64)>,
    boundary: FormBoundary,
    content: Bytes,
}

/// The reason why a form upload is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// The form is malformed.
    #[error("the form cannot be read: {0}")]
    Malformed(#[from] InvalidForm),
    /// The body does not arrive, or ends before the file.
    #[error("the fields of the form did not arrive completely")]
    Incomplete,
    /// A field does not meet a condition of the policy.
    #[error("Invalid according to Policy: Policy Condition failed: {0}")]
    Condition(String),
    /// There is no key, or an invalid one.
    #[error("the form has no valid key")]
    Key,
    /// The file name cannot be a part of the key.
    #[error("the file has no name that ${{filename}} could stand for")]
    Filename,
    /// A field cannot be judged.
    #[error("the field {0} has an invalid value")]
    Field(String),
    /// The request has a parameter or a header that OSS may read.
    #[error("a form upload has no parameter, no Authorization and no x-oss header: {0}")]
    Head(String),
}

impl FormUpload {
    /// Reads the beginning of a form. Returns `None` if it ends before the content of the file.
    pub(super) fn parse(text: &[u8], boundary: &FormBoundary) -> Result<Option<Self>, FormError> {
        let Some(head) = FormHead::parse(text, boundary)? else { return Ok(None) };
        let content = Bytes::copy_from_slice(&text[head.length..]);
        Ok(Some(Self { head, boundary: boundary.clone(), content }))
    }

    /// Returns the boundary of a request, whose head must not have anything that OSS reads.
    pub(super) fn boundary(headers: &HeaderMap, query: &Query) -> Result<FormBoundary, FormError> {
        let parameter = query.params().first();
        if let Some(parameter) = parameter {
            return Err(FormError::Head(String::from_utf8_lossy(&parameter.name).into_owned()));
        }
        // guard: form-without-headers
        let is_read = |name: &&HeaderName| {
            let text = name.as_str();
            (text.starts_with("x-oss-") && text != "x-oss-user-agent")
                || ["content-encoding", "content-md5"].contains(&text)
        };
        if let Some(name) = headers.keys().find(is_read) {
            return Err(FormError::Head(name.to_string()));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(FormBoundary::parse(content_type.unwrap_or_default())?)
    }

    /// Checks the conditions of the policy, and selects the fields that are sent.
    pub(super) fn check(
        self,
        bucket: &Bucket,
        user_agent: Option<&HeaderValue>,
    ) -> Result<JudgedForm, FormError> {
        let Self { head, boundary, content } = self;
        let key = key_of(&head)?;
        let policy = head.get("policy").and_then(PostPolicy::parse);
        let policy = policy.ok_or_else(|| FormError::Condition("policy".to_owned()))?;
        let value_of = |name: &str| match name {
            "bucket" => Some(bucket.as_str()),
            "key" => Some(key.as_str()),
            _ => head.get(name),
        };
        if let Some(field) = policy.unmet(value_of) {
            return Err(FormError::Condition(field.to_owned()));
        }
        let length_range = policy.length_range;
        let mut fields = vec![("key".to_owned(), key.clone())];
        let mut headers = HeaderMap::new();
        headers.extend(user_agent.map(|agent| (header::USER_AGENT, agent.clone())));
        for FormField { name, value } in head.fields() {
            let lower_case = name.to_ascii_lowercase();
            let invalid = || FormError::Field(name.clone());
            match SentField::from_name(&lower_case) {
                SentField::Dropped => continue,
                SentField::Plain => {}
                SentField::Judged => {
                    let header = HeaderName::try_from(lower_case.as_str()).map_err(|_| invalid())?;
                    headers.insert(header, HeaderValue::from_str(value).map_err(|_| invalid())?);
                }
                SentField::Callback(header) => {
                    headers.insert(header, HeaderValue::from_static("1"));
                }
                SentField::Invalid => return Err(invalid()),
            }
            // The case of a variable of a callback matters.
            let is_variable = lower_case.starts_with("x:");
            fields.push((if is_variable { name.clone() } else { lower_case }, value.clone()));
        }
        let content_type = head.content_type;
        Ok(JudgedForm { fields, key, headers, content_type, length_range, boundary, content })
    }
}

impl JudgedForm {
    /// Signs the form, and returns the filter of its body.
    pub(super) fn sign(self, bucket: &Bucket, key: &SigningKey, now: &SigningTime) -> FormFileFilter {
        let Self { fields, content_type, length_range, boundary, content, .. } = self;
        let expiration = Timestamp::from_unix_s(now.at().unix_s() + VALID_S);
        let policy = FormPolicy { expiration, bucket: bucket.as_str(), fields: &fields, length_range };
        let signing = key.sign_form(policy, now);
        let delimiter = boundary.delimiter();
        let mut text = BytesMut::new();
        let mut write = |headers: &[&str], value: &str| {
            text.extend_from_slice(&delimiter.as_bytes()[2..]);
            text.extend_from_slice(b"\r\nContent-Disposition: form-data; ");
            for part in headers {
                text.extend_from_slice(part.as_bytes());
            }
            text.extend_from_slice(b"\r\n\r\n");
            text.extend_from_slice(value.as_bytes());
        };
        let signing = signing.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(signing)
        {
            write(&["name=\"", name, "\""], &format!("{value}\r\n"));
        }
        let content_type = content_type.map(|kind| format!("\r\nContent-Type: {kind}")).unwrap_or_default();
        write(&["name=\"file\"; filename=\"file\"", &content_type], "");
        FormFileFilter::new(&text, delimiter, content)
    }
}

/// The treatment of a field.
enum SentField {
    /// Not sent: it belongs to the signature of the client, or has no meaning.
    Dropped,
    /// Sent, and never judged.
    Plain,
    /// Sent, and judged like the header of this name.
    Judged,
    /// Sent, and judged like this header.
    Callback(&'static str),
    /// The name is invalid.
    Invalid,
}

impl SentField {
    fn from_name(name: &str) -> Self {
        if OWN.contains(&name) {
            Self::Dropped
        } else if PLAIN.contains(&name) {
            Self::Plain
        } else if name == "callback" {
            Self::Callback("x-oss-callback")
        } else if let Some(variable) = name.strip_prefix("x:") {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let is_name = variable.bytes().all(is_word);
            if is_name { Self::Callback("x-oss-callback-var") } else { Self::Invalid }
        } else if name.starts_with("x-oss-") {
            Self::Judged
        } else {
            Self::Dropped
        }
    }
}

/// Returns the key, with the name of the file in place of its variable.
fn key_of(head: &FormHead) -> Result<String, FormError> {
    let key = head.get("key").ok_or(FormError::Key)?;
    let expanded = key.replace(VARIABLE, &head.filename);
    if key.contains(VARIABLE) && (head.filename.is_empty() || expanded.contains(VARIABLE)) {
        return Err(FormError::Filename);
    }
    let is_key = (1..=Key::BYTES_MAX).contains(&expanded.len()) && !expanded.starts_with(['/', '\\']);
    if is_key { Ok(expanded) } else { Err(FormError::Key) }
}

/// Fields of the signature of the client, and the key, which is sent first.
const OWN: [&str; 9] = [
    "key",
    "policy",
    "ossaccesskeyid",
    "signature",
    "x-oss-signature-version",
    "x-oss-credential",
    "x-oss-date",
    "x-oss-signature",
    "x-oss-security-token",
];
/// Fields that need no permission.
const PLAIN: [&str; 8] = [
    "content-type",
    "x-oss-content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "expires",
    "success_action_redirect",
    "success_action_status",
];
/// The time for which OSS accepts the form, in seconds. An upload may take long.
const VALID_S: i64 = 4 * 60 * 60;
const VARIABLE: &str = "${filename}";
