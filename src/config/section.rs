//! Reads a section of the file key by key. Flags and environment override the file. Each error is
//! reported with its origin, and reading continues.

use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::caller_text::{SplitText, TextPart};
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::fingerprint::mark_of;
use super::layer::{self, SettingLayer};
use super::lines::LineTable;
use super::origin::{SpannedValue, ValueOrigin};
use super::provider_settings;
use super::schema::{DefaultValue, SectionSchema, SettingSpec, ValueKind};
use super::settings;
use crate::caller::CallerOrigin;

/// A configuration file that has been read.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// The name of the file, for errors.
    pub path: &'a Path,
    /// The full text of the file.
    pub text: &'a str,
}

/// The file, and the layers that override it.
pub(super) struct ConfigDocument<'a> {
    /// The name of the file; `None` if there is no file.
    pub(super) file: Option<Arc<str>>,
    text: &'a str,
    /// The lines of the text without its callers, if they are parsed separately.
    lines: LineTable,
    /// The lines of the whole text, if it is parsed after all.
    whole_lines: OnceCell<LineTable>,
    /// The callers and the rest of the text, if they are parsed separately.
    split: Option<SplitText>,
    is_split: Cell<bool>,
    /// Set if a caller is not valid TOML.
    is_torn: Cell<bool>,
    pub(super) layers: &'a [SettingLayer],
}

/// A section of the file. A missing section is empty.
pub(super) struct ConfigSection<'a> {
    document: &'a ConfigDocument<'a>,
    path: String,
    keys: SectionKeys,
    table: Option<&'a DeTable<'a>>,
    line: Option<usize>,
}

/// A table of the file with its position.
struct SpannedTable<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

/// The entry of a section in the table of settings.
#[derive(Clone, Copy)]
enum SectionKeys {
    Known(&'static SectionSchema),
    /// The section `credentials`, whose keys are the names of providers.
    Providers,
    /// The section is not in the table, or its type is unknown.
    Unknown,
}

impl<'a> ConfigDocument<'a> {
    pub(super) fn new(file: Option<ConfigFile<'a>>, layers: &'a [SettingLayer]) -> Self {
        let text = file.map_or("", |file| file.text);
        // If the callers are ignored, their settings are listed with the others.
        let split = if layers.iter().any(SettingLayer::is_alone) { None } else { SplitText::new(text) };
        Self {
            file: file.map(|file| file.path.display().to_string().into()),
            text,
            lines: LineTable::new(split.as_ref().map_or(text, |split| &split.rest)),
            whole_lines: OnceCell::new(),
            is_split: Cell::new(split.is_some()),
            split,
            is_torn: Cell::new(false),
            layers,
        }
    }

    /// Returns a part of the file as a document.
    fn part(&self, part: &TextPart) -> ConfigDocument<'_> {
        let text = &self.text[part.range.clone()];
        ConfigDocument {
            file: self.file.clone(),
            text,
            lines: LineTable::beginning_at(part.line, text),
            whole_lines: OnceCell::new(),
            split: None,
            is_split: Cell::new(false),
            is_torn: Cell::new(false),
            layers: self.layers,
        }
    }

    /// Parses the file without its callers, and reports syntax errors. If callers are in another
    /// form too, it parses the whole file.
    pub(super) fn parse(&self, report: &mut ConfigReport) -> Spanned<DeTable<'_>> {
        if let Some(SplitText { rest, .. }) = &self.split {
            let (table, mistakes) = DeTable::parse_recoverable(rest);
            if mistakes.is_empty() && !table.get_ref().contains_key("caller") {
                return table;
            }
        }
        self.parse_whole(report)
    }

    /// Returns whether a caller is not valid TOML, so that the whole file is not.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn.get()
    }

    /// Parses the whole file, and reports syntax errors.
    pub(super) fn parse_whole(&self, report: &mut ConfigReport) -> Spanned<DeTable<'a>> {
        self.is_split.set(false);
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
        root.check(&settings::ROOT, report);
        root
    }

    /// Returns the root section without a check of its keys, for callers that read only a part of
    /// the file.
    pub(super) fn top(&'a self, table: &'a DeTable<'a>) -> ConfigSection<'a> {
        let keys = SectionKeys::Known(&settings::ROOT);
        ConfigSection { document: self, path: String::new(), keys, table: Some(table), line: None }
    }

    /// Returns the origin of a key at a line of the file.
    pub(super) fn origin(&self, line: Option<usize>, key: String) -> ValueOrigin {
        let file = self.file.clone();
        ValueOrigin::File { file: file.unwrap_or_else(|| "configuration".into()), line, key }
    }

    /// Returns whether the listeners and the admin interface of the file are ignored.
    pub(super) fn is_alone(&self) -> bool {
        self.layers.iter().any(SettingLayer::is_alone)
    }

    /// Returns the line on which `span` begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let is_whole = self.split.is_some() && !self.is_split.get();
        let lines =
            if is_whole { self.whole_lines.get_or_init(|| LineTable::new(self.text)) } else { &self.lines };
        lines.number(span.start)
    }
}

impl<'a> ConfigSection<'a> {
    /// Returns the subsection `key`.
    pub(super) fn child(&self, key: &str, report: &mut ConfigReport) -> Self {
        match self.value(key) {
            Some(value) => match value.get_ref().as_table() {
                Some(table) => self.inner(key, Some(SpannedTable { table, span: value.span() })),
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
        let tables = |value: &'a Spanned<DeValue<'a>>| {
            Some(SpannedTable { table: value.get_ref().as_table()?, span: value.span() })
        };
        let all =
            value.get_ref().as_array().and_then(|array| array.iter().map(tables).collect::<Option<Vec<_>>>());
        match all {
            Some(all) => all.into_iter().map(|table| self.inner(key, Some(table))).collect(),
            None => {
                self.mistyped(key, &format!("a list of sections [[{}]]", self.key(key)), report);
                Vec::new()
            }
        }
    }

    /// Passes each section `[[caller]]` to `read`. Most are parsed for that, one at a time.
    pub(super) fn each_caller(
        &self,
        report: &mut ConfigReport,
        mut read: impl FnMut(&ConfigSection<'_>, &mut ConfigReport),
    ) {
        for section in self.children("caller", report) {
            read(&section, report);
        }
        let split = self.document.split.as_ref().filter(|_| self.document.is_split.get());
        for part in split.into_iter().flat_map(|split| &split.parts) {
            let document = self.document.part(part);
            let before = report.count();
            let table = document.parse_whole(report);
            if report.count() > before {
                self.document.is_torn.set(true);
                continue;
            }
            for section in document.top(table.get_ref()).children("caller", report) {
                read(&section, report);
            }
        }
    }

    /// Returns the location of this section in the file, with a hash of its content.
    pub(super) fn caller_origin(&self) -> CallerOrigin {
        CallerOrigin {
            file: self.document.file.clone().unwrap_or_default(),
            line: self.line.unwrap_or_default(),
            mark: self.table.map_or(0, mark_of),
            team_file: None,
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
            if schema.setting(key).is_some() {
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
            } else if let Some(home) = settings::home(key, schema) {
                ConfigErrorKind::Misplaced(home)
            } else {
                ConfigErrorKind::UnknownKey(schema.listing())
            };
            report.error(&at, problem);
        }
    }

    /// Returns whether the value of the key is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Returns whether the value of the key is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// Returns whether the file has this section.
    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Returns whether the key is set by the file or a layer.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some() || !self.over(key).is_empty()
    }

    /// Reads a string.
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

    /// Reads a string and parses it.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ConfigErrorKind>,
        report: &mut ConfigReport,
    ) -> Option<SpannedValue<T>> {
        let text = self.text(key, report)?;
        parsed(&text, parse, report)
    }

    /// Reads a string and parses it. Returns the default if the string is missing or invalid.
    pub(super) fn parsed_or_default<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ConfigErrorKind>,
        report: &mut ConfigReport,
    ) -> SpannedValue<T> {
        self.parsed(key, &parse, report).unwrap_or_else(|| self.default(key, parse))
    }

    /// Returns the default of a key whose default is a string.
    pub(super) fn default<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, ConfigErrorKind>,
    ) -> SpannedValue<T> {
        let value = self.default_of(key, |default| parse(default.as_text()?).ok());
        SpannedValue { value, at: self.at(key) }
    }

    /// Reads a string that must be one of `words`.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        report: &mut ConfigReport,
    ) -> Option<SpannedValue<T>> {
        self.parsed(key, |text| one_of(words, text), report)
    }

    /// Reads a string that must be one of `words`. Returns the default if the string is missing or
    /// invalid.
    pub(super) fn word_or_default<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        report: &mut ConfigReport,
    ) -> SpannedValue<T> {
        self.parsed_or_default(key, |text| one_of(words, text), report)
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

    /// Reads `true` or `false`. Returns the default if the value is missing or invalid.
    pub(super) fn is_true(&self, key: &str, report: &mut ConfigReport) -> bool {
        match self.truth(key, report) {
            Some(given) => given.value,
            None => self.default_of(key, DefaultValue::as_boolean),
        }
    }

    /// Reads a whole number from 1 to [`COUNT_MAX`]. Returns the default if the number is missing
    /// or invalid.
    pub(super) fn count(&self, key: &str, report: &mut ConfigReport) -> usize {
        self.number(key, report).unwrap_or_else(|| self.default_of(key, DefaultValue::as_number))
    }

    /// Reads a whole number from 1 to [`COUNT_MAX`].
    pub(super) fn number(&self, key: &str, report: &mut ConfigReport) -> Option<usize> {
        let value = self.value(key).map(Spanned::get_ref);
        let number = value.and_then(DeValue::as_integer).and_then(|number| number.as_str().parse().ok());
        let number = number.filter(|number| (1..=COUNT_MAX).contains(number));
        if value.is_some() && number.is_none() {
            self.mistyped(key, &format!("a whole number from 1 to {COUNT_MAX}, without quotes"), report);
        }
        number
    }

    /// Reads the id of a user or a group.
    pub(super) fn system_id(&self, key: &str, report: &mut ConfigReport) -> Option<SpannedValue<u32>> {
        let number = self.value(key)?.get_ref().as_integer();
        let number =
            number.filter(|number| number.radix() == 10).and_then(|number| number.as_str().parse().ok());
        // The highest number is that of no id.
        let Some(id) = number.filter(|id| *id != u32::MAX) else {
            self.mistyped(key, "the number of a user or a group, without quotes", report);
            return None;
        };
        Some(SpannedValue { value: id, at: self.at(key) })
    }

    /// Reads a list of strings. Flags and environment variables, which have no lists, separate them
    /// with commas.
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
        let flag = self.spec(key).and_then(|spec| spec.flag);
        match (self.value(key), &self.document.file, flag) {
            (Some(value), _, _) => self.origin(&value.span(), key),
            (None, None, Some(flag)) => ValueOrigin::Flag(flag.flag()),
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
        let flag = self.spec(key).and_then(|spec| spec.flag);
        flag.map_or_else(Vec::new, |flag| layer::topmost(self.document.layers, flag))
    }

    /// Returns the key in the table of settings.
    fn spec(&self, key: &str) -> Option<&'static SettingSpec> {
        match self.keys {
            SectionKeys::Known(schema) => schema.setting(key),
            SectionKeys::Providers | SectionKeys::Unknown => None,
        }
    }

    /// Returns the default of a key, converted to the type that is read.
    #[expect(clippy::expect_used, reason = "the tests load a configuration without any of these keys")]
    fn default_of<T>(&self, key: &str, convert: impl Fn(DefaultValue) -> Option<T>) -> T {
        let default = self.spec(key).and_then(|spec| convert(spec.default));
        default.expect("the table of settings has a default of this type")
    }

    /// Returns the entry of the subsection `key`, which has this content, in the table of settings.
    fn keys_of(&self, key: &str, table: Option<&DeTable<'_>>) -> SectionKeys {
        let schema = match (self.keys, self.spec(key)) {
            (_, Some(SettingSpec { kind: ValueKind::Providers, .. })) => return SectionKeys::Providers,
            (_, Some(spec)) => spec.section(),
            (SectionKeys::Providers, None) => {
                let kind = table.and_then(|table| table.get("type")?.get_ref().as_str());
                kind.and_then(provider_settings::provider).map(|provider| provider.schema)
            }
            (SectionKeys::Known(_) | SectionKeys::Unknown, None) => None,
        };
        schema.map_or(SectionKeys::Unknown, SectionKeys::Known)
    }

    fn inner(&self, key: &str, table: Option<SpannedTable<'a>>) -> Self {
        Self {
            document: self.document,
            path: self.key(key),
            keys: self.keys_of(key, table.as_ref().map(|table| table.table)),
            // A missing key is reported at the line where its section begins.
            line: table.as_ref().map(|table| self.document.line(&table.span)).or(self.line),
            table: table.map(|table| table.table),
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

/// Returns the value of a word.
fn one_of<T: Copy>(words: &[(&'static str, T)], text: &str) -> Result<T, ConfigErrorKind> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(ConfigErrorKind::Word(text.to_owned(), known.join(", ")))
        }
    }
}

/// Parses a string, and reports an error at its origin.
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
