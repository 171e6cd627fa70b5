//! Patterns of the subjects of tokens, such as `system:serviceaccount:team-a:*`. `*` matches any
//! sequence of characters except `:`, so that no pattern reaches into another namespace.

use std::fmt;

/// A pattern that matches the whole subject of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubjectPattern(Box<str>);

/// The reason why a pattern is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum InvalidSubjectPattern {
    /// The pattern is empty.
    #[error("the subject is empty")]
    Empty,
    /// The pattern is longer than any subject.
    #[error("the subject is longer than 512 bytes")]
    Long,
    /// The pattern has a control character.
    #[error("the subject has a control character")]
    Control,
}

impl SubjectPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`InvalidSubjectPattern`], the reason why `text` is rejected.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSubjectPattern> {
        if text.is_empty() {
            Err(InvalidSubjectPattern::Empty)
        } else if text.len() > SUBJECT_MAX {
            Err(InvalidSubjectPattern::Long)
        } else if text.chars().any(char::is_control) {
            Err(InvalidSubjectPattern::Control)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Returns whether the pattern matches the whole of `subject`.
    #[must_use]
    pub(crate) fn matches(&self, subject: &str) -> bool {
        let mut parts = subject.split(':');
        // Each part is matched by itself.
        // guard: star-stays-in-part
        self.0.split(':').all(|pattern| parts.next().is_some_and(|part| matches_part(pattern, part)))
            && parts.next().is_none()
    }

    /// Returns the start that all matching subjects have: whole parts with their colons, or the
    /// whole pattern if it has no `*`.
    pub(super) fn stem(&self) -> &str {
        match self.0.find('*') {
            Some(star) => &self.0[..self.0[..star].rfind(':').map_or(0, |colon| colon + 1)],
            None => &self.0,
        }
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns each text that can be the [`stem`](SubjectPattern::stem) of a pattern for `subject`.
/// There are none for a subject that no pattern can match.
pub(super) fn stems(subject: &str) -> impl Iterator<Item = &str> {
    let subject = if subject.len() <= SUBJECT_MAX { subject } else { "" };
    let parts = subject.match_indices(':').map(|(colon, _)| &subject[..=colon]);
    let whole = (!subject.is_empty()).then_some(subject);
    whole.into_iter().chain(whole.map(|_| "")).chain(parts)
}

/// Returns whether `pattern` matches `part`, where `*` matches any sequence of characters.
fn matches_part(pattern: &str, part: &str) -> bool {
    let mut literals = pattern.split('*');
    let first = literals.next().unwrap_or_default();
    let Some(mut rest) = part.strip_prefix(first) else { return false };
    let Some(last) = literals.next_back() else { return rest.is_empty() };
    for literal in literals {
        let Some(found) = rest.find(literal) else { return false };
        rest = &rest[found + literal.len()..];
    }
    rest.ends_with(last)
}

/// The maximum length of a subject in bytes. Those of Kubernetes have at most 338, those of OpenID
/// Connect 255.
const SUBJECT_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidSubjectPattern, SubjectPattern, matches_part, stems};

    fn pattern(text: &str) -> SubjectPattern {
        SubjectPattern::parse(text).expect("a pattern")
    }

    #[test]
    fn a_star_matches_within_one_part_of_a_subject() {
        let rows = [
            ("system:serviceaccount:team-a:*", "system:serviceaccount:team-a:app", true),
            ("system:serviceaccount:team-a:*", "system:serviceaccount:team-a:app:x", false),
            ("system:serviceaccount:team-a:*", "system:serviceaccount:team-ab:app", false),
            ("system:serviceaccount:team-a:*", "system:serviceaccount:team-a", false),
            ("system:serviceaccount:team-*:app", "system:serviceaccount:team-a:app", true),
            ("system:serviceaccount:team-*:app", "system:serviceaccount:team-a:b:app", false),
            ("system:serviceaccount:*", "system:serviceaccount:team-a:app", false),
            ("*", "user", true),
            ("*", "a:b", false),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("user", "user", true),
            ("user", "User", false),
            ("user", "user:", false),
            ("a**b", "ab", true),
            ("ab*ba", "aba", false),
        ];
        for (text, subject, expected) in rows {
            assert_eq!(pattern(text).matches(subject), expected, "{text} {subject}");
        }
    }

    #[test]
    fn patterns_that_no_subject_has_are_rejected() {
        assert_eq!(SubjectPattern::parse(""), Err(InvalidSubjectPattern::Empty));
        assert_eq!(SubjectPattern::parse(&"a".repeat(513)), Err(InvalidSubjectPattern::Long));
        assert_eq!(SubjectPattern::parse("a\nb"), Err(InvalidSubjectPattern::Control));
        assert_eq!(stems("").count() + stems(&":".repeat(513)).count(), 0);
    }

    /// Returns whether a pattern matches, by trying all lengths that a star can have.
    fn matches_slowly(pattern: &[u8], subject: &[u8]) -> bool {
        match (pattern.split_first(), subject.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*', after)), _) => {
                let longest = subject.iter().position(|byte| *byte == b':').unwrap_or(subject.len());
                (0..=longest).any(|length| matches_slowly(after, &subject[length..]))
            }
            (Some(_), None) => false,
            (Some((byte, after)), Some((other, rest))) => byte == other && matches_slowly(after, rest),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_match_is_that_of_the_definition(text in "[ab:*]{1,8}", subject in "[ab:]{0,8}") {
            let expected = matches_slowly(text.as_bytes(), subject.as_bytes());
            prop_assert_eq!(pattern(&text).matches(&subject), expected);
        }

        #[test]
        fn a_subject_has_the_stem_of_each_pattern_that_matches(text in "[ab:*]{1,8}", subject in "[ab:]{1,8}") {
            let pattern = pattern(&text);
            if pattern.matches(&subject) {
                prop_assert!(stems(&subject).any(|stem| stem == pattern.stem()), "{}", pattern.stem());
            }
        }

        #[test]
        fn a_match_has_as_many_colons_as_its_pattern(text in "[a:*]{1,12}", subject in "[a:]{0,12}") {
            let colons = |text: &str| text.matches(':').count();
            if pattern(&text).matches(&subject) {
                prop_assert_eq!(colons(&text), colons(&subject));
            }
            prop_assert!(!matches_part("*", "") || pattern("*").matches(""));
        }
    }
}
