//! The text of a file with callers, and its changes. All other text stays the same byte for byte.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::text_edit::{ListSpan, TextEdit, after_line, line_break, line_end, line_start};

/// The text of a file with callers.
pub(super) struct CallerText<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

/// An identity of a caller, as the file contains it.
pub(super) enum IdentityText {
    /// An access key.
    Key(KeyText),
    /// A reference to a bearer token, or a sealed one.
    Token(String),
}

/// An access key, as the file contains it.
pub(super) struct KeyText {
    /// The access key id.
    pub(super) id: String,
    /// A reference to the secret, or a sealed one.
    pub(super) secret: String,
}

/// A caller, as the file contains it.
pub(super) struct CallerBlock<'a> {
    pub(super) name: &'a str,
    pub(super) allow: Option<&'a str>,
    pub(super) identity: IdentityText,
}

/// A reason why a text is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    #[error("line {0}: invalid TOML: {1}; correct the file first")]
    Syntax(usize, String),
    #[error("the caller {0:?} already exists; `keys rotate` gives it another key")]
    ExistingCaller(String),
    #[error("there is no caller {0:?}; `keys new` adds one")]
    UnknownCaller(String),
    #[error("the caller {0:?} already has two keys; pass --finish to remove the first one")]
    TwoKeys(String),
    #[error("the caller {0:?} does not have two keys; only a first of two is removed")]
    NotTwoKeys(String),
    #[error("the caller {0:?} already has a key with this id; choose another --id")]
    UsedId(String),
    #[error("another key already refers to {0:?}; choose another --id, or set --secret-file or --seal-with")]
    UsedReference(String),
    #[error("it has only callers; name the main file, whose `revoked` applies to all files of callers")]
    CallersFile,
    #[error(
        "it has only callers, and a file of callers_dir cannot refer to a variable; set --seal-with or --secret-file, or omit --file to print the block"
    )]
    VariableReference,
    #[error("it has a form that this command cannot change; omit --file to print the block")]
    Form,
}

/// A `[[caller]]` of the text.
struct CallerSpan<'a> {
    index: usize,
    /// The header, or the inline table.
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> CallerText<'a> {
    /// Parses a text.
    pub(super) fn parse(text: &'a str) -> Result<Self, EditError> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { text, table }),
            Err(error) => {
                let before = error.span().map_or("", |span| &text[..span.start]);
                let line = before.matches('\n').count() + 1;
                Err(EditError::Syntax(line, error.message().replace('\n', ", ")))
            }
        }
    }

    /// Returns whether a caller or a key of the text has this name or id.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.callers().any(|caller| caller.name() == Some(entry) || caller.texts("id").any(|id| id == entry))
    }

    /// Returns whether the text has callers.
    pub(super) fn has_callers(&self) -> bool {
        self.callers().next().is_some()
    }

    /// Returns whether the text lists this master.
    pub(super) fn has_master(&self, reference: &str) -> bool {
        let sealing = self.table.get_ref().get("sealing").and_then(|sealing| sealing.get_ref().as_table());
        let masters = sealing.and_then(|sealing| sealing.get("master")?.get_ref().as_array());
        masters.is_some_and(|list| list.iter().any(|item| item.get_ref().as_str() == Some(reference)))
    }

    /// Returns the text with another caller.
    pub(super) fn with_caller(&self, block: &CallerBlock<'_>) -> Result<String, EditError> {
        if self.caller(block.name).is_some() {
            return Err(EditError::ExistingCaller(block.name.to_owned()));
        }
        if let IdentityText::Key(key) = &block.identity {
            self.check_key(key, None)?;
        }
        let text = self.text;
        let line_break = line_break(text);
        let edits = match self.table.get_ref().get("caller") {
            Some(list) if !is_section(text, &list.span()) => {
                list_span(list).ok_or(EditError::Form)?.append(text, &block.inline())
            }
            Some(_) | None => {
                let first = if text.is_empty() || text.ends_with('\n') { "" } else { line_break };
                let blank = if text.trim().is_empty() { "" } else { line_break };
                let lines = block.lines().join(line_break);
                vec![TextEdit::insert(text.len(), format!("{first}{blank}{lines}{line_break}"))]
            }
        };
        self.checked(edits, |table| {
            let callers = table.entry("caller").or_insert_with(|| Value::Array(Vec::new()));
            callers.as_array_mut()?.push(Value::Table(block.value()));
            Some(())
        })
    }

    /// Returns whether the text has nothing but callers, as a file of `callers_dir`. An empty one has
    /// nothing else after the first caller is added.
    pub(super) fn has_only_callers(&self) -> bool {
        self.table.get_ref().keys().all(|key| key.get_ref() == "caller")
    }

    /// Checks that the file can hold this reference to a secret. A file with nothing but callers may
    /// be one of `callers_dir`, where a reference to a variable breaks the file.
    pub(super) fn check_reference(&self, reference: &str) -> Result<(), EditError> {
        if self.has_only_callers() && reference.starts_with("env:") {
            return Err(EditError::VariableReference);
        }
        Ok(())
    }

    /// Returns the text with another key of a caller, after the one that it has.
    pub(super) fn with_key(&self, name: &str, key: &KeyText) -> Result<String, EditError> {
        let caller = self.caller(name).ok_or_else(|| EditError::UnknownCaller(name.to_owned()))?;
        if caller.keys().count() > 1 {
            return Err(EditError::TwoKeys(name.to_owned()));
        }
        self.check_key(key, Some(name))?;
        let text = self.text;
        let line_break = line_break(text);
        let keys = caller.table.get("key");
        let edits = match keys.map(|keys| (keys, caller.key_spans())) {
            Some((keys, spans)) if is_section(text, &keys.span()) => {
                let last = spans.last().ok_or(EditError::Form)?;
                let end = line_end(text, last.end);
                let lines = ["[[caller.key]]".to_owned()].into_iter().chain(key.lines());
                vec![TextEdit::insert(end, lines.fold(String::new(), |all, line| all + line_break + &line))]
            }
            Some((keys, _)) => list_span(keys).ok_or(EditError::Form)?.append(text, &key.inline()),
            None => {
                let after = caller.table.get("name").ok_or(EditError::Form)?.span().end;
                let setting = format!("key = [{}]", key.inline());
                if is_section(text, &caller.span) {
                    vec![TextEdit::insert(line_end(text, after), format!("{line_break}{setting}"))]
                } else {
                    vec![TextEdit::insert(after, format!(", {setting}"))]
                }
            }
        };
        self.checked(edits, |table| {
            let caller = table.get_mut("caller")?.as_array_mut()?.get_mut(caller.index)?.as_table_mut()?;
            let keys = caller.entry("key").or_insert_with(|| Value::Array(Vec::new()));
            keys.as_array_mut()?.push(Value::Table(key.value()));
            Some(())
        })
    }

    /// Returns the text without the first of the two keys of a caller.
    pub(super) fn without_first_key(&self, name: &str) -> Result<String, EditError> {
        let caller = self.caller(name).ok_or_else(|| EditError::UnknownCaller(name.to_owned()))?;
        let spans = caller.key_spans();
        let (Some(keys), [first, _]) = (caller.table.get("key"), &spans[..]) else {
            return Err(EditError::NotTwoKeys(name.to_owned()));
        };
        let text = self.text;
        let edits = if is_section(text, &keys.span()) {
            let end = after_line(text, line_end(text, first.end));
            vec![TextEdit::remove(line_start(text, first.start)..end)]
        } else {
            list_span(keys).ok_or(EditError::Form)?.remove_first(text)
        };
        self.checked(edits, |table| {
            let caller = table.get_mut("caller")?.as_array_mut()?.get_mut(caller.index)?;
            caller.get_mut("key")?.as_array_mut()?.remove(0);
            Some(())
        })
    }

    /// Returns the text with another entry of `revoked`; `None` if it has that entry.
    pub(super) fn with_revoked(&self, entry: &str) -> Result<Option<String>, EditError> {
        let quoted = quoted(entry);
        let table = self.table.get_ref();
        if !table.is_empty() && self.has_only_callers() {
            return Err(EditError::CallersFile);
        }
        let list = table.get("revoked");
        let edits = if let Some(list) = list {
            let entries = list.get_ref().as_array().ok_or(EditError::Form)?;
            if entries.iter().any(|given| given.get_ref().as_str() == Some(entry)) {
                return Ok(None);
            }
            list_span(list).ok_or(EditError::Form)?.append(self.text, &quoted)
        } else {
            let line_break = line_break(self.text);
            let blank = if self.text.trim().is_empty() { "" } else { line_break };
            let setting = format!("revoked = [{quoted}]{line_break}{blank}");
            vec![TextEdit::insert(self.first_setting(), setting)]
        };
        let edited = self.checked(edits, |table| {
            let list = table.entry("revoked").or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut()?.push(Value::String(entry.to_owned()));
            Some(())
        });
        edited.map(Some)
    }

    /// Returns the start of the line of the first setting, or of the comment directly above it.
    fn first_setting(&self) -> usize {
        let text = self.text;
        let keys = self.table.get_ref().iter();
        let first = keys.map(|(key, value)| key.span().start.min(value.span().start)).min();
        let Some(first) = first else { return text.len() };
        let mut start = line_start(text, first);
        while start > 0 {
            let above = line_start(text, start - 1);
            if !text[above..start].trim_start_matches(BYTE_ORDER_MARK).trim_start().starts_with('#') {
                break;
            }
            start = above;
        }
        if start == 0 && text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { start }
    }

    fn callers(&self) -> impl Iterator<Item = CallerSpan<'_>> {
        let list = self.table.get_ref().get("caller").and_then(|list| list.get_ref().as_array());
        list.into_iter().flat_map(|list| list.iter()).enumerate().filter_map(|(index, caller)| {
            Some(CallerSpan { index, span: caller.span(), table: caller.get_ref().as_table()? })
        })
    }

    fn caller(&self, name: &str) -> Option<CallerSpan<'_>> {
        self.callers().find(|caller| caller.name() == Some(name))
    }

    /// Checks that no other caller has a key with this id, and that no key has the same reference.
    fn check_key(&self, key: &KeyText, own: Option<&str>) -> Result<(), EditError> {
        for caller in self.callers().filter(|caller| own.is_none() || caller.name() != own) {
            if caller.texts("id").any(|used| used == key.id) {
                return Err(EditError::UsedId(caller.name().unwrap_or_default().to_owned()));
            }
        }
        if self.callers().any(|caller| caller.texts("secret").any(|used| used == key.secret)) {
            return Err(EditError::UsedReference(key.secret.clone()));
        }
        Ok(())
    }

    /// Applies the edits, and checks that the result has exactly the intended change.
    fn checked(
        &self,
        edits: Vec<TextEdit>,
        change: impl FnOnce(&mut Table) -> Option<()>,
    ) -> Result<String, EditError> {
        let edited = TextEdit::apply(self.text, edits);
        let mut expected: Table = self.text.parse().map_err(|_| EditError::Form)?;
        change(&mut expected).ok_or(EditError::Form)?;
        if edited.parse::<Table>().is_ok_and(|table| table == expected) {
            Ok(edited)
        } else {
            Err(EditError::Form)
        }
    }
}

impl CallerSpan<'_> {
    fn name(&self) -> Option<&str> {
        self.table.get("name")?.get_ref().as_str()
    }

    fn keys(&self) -> impl Iterator<Item = &Spanned<DeValue<'_>>> {
        let keys = self.table.get("key").and_then(|keys| keys.get_ref().as_array());
        keys.into_iter().flat_map(|keys| keys.iter())
    }

    /// Returns a setting of all keys.
    fn texts(&self, setting: &'static str) -> impl Iterator<Item = &str> {
        self.keys().filter_map(move |key| key.get_ref().get(setting)?.get_ref().as_str())
    }

    /// Returns the spans of the keys, each to the end of its last setting.
    fn key_spans(&self) -> Vec<Range<usize>> {
        self.keys().map(|key| key.span().start..last_end(key)).collect()
    }
}

impl CallerBlock<'_> {
    /// Returns the lines of a section.
    pub(super) fn lines(&self) -> Vec<String> {
        ["[[caller]]".to_owned()].into_iter().chain(self.settings()).collect()
    }

    fn inline(&self) -> String {
        format!("{{ {} }}", self.settings().join(", "))
    }

    fn settings(&self) -> Vec<String> {
        let allow = self.allow.map(|allow| format!("allow = {}", quoted(allow)));
        let identity = match &self.identity {
            IdentityText::Key(key) => format!("key = [{}]", key.inline()),
            IdentityText::Token(token) => format!("token = {}", quoted(token)),
        };
        [format!("name = {}", quoted(self.name))].into_iter().chain(allow).chain([identity]).collect()
    }

    fn value(&self) -> Table {
        let mut table = Table::new();
        table.insert("name".to_owned(), self.name.into());
        if let Some(allow) = self.allow {
            table.insert("allow".to_owned(), allow.into());
        }
        match &self.identity {
            IdentityText::Key(key) => table.insert("key".to_owned(), vec![key.value()].into()),
            IdentityText::Token(token) => table.insert("token".to_owned(), token.as_str().into()),
        };
        table
    }
}

impl KeyText {
    /// Returns the key as an inline table.
    pub(super) fn inline(&self) -> String {
        format!("{{ {} }}", self.lines().join(", "))
    }

    fn lines(&self) -> [String; 2] {
        [format!("id = {}", quoted(&self.id)), format!("secret = {}", quoted(&self.secret))]
    }

    fn value(&self) -> Table {
        let Self { id, secret } = self;
        [("id".to_owned(), id.as_str().into()), ("secret".to_owned(), secret.as_str().into())]
            .into_iter()
            .collect()
    }
}

/// Returns whether the span of a list or of its element is a header `[[…]]`.
fn is_section(text: &str, span: &Range<usize>) -> bool {
    text[span.clone()].starts_with("[[") && text[..span.start].rsplit('\n').next().is_some_and(is_blank)
}

fn is_blank(text: &str) -> bool {
    text.trim_start_matches(BYTE_ORDER_MARK).trim().is_empty()
}

fn list_span(list: &Spanned<DeValue<'_>>) -> Option<ListSpan> {
    let elements = list.get_ref().as_array()?.iter().map(Spanned::span).collect();
    Some(ListSpan { whole: list.span(), elements })
}

/// Returns the end of a value, and of all settings in it.
fn last_end(value: &Spanned<DeValue<'_>>) -> usize {
    let own = value.span().end;
    match value.get_ref() {
        DeValue::Table(table) => table.values().map(last_end).fold(own, usize::max),
        DeValue::Array(list) => list.iter().map(last_end).fold(own, usize::max),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => own,
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// The mark with which some editors begin a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
#[path = "caller_text_tests.rs"]
mod tests;
