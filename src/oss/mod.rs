//! The domain types of OSS: bucket, object key, region, query, operation, error document. Pure
//! values, no IO.

mod bucket_list;
mod encoding;
mod error;
mod error_elements;
mod form_head;
pub(crate) mod key;
mod names;
mod operation;
mod operation_columns;
mod operation_table;
pub(crate) mod query;

pub(crate) use bucket_list::{BucketList, InvalidBucketList};
pub(crate) use encoding::{InvalidEscape, decode, encode_path, encode_strict};
pub(crate) use error::ErrorDocument;
#[cfg(test)]
pub(crate) use error::escape_xml;
pub(crate) use error_elements::ErrorElements;
pub(crate) use form_head::{FormBoundary, FormField, FormHead, InvalidForm};
pub(crate) use key::{InvalidKey, Key};
pub use names::Bucket;
pub use names::InvalidBucket;
pub use names::InvalidRegion;
pub use names::Region;
pub(crate) use names::SigningProduct;
pub(crate) use operation::Operation;
pub(crate) use operation_columns::{AccessKind, ActionTarget, OperationGroup};
pub(crate) use query::{Query, QueryParameter, is_of_signature};
