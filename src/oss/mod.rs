//! The words of OSS: bucket, object key, region, query, operation, error document. Pure values, no IO.

mod encoding;
mod error;
mod key;
mod names;
mod operation;
mod operation_table;
mod query;

pub use encoding::{BadEscape, decode, encode_path, encode_strict};
pub use error::{ErrorDocument, escape_xml};
pub use key::{InvalidKey, Key};
pub use names::{Bucket, InvalidBucket, InvalidRegion, Product, Region};
pub use operation::Access;
pub use operation_table::Operation;
pub use query::{Param, Query, is_of_signature};
