//! The public interface of the crate without the feature `internals` is small. It has only what
//! programs need that embed the proxy, or use the emulator in their tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The maximum number of public items: modules, types, traits, functions, methods and constants.
const ITEMS_MAX: usize = 150;

/// The beginning of a declaration, after its visibility.
const KINDS: [&str; 8] = ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod "];

/// Returns the files of Rust below `folder`, without unit tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the lines of a file that declare items without `internals`. Unit tests and comments are
/// left out.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut lines = Vec::new();
    let mut is_internal = false;
    for line in code.lines() {
        let word = line.trim_start();
        if word == "#[cfg(feature = \"internals\")]" {
            is_internal = true;
        } else if !word.is_empty() && !word.starts_with("//") && !word.starts_with("#[") {
            if !is_internal {
                lines.push(line.to_owned());
            }
            is_internal = false;
        }
    }
    lines
}

/// Returns the name at the beginning of `text`.
fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Returns the name of an item that `line` declares after `visibility`.
fn declared(line: &str, visibility: &str) -> Option<String> {
    let mut rest = line.strip_prefix(visibility)?;
    for word in ["unsafe ", "async ", "const "] {
        if rest.strip_prefix(word).is_some_and(|after| KINDS.iter().any(|kind| after.starts_with(kind))) {
            rest = &rest[word.len()..];
        }
    }
    KINDS.iter().find_map(|kind| rest.strip_prefix(kind)).map(name)
}

/// Returns the public items in a module, as paths below `path`. Re-exports are followed by name.
fn items_of(file: &Path, path: &str) -> Vec<String> {
    let code = lines(file).join("\n");
    let mut found = Vec::new();
    for line in code.lines() {
        let Some(name) = declared(line, "pub ") else { continue };
        found.push(format!("{path}::{name}"));
        if line.starts_with("pub mod ") {
            let folder = if file.ends_with("lib.rs") || file.ends_with("mod.rs") {
                file.parent().expect("a folder").to_owned()
            } else {
                file.with_extension("")
            };
            let inside = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            if let Some(inside) = inside.iter().find(|inside| inside.exists()) {
                found.extend(items_of(inside, &format!("{path}::{name}")));
            }
        }
    }
    for rest in code.split("\npub use ").skip(1) {
        let exported = rest.split(';').next().unwrap_or_default();
        let names = match exported.split_once('{') {
            Some((_, group)) => group.trim_end_matches('}').to_owned(),
            None => exported.rsplit("::").next().unwrap_or_default().to_owned(),
        };
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        found.extend(names.map(|name| format!("{path}::{name}")));
    }
    found
}

/// Returns the public methods and constants of each type, and those of each trait. Names of types
/// are unique in the crate.
fn members() -> BTreeMap<String, Vec<String>> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let mut owner: Option<(String, &str)> = None;
        for line in lines(&path) {
            if !line.starts_with(' ') {
                owner = owner_of(&line);
            } else if let Some((of, visibility)) = &owner
                && let Some(member) = declared(&line, visibility)
            {
                members.entry(of.clone()).or_default().push(member);
            }
        }
    }
    members
}

/// Returns the type or trait whose members follow `line`, with the beginning of a public member.
fn owner_of(line: &str) -> Option<(String, &'static str)> {
    if let Some(rest) = line.strip_prefix("pub trait ") {
        return Some((name(rest), "    "));
    }
    let rest = line.strip_prefix("impl")?;
    let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest.trim_start() };
    let is_inherent = !line.contains(" for ");
    is_inherent.then(|| (name(rest), "    pub "))
}

/// Returns all public items of the crate without `internals`, each once.
fn public_items() -> Vec<String> {
    let mut items = items_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"), "crate");
    let members = members();
    let mut inside = Vec::new();
    for item in &items {
        let of = item.rsplit("::").next().and_then(|name| members.get(name));
        inside.extend(of.into_iter().flatten().map(|member| format!("{item}::{member}")));
    }
    items.append(&mut inside);
    items.sort();
    items.dedup();
    items
}

#[test]
fn the_public_interface_has_at_most_150_items() {
    let items = public_items();
    for known in [
        "crate::app::App::run",
        "crate::app::DrainSignal::leave",
        "crate::config::ProxyConfig::load",
        "crate::credentials::Provide::provide",
        "crate::emulator::Emulator::bind",
        "crate::emulator::issuer::CredentialIssuer::spawn",
        "crate::time::Timestamp::from_unix_s",
    ] {
        assert!(items.iter().any(|item| item == known), "{known} was not found in {items:#?}");
    }
    let count = items.len();
    assert!(count <= ITEMS_MAX, "{count} public items; hide those that no embedding needs: {items:#?}");
}

#[test]
fn items_for_the_tests_of_this_crate_are_not_public() {
    let items = public_items();
    let is_internal = |item: &&String| {
        ["::internals", "::App::state", "::NamedSpec", "::ProviderSpec", "::UtcDay", "::iso_basic"]
            .iter()
            .any(|word| item.contains(word))
    };
    let found: Vec<&String> = items.iter().filter(is_internal).collect();
    assert!(found.is_empty(), "{found:?}");
}
