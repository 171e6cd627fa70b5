//! The differences between the texts that a server reports and those that are computed here.

use super::super::output::line;
use super::cause::MismatchCause;
use super::compare::TextDifference;
use super::error_document::ServerErrorDocument;
use super::redact::redact_token;
use crate::sign::{SignatureVersion, SigningTexts};

/// The first difference between two forms of a signed text.
pub(super) struct TextFinding {
    /// The name of the text.
    text: &'static str,
    difference: TextDifference,
    cause: MismatchCause,
}

impl TextFinding {
    /// Returns the differences between the texts. If one text depends on another, only the first
    /// difference is returned.
    pub(super) fn all(error: &ServerErrorDocument, signed: &SigningTexts, token: Option<&str>) -> Vec<Self> {
        let mut found = Vec::new();
        let theirs = redact_token(&error.string_to_sign, token);
        let ours = redact_token(&signed.string_to_sign, token);
        if error.version() == SignatureVersion::V1 {
            found.extend(TextDifference::first(&theirs, &ours).map(|difference| {
                let cause = MismatchCause::in_v1_string(&theirs, &ours, difference.line);
                Self { text: "string to sign", difference, cause }
            }));
            return found;
        }
        if let (Some(their_request), Some(our_request)) =
            (&error.canonical_request, &signed.canonical_request)
        {
            let theirs = redact_token(their_request, token);
            let ours = redact_token(our_request, token);
            found.extend(TextDifference::first(&theirs, &ours).map(|difference| {
                let cause = MismatchCause::in_canonical(&theirs, &ours, difference.line);
                Self { text: "canonical request", difference, cause }
            }));
        }
        if let Some(difference) = TextDifference::first(&theirs, &ours) {
            let cause = MismatchCause::in_v4_string(&theirs, &ours, difference.line);
            let is_hash = cause == MismatchCause::Hash;
            if is_hash && error.canonical_request.is_none() {
                let cause = MismatchCause::UnknownHash;
                found.push(Self { text: "string to sign", difference, cause });
            } else if !is_hash || found.is_empty() {
                found.push(Self { text: "string to sign", difference, cause });
            }
        }
        found
    }

    /// Prints the difference and its usual cause.
    pub(super) fn print(&self) {
        let Self { text, difference, cause } = self;
        let TextDifference { offset, line: number, theirs, ours } = difference;
        line(format_args!("The {text} differs at byte {offset}, line {}:", number + 1));
        line(format_args!("    server  {}", theirs.shown()));
        line(format_args!("    ours    {}", ours.shown()));
        line(format_args!("    usual cause: {cause}"));
    }
}
