//! `SECURITY.md` names tests that exist, for each listed defense of the proxy.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../SECURITY.md");

/// Returns the tests that the page names, each as a file and a function.
fn cited_tests() -> Vec<(String, &'static str)> {
    let code = PAGE.split('`').skip(1).step_by(2);
    let cited = code.filter_map(|words| words.split_once("::"));
    let path =
        |file: &str| if file.starts_with("src/") { file.to_owned() } else { format!("tests/it/{file}") };
    cited.map(|(file, name)| (path(file), name)).collect()
}

/// Returns whether `source` has a test function of this name.
fn has_test(source: &str, name: &str) -> bool {
    let mut lines = source.lines().map(str::trim_start);
    let declares = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    while let Some(attribute) = lines.by_ref().find(|line| line.starts_with("#[")) {
        let is_test = attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test");
        if is_test && lines.by_ref().find(|line| !line.starts_with("#[")).is_some_and(declares) {
            return true;
        }
    }
    false
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cited = cited_tests();
    let missing: Vec<_> = cited
        .iter()
        .filter(|(file, name)| {
            !fs::read_to_string(root.join(file)).is_ok_and(|source| has_test(&source, name))
        })
        .collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:?}");
}

#[test]
fn every_entry_of_what_the_proxy_defends_names_a_test() {
    let (_, defended) = PAGE.split_once("\n### What the proxy defends\n").expect("the heading");
    let (defended, _) = defended.split_once("\n### ").expect("a heading after it");
    let entries: Vec<_> = defended.split("\n- ").skip(1).collect();
    assert!(entries.len() > 20, "{} entries", entries.len());
    for entry in entries {
        assert!(entry.contains(".rs::"), "no test is named: {entry}");
    }
}
