//! The tables of settings in `docs/reference.md`, which are generated from the table of settings.

use super::provider_settings::PROVIDERS;
use super::schema::{DefaultValue, SettingSpec, ValueKind};
use super::settings::ROOT;

/// A table of settings in `docs/reference.md`.
#[derive(Clone, Debug)]
pub struct ReferenceTable {
    /// The heading above the table.
    pub heading: String,
    /// The rows in Markdown, without the head of the table.
    pub rows: Vec<String>,
}

/// Returns the tables of all settings, in the order of the page.
#[must_use]
pub fn reference_tables() -> Vec<ReferenceTable> {
    let mut top = ReferenceTable { heading: "### At the top".to_owned(), rows: Vec::new() };
    let mut tables = Vec::new();
    for spec in ROOT.settings() {
        match spec.kind {
            ValueKind::Table(schema) | ValueKind::TableList(schema) => tables.push(ReferenceTable {
                heading: format!("### `{}`", schema.name),
                rows: schema.settings().flat_map(|spec| rows_of("", spec)).collect(),
            }),
            ValueKind::Providers => tables.push(ReferenceTable {
                heading: "### `[credentials.NAME]`".to_owned(),
                rows: provider_rows(),
            }),
            ValueKind::Text
            | ValueKind::Boolean
            | ValueKind::Number
            | ValueKind::Duration
            | ValueKind::Size
            | ValueKind::TextList => top.rows.extend(rows_of("", spec)),
        }
    }
    tables.insert(0, top);
    tables
}

/// Returns the row of a key, followed by those of the keys in its table.
fn rows_of(prefix: &str, spec: &SettingSpec) -> Vec<String> {
    let path = format!("{prefix}{}", spec.key);
    let mut rows = vec![format!("| `{path}` | {} |", cells(spec))];
    let inside = spec.section().into_iter().flat_map(|schema| schema.settings());
    rows.extend(inside.flat_map(|spec| rows_of(&format!("{path}."), spec)));
    rows
}

/// Returns the rows of the keys of credentials. Types whose key is the same share a row.
fn provider_rows() -> Vec<String> {
    let mut rows: Vec<ProviderRow> = Vec::new();
    for provider in &PROVIDERS {
        for spec in provider.schema.settings() {
            let cells = cells(spec);
            match rows.iter_mut().find(|row| row.key == spec.key && row.cells == cells) {
                Some(row) => row.kinds.push(provider.kind),
                None => rows.push(ProviderRow { key: spec.key, kinds: vec![provider.kind], cells }),
            }
        }
    }
    let row = |row: ProviderRow| {
        let kinds: Vec<String> = row.kinds.iter().map(|kind| format!("`{kind}`")).collect();
        format!("| `{}` | {} | {} |", row.key, kinds.join(", "), row.cells)
    };
    rows.into_iter().map(row).collect()
}

/// A key of credentials with the types that have it.
struct ProviderRow {
    key: &'static str,
    kinds: Vec<&'static str>,
    cells: String,
}

/// Returns the type, the default and the description of a key as cells.
fn cells(spec: &SettingSpec) -> String {
    let default = match spec.default {
        DefaultValue::Described(text) => text.to_owned(),
        value @ (DefaultValue::Text(_)
        | DefaultValue::Boolean(_)
        | DefaultValue::Number(_)
        | DefaultValue::EmptyList) => format!("`{value}`"),
    };
    format!("{} | {default} | {}", spec.kind.name(), spec.description)
}
