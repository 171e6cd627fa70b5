//! The INI dialect of the Alibaba Cloud tools. A comment begins a line or follows white space, so a
//! secret may contain `#`. Values are not expanded.

use zeroize::Zeroizing;

/// The sections of a file, in order. The first holds the values before any section.
pub(super) struct IniDocument(Vec<IniSection>);

#[derive(Default)]
pub(super) struct IniSection {
    name: String,
    /// Keys, as written, and their values.
    values: Vec<(String, Zeroizing<String>)>,
}

impl IniDocument {
    /// Parses a file. The error is the number of the first line that is neither a section, nor a
    /// value, nor a comment.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let mut sections = vec![IniSection::default()];
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let line = without_comment(line);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                sections.push(IniSection { name: name.trim().to_owned(), ..IniSection::default() });
                continue;
            }
            let (Some((key, value)), Some(section)) = (line.split_once('='), sections.last_mut()) else {
                return Err(index + 1);
            };
            section.values.push((key.trim().to_owned(), Zeroizing::new(value.trim().to_owned())));
        }
        Ok(Self(sections))
    }

    /// Returns the section of this name, ignoring case. White space within a name counts as one
    /// space.
    pub(super) fn section(&self, name: &str) -> Option<&IniSection> {
        let words = |name: &str| name.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
        let wanted = words(name);
        self.0.iter().skip(1).find(|section| words(&section.name) == wanted)
    }

    /// Returns whether the document has neither a section nor a value.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 1 && self.0.iter().all(|section| section.values.is_empty())
    }

    /// Returns whether all sections have known names and no value precedes them.
    pub(super) fn has_only(&self, is_known: fn(&str) -> bool) -> bool {
        self.0.first().is_some_and(|section| section.values.is_empty())
            && self.0[1..].iter().all(|section| is_known(&section.name))
    }

    /// Returns the names of the sections, for an error message.
    pub(super) fn listing(&self) -> String {
        let names: Vec<String> =
            self.0.iter().skip(1).take(LISTED_MAX).map(|section| format!("[{}]", section.name)).collect();
        match (names.is_empty(), self.0.len() - 1 > LISTED_MAX) {
            (true, _) => "no sections".to_owned(),
            (false, true) => format!("{} and more", names.join(", ")),
            (false, false) => names.join(", "),
        }
    }
}

impl IniSection {
    /// Returns the value of the first of these keys that has a non-empty one. Keys are compared
    /// without case, `_` and `-`, because the tools differ only in these.
    pub(super) fn get(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|wanted| {
            let found = self.values.iter().rev().find(|(key, _)| plain(key) == plain(wanted))?;
            Some(found.1.as_str()).filter(|value| !value.is_empty())
        })
    }

    /// Returns all keys and values, as written.
    pub(super) fn raw(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Maximum number of section names in an error message.
const LISTED_MAX: usize = 10;

fn without_comment(line: &str) -> &str {
    let comment = line
        .char_indices()
        .zip(line.chars().skip(1))
        .find(|((_, before), mark)| before.is_whitespace() && (*mark == '#' || *mark == ';'));
    comment.map_or(line, |((at, _), _)| line[..at].trim_end())
}

fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::IniDocument;

    #[test]
    fn values_stay_as_they_are_and_comments_go() {
        let text = "\u{feff}# a comment\n[default]\nenable=true          # enable\naccess_key_secret = a#b;c%d%(e)s=f\n\
                    policy = {\"a\": \"b\"} ; narrows\n; another\nempty =\n[Other]\nAccess-Key-ID=x\n";
        let document = IniDocument::parse(text).expect("sections");
        let section = document.section("DEFAULT").expect("a section");
        assert_eq!(section.get(&["enable"]), Some("true"));
        assert_eq!(section.get(&["accesskeysecret"]), Some("a#b;c%d%(e)s=f"));
        assert_eq!(section.get(&["policy"]), Some("{\"a\": \"b\"}"));
        assert_eq!(section.get(&["empty"]), None);
        assert_eq!(
            document.section("other").and_then(|other| other.get(&["nothing", "access_key_id"])),
            Some("x")
        );
        assert_eq!(IniDocument::parse("[default]\nnonsense").err(), Some(2));
    }
}
