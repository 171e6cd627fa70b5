//! `docs/reference.md` has every setting with its type, its default and its description.

use std::collections::BTreeSet;

use crate::config::provider_settings::PROVIDERS;
use crate::config::schema::{DefaultValue, SettingSpec, ValueKind};
use crate::config::settings::ROOT;

const REFERENCE: &str = include_str!("../../../docs/reference.md");

/// A table of settings in `docs/reference.md`.
struct ReferenceTable {
    /// The heading above the table.
    heading: String,
    /// The rows in Markdown, without the head of the table.
    rows: Vec<String>,
}

/// Returns the tables of all settings, in the order of the page.
fn reference_tables() -> Vec<ReferenceTable> {
    let mut top = ReferenceTable { heading: "### At the top".to_owned(), rows: Vec::new() };
    let mut tables = Vec::new();
    for spec in ROOT.settings() {
        match spec.kind {
            ValueKind::Table(schema) | ValueKind::TableList(schema) | ValueKind::TextOrTableList(schema) => {
                tables.push(ReferenceTable {
                    heading: format!("### `{}`", schema.name),
                    rows: schema.settings().flat_map(|spec| rows_of("", spec)).collect(),
                })
            }
            ValueKind::Providers => tables.push(ReferenceTable {
                heading: "### `[credentials.NAME]`".to_owned(),
                rows: provider_rows(),
            }),
            ValueKind::Text
            | ValueKind::Boolean
            | ValueKind::Number
            | ValueKind::Duration
            | ValueKind::Size
            | ValueKind::TextList
            | ValueKind::TextOrTable(_) => top.rows.extend(rows_of("", spec)),
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
    format!("{} | {default} | {}", type_name(spec.kind), spec.description)
}

/// Returns the name of a type in `docs/reference.md`.
pub(super) fn type_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Text => "string",
        ValueKind::Boolean => "boolean",
        ValueKind::Number => "number",
        ValueKind::Duration => "duration",
        ValueKind::Size => "size",
        ValueKind::TextList => "list of strings",
        ValueKind::Table(_) => "table",
        ValueKind::TextOrTable(_) => "string or table",
        ValueKind::TextOrTableList(_) => "string or tables",
        ValueKind::TableList(_) | ValueKind::Providers => "tables",
    }
}

/// Returns the rows of the table under this heading, as written.
fn rows(heading: &str) -> BTreeSet<String> {
    let lines = REFERENCE.lines().skip_while(|line| *line != heading).skip(1);
    let rows = lines.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    rows.map(str::to_owned).collect()
}

#[test]
fn every_setting_is_in_the_reference_with_its_type_and_its_default_and_no_other() {
    let tables = reference_tables();
    let settings = REFERENCE.lines().skip_while(|line| *line != "## Settings").skip(1);
    let headings = settings.take_while(|line| !line.starts_with("## "));
    let headings: Vec<&str> = headings.filter(|line| line.starts_with("### ")).collect();
    let real: Vec<&str> = tables.iter().map(|table| table.heading.as_str()).collect();
    assert_eq!(headings, real, "the sections of docs/reference.md");
    let mut changes = String::new();
    for table in &tables {
        let real: BTreeSet<String> = table.rows.iter().cloned().collect();
        let written = rows(&table.heading);
        if real != written {
            changes.push_str(&format!("{}\n", table.heading));
        }
        changes.extend(written.difference(&real).map(|row| format!("- {row}\n")));
        changes.extend(real.difference(&written).map(|row| format!("+ {row}\n")));
    }
    assert!(changes.is_empty(), "docs/reference.md: change these lines\n{changes}");
}
