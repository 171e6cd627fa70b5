//! Error responses: status, code, message, `EC` and the elements that some codes add ("Error
//! responses").

use std::borrow::Cow;

use http::StatusCode;

/// An error response. Boxed, because it is the error type of nearly every function here.
#[derive(Debug)]
pub(super) struct OssError(Box<OssErrorParts>);

/// The contents of an error response.
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

    /// 501, for features of OSS that the emulator does not implement.
    pub(super) fn not_implemented() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "A header or parameter you provided implies functionality that is not implemented.",
        )
    }

    /// Returns whether this is [`OssError::not_implemented`].
    pub(super) fn is_not_implemented(&self) -> bool {
        self.0.status == StatusCode::NOT_IMPLEMENTED
    }

    /// 405 `MethodNotAllowed`.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )
    }

    /// 400 `MalformedXML`, for an invalid document.
    pub(super) fn malformed_xml() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema.",
        )
    }

    /// 404 `NoSuchKey`, for an unknown object.
    pub(super) fn no_such_key(key: &[u8]) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
            .ec("0026-00000001")
            .with("Key", String::from_utf8_lossy(key))
    }

    /// 404 `NoSuchBucket`, for an unknown bucket.
    pub(super) fn no_such_bucket(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.")
            .ec("0015-00000101")
            .with("BucketName", name)
    }

    /// Sets `EC`, the number of the documentation page for the error.
    pub(super) fn ec(mut self, ec: &'static str) -> Self {
        self.0.ec = ec;
        self
    }

    /// Adds an element to the document.
    pub(super) fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.0.extra.push((name, text.into()));
        self
    }

    /// Adds a header to the response.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_parts(self) -> OssErrorParts {
        *self.0
    }
}
