//! What the service answers when it refuses: code, sentence, `EC` and the elements that some codes add ("Error responses").

use std::borrow::Cow;

use http::StatusCode;

/// A refusal. Boxed, because it is the error type of nearly every function here.
#[derive(Debug)]
pub(super) struct OssError(Box<OssErrorParts>);

/// What stands in the refusal.
#[derive(Debug)]
pub(super) struct OssErrorParts {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    pub(super) ec: &'static str,
    pub(super) extra: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl OssError {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(OssErrorParts {
            status,
            code: code.into(),
            message: message.into(),
            ec: "",
            extra: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// 400 `InvalidArgument`.
    pub(super) fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    }

    /// 403 `AccessDenied`.
    pub(super) fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    /// 403 with another code.
    pub(super) fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 501 for what the real service knows and this one does not.
    pub(super) fn not_implemented() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "A header or parameter you provided implies functionality that is not implemented.",
        )
    }

    /// Whether it is that.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.0.status == StatusCode::NOT_IMPLEMENTED
    }

    /// 405.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )
    }

    /// 400 for a document that cannot be read.
    pub(super) fn malformed_xml() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema.",
        )
    }

    /// 404 for an object.
    pub(super) fn no_such_key(key: &[u8]) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
            .ec("0026-00000001")
            .with("Key", String::from_utf8_lossy(key))
    }

    /// 404 for a bucket.
    pub(super) fn no_such_bucket(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.")
            .ec("0015-00000101")
            .with("BucketName", name)
    }

    /// With the number of the error page.
    pub(super) fn ec(mut self, ec: &'static str) -> Self {
        self.0.ec = ec;
        self
    }

    /// With one more element.
    pub(super) fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.0.extra.push((name, text.into()));
        self
    }

    /// With a header of the answer beside the document.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_parts(self) -> OssErrorParts {
        *self.0
    }
}
