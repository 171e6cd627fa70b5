//! Enforces the picture in `src/lib.rs`: the permitted dependencies of each module, files without
//! circular imports, the items that pure modules may not use, and the library features that must be
//! disabled.

use std::collections::{BTreeMap, BTreeSet};
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

/// A module as its path from the root of the crate, such as `["server", "tls"]`.
type ModulePath = Vec<String>;

/// Returns the files of `src` by module, without their unit tests and comments. A `mod.rs` is left
/// out: it names the files of its folder, and they name it.
fn files() -> BTreeMap<ModulePath, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src").with_extension("");
        let module: ModulePath = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let is_left_out = ["mod", "lib", "main", "tests"].contains(&module[module.len() - 1].as_str());
        if is_left_out || module.iter().any(|part| part == "tests" || part.ends_with("_tests")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        files.insert(module, lines.flat_map(|line| [line, "\n"]).collect());
    }
    files
}

/// Returns the paths that a text names with `crate::`, `super::` or `self::`, from the root of the
/// crate.
fn paths(module: &[String], code: &str) -> Vec<ModulePath> {
    let mut found = Vec::new();
    for prefix in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(prefix) {
            // The later part of `super::super::` and the end of `my_crate::` begin no path.
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let mut rest = &code[at..];
            let mut base = if prefix == "crate::" { Vec::new() } else { module.to_vec() };
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            let rest = rest.trim_start_matches("crate::").trim_start_matches("self::");
            expand(&base, rest, &mut found);
        }
    }
    found
}

/// Adds the paths that `rest` begins with; a group in braces has several.
fn expand(base: &[String], rest: &str, found: &mut Vec<ModulePath>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    expand(base, &group[start..at], found);
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return;
    }
    let mut path = base.to_vec();
    if name != "self" {
        path.push(name.clone());
    }
    match rest[name.len()..].strip_prefix("::") {
        Some(after) => expand(&path, after, found),
        None => found.push(path),
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = files();
    assert!(files.len() >= 150, "files were not found: {}", files.len());
    let mut imports: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> = BTreeMap::new();
    for (module, code) in &files {
        let of_file = |path: ModulePath| {
            (1..=path.len()).rev().find_map(|length| files.get_key_value(&path[..length]).map(|(key, _)| key))
        };
        let others = paths(module, code).into_iter().filter_map(of_file).filter(|other| *other != module);
        imports.insert(module, others.collect());
    }
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() >= 300, "imports were not found");
    // A file that imports no remaining file is in no circle, nor is one that none imports.
    loop {
        let imported: BTreeSet<_> = imports.values().flatten().copied().collect();
        let is_outside = |file: &ModulePath, of: &BTreeSet<_>| of.is_empty() || !imported.contains(file);
        let outside: Vec<_> =
            imports.iter().filter(|(file, of)| is_outside(file, of)).map(|(file, _)| *file).collect();
        if outside.is_empty() {
            break;
        }
        for file in outside {
            imports.remove(file);
            imports.values_mut().for_each(|of| {
                of.remove(file);
            });
        }
    }
    let mut left: Vec<String> = Vec::new();
    for (file, of) in &imports {
        let of: Vec<_> = of.iter().map(|path| path.join("/")).collect();
        left.push(format!("{} imports {}", file.join("/"), of.join(", ")));
    }
    assert!(left.is_empty(), "these files import each other in a circle: {left:#?}");
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
