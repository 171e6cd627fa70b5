//! Enforces the picture in `src/lib.rs`: the permitted dependencies of each module, the items that
//! pure modules may not use, and the library features that must be disabled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("oss", &[]),
    ("time", &[]),
    ("secret", &[]),
    ("histogram", &[]),
    ("offload", &[]),
    ("address", &["oss"]),
    ("sign", WORDS),
    ("caller", &["oss", "sign"]),
    ("policy", &["oss", "caller"]),
    ("transport", &["oss", "time", "secret", "offload"]),
    ("credentials", &["oss", "time", "secret", "histogram", "transport", "offload"]),
    ("telemetry", &["oss", "time", "secret", "histogram"]),
    (
        "proxy",
        &[
            "oss",
            "time",
            "secret",
            "address",
            "sign",
            "caller",
            "policy",
            "transport",
            "credentials",
            "telemetry",
        ],
    ),
    (
        "admin",
        &["oss", "time", "secret", "histogram", "address", "proxy", "telemetry", "credentials", "transport"],
    ),
    ("server", &["oss", "time", "policy", "proxy", "telemetry", "transport", "offload"]),
    ("emulator", WORDS),
    (
        "config",
        &[
            "oss",
            "time",
            "secret",
            "address",
            "sign",
            "caller",
            "policy",
            "transport",
            "credentials",
            "telemetry",
            "proxy",
            "admin",
            "server",
        ],
    ),
    (
        "app",
        &[
            "oss",
            "time",
            "secret",
            "offload",
            "address",
            "sign",
            "transport",
            "credentials",
            "telemetry",
            "proxy",
            "admin",
            "server",
            "config",
        ],
    ),
];

const WORDS: &[&str] = &["oss", "time", "secret"];

/// Modules without IO and clock.
const PURE: &[&str] = &["oss", "time", "secret", "histogram", "address", "sign", "caller", "policy"];

/// Names that must not occur in a pure module.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
];

/// Returns the source of each module, without its unit tests.
fn modules() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src");
        let first = inside.iter().next().expect("a name").to_string_lossy();
        let module = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        let is_test = inside.to_string_lossy().ends_with("tests.rs");
        if is_test || module == "main" || module == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        modules.entry(module).or_insert_with(String::new).extend(lines.flat_map(|line| [line, "\n"]));
    }
    modules
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the modules that a text names as `crate::name`.
fn used(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        assert!(
            !rest.starts_with('{'),
            "write one `use crate::…` for each module, so that this test can read it"
        );
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        names.push(name);
    }
    names
}

#[test]
fn every_arrow_between_modules_is_one_of_the_picture() {
    let modules = modules();
    assert!(modules.len() >= 15, "modules were not found: {:?}", modules.keys());
    for (module, code) in &modules {
        if module == "cli" {
            continue;
        }
        let (_, allowed) = ARROWS.iter().find(|(name, _)| name == module).unwrap_or_else(|| {
            panic!("{module} is not in the picture: add it to src/lib.rs and to this test");
        });
        for name in used(code) {
            assert!(
                name == *module || allowed.contains(&name.as_str()),
                "{module} uses {name}, against the picture"
            );
        }
    }
}

#[test]
fn pure_modules_touch_nothing_outside() {
    for (module, code) in modules() {
        if PURE.contains(&module.as_str()) {
            for word in IMPURE {
                assert!(!code.contains(word), "{module} is pure and names {word}");
            }
        }
    }
}

#[test]
fn only_the_commands_print() {
    for (module, code) in modules() {
        if module != "cli" {
            for word in ["println!", "eprintln!", "print!(", "stdout()"] {
                assert!(!code.contains(word), "{module} prints with {word}");
            }
        }
    }
}

#[test]
fn the_pooled_client_and_the_shared_runtime_stay_off() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("toml");
    for section in ["dependencies", "dev-dependencies"] {
        let table = manifest.get(section).and_then(toml::Value::as_table).expect("a section");
        for (library, banned) in [
            ("hyper-util", "client-legacy"),
            ("hyper-util", "full"),
            ("tokio", "rt-multi-thread"),
            ("tokio", "full"),
        ] {
            let features =
                table.get(library).and_then(|entry| entry.get("features")).and_then(toml::Value::as_array);
            let on = features.is_some_and(|list| list.iter().any(|feature| feature.as_str() == Some(banned)));
            assert!(!on, "{library}/{banned} is on: each core has a runtime and connections of its own");
        }
    }
}
