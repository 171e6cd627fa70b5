//! Patterns of routes: `*` stands for any run of characters, everything else for itself; always the whole text.

use std::fmt;

/// A pattern over a bucket or host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidPattern {
    /// It is empty.
    #[error("the pattern is empty")]
    Empty,
    /// It holds a character that no bucket or host name has.
    #[error(
        "the pattern {0:?} can match nothing: names are of lower-case letters, digits, hyphens, underscores and dots, and * stands for any run of them"
    )]
    Characters(String),
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] if it could never match a name.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*_:".contains(&b);
        if !text.bytes().all(fits) {
            return Err(InvalidPattern::Characters(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// Whether the whole of `name` is as the pattern says.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some(found) = rest.find(part) else {
                return false;
            };
            rest = &rest[found + part.len()..];
        }
        rest.ends_with(last)
    }

    /// Whether it is one name, spelled out.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::NamePattern;

    #[test]
    fn a_pattern_is_about_the_whole_name() {
        let rows = [
            ("logs-*", "logs-a", true),
            ("logs-*", "logs-", true),
            ("logs-*", "my-logs-a", false),
            ("logs", "logs", true),
            ("logs", "logs-a", false),
            ("*-eu-*", "a-eu-b", true),
            ("*-eu-*", "a-us-b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("a*b*c", "abcbc", true),
            ("a*b*c", "acb", false),
            ("*.example.com", "files.example.com", true),
            ("*.example.com", "example.com", false),
        ];
        for (pattern, name, expected) in rows {
            let parsed = NamePattern::parse(pattern).expect("a pattern");
            assert_eq!(parsed.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for text in ["", "Logs-*", "a b", "a?"] {
            assert!(NamePattern::parse(text).is_err(), "{text}");
        }
    }
}
