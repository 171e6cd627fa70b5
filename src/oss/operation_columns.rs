//! The columns of the operation table: access, methods, levels, selectors, groups and actions.

/// The effect of an operation on stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessKind {
    /// The operation reads or lists.
    Read,
    /// The operation creates, changes or removes data, or may do so.
    Write,
}

/// The group of an operation in policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationGroup {
    /// The operation returns data or properties of one object.
    Read,
    /// The operation lists, or returns basic properties of a bucket.
    List,
    /// The operation stores or changes an object.
    Write,
    /// The operation deletes objects.
    Delete,
    /// The operation reads or changes settings, access control lists or buckets.
    Manage,
    /// The operation needs no credentials, or is unknown.
    None,
}

/// A RAM action that an operation requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OperationAction {
    /// The name, such as `oss:GetObject`.
    pub(crate) action: &'static str,
    /// The resource that it is required on.
    pub(crate) target: ActionTarget,
}

/// The resource that an action is required on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionTarget {
    /// All buckets.
    Service,
    /// The bucket of the request.
    Bucket,
    /// The bucket of the request; all buckets if it names none.
    ServiceOrBucket,
    /// The resource pool of the parameter `resourcePool`.
    Pool,
    /// The object of the request.
    Object,
    /// The source object of a copy.
    CopySource,
    /// The source object of a renaming.
    RenameSource,
    /// The object in which a result is saved.
    SaveTarget,
    /// All objects below the directory of the request.
    Subtree,
    /// Each object in the body.
    EachKey,
    /// The object in a form.
    FormKey,
    /// The object that stores fetched data.
    FetchTarget,
    /// A resource that is not documented.
    Undocumented,
}

impl ActionTarget {
    /// Returns whether the resource is a bucket.
    pub(crate) fn is_bucket(self) -> bool {
        matches!(self, Self::Bucket | Self::ServiceOrBucket)
    }

    /// Returns whether the resource is an object, or several.
    pub(crate) fn is_object(self) -> bool {
        matches!(
            self,
            Self::Object
                | Self::CopySource
                | Self::RenameSource
                | Self::SaveTarget
                | Self::Subtree
                | Self::EachKey
                | Self::FormKey
                | Self::FetchTarget
        )
    }
}

/// A property that a request must have to select an operation.
pub(super) enum OperationSelector {
    /// A parameter without a value; `a` and `a=` are the same.
    Bare(&'static str),
    /// A parameter with a non-empty value.
    Valued(&'static str),
    /// A parameter with one of these values.
    OneOf(&'static str, &'static [&'static str]),
    /// A parameter, with or without a value.
    Present(&'static str),
    /// No parameter of this name.
    Absent(&'static str),
    /// A header of this name.
    Header(&'static str),
    /// No header of this name.
    NoHeader(&'static str),
    /// A body of the type `multipart/form-data`.
    Form,
}

impl OperationSelector {
    /// Returns the parameter that must be present.
    pub(super) fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::Bare(name) | Self::Valued(name) | Self::OneOf(name, _) | Self::Present(name) => Some(name),
            Self::Absent(_) | Self::Header(_) | Self::NoHeader(_) | Self::Form => None,
        }
    }

    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::OneOf(..) => 3,
            Self::Bare(_) | Self::Valued(_) | Self::Present(_) | Self::Header(_) | Self::Form => 2,
            Self::Absent(_) | Self::NoHeader(_) => 0,
        }
    }

    /// Returns whether a parameter of this name must be present.
    pub(super) fn is_about(&self, parameter: &[u8]) -> bool {
        self.parameter().is_some_and(|name| name.as_bytes() == parameter)
    }

    /// Returns whether it selects processing that OSS may also support for a whole bucket; OSS
    /// decides there.
    pub(super) fn is_work(&self) -> bool {
        matches!(self, Self::Bare(name) | Self::OneOf(name, _) if name.starts_with("x-oss-"))
    }
}

/// The method of operations that stand for unknown ones: the table selects them for no request.
pub(super) const NONE: u8 = 0;
pub(super) const GET: u8 = 1;
pub(super) const HEAD: u8 = 2;
pub(super) const PUT: u8 = 4;
pub(super) const POST: u8 = 8;
pub(super) const DELETE: u8 = 16;
pub(super) const OPTIONS: u8 = 32;

/// A request that names neither bucket nor key.
pub(super) const SERVICE: u8 = 1;
/// A request that names a bucket and no key.
pub(super) const BUCKET: u8 = 2;
/// A request that names bucket and key.
pub(super) const OBJECT: u8 = 4;
