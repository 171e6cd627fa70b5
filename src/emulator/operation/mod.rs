//! The operations of OSS: one file per group, and the parts they share.

mod bucket;
mod bucket_config;
mod condition;
mod context;
mod copy;
mod list;
mod multi_delete;
mod multipart;
mod object;
mod object_metadata;
mod plan;
mod range;
mod restore;
mod selection;
mod symlink;
mod tagging;
mod uploads;
mod xml;

pub(super) use context::OperationContext;
pub(super) use plan::OperationPlan;
pub(super) use selection::select;
