//! `SECURITY.md` and `docs/threat-model.md` name tests that exist, for each listed defense of the
//! proxy.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../SECURITY.md");
const THREATS: &str = include_str!("../../docs/threat-model.md");

/// Returns the tests that a page names, each as a file and a function.
fn cited_tests(page: &'static str) -> Vec<(String, &'static str)> {
    let code = page.split('`').skip(1).step_by(2);
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

/// Returns the tests that a page names and that do not exist.
fn missing_tests(page: &'static str) -> Vec<(String, &'static str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cited = cited_tests(page);
    cited.retain(|(file, name)| {
        !fs::read_to_string(root.join(file)).is_ok_and(|source| has_test(&source, name))
    });
    cited
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    assert_eq!(missing_tests(PAGE), [], "SECURITY.md names tests that do not exist");
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    assert_eq!(missing_tests(THREATS), [], "docs/threat-model.md names tests that do not exist");
}

#[test]
fn every_entry_of_what_an_attacker_cannot_do_names_a_test() {
    let mut attackers = 0;
    for section in THREATS.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap_or_default();
        let (_, cannot) = section.split_once(" cannot:\n").unwrap_or_else(|| panic!("{name} has no limits"));
        // The entries end with the list.
        let list = cannot.split("\n\n").find(|block| block.trim_start().starts_with("- "));
        let entries: Vec<_> = list.unwrap_or_default().split("\n- ").skip(1).collect();
        assert!(entries.len() > 3, "{name}: {} entries", entries.len());
        for entry in entries {
            assert!(entry.contains(".rs::"), "{name}: no test is named: {entry}");
        }
        attackers += 1;
    }
    assert_eq!(attackers, 7);
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
