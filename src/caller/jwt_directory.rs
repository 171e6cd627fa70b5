//! The callers by the claims of their tokens. The lookup costs the same for any number of callers,
//! unless their patterns have the same start.

use std::collections::HashMap;
use std::sync::Arc;

use super::jwt_error::JwtError;
use super::jwt_key_set::{JwtKeySet, JwtKeySource};
use super::jwt_settings::{JwtKeyOrigin, JwtSettings};
use super::subject_pattern::{SubjectPattern, stems};

/// The issuers of tokens, with the callers that they identify.
#[derive(Default)]
pub(super) struct JwtDirectory(HashMap<Box<str>, JwtIssuer>);

/// An issuer of tokens.
pub(super) struct JwtIssuer {
    name: Box<str>,
    keys: JwtKeyOrigin,
    audiences: HashMap<Box<str>, AudienceCallers>,
}

/// The callers of an audience, by the stems of their patterns.
type AudienceCallers = HashMap<Box<str>, Vec<SubjectEntry>>;

/// A caller with the pattern of its subject.
struct SubjectEntry {
    pattern: SubjectPattern,
    /// The position of the caller in the directory.
    caller: usize,
}

impl JwtDirectory {
    /// Adds the tokens of a caller.
    pub(super) fn insert(&mut self, settings: &JwtSettings, caller: usize) {
        let JwtSettings { issuer, audience, subject, keys } = settings;
        let issuer = self.0.entry(issuer.as_str().into()).or_insert_with_key(|name| JwtIssuer {
            name: name.clone(),
            keys: keys.clone(),
            audiences: HashMap::new(),
        });
        let callers = issuer.audiences.entry(audience.as_str().into()).or_default();
        let entry = SubjectEntry { pattern: subject.clone(), caller };
        callers.entry(subject.stem().into()).or_default().push(entry);
    }

    /// Returns an issuer. Its name is compared exactly.
    pub(super) fn issuer(&self, name: &str) -> Option<&JwtIssuer> {
        self.0.get(name)
    }
}

impl JwtIssuer {
    /// Returns the name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the keys; `None` if they were not fetched yet.
    pub(super) fn keys(&self, source: &dyn JwtKeySource) -> Option<Arc<JwtKeySet>> {
        match &self.keys {
            JwtKeyOrigin::Fixed(keys) => Some(Arc::clone(keys)),
            JwtKeyOrigin::Fetched => source.keys(&self.name),
        }
    }

    /// Returns the position of the only caller that the claims of a token name.
    ///
    /// # Errors
    /// [`JwtError::Audience`], [`JwtError::Subject`] and [`JwtError::Ambiguous`].
    pub(super) fn caller(&self, audiences: &[String], subject: &str) -> Result<usize, JwtError> {
        // guard: jwt-audience
        let named = || audiences.iter().filter_map(|audience| self.audiences.get(audience.as_str()));
        if named().next().is_none() {
            return Err(JwtError::Audience);
        }
        let entries = named().flat_map(|callers| stems(subject).filter_map(|stem| callers.get(stem)));
        let matching = entries.flatten().filter(|entry| entry.pattern.matches(subject));
        let mut found = None;
        for entry in matching {
            if found.replace(entry.caller).is_some_and(|other| other != entry.caller) {
                return Err(JwtError::Ambiguous);
            }
        }
        found.ok_or(JwtError::Subject)
    }
}
