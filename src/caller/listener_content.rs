//! What a listener serves: objects, or access keys for its clients.

/// What a listener serves.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum ListenerContent {
    /// Objects.
    #[default]
    Objects,
    /// Access keys that are made for the caller.
    HandedOutKeys,
    /// The handed-out keys that another proxy has made, from the credentials with this name.
    PassedOnKeys(String),
}

impl ListenerContent {
    /// Returns the name of the credentials whose keys are passed on.
    #[must_use]
    pub(crate) fn source(&self) -> Option<&str> {
        match self {
            Self::PassedOnKeys(source) => Some(source),
            Self::Objects | Self::HandedOutKeys => None,
        }
    }

    /// Returns whether the listener serves access keys, and no objects.
    #[must_use]
    pub(crate) fn is_credentials(&self) -> bool {
        *self != Self::Objects
    }
}
