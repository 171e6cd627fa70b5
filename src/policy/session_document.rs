//! The documents of a caller as one document, which STS takes as the session policy of a role.

use serde_json::{Value, json};

use super::document::PolicyDocument;

/// The reason why documents cannot be a session policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSessionDocument {
    /// A condition has another meaning at OSS.
    #[error("the condition {key} in {document} is about the client here, but about this proxy at OSS")]
    Condition {
        /// The name of the document.
        document: String,
        /// The condition key.
        key: &'static str,
    },
    /// A document cannot be read again.
    #[error("{document} is invalid JSON: {error}")]
    Json {
        /// The name of the document.
        document: String,
        /// The cause.
        error: serde_json::Error,
    },
}

/// Joins documents into one, without white space.
///
/// # Errors
/// [`InvalidSessionDocument`], the first reason why OSS cannot apply a document.
pub(super) fn join(documents: &[PolicyDocument]) -> Result<String, InvalidSessionDocument> {
    let mut statements = Vec::new();
    for document in documents {
        let name = || document.name().to_owned();
        // guard: no-changed-conditions
        if let Some(key) = document.condition_about_client() {
            return Err(InvalidSessionDocument::Condition { document: name(), key });
        }
        let invalid = |error| InvalidSessionDocument::Json { document: name(), error };
        let value: Value = serde_json::from_str(document.text()).map_err(invalid)?;
        statements.extend(value["Statement"].as_array().into_iter().flatten().cloned());
    }
    Ok(json!({ "Version": "1", "Statement": statements }).to_string())
}

#[cfg(test)]
mod tests {
    use super::join;
    use crate::policy::document::{DocumentOptions, PolicyDocument};

    fn document(statements: &str) -> PolicyDocument {
        let text = format!("{{ \"Version\": \"1\",\n  \"Statement\": [ {statements} ] }}");
        PolicyDocument::parse(&text, DocumentOptions::default()).expect(&text).named("a")
    }

    #[test]
    fn all_statements_are_in_one_document_without_white_space() {
        let allow = r#"{ "Effect": "Allow", "Action": "oss:GetObject", "Resource": "acs:oss:*:*:b/a b/*" }"#;
        let deny = r#"{ "Effect": "Deny", "NotAction": ["oss:GetObject"], "Resource": "*",
            "Condition": { "StringLike": { "oss:Prefix": "a/*" } } }"#;
        let joined = join(&[document(allow), document(&format!("{deny}, {allow}"))]).expect("a document");
        let allow = r#"{"Effect":"Allow","Action":"oss:GetObject","Resource":"acs:oss:*:*:b/a b/*"}"#;
        let deny = r#"{"Effect":"Deny","NotAction":["oss:GetObject"],"Resource":"*","Condition":{"StringLike":{"oss:Prefix":"a/*"}}}"#;
        assert_eq!(joined, format!(r#"{{"Version":"1","Statement":[{allow},{deny},{allow}]}}"#));
        assert!(PolicyDocument::parse(&joined, DocumentOptions::default()).is_ok());
    }

    #[test]
    fn conditions_that_mean_the_proxy_at_oss_are_rejected() {
        let rows = [
            ("IpAddress", "acs:SourceIp", "10.0.0.0/8", true),
            ("Bool", "acs:SecureTransport", "true", true),
            ("StringLike", "acs:UserAgent", "*", true),
            ("StringNotEquals", "acs:AccessId", "team-a", true),
            ("DateLessThan", "acs:CurrentTime", "2030-01-01T00:00:00Z", false),
            ("StringLike", "oss:Prefix", "a/*", false),
            ("StringEquals", "oss:x-oss-object-acl", "private", false),
        ];
        for (operator, key, value, is_rejected) in rows {
            let statement = serde_json::json!({ "Effect": "Allow", "Action": "oss:ListObjects",
                "Resource": "*", "Condition": { operator: { key: value } } });
            let joined = join(&[document(&statement.to_string())]);
            assert_eq!(joined.is_err(), is_rejected, "{key}");
            if let Err(error) = joined {
                let text = format!("the condition {key} in a is about the client here");
                assert!(error.to_string().starts_with(&text), "{error}");
            }
        }
    }
}
