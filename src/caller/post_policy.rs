//! The policy of a form upload: its expiration, and the conditions that its fields meet ("PostObject",
//! OSS API reference).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::time::Timestamp;

/// The policy of a form upload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostPolicy {
    /// The end of its validity.
    pub(crate) expiration: Timestamp,
    conditions: Vec<FieldCondition>,
    /// The least and the greatest length of the file.
    pub(crate) length_range: Option<(u64, u64)>,
}

/// A condition on a field. Its name is in lower case.
#[derive(Debug, PartialEq, Eq)]
struct FieldCondition {
    field: String,
    test: FieldTest,
}

#[derive(Debug, PartialEq, Eq)]
enum FieldTest {
    Equals(String),
    StartsWith(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl PostPolicy {
    /// Parses the base64 of a policy. Returns `None` if it has anything that the proxy does not check.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        let document = document.as_object()?;
        // guard: post-policy-is-known
        if document.keys().any(|name| !["expiration", "conditions"].contains(&name.as_str())) {
            return None;
        }
        let expiration = Timestamp::parse_rfc3339(document.get("expiration")?.as_str()?)?;
        let mut policy = Self { expiration, conditions: Vec::new(), length_range: None };
        for condition in document.get("conditions")?.as_array()? {
            match condition {
                Value::Object(fields) => {
                    for (field, value) in fields {
                        policy.add(field, FieldTest::Equals(text_of(value)?));
                    }
                }
                Value::Array(parts) => policy.add_array(parts)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            }
        }
        Some(policy)
    }

    /// Returns the name of the first field whose condition is not met. A missing field is empty.
    pub(crate) fn unmet<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Option<&str> {
        let is_unmet = |condition: &&FieldCondition| {
            let value = value_of(&condition.field).unwrap_or_default();
            match &condition.test {
                FieldTest::Equals(wanted) => value != wanted,
                FieldTest::StartsWith(start) => !value.starts_with(start.as_str()),
                FieldTest::In(values) => !values.iter().any(|one| one == value),
                FieldTest::NotIn(values) => values.iter().any(|one| one == value),
            }
        };
        // guard: post-conditions-are-met
        self.conditions.iter().find(is_unmet).map(|condition| condition.field.as_str())
    }

    fn add(&mut self, field: &str, test: FieldTest) {
        self.conditions.push(FieldCondition { field: field.to_ascii_lowercase(), test });
    }

    fn add_array(&mut self, parts: &[Value]) -> Option<()> {
        let [operator, subject, value] = parts else { return None };
        let operator = operator.as_str()?.to_ascii_lowercase();
        if operator == "content-length-range" {
            let (least, greatest) = self.length_range.unwrap_or((0, u64::MAX));
            self.length_range = Some((least.max(number_of(subject)?), greatest.min(number_of(value)?)));
            return Some(());
        }
        let field = subject.as_str()?.strip_prefix('$')?;
        let list = |value: &Value| value.as_array()?.iter().map(text_of).collect::<Option<Vec<_>>>();
        let test = match operator.as_str() {
            "eq" => FieldTest::Equals(text_of(value)?),
            "starts-with" => FieldTest::StartsWith(text_of(value)?),
            "in" => FieldTest::In(list(value)?),
            "not-in" => FieldTest::NotIn(list(value)?),
            _ => return None,
        };
        self.add(field, test);
        Some(())
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::PostPolicy;

    fn parse(conditions: &str) -> Option<PostPolicy> {
        let text = format!(r#"{{"expiration":"2026-12-01T12:00:00.000Z","conditions":{conditions}}}"#);
        PostPolicy::parse(&STANDARD.encode(text))
    }

    #[test]
    fn each_condition_is_checked() {
        let fields = |name: &str| match name {
            "key" => Some("a/b"),
            "bucket" => Some("team-data"),
            "content-type" => Some("image/png"),
            "success_action_status" => Some("200"),
            _ => None,
        };
        for (conditions, unmet) in [
            (r#"[{"bucket":"team-data"},["eq","$key","a/b"],["starts-with","$key","a/"]]"#, None),
            (r#"[["starts-with","$KEY","b/"]]"#, Some("key")),
            (r#"[{"Bucket":"other"}]"#, Some("bucket")),
            (r#"[{"success_action_status":200}]"#, None),
            (r#"[["in","$content-type",["image/jpg","image/png"]]]"#, None),
            (r#"[["in","$content-type",["image/jpg"]]]"#, Some("content-type")),
            (r#"[["not-in","$content-type",["image/png"]]]"#, Some("content-type")),
            (r#"[["starts-with","$x-oss-meta-a",""]]"#, None),
            (r#"[["eq","$x-oss-meta-a","1"]]"#, Some("x-oss-meta-a")),
        ] {
            let policy = parse(conditions).expect(conditions);
            assert_eq!(policy.unmet(fields), unmet, "{conditions}");
        }
        let range = r#"[["content-length-range",1,"100"],["content-length-range",5,200]]"#;
        assert_eq!(parse(range).expect("a range").length_range, Some((5, 100)));
    }

    #[test]
    fn what_is_not_checked_is_rejected() {
        for conditions in [
            r#"[["ends-with","$key","a"]]"#,
            r#"[["eq","key","a"]]"#,
            r#"[["eq","$key"]]"#,
            "[1]",
            r#"{"a":"b"}"#,
        ] {
            assert_eq!(parse(conditions), None, "{conditions}");
        }
        let extra = STANDARD.encode(r#"{"expiration":"2026-12-01T12:00:00Z","conditions":[],"x":1}"#);
        assert_eq!(PostPolicy::parse(&extra), None);
        assert_eq!(PostPolicy::parse("e30"), None);
    }
}
