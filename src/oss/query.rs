//! The query of a request: names and values as decoded bytes, in the order of the client.

use super::encoding::{InvalidEscape, decode, encode_strict};

/// The parameters of a request, in order. A `+` in the text of a query means a space, as OSS reads
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query(Vec<QueryParameter>);

/// A decoded parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryParameter {
    /// The name.
    pub(crate) name: Vec<u8>,
    /// The value; `None` if there was no `=`.
    pub(crate) value: Option<Vec<u8>>,
}

/// Returns whether the parameter of this name belongs to the signature of a presigned URL.
#[must_use]
pub(crate) fn is_of_signature(name: &[u8]) -> bool {
    SIGNATURE_PARAMETERS.iter().any(|known| known.as_bytes() == name)
}

impl Query {
    /// Parses the text after the `?`. Parts are split at `&`, and names from values at the first
    /// `=`. Empty parts are dropped.
    ///
    /// # Errors
    /// [`InvalidEscape`] if a `%` is not followed by two hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidEscape> {
        let mut params = Vec::new();
        let mut at = 0;
        for part in text.split('&') {
            if !part.is_empty() {
                let read = |text: &str| decode(text.replace('+', " ").as_bytes());
                let shift = |offset: usize| move |bad: InvalidEscape| InvalidEscape { at: bad.at + offset };
                let (name, value) = match part.split_once('=') {
                    Some((name, value)) => (name, Some(read(value).map_err(shift(at + name.len() + 1))?)),
                    None => (part, None),
                };
                params.push(QueryParameter { name: read(name).map_err(shift(at))?, value });
            }
            at += part.len() + 1;
        }
        Ok(Self(params))
    }

    /// Returns the parameters in the client's order.
    #[must_use]
    pub(crate) fn params(&self) -> &[QueryParameter] {
        &self.0
    }

    /// Returns the first parameter of this name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&QueryParameter> {
        self.0.iter().find(|param| param.name == name.as_bytes())
    }

    /// Adds a parameter at the end.
    pub(crate) fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push(QueryParameter { name: name.into(), value: Some(value.into()) });
    }

    /// Removes the parameters for whose names `unwanted` returns true.
    pub(crate) fn remove(&mut self, unwanted: impl Fn(&[u8]) -> bool) {
        self.0.retain(|param| !unwanted(&param.name));
    }

    /// Appends the encoded query, with a leading `?` unless there are no parameters. `a` and `a=`
    /// remain distinct.
    pub fn write(&self, out: &mut String) {
        for (index, param) in self.0.iter().enumerate() {
            out.push(if index == 0 { '?' } else { '&' });
            encode_strict(&param.name, out);
            if let Some(value) = &param.value {
                out.push('=');
                encode_strict(value, out);
            }
        }
    }
}

/// The signature parameters of presigned URLs: V1, V2 and V4.
const SIGNATURE_PARAMETERS: [&str; 12] = [
    "OSSAccessKeyId",
    "Signature",
    "Expires",
    "security-token",
    "x-oss-access-key-id",
    "x-oss-signature-version",
    "x-oss-credential",
    "x-oss-date",
    "x-oss-expires",
    "x-oss-additional-headers",
    "x-oss-security-token",
    "x-oss-signature",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidEscape, Query};

    fn rewritten(text: &str) -> String {
        let mut out = String::new();
        Query::parse(text).expect("a query").write(&mut out);
        out
    }

    #[test]
    fn a_plus_is_a_space_and_leaves_as_one() {
        assert_eq!(rewritten("prefix=a+b%2Bc"), "?prefix=a%20b%2Bc");
    }

    #[test]
    fn order_bare_names_and_empty_values_are_kept() {
        assert_eq!(rewritten("b&a=&c=d=e&&"), "?b&a=&c=d%3De");
        assert_eq!(rewritten(""), "");
    }

    #[test]
    fn the_place_of_a_bad_escape_is_told() {
        assert_eq!(Query::parse("a=b&c=%4"), Err(InvalidEscape { at: 6 }));
        assert_eq!(Query::parse("a=b&%="), Err(InvalidEscape { at: 4 }));
    }

    proptest! {
        #[test]
        fn a_written_query_reads_as_the_same_parameters(text in "[ -~]{0,120}") {
            if let Ok(query) = Query::parse(&text) {
                let mut wire = String::new();
                query.write(&mut wire);
                let again = Query::parse(wire.strip_prefix('?').unwrap_or_default());
                prop_assert_eq!(again, Ok(query));
            }
        }
    }
}
