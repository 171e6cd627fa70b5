//! Reads the error document in which OSS reports the texts it computed when it rejected a signature
//! ("Error responses", OSS API reference). It may come from any source, so its content is not
//! trusted. Pure but for reading the file.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::diagnosis::{OURS, ServerDiagnosis};
use super::redact::printable;
use crate::oss::ErrorElements;
use crate::sign::SignatureVersion;
use crate::time::Timestamp;

/// The content of the document.
#[derive(Debug)]
pub(super) struct ServerErrorDocument {
    pub(super) code: String,
    pub(super) request_id: String,
    pub(super) key_id: Option<String>,
    pub(super) string_to_sign: Vec<u8>,
    /// `true` if the document is of a proxy like this one, which verified its client.
    pub(super) is_own: bool,
    /// Present only for V4.
    pub(super) canonical_request: Option<Vec<u8>>,
}

/// A reason why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidDocument {
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    #[error("the document has more than {LENGTH_MAX} bytes; an OSS error document has a few thousand")]
    TooLong,
    #[error("the document is empty; a response to HEAD has no body: pass the value of its header x-oss-err")]
    Empty,
    #[error(
        "the document is not valid XML: {0}; pass the unmodified body of the response, without its headers"
    )]
    NotXml(&'static str),
    #[error("the root element is <{0}>, not the <Error> of OSS")]
    Foreign(String),
    #[error("the document is an <Error> without a <Code>, so it is not from OSS")]
    NoCode,
    #[error("the error is {code} and has no StringToSign; only SignatureDoesNotMatch has one")]
    NothingSigned { code: String },
    /// The error itself shows the cause.
    #[error("the error is {code}; {diagnosis}")]
    Diagnosed { code: String, request_id: String, diagnosis: ServerDiagnosis },
}

impl ServerErrorDocument {
    /// Reads a file, or standard input if `file` is `-`.
    pub(super) fn read(file: &Path) -> Result<Self, InvalidDocument> {
        let mut bytes = Vec::new();
        let limit = LENGTH_MAX + 1;
        let read = if file == Path::new("-") {
            io::stdin().lock().take(limit).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes))
        };
        read.map_err(|error| InvalidDocument::Unreadable(file.display().to_string(), error))?;
        if bytes.len() as u64 > LENGTH_MAX {
            return Err(InvalidDocument::TooLong);
        }
        Self::parse(&bytes)
    }

    /// Returns the version of the signature that the server received.
    pub(super) fn version(&self) -> SignatureVersion {
        let is_v4 = self.canonical_request.is_some() || self.string_to_sign.starts_with(b"OSS4-");
        if is_v4 { SignatureVersion::V4 } else { SignatureVersion::V1 }
    }

    /// Returns the signing time in the text. The text of a V1 signed URL has its expiry there.
    pub(super) fn signed_at(&self) -> Option<Timestamp> {
        let number = match self.version() {
            SignatureVersion::V4 => 1,
            SignatureVersion::V1 => 3,
        };
        let line = self.string_to_sign.split(|byte| *byte == b'\n').nth(number)?;
        let text = std::str::from_utf8(line).ok()?.trim();
        Timestamp::parse_iso_basic(text).or_else(|| Timestamp::parse_http_date(text))
    }

    fn parse(document: &[u8]) -> Result<Self, InvalidDocument> {
        if document.trim_ascii().is_empty() {
            return Err(InvalidDocument::Empty);
        }
        let document = from_header(document).map_or(Cow::Borrowed(document), Cow::Owned);
        let elements = ErrorElements::parse(&String::from_utf8_lossy(&document));
        if let Some(fault) = elements.fault {
            return Err(InvalidDocument::NotXml(fault));
        }
        if elements.root != "Error" {
            return Err(InvalidDocument::Foreign(shortened(&elements.root)));
        }
        let of = |name: &str| elements.get(name).map(str::to_owned);
        let given = of("Code").map(|code| code.trim().to_owned()).filter(|code| !code.is_empty());
        let code = shortened(&given.ok_or(InvalidDocument::NoCode)?);
        let request_id = shortened(of("RequestId").unwrap_or_default().trim());
        let Some(text) = of("StringToSign").filter(|text| !text.is_empty()) else {
            return Err(match ServerDiagnosis::diagnose(&code, of) {
                Some(diagnosis) => InvalidDocument::Diagnosed { code, request_id, diagnosis },
                None => InvalidDocument::NothingSigned { code },
            });
        };
        // Invalid UTF-8 is lost in the text, so the bytes are preferred. The bytes may be damaged
        // if a secret was removed on the way.
        let bytes = of("StringToSignBytes").and_then(|pairs| from_hex(&pairs));
        Ok(Self {
            code,
            request_id,
            is_own: of("HostId").is_some_and(|host| host.trim() == OURS),
            key_id: of("OSSAccessKeyId").map(|id| id.trim().to_owned()),
            string_to_sign: bytes.unwrap_or_else(|| text.into_bytes()),
            canonical_request: of("CanonicalRequest").filter(|text| !text.is_empty()).map(String::into_bytes),
        })
    }
}

/// Decodes bytes in the format of OSS: `47 45 54 0A`. The decoder of base16ct accepts no separators.
fn from_hex(pairs: &str) -> Option<Vec<u8>> {
    let pairs = pairs.split_ascii_whitespace();
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2)).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

fn shortened(text: &str) -> String {
    printable(text.chars().take(60).collect::<String>().as_bytes())
}

/// Decodes the document from the value of `x-oss-err`, with or without the header name before it.
fn from_header(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let value = match text.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("x-oss-err") => value.trim(),
        Some(_) | None => text,
    };
    let document = STANDARD.decode(value).ok()?;
    document.trim_ascii_start().starts_with(b"<").then_some(document)
}

const LENGTH_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::ServerErrorDocument;

    fn told(document: &str) -> String {
        match ServerErrorDocument::parse(document.as_bytes()) {
            Ok(error) => panic!("{error:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_error_of_oss_is_told_so() {
        for (document, words) in [
            ("", "is empty"),
            ("HTTP/1.1 403 Forbidden", "not valid XML"),
            ("HTTP/1.1 403\n\n<Error></Error>", "without its head"),
            ("<html><body>502</body></html>", "is <html>"),
            ("<Error><Code>SignatureDoes", "not valid XML"),
            ("<Error><Code>a</Cod></Error>", "not valid XML"),
            ("<Error>&nope;</Error>", "unknown entity"),
            ("<Error><Message>m</Message></Error>", "without a <Code>"),
            ("<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey and has no StringToSign"),
            ("<Error><Code>RequestTimeTooSkewed</Code></Error>", "clock"),
            ("x-oss-err: PEVycm9yPjxDb2RlPk5vU3VjaEtleTwvQ29kZT48L0Vycm9yPg==", "NoSuchKey"),
            ("PEVycm9yPjxDb2RlPk5vU3VjaEtleTwvQ29kZT48L0Vycm9yPg==\n", "NoSuchKey"),
            ("aGVsbG8=", "not valid XML"),
        ] {
            let told = told(document);
            assert!(told.contains(words), "{document}: {told}");
        }
    }

    #[test]
    fn bytes_count_before_the_text_unless_they_are_broken() {
        let of = |bytes: &str| {
            let document = format!(
                "<?xml version=\"1.0\"?>\n<Error>\n<Code>S</Code><StringToSign>GET&#10;&amp;</StringToSign><StringToSignBytes>{bytes}</StringToSignBytes></Error>\n"
            );
            ServerErrorDocument::parse(document.as_bytes()).expect("an error").string_to_sign
        };
        assert_eq!(of("47 45 54 0A FF"), b"GET\n\xff");
        assert_eq!(of("47 [removed]"), b"GET\n&");
    }
}
