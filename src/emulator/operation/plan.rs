//! The plan of an operation: its function, its requirements, and the callers it is open to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};

use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::response::OssResponse;
use super::super::store::SummedBody;
use super::context::OperationContext;

/// The operation selected for a request, and its requirements.
#[derive(Clone, Copy, Debug)]
pub(in crate::emulator) struct OperationPlan {
    run: RunOperation,
    need: OperationNeed,
    open_to: PublicAccess,
}

/// The callers permitted by a public ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublicAccess {
    /// Any caller that the ACL permits.
    All,
    /// The owner only, whatever the ACL.
    Owner,
}

type RunOperation = fn(OperationContext<'_>) -> Result<OssResponse, OssError>;

/// The access that an operation needs to its bucket and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationNeed {
    Read,
    Change,
    /// Changes the bucket and requires a body.
    Body,
    /// Changes the bucket; the body is optional.
    MayHaveBody,
    /// Changes the bucket and requires a body with a checksum.
    SummedBody,
    /// Stores an object from the form in the body, which has its own signature.
    Form,
    /// Creates the bucket; the body is optional.
    NoBucket,
}

impl OperationPlan {
    pub(in crate::emulator) fn reads_body(&self) -> bool {
        !matches!(self.need, OperationNeed::Read | OperationNeed::Change)
    }

    pub(in crate::emulator) fn makes_bucket(&self) -> bool {
        self.need == OperationNeed::NoBucket
    }

    /// Returns whether the signature is in the body.
    pub(in crate::emulator) fn is_form(&self) -> bool {
        self.need == OperationNeed::Form
    }

    /// Returns whether an ACL permits this operation for anonymous callers.
    pub(in crate::emulator) fn is_public(&self, acl: &str) -> bool {
        match acl {
            _ if self.open_to == PublicAccess::Owner => false,
            "public-read" => self.need == OperationNeed::Read,
            "public-read-write" => true,
            _ => false,
        }
    }

    /// Checks that the request announces the length of a body that the operation requires.
    pub(super) fn check_length(&self, request: &OssRequest) -> Result<(), OssError> {
        let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let has_length = framed.iter().any(|name| request.headers.contains_key(name));
        if matches!(self.need, OperationNeed::Body | OperationNeed::SummedBody) && !has_length {
            return Err(OssError::new(
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLength",
                "You must provide the Content-Length HTTP header.",
            ));
        }
        Ok(())
    }

    /// Checks the body against the `Content-MD5` of the request.
    pub(in crate::emulator) fn check_payload(
        &self,
        request: &OssRequest,
        payload: &SummedBody,
    ) -> Result<(), OssError> {
        let Some(given) = request.header("content-md5") else {
            if self.need == OperationNeed::SummedBody {
                return Err(OssError::new(
                    StatusCode::BAD_REQUEST,
                    "MissingArgument",
                    "Missing Some Required Arguments.",
                )
                .with("ArgumentName", "Content-MD5"));
            }
            return Ok(());
        };
        if !self.reads_body() || STANDARD.decode(given.trim()).is_ok_and(|md5| md5 == payload.md5) {
            return Ok(());
        }
        Err(OssError::new(
            StatusCode::BAD_REQUEST,
            "InvalidDigest",
            "The Content-MD5 you specified is not valid or is not that of the body.",
        )
        .with("Content-MD5", given))
    }

    pub(in crate::emulator) fn run(&self, context: OperationContext<'_>) -> Result<OssResponse, OssError> {
        (self.run)(context)
    }

    pub(super) fn new(run: RunOperation, need: OperationNeed) -> Self {
        Self { run, need, open_to: PublicAccess::All }
    }

    pub(super) fn read(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Read)
    }

    pub(super) fn change(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Change)
    }

    pub(super) fn body(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Body)
    }

    pub(super) fn for_owner(self) -> Self {
        Self { open_to: PublicAccess::Owner, ..self }
    }
}
