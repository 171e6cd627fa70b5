//! Reads a section of the file key by key. Flags and environment override the file. Each error is
//! reported with its origin, and reading continues.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::layer::{self, FlagSetting, SettingLayer};
use super::lines::LineTable;
use super::origin::{SpannedValue, ValueOrigin};
use super::schema::{self, SectionSchema};

/// The file, and the layers that override it.
pub(super) struct ConfigDocument<'a> {
    /// The name of the file; `None` if there is no file.
    pub(super) file: Option<String>,
    text: &'a str,
    lines: LineTable,
    pub(super) layers: &'a [SettingLayer],
}

/// A section of the file. A missing section is empty.
pub(super) struct ConfigSection<'a> {
    document: &'a ConfigDocument<'a>,
    path: String,
    /// True if flags or the environment can set any of its keys.
    layered: bool,
    table: Option<&'a DeTable<'a>>,
    line: Option<usize>,
}

impl<'a> ConfigDocument<'a> {
    /// Creates a document from a file, given as its name and full text, and the layers that
    /// override it.
    pub(super) fn new(file: Option<(&Path, &'a str)>, layers: &'a [SettingLayer]) -> Self {
        let text = file.map_or("", |(_, text)| text);
        Self {
            file: file.map(|(path, _)| path.display().to_string()),
            text,
            lines: LineTable::new(text),
            layers,
        }
    }

    /// Parses the file, and reports syntax errors.
    pub(super) fn parse(&self, report: &mut ConfigReport) -> Spanned<DeTable<'a>> {
        let (table, mistakes) = DeTable::parse_recoverable(self.text);
        for mistake in mistakes {
            // Only the message: the text around it may hold a secret.
            let line = mistake.span().map(|span| self.line(&span));
            let problem = ConfigErrorKind::Syntax(mistake.message().replace('\n', ", "));
            report.error(&self.origin(line, String::new()), problem);
        }
        table
    }

    /// Returns the root section, and reports its unknown keys.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>, report: &mut ConfigReport) -> ConfigSection<'a> {
        let root = self.top(table);
        root.check(&schema::ROOT, report);
        root
    }

    /// Returns the root section without a check of its keys, for callers that read only a part of
    /// the file.
    pub(super) fn top(&'a self, table: &'a DeTable<'a>) -> ConfigSection<'a> {
        ConfigSection { document: self, path: String::new(), layered: false, table: Some(table), line: None }
    }

    /// Returns the origin of a key at a line of the file.
    pub(super) fn origin(&self, line: Option<usize>, key: String) -> ValueOrigin {
        let file = self.file.clone();
        ValueOrigin::File { file: file.unwrap_or_else(|| "configuration".to_owned()), line, key }
    }

    /// Returns whether the listeners and the admin interface of the file are ignored.
    pub(super) fn is_alone(&self) -> bool {
        self.layers.iter().any(SettingLayer::is_alone)
    }

    /// Returns the line on which `span` begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.lines.number(span.start)
    }
}

impl<'a> ConfigSection<'a> {
    /// Returns the subsection `key`.
    pub(super) fn child(&self, key: &str, report: &mut ConfigReport) -> Self {
        match self.value(key) {
            Some(value) => match value.get_ref().as_table() {
                Some(table) => self.inner(key, Some((table, value.span()))),
                None => {
                    self.mistyped(key, &format!("a section [{}]", self.key(key)), report);
                    self.inner(key, None)
                }
            },
            None => self.inner(key, None),
        }
    }

    /// Returns the subsections `[[key]]`.
    pub(super) fn children(&self, key: &str, report: &mut ConfigReport) -> Vec<Self> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let tables = |value: &'a Spanned<DeValue<'a>>| Some((value.get_ref().as_table()?, value.span()));
        let all =
            value.get_ref().as_array().and_then(|array| array.iter().map(tables).collect::<Option<Vec<_>>>());
        match all {
            Some(all) => all.into_iter().map(|table| self.inner(key, Some(table))).collect(),
            None => {
                self.mistyped(key, &format!("a list of sections [[{key}]]"), report);
                Vec::new()
            }
        }
    }

    /// Returns an empty subsection `key`, whatever the file contains.
    pub(super) fn absent(&self, key: &str) -> Self {
        self.inner(key, None)
    }

    /// Returns an empty subsection `key` if the listeners of the file are ignored, or `None`
    /// otherwise.
    pub(super) fn alone(&self, key: &str) -> Option<Self> {
        self.document.is_alone().then(|| self.absent(key))
    }

    /// Returns the keys of this section in the order of the file.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<_> = self.table.into_iter().flat_map(DeTable::keys).collect();
        names.sort_by_key(|name| name.span().start);
        names.into_iter().map(|name| &**name.get_ref()).collect()
    }

    /// Reports unknown and unsupported keys.
    pub(super) fn check(&self, schema: &SectionSchema, report: &mut ConfigReport) {
        for name in self.table.into_iter().flat_map(DeTable::keys) {
            let key: &str = name.get_ref();
            if schema.keys.contains(&key) {
                continue;
            }
            let at = self.origin(&name.span(), key);
            let problem = if let Some(name) = schema.renamed(key) {
                ConfigErrorKind::Renamed(name)
            } else if schema.later.contains(&key) {
                ConfigErrorKind::NotYet
            } else if schema.inherited.contains(&key) {
                ConfigErrorKind::Inherited
            } else if let Some(nearest) = schema.nearest(key) {
                ConfigErrorKind::Misspelt(nearest)
            } else if let Some(home) = schema.home(key) {
                ConfigErrorKind::Misplaced(home)
            } else {
                ConfigErrorKind::UnknownKey(schema.keys.join(", "))
            };
            report.error(&at, problem);
        }
    }

    /// Returns whether the file has this section.
    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Returns whether the key is set by the file or a layer.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some() || !self.over(key).is_empty()
    }

    /// Reads a text.
    pub(super) fn text(&self, key: &str, report: &mut ConfigReport) -> Option<SpannedValue<String>> {
        if let Some(last) = self.over(key).pop() {
            return Some(last);
        }
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.mistyped(key, "a string in quotes", report);
            return None;
        };
        Some(SpannedValue { value: text.to_owned(), at: self.at(key) })
    }

    /// Reads a text and parses it.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ConfigErrorKind>,
        report: &mut ConfigReport,
    ) -> Option<SpannedValue<T>> {
        let text = self.text(key, report)?;
        parsed(&text, parse, report)
    }

    /// Reads a text that must be one of `words`.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        report: &mut ConfigReport,
    ) -> Option<SpannedValue<T>> {
        let find = |text: &str| match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Err(ConfigErrorKind::Word(text.to_owned(), known.join(", ")))
            }
        };
        self.parsed(key, find, report)
    }

    /// Reads `true` or `false`.
    pub(super) fn truth(&self, key: &str, report: &mut ConfigReport) -> Option<SpannedValue<bool>> {
        if let Some(last) = self.over(key).pop() {
            let parse = |text: &str| match text {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                other => Err(ConfigErrorKind::Word(other.to_owned(), "true, false".to_owned())),
            };
            return parsed(&last, parse, report);
        }
        let value = self.value(key)?;
        let Some(truth) = value.get_ref().as_bool() else {
            self.mistyped(key, "true or false, without quotes", report);
            return None;
        };
        Some(SpannedValue { value: truth, at: self.at(key) })
    }

    /// Reads a whole number from 1 to [`COUNT_MAX`].
    pub(super) fn count(&self, key: &str, report: &mut ConfigReport) -> Option<usize> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        let count = number.filter(|count| (1..=COUNT_MAX).contains(count));
        if count.is_none() {
            self.mistyped(key, &format!("a whole number from 1 to {COUNT_MAX}, without quotes"), report);
        }
        count
    }

    /// Reads a list of texts. Flags and environment, which have no lists, give texts separated by
    /// commas.
    pub(super) fn texts(&self, key: &str, report: &mut ConfigReport) -> Vec<SpannedValue<String>> {
        let over = self.over(key);
        if !over.is_empty() {
            let split = |given: &SpannedValue<String>| -> Vec<_> {
                let parts = given.value.split(',').map(str::trim);
                let parts = parts.filter(|part| !part.is_empty());
                parts.map(|part| given.with(part.to_owned())).collect()
            };
            return over.iter().flat_map(split).collect();
        }
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let text = |item: &Spanned<DeValue<'_>>| {
            Some(SpannedValue {
                value: item.get_ref().as_str()?.to_owned(),
                at: self.origin(&item.span(), key),
            })
        };
        let all = value.get_ref().as_array().and_then(|array| array.iter().map(text).collect());
        all.unwrap_or_else(|| {
            self.mistyped(key, "a list of strings, such as [\"one\", \"two\"]", report);
            Vec::new()
        })
    }

    /// Returns the origin of the key, or the location where a missing key belongs.
    pub(super) fn at(&self, key: &str) -> ValueOrigin {
        if let Some(over) = self.over(key).pop() {
            return over.at;
        }
        match (self.value(key), &self.document.file, self.setting(key)) {
            (Some(value), _, _) => self.origin(&value.span(), key),
            (None, None, Some(setting)) => ValueOrigin::Flag(setting.flag()),
            (None, _, _) => self.document.origin(self.line, self.key(key)),
        }
    }

    /// Returns the location of the section itself.
    pub(super) fn here(&self) -> ValueOrigin {
        self.document.origin(self.line, self.path.clone())
    }

    fn origin(&self, span: &Range<usize>, key: &str) -> ValueOrigin {
        self.document.origin(Some(self.document.line(span)), self.key(key))
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn over(&self, key: &str) -> Vec<SpannedValue<String>> {
        let setting = self.setting(key);
        setting.map_or_else(Vec::new, |setting| layer::topmost(self.document.layers, setting))
    }

    /// Returns the setting that overrides the key. Routes and credentials have none, so no path is
    /// built for their keys.
    fn setting(&self, key: &str) -> Option<FlagSetting> {
        if self.layered { FlagSetting::over(&self.path, key) } else { None }
    }

    fn inner(&self, key: &str, table: Option<(&'a DeTable<'a>, Range<usize>)>) -> Self {
        let path = self.key(key);
        Self {
            document: self.document,
            layered: FlagSetting::is_over_any(&path),
            path,
            // A missing key is reported at the line where its section begins.
            line: table.as_ref().map(|(_, span)| self.document.line(span)).or(self.line),
            table: table.map(|(table, _)| table),
        }
    }

    /// Returns the key with its sections. It is escaped, so that a quoted key cannot break the
    /// line.
    fn key(&self, key: &str) -> String {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push('.');
        }
        path.extend(key.escape_debug());
        path
    }

    fn mistyped(&self, key: &str, wanted: &str, report: &mut ConfigReport) {
        let found = self.value(key).map_or("nothing", |value| value.get_ref().type_str());
        report.error(&self.at(key), ConfigErrorKind::Type(wanted.to_owned(), found));
    }
}

/// The maximum of any count; larger numbers are probably mistakes.
const COUNT_MAX: usize = 1_000_000;

/// Parses a text, and reports an error at its origin.
pub(super) fn parsed<T>(
    text: &SpannedValue<String>,
    parse: impl Fn(&str) -> Result<T, ConfigErrorKind>,
    report: &mut ConfigReport,
) -> Option<SpannedValue<T>> {
    match parse(&text.value) {
        Ok(value) => Some(text.with(value)),
        Err(problem) => {
            report.error(&text.at, problem);
            None
        }
    }
}
