//! Patterns of RAM actions, such as `oss:Get*`.

use super::text_pattern::TextPattern;

/// A pattern of actions. ASCII case is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionPattern(TextPattern);

/// The reason why the text of an action is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAction {
    /// The text is neither `*` nor a service and a name.
    #[error("an action is * or SERVICE:NAME, such as oss:GetObject or oss:Get*")]
    Form,
}

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidAction> {
        let service = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'?' | b'_' | b'-');
        let fits = text == "*"
            || text.split_once(':').is_some_and(|(before, after)| {
                !before.is_empty()
                    && before.bytes().all(service)
                    && !after.is_empty()
                    && after.bytes().all(name)
            });
        if fits { Ok(Self(TextPattern::lower_case(text))) } else { Err(InvalidAction::Form) }
    }

    /// Returns the text in lower case.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.as_str() == "*"
    }

    pub(super) fn matches(&self, action: &str) -> bool {
        self.0.matches_without_case(action)
    }
}
