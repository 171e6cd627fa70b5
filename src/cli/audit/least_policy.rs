//! The least policy documents that grant observed rights. Actions are named one by one; objects are
//! joined by the folders that they have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::observed_rights::{ObservedResource, ObservedRights};

/// The resources of a statement, and the prefixes of listings.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct StatementScope {
    resources: Vec<String>,
    prefixes: Vec<String>,
}

/// Returns the documents that grant observed rights, each of at most [`DOCUMENT_MAX`] characters
/// unless a single statement is longer.
pub(super) fn documents(rights: &ObservedRights) -> Vec<Value> {
    let mut by_scope: BTreeMap<StatementScope, BTreeSet<&str>> = BTreeMap::new();
    for (action, resources) in &rights.actions {
        for scope in scopes(resources) {
            by_scope.entry(scope).or_default().insert(action);
        }
    }
    let mut documents = Vec::new();
    let mut statements: Vec<Value> = Vec::new();
    for (scope, actions) in by_scope {
        let mut statement = json!({ "Effect": "Allow", "Action": actions, "Resource": scope.resources });
        if !scope.prefixes.is_empty() {
            statement["Condition"] = json!({ "StringLike": { "oss:Prefix": scope.prefixes } });
        }
        let mut longer = statements.clone();
        longer.push(statement.clone());
        if !statements.is_empty() && document(&longer).to_string().chars().count() > DOCUMENT_MAX {
            documents.push(document(&statements));
            longer = vec![statement];
        }
        statements = longer;
    }
    if !statements.is_empty() {
        documents.push(document(&statements));
    }
    documents
}

fn document(statements: &[Value]) -> Value {
    json!({ "Version": "1", "Statement": statements })
}

/// Returns the scopes of one action: the objects of each bucket, its listings, and the rest.
fn scopes(resources: &BTreeSet<ObservedResource>) -> Vec<StatementScope> {
    let mut whole = Vec::new();
    let mut objects: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut listings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for resource in resources {
        match resource {
            ObservedResource::Whole(name) => whole.push(format!("acs:oss:*:*:{name}")),
            ObservedResource::HiddenObject { bucket } => whole.push(format!("acs:oss:*:*:{bucket}/*")),
            ObservedResource::Object { bucket, key } => {
                objects.entry(bucket).or_default().insert(key);
            }
            ObservedResource::Listing { bucket, prefix } => {
                listings.entry(bucket).or_default().insert(prefix);
            }
        }
    }
    let mut scopes = Vec::new();
    if !whole.is_empty() {
        scopes.push(StatementScope { resources: whole, prefixes: Vec::new() });
    }
    for (bucket, keys) in objects {
        let resources = patterns(&keys).iter().map(|one| format!("acs:oss:*:*:{bucket}/{one}")).collect();
        scopes.push(StatementScope { resources, prefixes: Vec::new() });
    }
    for (bucket, prefixes) in listings {
        let resources = vec![format!("acs:oss:*:*:{bucket}")];
        // A listing without a prefix shows the whole bucket.
        let prefixes = if prefixes.contains("") { Vec::new() } else { patterns(&prefixes) };
        scopes.push(StatementScope { resources, prefixes });
    }
    scopes
}

/// Returns patterns that match keys. Keys with the same first folder have one pattern, for the
/// longest folder that they have in common. Keys outside of folders are named, if they are few.
fn patterns(keys: &BTreeSet<&str>) -> Vec<String> {
    let mut folders: BTreeMap<&str, &str> = BTreeMap::new();
    let mut names = Vec::new();
    for key in keys {
        match key.split_once('/') {
            Some((first, _)) => {
                let folder = folder_of(key);
                folders
                    .entry(first)
                    .and_modify(|known| *known = common_folder(known, folder))
                    .or_insert(folder);
            }
            None => names.push(literal(key)),
        }
    }
    if names.len() > NAMES_MAX {
        return vec!["*".to_owned()];
    }
    folders.values().map(|folder| format!("{}*", literal(folder))).chain(names).collect()
}

/// Returns the key up to its last slash.
fn folder_of(key: &str) -> &str {
    key.rfind('/').map_or("", |end| &key[..=end])
}

/// Returns the longest folder that contains both.
fn common_folder<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    // The byte after a slash begins a character.
    let end = one.as_bytes()[..same].iter().rposition(|byte| *byte == b'/');
    end.map_or("", |end| &one[..=end])
}

/// Returns a pattern for a text. A pattern cannot name an asterisk, so any character stands for it.
fn literal(text: &str) -> String {
    text.replace('*', "?")
}

/// The maximum length of a session policy, in characters. Custom policies may be longer.
const DOCUMENT_MAX: usize = 2048;
/// The number of keys outside of folders that are named.
const NAMES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{DOCUMENT_MAX, documents, patterns};
    use crate::cli::audit::observed_rights::{ObservedResource, ObservedRights};
    use crate::policy::{DocumentOptions, PolicyDocument};

    fn object(bucket: &str, key: &str) -> ObservedResource {
        ObservedResource::Object { bucket: bucket.to_owned(), key: key.to_owned() }
    }

    fn listing(bucket: &str, prefix: &str) -> ObservedResource {
        ObservedResource::Listing { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    fn rights(rows: &[(&str, ObservedResource)]) -> ObservedRights {
        let mut rights = ObservedRights::default();
        for (action, resource) in rows {
            rights.actions.entry((*action).to_owned()).or_default().insert(resource.clone());
        }
        rights
    }

    #[test]
    fn keys_are_joined_by_the_folders_that_they_have_in_common() {
        for (keys, expected) in [
            (&["a/x"][..], &["a/*"][..]),
            (&["a/1/x", "a/1/y"], &["a/1/*"]),
            (&["a/1/x", "a/2/y"], &["a/*"]),
            (&["a/é/x", "a/è/y"], &["a/*"]),
            (&["a/x", "ab/y", "c"], &["a/*", "ab/*", "c"]),
            (&["a*b/x", "d*"], &["a?b/*", "d?"]),
            (&["a/"], &["a/*"]),
            (&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"], &["*"]),
        ] {
            assert_eq!(patterns(&keys.iter().copied().collect::<BTreeSet<_>>()), expected, "{keys:?}");
        }
    }

    #[test]
    fn actions_with_the_same_resources_share_a_statement_and_no_action_is_a_pattern() {
        let rights = rights(&[
            ("oss:GetObject", object("data", "a/1/x")),
            ("oss:PutObject", object("data", "a/1/y")),
            ("oss:DeleteObject", object("data", "a/2/y")),
            ("oss:ListObjects", listing("data", "a/1/")),
            ("oss:ListObjects", listing("logs", "")),
            ("oss:GetBucketInfo", ObservedResource::Whole("data".to_owned())),
        ]);
        let expected = json!({ "Version": "1", "Statement": [
            { "Effect": "Allow", "Action": ["oss:GetBucketInfo"], "Resource": ["acs:oss:*:*:data"] },
            { "Effect": "Allow", "Action": ["oss:ListObjects"], "Resource": ["acs:oss:*:*:data"],
              "Condition": { "StringLike": { "oss:Prefix": ["a/1/*"] } } },
            { "Effect": "Allow", "Action": ["oss:GetObject", "oss:PutObject"], "Resource": ["acs:oss:*:*:data/a/1/*"] },
            { "Effect": "Allow", "Action": ["oss:DeleteObject"], "Resource": ["acs:oss:*:*:data/a/2/*"] },
            { "Effect": "Allow", "Action": ["oss:ListObjects"], "Resource": ["acs:oss:*:*:logs"] },
        ] });
        assert_eq!(documents(&rights), [expected]);
    }

    #[test]
    fn long_rights_are_divided_into_documents_that_are_all_valid() {
        let rows: Vec<_> =
            (0..200).map(|index| ("oss:GetObject", object(&format!("bucket-{index}"), "folder/x"))).collect();
        let documents = documents(&rights(&rows));
        assert!(documents.len() > 5);
        let mut statements = 0;
        for document in &documents {
            let text = document.to_string();
            assert!(text.len() <= DOCUMENT_MAX, "{}", text.len());
            PolicyDocument::parse(&text, DocumentOptions::default()).expect("a document");
            statements += document["Statement"].as_array().map_or(0, Vec::len);
        }
        assert_eq!(statements, 200);
        assert!(super::documents(&ObservedRights::default()).is_empty());
    }
}
