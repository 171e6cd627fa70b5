//! The domain types of OSS: bucket, object key, region, query, operation, error document. Pure
//! values, no IO.

mod encoding;
mod error;
mod key;
mod names;
mod operation;
mod operation_columns;
mod operation_table;
mod query;

pub use encoding::{InvalidEscape, decode, encode_path, encode_strict};
pub use error::{ErrorDocument, escape_xml};
pub use key::{InvalidKey, Key};
pub use names::{Bucket, InvalidBucket, InvalidRegion, Region, SigningProduct};
pub use operation_columns::AccessKind;
pub use operation_table::Operation;
pub use query::{Query, QueryParameter, is_of_signature};
