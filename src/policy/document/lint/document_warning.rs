//! Warnings about statements, as users read them.

/// A warning about a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentWarning {
    #[error("the action {pattern} includes {}; name the actions one by one", list(.included))]
    WideAction { pattern: String, included: Vec<&'static str> },
    #[error("NotAction allows every other action, such as {}; use Action", list(.0))]
    OtherActions(Vec<&'static str>),
    #[error("no request requires the action {pattern}{}", hint(.required))]
    UnknownAction { pattern: String, required: Vec<&'static str> },
    #[error("no request of OSS requires {0}, an action of another service")]
    OtherService(String),
    #[error("the action {0} is on objects, but no resource of the statement names objects; add BUCKET/*")]
    OnObjects(String),
    #[error(
        "the action {0} is on a bucket, but no resource of the statement names a bucket; add BUCKET without a slash"
    )]
    OnBucket(String),
    #[error("the action {0} is on all buckets, but no resource of the statement is *")]
    OnService(String),
    #[error("the action {0} is on resource pools, but no resource of the statement is resourcepool/NAME")]
    OnPool(String),
    #[error("the resource {0:?} never matches, because no key is empty; write {0}* for the objects")]
    EmptyKey(String),
    #[error("the resource {0:?} matches one object alone; write {0}* for the objects below it")]
    FolderAlone(String),
    #[error(
        "the resource {0:?} has a wildcard before its first slash, which also matches slashes, and thus keys of other buckets; write the name of the bucket"
    )]
    CrossingWildcard(String),
    #[error("{0:?} also matches siblings, such as {1}x; end the prefix with a slash")]
    OpenPrefix(String, String),
    #[error("the prefix {0:?} also lists siblings, such as {0}x; end it with a slash")]
    OpenListing(String),
    #[error("{0} denies it as a whole")]
    Shadowed(String),
    #[error(
        "a listing of a shorter prefix shows what the condition on oss:Prefix excludes; allow the prefixes that may be listed instead"
    )]
    PorousPrefix,
    #[error("the prefix {0:?} lists the whole bucket; add a condition on oss:Delimiter, or remove it")]
    WholeBucket(String),
    #[error(
        "requests for {0} have no prefix and no delimiter, so the condition never holds; use a statement without it"
    )]
    WithoutPrefix(String),
}

/// Returns the first names of a list, and the number of the others.
fn list(names: &[&'static str]) -> String {
    let shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more that change settings, access or buckets"),
    }
}

fn hint(required: &[&'static str]) -> String {
    if required.is_empty() { String::new() } else { format!("; use {}", required.join(" and ")) }
}

/// The number of actions that a warning names.
const SHOWN_MAX: usize = 4;
