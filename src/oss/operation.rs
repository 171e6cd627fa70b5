//! Classification of requests by OSS operation. Policy decides by the operation, and the access log
//! shows its name.

use std::collections::HashSet;
use std::sync::LazyLock;

use http::{HeaderMap, Method, header};

use super::operation_columns::{
    AccessKind, ActionTarget, BUCKET, DELETE, GET, HEAD, NONE, OBJECT, OPTIONS, OperationAction,
    OperationGroup, OperationSelector, POST, PUT, SERVICE,
};
use super::operation_table::operation_rows;
use super::query::{Query, QueryParameter, is_of_signature};

/// Defines the operations from their table: an enum, a list of its variants in order, the type of a
/// row, and a row for each.
macro_rules! operations {
    ($(
        $name:ident: $methods:expr, $levels:expr, $access:ident, [$($kind:ident $(($($value:expr),*))?),*],
            $group:ident, [$($action:literal on $target:ident),*];
    )*) => {
        /// An operation of OSS. Requests with an unknown parameter share one name for each method
        /// and level, such as `GetBucketSettings`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($name),*
        }

        impl Operation {
            /// All operations, in the order of the table.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        /// One row of the table: an operation, and the requests that select it.
        struct OperationRow {
            operation: Operation,
            name: &'static str,
            /// Bits such as `GET`.
            methods: u8,
            /// Bits such as `BUCKET`.
            levels: u8,
            access: AccessKind,
            selectors: &'static [OperationSelector],
            group: OperationGroup,
            actions: &'static [OperationAction],
        }

        /// One row for each operation, in the same order.
        static ROWS: &[OperationRow] = &[$(OperationRow {
            operation: Operation::$name,
            name: stringify!($name),
            methods: $methods,
            levels: $levels,
            access: AccessKind::$access,
            selectors: &[$(OperationSelector::$kind $(($($value),*))?),*],
            group: OperationGroup::$group,
            actions: &[$(OperationAction { action: $action, target: ActionTarget::$target }),*],
        }),*];
    };
}

operation_rows!(operations);

/// The parts of a request that select its operation.
struct OperationLookup<'a> {
    method: u8,
    query: &'a Query,
    headers: &'a HeaderMap,
}

impl Operation {
    /// Returns the operation of a request, or `None` for methods that OSS does not support.
    /// `bucketless` requests name neither bucket nor key; `keyless` ones name no key.
    #[must_use]
    pub(crate) fn classify(
        method: &Method,
        bucketless: bool,
        keyless: bool,
        query: &Query,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let level = match (bucketless, keyless) {
            (true, _) => SERVICE,
            (false, true) => BUCKET,
            (false, false) => OBJECT,
        };
        let method = match method_bit(method)? {
            OPTIONS => return Some(Self::Preflight),
            method => method,
        };
        // Only these methods have an operation that a header alone selects.
        if query.params().is_empty() && !matches!(method, PUT | POST) {
            return Some(plain(method, level));
        }
        Some(OperationLookup { method, query, headers }.at(level))
    }

    /// Returns whether OSS may process a whole object, for minutes, before it responds. This holds
    /// for copies and for POST requests on objects, such as the completion of a multipart upload.
    /// The other steps of an upload are excluded.
    #[must_use]
    pub(crate) fn works_on_whole_objects(self) -> bool {
        let row = self.row();
        let is_step = matches!(self, Self::AppendObject | Self::InitiateMultipartUpload);
        let by_post = row.methods == POST && row.levels == OBJECT && !is_step;
        by_post || matches!(self, Self::CopyObject | Self::UploadPartCopy | Self::PostObjectSettings)
    }

    /// Returns the name, as in the access log.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns whether the operation only reads or may write.
    #[must_use]
    pub(crate) fn access(self) -> AccessKind {
        self.row().access
    }

    /// Returns the group in policies.
    #[must_use]
    pub(crate) fn group(self) -> OperationGroup {
        self.row().group
    }

    /// Returns the RAM actions that the operation always requires. Empty for preflights and for
    /// operations that stand for unknown ones.
    #[must_use]
    pub(crate) fn actions(self) -> &'static [OperationAction] {
        self.row().actions
    }

    /// Returns whether the API reference lists the operation with this method. Classification also
    /// accepts HEAD for an operation with GET.
    #[must_use]
    pub(crate) fn has_method(self, method: &Method) -> bool {
        method_bit(method).is_some_and(|bit| self.row().methods & bit != 0)
    }

    /// Returns whether a parameter of this name selects the operation.
    #[must_use]
    pub(crate) fn is_selected_by_parameter(self, name: &[u8]) -> bool {
        self.row().selectors.iter().any(|selector| selector.is_about(name))
    }

    /// Returns whether a header of this name selects the operation.
    #[must_use]
    pub(crate) fn is_selected_by_header(self, name: &str) -> bool {
        self.row()
            .selectors
            .iter()
            .any(|selector| matches!(selector, OperationSelector::Header(header) if *header == name))
    }

    /// Returns whether the operation lists the keys of a bucket, below the parameter `prefix`.
    #[must_use]
    pub(crate) fn lists_keys(self) -> bool {
        matches!(
            self,
            Self::ListObjects | Self::ListObjectsV2 | Self::ListObjectVersions | Self::ListMultipartUploads
        )
    }

    /// Returns whether the operation requires an object key.
    #[must_use]
    pub(crate) fn needs_key(self) -> bool {
        self.row().levels == OBJECT
    }

    /// Returns whether the operation may be requested without a bucket.
    #[must_use]
    pub(crate) fn is_of_service(self) -> bool {
        self.row().levels & SERVICE != 0
    }

    /// Returns a parameter that `ListBuckets` does not support. A request with one is meant for a
    /// bucket.
    #[must_use]
    pub(crate) fn unfit_parameter(self, query: &Query) -> Option<&QueryParameter> {
        let fits = |param: &&QueryParameter| {
            is_of_signature(&param.name) || LIST_BUCKETS.iter().any(|known| known.as_bytes() == param.name)
        };
        query.params().iter().filter(|_| self == Self::ListBuckets).find(|param| !fits(param))
    }

    /// Returns whether no parameter of the query selects an operation.
    #[must_use]
    pub(crate) fn selects_nothing(query: &Query) -> bool {
        !query.params().iter().any(|param| SELECTORS.contains(&*param.name))
    }

    fn row(self) -> &'static OperationRow {
        &ROWS[self as usize]
    }
}

impl OperationLookup<'_> {
    /// Returns the operation at this level. If no row matches, it is the plain operation of the
    /// method. If a parameter may select an unknown operation, it is the operation that stands for
    /// unknown ones.
    fn at(&self, level: u8) -> Operation {
        if let Some(row) = self.best(level) {
            return if self.is_clear(row, level) { row.operation } else { unknown(self.method, level) };
        }
        // Return the operation of the other level, so that the rejection names what is missing.
        let elsewhere = (level == BUCKET).then(|| self.best(OBJECT)).flatten();
        if let Some(row) = elsewhere.filter(|row| !row.selectors.iter().any(OperationSelector::is_work)) {
            return row.operation;
        }
        let may_select = match level {
            // A list of buckets. A parameter that it cannot have is rejected by name.
            SERVICE if self.method & (GET | HEAD) != 0 => false,
            // A write with parameters is left to OSS, which may add operations.
            SERVICE => self.query.params().iter().any(|param| !is_of_signature(&param.name)),
            _ => has_setting(self.query),
        };
        if may_select { unknown(self.method, level) } else { plain(self.method, level) }
    }

    /// Returns the row with the greatest weight, if the request has all of its selectors. A
    /// selector with listed values weighs most.
    fn best(&self, level: u8) -> Option<&'static OperationRow> {
        let rows = self.rows(level).iter().copied();
        let rows = rows.filter(|row| row.selectors.iter().all(|selector| self.has(selector)));
        let weighed = rows.map(|row| {
            let weight: u32 = row.selectors.iter().map(OperationSelector::weight).sum();
            (weight, row.methods & self.method, row)
        });
        let selected = weighed.filter(|(weight, ..)| *weight > 0);
        selected.max_by_key(|(weight, own_method, _)| (*weight, *own_method)).map(|(.., row)| row)
    }

    /// Returns the rows for the method and the level. Rows for GET also apply to HEAD.
    fn rows(&self, level: u8) -> &'static [&'static OperationRow] {
        &ROWS_BY_METHOD[self.method.trailing_zeros() as usize][level.trailing_zeros() as usize]
    }

    /// Returns whether no other parameter may select another operation. For a POST that reads,
    /// every parameter must be known, because read-only listeners allow it.
    fn is_clear(&self, row: &OperationRow, level: u8) -> bool {
        let is_own =
            |param: &QueryParameter| row.selectors.iter().any(|selector| selector.is_about(&param.name));
        let closed = self.method == POST && row.access == AccessKind::Read;
        let others =
            self.query.params().iter().filter(|param| !is_own(param) && !is_of_signature(&param.name));
        let selects = |param: &QueryParameter| {
            SELECTORS.contains(&*param.name) && {
                let mut selectors = self.rows(level).iter().flat_map(|other| other.selectors);
                selectors.any(|selector| selector.is_about(&param.name))
            }
        };
        others.into_iter().all(|param| !closed && !selects(param))
    }

    fn has(&self, selector: &OperationSelector) -> bool {
        let value = |name| self.query.get(name).map(|param| param.value.as_deref().unwrap_or_default());
        match selector {
            OperationSelector::Bare(name) => value(name).is_some_and(<[u8]>::is_empty),
            OperationSelector::Valued(name) => value(name).is_some_and(|value| !value.is_empty()),
            OperationSelector::OneOf(name, all) => {
                value(name).is_some_and(|value| all.iter().any(|one| one.as_bytes() == value))
            }
            OperationSelector::Present(name) => value(name).is_some(),
            OperationSelector::Absent(name) => value(name).is_none(),
            OperationSelector::Header(name) => self.headers.contains_key(*name),
            OperationSelector::NoHeader(name) => !self.headers.contains_key(*name),
            OperationSelector::Form => is_form(self.headers),
        }
    }
}

/// The rows by method bit and level bit, so that few are examined for a request. A constant table,
/// built on first use.
static ROWS_BY_METHOD: LazyLock<[[Vec<&'static OperationRow>; 3]; 5]> = LazyLock::new(|| {
    [GET, GET | HEAD, PUT, POST, DELETE].map(|methods| {
        [SERVICE, BUCKET, OBJECT].map(|level| {
            ROWS.iter().filter(|row| row.methods & methods != 0 && row.levels & level != 0).collect()
        })
    })
});

/// The names of all parameters that select an operation. A constant table, built on first use.
static SELECTORS: LazyLock<HashSet<&'static [u8]>> = LazyLock::new(|| {
    ROWS.iter()
        .flat_map(|row| row.selectors)
        .filter_map(OperationSelector::parameter)
        .map(str::as_bytes)
        .collect()
});

/// Returns the operation of a request without parameters.
fn plain(method: u8, level: u8) -> Operation {
    match (method, level) {
        (GET | HEAD, SERVICE) => Operation::ListBuckets,
        (GET, BUCKET) => Operation::ListObjects,
        (HEAD, BUCKET) => Operation::HeadBucket,
        (GET, _) => Operation::GetObject,
        (HEAD, _) => Operation::HeadObject,
        (PUT, SERVICE | BUCKET) => Operation::PutBucket,
        (PUT, _) => Operation::PutObject,
        (DELETE, SERVICE | BUCKET) => Operation::DeleteBucket,
        (DELETE, _) => Operation::DeleteObject,
        (_, SERVICE | BUCKET) => Operation::PostBucketSettings,
        (_, _) => Operation::PostObjectSettings,
    }
}

/// Returns the operation that stands for unknown ones.
fn unknown(method: u8, level: u8) -> Operation {
    match (method, level) {
        (GET | HEAD, SERVICE | BUCKET) => Operation::GetBucketSettings,
        (GET | HEAD, _) => Operation::GetObjectSettings,
        (PUT, SERVICE) => Operation::PutServiceSettings,
        (PUT, BUCKET) => Operation::PutBucketSettings,
        (PUT, _) => Operation::PutObjectSettings,
        (DELETE, SERVICE) => Operation::DeleteServiceSettings,
        (DELETE, BUCKET) => Operation::DeleteBucketSettings,
        (DELETE, _) => Operation::DeleteObjectSettings,
        (_, SERVICE) => Operation::PostServiceSettings,
        (_, BUCKET) => Operation::PostBucketSettings,
        (_, _) => Operation::PostObjectSettings,
    }
}

/// Returns the bit of a method of OSS.
fn method_bit(method: &Method) -> Option<u8> {
    match *method {
        Method::GET => Some(GET),
        Method::HEAD => Some(HEAD),
        Method::PUT => Some(PUT),
        Method::POST => Some(POST),
        Method::DELETE => Some(DELETE),
        Method::OPTIONS => Some(OPTIONS),
        _ => None,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..FORM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

/// Returns whether the query may name a subresource, and has more than options of the plain
/// operation. An unknown bare parameter counts as a subresource; one with a value does not.
fn has_setting(query: &Query) -> bool {
    const OPTIONS: [&[u8]; 8] = [
        b"prefix",
        b"marker",
        b"delimiter",
        b"max-keys",
        b"encoding-type",
        b"list-type",
        b"start-after",
        b"fetch-owner",
    ];
    query.params().iter().any(|param| {
        let bare = param.value.as_ref().is_none_or(Vec::is_empty);
        bare && !OPTIONS.contains(&param.name.as_slice())
    })
}

/// The parameters of `ListBuckets`; the last two are sent by older SDKs.
const LIST_BUCKETS: [&str; 8] =
    ["prefix", "marker", "max-keys", "tag-key", "tag-value", "tagging", "bid", "regionList"];

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
