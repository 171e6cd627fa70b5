//! The inputs of an operation.

use super::super::encoding::ParameterPairs;
use super::super::error::OssError;
use super::super::request::{OssRequest, RequestTarget};
use super::super::settings::ServiceIdentity;
use super::super::store::{BucketContents, ObjectStore, SummedBody};
use crate::oss::Bucket;
use crate::time::Timestamp;

/// The inputs of an operation, and the state it can change.
#[derive(Debug)]
pub(in crate::emulator) struct OperationContext<'a> {
    pub(in crate::emulator) request: &'a OssRequest,
    pub(in crate::emulator) identity: &'a ServiceIdentity,
    pub(in crate::emulator) store: &'a mut ObjectStore,
    pub(in crate::emulator) now: Timestamp,
    pub(in crate::emulator) payload: SummedBody,
}

impl<'a> OperationContext<'a> {
    pub(super) fn query(&self) -> &'a ParameterPairs {
        &self.request.query
    }

    /// Returns the bucket that the request addresses.
    pub(super) fn bucket(&self) -> Result<&'a Bucket, OssError> {
        self.request.target.bucket().ok_or_else(OssError::method)
    }

    /// Returns the bucket, its contents and the key. The key is empty for an operation on the
    /// bucket itself.
    pub(super) fn locate(&mut self) -> Result<(&'a Bucket, &mut BucketContents, &'a [u8]), OssError> {
        let request = self.request;
        let bucket = self.bucket()?;
        let key = match &request.target {
            RequestTarget::Object(_, key) => key.as_slice(),
            RequestTarget::Service | RequestTarget::Bucket(_) => &[],
        };
        Ok((bucket, self.store.bucket(bucket)?, key))
    }
}
