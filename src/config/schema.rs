//! The form of a table of settings: a key with its type, its default and its description, and the
//! keys of a section.

use std::fmt;

use strsim::levenshtein;

use super::flag_setting::FlagSetting;

/// A key of the configuration file.
#[derive(Clone, Copy)]
pub(super) struct SettingSpec {
    pub(super) key: &'static str,
    pub(super) kind: ValueKind,
    pub(super) default: DefaultValue,
    /// The description in `docs/reference.md`, in Markdown. Only tests read it.
    #[cfg(test)]
    pub(super) description: &'static str,
    /// The flag that overrides the key, as the environment variable of the flag does.
    pub(super) flag: Option<FlagSetting>,
    /// True if a change takes effect only after a restart.
    pub(super) needs_restart: bool,
}

/// The type of a value.
#[derive(Clone, Copy)]
pub(super) enum ValueKind {
    Text,
    Boolean,
    Number,
    /// A string such as `"5s"`.
    Duration,
    /// A string such as `"64KiB"`.
    Size,
    TextList,
    /// `[key]`, or an inline table.
    Table(&'static SectionSchema),
    /// A string, or an inline table.
    TextOrTable(&'static SectionSchema),
    /// `[[key]]`.
    TableList(&'static SectionSchema),
    /// A string, or a list of inline tables.
    TextOrTableList(&'static SectionSchema),
    /// `[key.NAME]`, where the key `type` of each section determines its other keys.
    Providers,
}

/// The value that applies where a key is missing.
#[derive(Clone, Copy)]
pub(crate) enum DefaultValue {
    Text(&'static str),
    Boolean(bool),
    Number(usize),
    EmptyList,
    /// No fixed value. The description, in Markdown, says what applies instead.
    Described(&'static str),
}

/// The keys of a section.
#[derive(Clone, Copy)]
pub(super) struct SectionSchema {
    /// The section in the syntax of the file.
    pub(super) name: &'static str,
    /// The supported keys, in groups that sections can share.
    pub(super) groups: &'static [&'static [SettingSpec]],
    /// Keys that are part of the format but not supported by this build.
    pub(super) later: &'static [&'static str],
    /// Keys that can be set only in `[upstream]` and apply to this section too.
    pub(super) inherited: &'static [&'static str],
    pub(super) renamed: &'static [RenamedKey],
}

/// A key that has another name now.
#[derive(Clone, Copy)]
pub(super) struct RenamedKey {
    pub(super) old: &'static str,
    pub(super) new: &'static str,
}

impl SettingSpec {
    pub(super) const fn text(key: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(key, ValueKind::Text, DefaultValue::Text(default), description)
    }

    /// Creates a string setting without a fixed default. `absent` says what applies instead.
    pub(super) const fn optional_text(
        key: &'static str,
        absent: &'static str,
        description: &'static str,
    ) -> Self {
        Self::new(key, ValueKind::Text, DefaultValue::Described(absent), description)
    }

    /// Creates a section, whose settings are described by themselves.
    pub(super) const fn of_section(key: &'static str, kind: ValueKind) -> Self {
        Self::new(key, kind, DefaultValue::Described("none"), "")
    }

    pub(super) const fn boolean(key: &'static str, default: bool, description: &'static str) -> Self {
        Self::new(key, ValueKind::Boolean, DefaultValue::Boolean(default), description)
    }

    pub(super) const fn number(key: &'static str, default: usize, description: &'static str) -> Self {
        Self::new(key, ValueKind::Number, DefaultValue::Number(default), description)
    }

    pub(super) const fn duration(
        key: &'static str,
        default: &'static str,
        description: &'static str,
    ) -> Self {
        Self::new(key, ValueKind::Duration, DefaultValue::Text(default), description)
    }

    pub(super) const fn size(key: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(key, ValueKind::Size, DefaultValue::Text(default), description)
    }

    pub(super) const fn list(key: &'static str, description: &'static str) -> Self {
        Self::new(key, ValueKind::TextList, DefaultValue::EmptyList, description)
    }

    #[cfg(test)]
    pub(super) const fn new(
        key: &'static str,
        kind: ValueKind,
        default: DefaultValue,
        description: &'static str,
    ) -> Self {
        Self { key, kind, default, description, flag: None, needs_restart: false }
    }

    #[cfg(not(test))]
    pub(super) const fn new(
        key: &'static str,
        kind: ValueKind,
        default: DefaultValue,
        _description: &'static str,
    ) -> Self {
        Self { key, kind, default, flag: None, needs_restart: false }
    }

    pub(super) const fn with_flag(self, flag: FlagSetting) -> Self {
        Self { flag: Some(flag), ..self }
    }

    /// Marks the setting as one whose change takes effect only after a restart.
    pub(super) const fn needing_restart(self) -> Self {
        Self { needs_restart: true, ..self }
    }

    /// Returns the keys of the section or sections that the key holds, if they are always the same.
    pub(super) fn section(&self) -> Option<&'static SectionSchema> {
        match self.kind {
            ValueKind::Table(schema)
            | ValueKind::TextOrTable(schema)
            | ValueKind::TableList(schema)
            | ValueKind::TextOrTableList(schema) => Some(schema),
            ValueKind::Text
            | ValueKind::Boolean
            | ValueKind::Number
            | ValueKind::Duration
            | ValueKind::Size
            | ValueKind::TextList
            | ValueKind::Providers => None,
        }
    }
}

impl DefaultValue {
    /// Returns whether the default is a value that a file could contain.
    pub(super) fn is_value(self) -> bool {
        !matches!(self, Self::Described(_))
    }

    pub(crate) fn as_text(self) -> Option<&'static str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_boolean(self) -> Option<bool> {
        if let Self::Boolean(truth) = self { Some(truth) } else { None }
    }

    pub(super) fn as_number(self) -> Option<usize> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }
}

/// The default in the syntax of the file, or its description.
impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::EmptyList => f.write_str("[]"),
            Self::Described(text) => f.write_str(text),
        }
    }
}

impl SectionSchema {
    /// A section without a name and without keys.
    pub(super) const EMPTY: Self = Self { name: "", groups: &[], later: &[], inherited: &[], renamed: &[] };

    /// Iterates over the supported keys.
    pub(super) fn settings(&self) -> impl Iterator<Item = &'static SettingSpec> + use<> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// Returns a supported key.
    pub(super) fn setting(&self, key: &str) -> Option<&'static SettingSpec> {
        self.settings().find(|setting| setting.key == key)
    }

    /// Returns the supported keys, separated by commas.
    pub(super) fn listing(&self) -> String {
        let keys: Vec<&str> = self.settings().map(|setting| setting.key).collect();
        keys.join(", ")
    }

    /// Returns the current name of a renamed key.
    pub(super) fn renamed(&self, key: &str) -> Option<&'static str> {
        self.renamed.iter().find(|renamed| renamed.old == key).map(|renamed| renamed.new)
    }

    /// Returns the known key that is closest to `key`, at a distance of at most two edits.
    pub(super) fn nearest(&self, key: &str) -> Option<&'static str> {
        let known = self.settings().map(|setting| setting.key).chain(self.inherited.iter().copied());
        let close = |word: &'static str| {
            let distance = levenshtein(key, word);
            (distance <= 2 && distance < word.len()).then_some((distance, word))
        };
        known.filter_map(close).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
    }
}
