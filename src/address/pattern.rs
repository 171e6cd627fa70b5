//! Patterns of routes. `*` matches any sequence of characters, and any other character matches
//! itself. A pattern matches the whole text.

use std::fmt;

/// A pattern for bucket or host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern(Box<str>);

/// The error for an invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum InvalidPattern {
    /// The pattern is empty.
    #[error("the pattern is empty")]
    Empty,
    /// The pattern has a character that cannot occur in a bucket or host name.
    #[error(
        "invalid pattern {0:?}: use lower-case letters, digits, hyphens, underscores and dots, and * for any sequence of them"
    )]
    Characters(String),
}

impl NamePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] if the pattern cannot match any name.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*_:".contains(&b);
        if !text.bytes().all(fits) {
            return Err(InvalidPattern::Characters(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// Returns whether the pattern matches the whole of `name`.
    #[must_use]
    pub(crate) fn matches(&self, name: &str) -> bool {
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

    /// Returns whether the pattern is a single name without `*`.
    #[must_use]
    pub(crate) fn is_exact(&self) -> bool {
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
