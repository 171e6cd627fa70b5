//! The RAM actions of the operation table, with the kinds of resources that they are on.

use std::sync::LazyLock;

use crate::oss::{AccessKind, ActionTarget, Operation, OperationGroup};
use crate::policy::permission::VERSIONED;

/// An action that a request may require.
pub(super) struct KnownAction {
    /// The name, such as `oss:GetObject`.
    pub(super) name: &'static str,
    /// The kinds of resources that it is on.
    pub(super) kinds: ResourceKinds,
    /// Whether only operations that change settings, access or buckets require it.
    pub(super) is_dangerous: bool,
    /// Whether listings alone require it, which have a prefix.
    pub(super) has_prefix: bool,
}

/// Kinds of resources, one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceKinds(u8);

impl ResourceKinds {
    pub(super) const NONE: Self = Self(0);
    /// All buckets, as `*`.
    pub(super) const SERVICE: Self = Self(1);
    /// Resource pools.
    pub(super) const POOL: Self = Self(2);
    /// Buckets.
    pub(super) const BUCKET: Self = Self(4);
    /// Objects.
    pub(super) const OBJECT: Self = Self(8);
    pub(super) const ALL: Self = Self(15);

    /// Returns the kinds of one or the other.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns these kinds if a condition holds, or none.
    pub(super) fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// Returns whether both have a kind in common.
    pub(super) fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn of_target(target: ActionTarget) -> Self {
        match target {
            ActionTarget::Service => Self::SERVICE,
            ActionTarget::Bucket => Self::BUCKET,
            ActionTarget::ServiceOrBucket => Self::SERVICE.or(Self::BUCKET),
            ActionTarget::Pool => Self::POOL,
            ActionTarget::Object
            | ActionTarget::CopySource
            | ActionTarget::RenameSource
            | ActionTarget::SaveTarget
            | ActionTarget::Subtree
            | ActionTarget::EachKey
            | ActionTarget::FormKey
            | ActionTarget::FetchTarget => Self::OBJECT,
            ActionTarget::Undocumented => Self::ALL,
        }
    }
}

impl KnownAction {
    /// Returns all actions, in the order of the operation table.
    pub(super) fn all() -> &'static [Self] {
        &ALL
    }
}

/// The actions. A constant table, built on first use.
static ALL: LazyLock<Vec<KnownAction>> = LazyLock::new(|| {
    let mut all: Vec<KnownAction> = Vec::new();
    for operation in Operation::ALL {
        let changes = operation.access() == AccessKind::Write && operation.group() == OperationGroup::Manage;
        for action in operation.actions() {
            let kinds = ResourceKinds::of_target(action.target);
            match all.iter_mut().find(|known| known.name == action.action) {
                Some(known) => {
                    known.kinds = known.kinds.or(kinds);
                    known.is_dangerous &= changes;
                    known.has_prefix &= operation.lists_keys();
                }
                None => all.push(KnownAction {
                    name: action.action,
                    kinds,
                    is_dangerous: changes,
                    has_prefix: operation.lists_keys(),
                }),
            }
        }
    }
    let versions = VERSIONED.iter().map(|(_, versioned)| *versioned);
    for name in versions.chain(WITHOUT_OPERATION) {
        let kinds = ResourceKinds::OBJECT.or(ResourceKinds::BUCKET);
        let is_dangerous = name == "oss:PutObjectVersionAcl";
        all.push(KnownAction { name, kinds, is_dangerous, has_prefix: false });
    }
    all
});

/// Actions that OSS checks apart from requests of its API: for RTMP, for IMM and for replication
/// ("Authorization syntax and elements", OSS documentation).
const WITHOUT_OPERATION: [&str; 3] = ["oss:PublishRtmpStream", "oss:ProcessImm", "oss:ReplicateGet"];
