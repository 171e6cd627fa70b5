//! Keyed hashes that represent values which may be secret. The key is random per process: outside it,
//! a hash does not help to guess a secret.

use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::sync::LazyLock;

use toml::de::{DeTable, DeValue};

/// A keyed hash that represents a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueFingerprint(u64);

impl ValueFingerprint {
    pub(super) fn new(value: &str) -> Self {
        Self(KEYS.hash_one(value))
    }
}

/// Returns a keyed hash of the keys and values of a table.
pub(super) fn mark_of(table: &DeTable<'_>) -> u64 {
    let mut hasher = KEYS.build_hasher();
    hash_table(table, &mut hasher);
    hasher.finish()
}

fn hash_table(table: &DeTable<'_>, hasher: &mut impl Hasher) {
    table.len().hash(hasher);
    for (key, value) in table {
        key.get_ref().hash(hasher);
        hash_value(value.get_ref(), hasher);
    }
}

fn hash_value(value: &DeValue<'_>, hasher: &mut impl Hasher) {
    match value {
        DeValue::Table(inner) => hash_table(inner, hasher),
        DeValue::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash_value(item.get_ref(), hasher));
        }
        DeValue::String(text) => text.hash(hasher),
        DeValue::Integer(number) => number.as_str().hash(hasher),
        DeValue::Float(number) => number.as_str().hash(hasher),
        DeValue::Boolean(truth) => truth.hash(hasher),
        DeValue::Datetime(time) => time.to_string().hash(hasher),
    }
}

// A constant after first use; it holds no settings.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
