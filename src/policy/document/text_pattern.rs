//! Patterns of RAM documents: `*` matches any run of characters, `?` one character.

/// A pattern that matches a whole text. `*` also matches slashes and the empty text; `?` matches one
/// character, not one byte ("Policy elements", RAM documentation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextPattern(Box<str>);

/// A text that consists of up to two parts with a slash between them, such as bucket and key.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatternSubject<'a> {
    first: &'a [u8],
    second: Option<&'a [u8]>,
}

impl<'a> PatternSubject<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self { first: text.as_bytes(), second: None }
    }

    pub(super) fn joined(first: &'a str, second: &'a str) -> Self {
        Self { first: first.as_bytes(), second: Some(second.as_bytes()) }
    }

    fn byte(self, at: usize) -> Option<u8> {
        let Some(second) = self.second else { return self.first.get(at).copied() };
        match at.checked_sub(self.first.len()) {
            None => self.first.get(at).copied(),
            Some(0) => Some(b'/'),
            Some(beyond) => second.get(beyond - 1).copied(),
        }
    }

    /// Returns the length in bytes of the character at `at`, which may be inside a character.
    fn character(self, at: usize) -> Option<usize> {
        match self.byte(at)? {
            0..=0x7F => Some(1),
            0xC0..=0xDF => Some(2),
            0xE0..=0xEF => Some(3),
            0xF0..=0xFF => Some(4),
            // The rest of a character that `*` has matched in part.
            0x80..=0xBF => None,
        }
    }

    /// Returns whether the text begins with `start`.
    fn starts_with(self, start: &[u8]) -> bool {
        start.iter().enumerate().all(|(at, byte)| self.byte(at) == Some(*byte))
    }

    fn is_start_of(self, text: &[u8]) -> bool {
        let length = self.first.len() + self.second.map_or(0, |second| second.len() + 1);
        length <= text.len() && self.starts_with(&text[..length])
    }
}

impl TextPattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// Returns the pattern with ASCII letters in lower case.
    pub(super) fn lower_case(pattern: &str) -> Self {
        Self(pattern.to_ascii_lowercase().into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches the whole of `subject`.
    pub(super) fn matches(&self, subject: PatternSubject<'_>) -> bool {
        self.matches_as(subject, |byte| byte)
    }

    /// Returns whether the pattern, which is in lower case, matches `subject` if the case of ASCII
    /// letters is ignored.
    pub(super) fn matches_without_case(&self, subject: &str) -> bool {
        self.matches_as(PatternSubject::text(subject), |byte| byte.to_ascii_lowercase())
    }

    fn matches_as(&self, subject: PatternSubject<'_>, fold: impl Fn(u8) -> u8) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut from) = (0, 0);
        // The last `*`: the pattern after it, and the end of what it has matched so far.
        let mut last_star: Option<(usize, usize)> = None;
        while let Some(byte) = subject.byte(from) {
            let step = match pattern.get(at) {
                Some(b'*') => {
                    last_star = Some((at + 1, from));
                    at += 1;
                    continue;
                }
                Some(b'?') => subject.character(from),
                Some(literal) if *literal == fold(byte) => Some(1),
                _ => None,
            };
            if let Some(step) = step {
                at += 1;
                from += step;
            } else if let Some((after, matched)) = last_star {
                last_star = Some((after, matched + 1));
                (at, from) = (after, matched + 1);
            } else {
                return false;
            }
        }
        pattern[at..].iter().all(|rest| *rest == b'*')
    }

    /// Returns whether the pattern matches every text that begins with `tree`. `false` for patterns
    /// for which this is hard to decide.
    pub(super) fn covers_tree(&self, tree: PatternSubject<'_>) -> bool {
        let literal = self.literal();
        self.0.len() == literal.len() + 1 && self.0.ends_with('*') && tree.starts_with(literal.as_bytes())
    }

    /// Returns whether the pattern may match a text that begins with `tree`.
    pub(super) fn meets_tree(&self, tree: PatternSubject<'_>) -> bool {
        let literal = self.literal().as_bytes();
        let goes_on = literal.len() < self.0.len();
        tree.is_start_of(literal) || (goes_on && tree.starts_with(literal))
    }

    /// Returns whether the pattern matches every text that `narrower` matches. `false` for patterns
    /// for which this is hard to decide.
    pub(super) fn includes(&self, narrower: &Self) -> bool {
        // Without `?`, only a `*` of the pattern matches a wildcard of the other.
        self == narrower || (!self.0.contains('?') && self.matches(PatternSubject::text(&narrower.0)))
    }

    /// Returns whether the pattern matches a longer text that begins with `start`, which is ASCII.
    pub(super) fn reaches_beyond(&self, start: &str) -> bool {
        let pattern = self.0.as_bytes();
        // The positions in the pattern that a match of the text so far may have reached.
        let mut reached = vec![false; pattern.len() + 1];
        reached[0] = true;
        for byte in start.bytes() {
            let mut next = vec![false; pattern.len() + 1];
            for (at, expected) in pattern.iter().enumerate() {
                if !reached[at] {
                    continue;
                }
                if *expected == b'*' {
                    reached[at + 1] = true;
                    next[at] = true;
                } else if *expected == b'?' || *expected == byte {
                    next[at + 1] = true;
                }
            }
            reached = next;
        }
        // The rest of the pattern is not empty, so it matches some further text.
        reached[..pattern.len()].contains(&true)
    }

    /// Returns the text before the first wildcard.
    pub(super) fn literal(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{PatternSubject, TextPattern};

    #[test]
    fn wildcards_match_characters() {
        let rows = [
            ("a/*", "a/", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", true),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*?", "é", true),
            ("*??", "é", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("*.html", "a/b.html", true),
            ("a", "A", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in rows {
            let pattern = TextPattern::new(pattern);
            assert_eq!(pattern.matches(PatternSubject::text(text)), expected, "{pattern:?} {text}");
        }
        let joined = PatternSubject::joined("team-data", "zz/a/x");
        assert!(TextPattern::new("team-*/a/*").matches(joined));
        assert!(!TextPattern::new("team-data").matches(PatternSubject::joined("team-data", "")));
        assert!(TextPattern::lower_case("OSS:getobject").matches_without_case("oss:GetObject"));
    }

    #[test]
    fn a_pattern_reaches_beyond_a_bucket_if_it_matches_a_key_in_it() {
        for (pattern, expected) in [
            ("*", true),
            ("team-data/*", true),
            ("team-data/a/*", true),
            ("team-data/k", true),
            ("team-data/?", true),
            ("team-????/*", true),
            ("*-data/a", true),
            ("t*/a/*/b", true),
            ("team-data*", true),
            ("team-data", false),
            ("team-data/", false),
            ("team-data-2/*", false),
            ("team-dat/*", false),
            // `*` crosses slashes, so it also matches a key in the bucket.
            ("*-other/a/*", true),
            ("team-?/*", false),
            ("other*", false),
        ] {
            assert_eq!(TextPattern::new(pattern).reaches_beyond("team-data/"), expected, "{pattern}");
        }
    }

    #[test]
    fn a_tree_is_covered_only_by_one_trailing_star() {
        let tree = PatternSubject::joined("b", "a/d/");
        for (pattern, covers, meets) in [
            ("b/a/*", true, true),
            ("b/a/d/*", true, true),
            ("b/a/d/x*", false, true),
            ("b/a/*/x", false, true),
            ("b/a/d/x", false, true),
            ("b/a/d", false, false),
            ("b/c*", false, false),
            ("*", true, true),
            ("?*", false, true),
        ] {
            let pattern = TextPattern::new(pattern);
            assert_eq!((pattern.covers_tree(tree), pattern.meets_tree(tree)), (covers, meets), "{pattern:?}");
        }
    }
}
