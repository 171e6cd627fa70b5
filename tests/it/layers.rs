//! Enforces the picture in `src/lib.rs`: the permitted dependencies of each module, files without
//! circular imports, impls beside their types, the length of files, the items that pure modules may
//! not use, and the library features that must be disabled.

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
    ("sealing", &["secret"]),
    ("caller", &["oss", "time", "secret", "sign", "sealing", "policy"]),
    ("policy", &["oss", "time"]),
    ("transport", &[]),
    ("credentials", &["oss", "time", "secret", "histogram", "transport", "offload"]),
    ("jwks", &["caller", "transport", "credentials", "offload"]),
    ("telemetry", &["oss", "time", "histogram"]),
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
            "jwks",
            "telemetry",
        ],
    ),
    (
        "admin",
        &["oss", "time", "secret", "histogram", "address", "telemetry", "credentials", "jwks", "transport"],
    ),
    ("server", &["time", "caller", "policy", "proxy", "telemetry", "transport", "offload"]),
    ("emulator", WORDS),
    (
        "config",
        &[
            "sealing",
            "oss",
            "time",
            "secret",
            "address",
            "sign",
            "sealing",
            "caller",
            "policy",
            "transport",
            "credentials",
            "jwks",
            "telemetry",
            "admin",
            "server",
        ],
    ),
    (
        "app",
        &[
            "time",
            "offload",
            "address",
            "caller",
            "transport",
            "credentials",
            "jwks",
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
const PURE: &[&str] =
    &["oss", "time", "secret", "histogram", "address", "sign", "sealing", "caller", "policy"];

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

/// A module as its path from the root of the crate, such as `["server", "tls"]`.
type ModulePath = Vec<String>;

/// The code of one file, without comments and unit tests.
struct SourceFile {
    code: String,
    /// Whether the file is a `mod.rs`, whose re-exports are not imports.
    is_folder: bool,
    /// The paths that its `use` items import, by the name that they have in this file.
    uses: BTreeMap<String, ModulePath>,
    /// The paths that the rest of its code names.
    paths: Vec<ModulePath>,
}

/// Returns the files of `src` by module. `lib.rs` and `main.rs` only declare modules.
fn files() -> BTreeMap<ModulePath, SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = BTreeMap::new();
    let mut only_tests = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src").with_extension("");
        let mut module: ModulePath = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let is_folder = module[module.len() - 1] == "mod";
        let text = fs::read_to_string(&path).expect("a source");
        let read = production_code(&text);
        for file in read.test_files {
            // `#[path]` is relative to the folder of the file, a plain `mod` to the folder of the module.
            let (folder, name) = match file.strip_suffix(".rs") {
                Some(name) => (&module[..module.len() - 1], name),
                None => (&module[..module.len() - usize::from(is_folder)], &file[..]),
            };
            only_tests.push(folder.iter().cloned().chain([name.to_owned()]).collect::<ModulePath>());
        }
        if is_folder {
            module.pop();
        }
        if !["lib", "main"].contains(&module[0].as_str()) {
            texts.insert(module, (read.code, is_folder));
        }
    }
    texts.retain(|module, _| !only_tests.iter().any(|test| module.starts_with(test)));
    let modules: BTreeSet<ModulePath> = texts.keys().cloned().collect();
    let file = |(module, (code, is_folder)): (ModulePath, (String, bool))| {
        let (items, rest) = split_uses(&code);
        let uses = items.iter().flat_map(|item| imported(&module, item, &modules)).collect();
        let paths = named_paths(&module, &rest, &modules);
        (module, SourceFile { code, is_folder, uses, paths })
    };
    texts.into_iter().map(file).collect()
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

/// The code of a file, and the files that it declares for unit tests.
struct ProductionCode {
    code: String,
    /// `name` for `mod name;`, `file.rs` for `#[path = "file.rs"] mod name;`.
    test_files: Vec<String>,
}

/// Removes comments and each item after `#[cfg(test)]`. A test module with a body ends the file.
fn production_code(text: &str) -> ProductionCode {
    let mut read = ProductionCode { code: String::new(), test_files: Vec::new() };
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            read.code.extend([line, "\n"]);
            continue;
        }
        let mut file = None;
        let mut item = lines.next().expect("an item after its attribute");
        while let Some(attribute) = item.trim().strip_prefix("#[") {
            file = attribute.strip_prefix("path = \"").map(|path| path.trim_end_matches("\"]")).or(file);
            item = lines.next().expect("an item after its attribute");
        }
        if let Some((_, name)) = item.split_once("mod ") {
            match name.strip_suffix(';') {
                Some(name) => read.test_files.push(file.unwrap_or(name).to_owned()),
                None => break,
            }
        }
        // In formatted code, the line that ends an item is indented like the line that starts it.
        let indent = |line: &str| line.len() - line.trim_start().len();
        let depth = indent(item);
        while !(indent(item) == depth && item.ends_with([';', ',', '}'])) {
            item = lines.next().expect("the end of the item");
        }
    }
    read
}

/// Separates the `use` items of a code, each without `use` and `;`, from the rest.
fn split_uses(code: &str) -> (Vec<String>, String) {
    let mut items = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = match line.trim_start().strip_prefix("pub") {
            Some(public) => public.split_once(' ').map_or("", |(_, item)| item),
            None => line.trim_start(),
        };
        let Some(item) = item.strip_prefix("use ") else {
            rest.extend([line, "\n"]);
            continue;
        };
        let mut item = item.to_owned();
        while !item.ends_with(';') {
            item.push_str(lines.next().expect("the end of a use item").trim());
        }
        items.push(item.trim_end_matches(';').to_owned());
    }
    (items, rest)
}

/// Returns the paths that a `use` item imports, by their names. A library has none.
fn imported(module: &[String], item: &str, modules: &BTreeSet<ModulePath>) -> Vec<(String, ModulePath)> {
    let mut leaves = Vec::new();
    expand(&[], item, &mut leaves);
    let inside = |(name, path): (String, ModulePath)| Some((name, from_root(module, &path, modules)?));
    leaves.into_iter().filter_map(inside).collect()
}

/// Returns the paths that code names outside `use` items.
fn named_paths(module: &[String], code: &str, modules: &BTreeSet<ModulePath>) -> Vec<ModulePath> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    // `pub(in path)` imports nothing.
    let parts = code.split("pub(in ").enumerate();
    let code: String = parts
        .map(|(at, part)| if at == 0 { part } else { part.split_once(')').expect("a path").1 })
        .collect();
    let words = code.split(|c| !is_part(c)).filter(|word| word.contains("::"));
    let path = |word: &str| word.split("::").map(|part| part.trim_end_matches(':').to_owned()).collect();
    words.filter_map(|word| from_root(module, &path(word), modules)).collect()
}

/// Returns a path from the root of the crate, or `None` for a path into a library. A path that
/// starts with neither `crate`, `super` nor `self` is relative if the module has such a child.
fn from_root(module: &[String], path: &ModulePath, modules: &BTreeSet<ModulePath>) -> Option<ModulePath> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let (base, rest) = match path[0].as_str() {
        "crate" => (&module[..0], &path[1..]),
        "self" => (module, &path[1..]),
        "super" => (&module[..module.len().checked_sub(supers)?], &path[supers..]),
        _ => (module, &path[..]),
    };
    let whole: ModulePath = base.iter().chain(rest).filter(|part| !part.is_empty()).cloned().collect();
    let is_relative = ["crate", "self", "super"].contains(&path[0].as_str());
    (is_relative || modules.contains(&whole[..=module.len()])).then_some(whole)
}

/// Adds the leaves of a `use` tree with their names; a group in braces has several.
fn expand(base: &[String], tree: &str, found: &mut Vec<(String, ModulePath)>) {
    let tree = tree.trim();
    if let Some(group) = tree.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    expand(base, &group[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    if let Some((name, after)) = tree.split_once("::") {
        let path: ModulePath = base.iter().cloned().chain([name.to_owned()]).collect();
        return expand(&path, after, found);
    }
    let (name, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
    let mut path = base.to_vec();
    if name != "self" {
        path.extend((!name.is_empty()).then(|| name.to_owned()));
    }
    if let (false, Some(last)) = (name.is_empty(), path.last()) {
        found.push((if alias == "self" { last.clone() } else { alias.to_owned() }, path));
    }
}

/// Returns the file that defines what a path names, behind the re-exports on the way.
fn defining_file<'a>(path: &[String], files: &'a BTreeMap<ModulePath, SourceFile>) -> Option<&'a ModulePath> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let (length, (file, source)) = (1..=path.len())
            .rev()
            .find_map(|length| files.get_key_value(&path[..length]).map(|entry| (length, entry)))?;
        match path.get(length).and_then(|name| source.uses.get(name)) {
            Some(target) => path = [&target[..], &path[length + 1..]].concat(),
            None => return Some(file),
        }
    }
    panic!("{} is re-exported in a circle", path.join("::"));
}

/// Returns the other files that a file imports from.
fn imports<'a>(module: &ModulePath, files: &'a BTreeMap<ModulePath, SourceFile>) -> BTreeSet<&'a ModulePath> {
    let source = &files[module];
    let (_, rest) = split_uses(&source.code);
    let words: BTreeSet<&str> = rest.split(|c| !is_word(c)).collect();
    // A `mod.rs` only passes on what its own code does not name.
    let is_import = |name: &str, path: &ModulePath| {
        !source.is_folder || !path.starts_with(module) || words.contains(name)
    };
    let used = source.uses.iter().filter(|(name, path)| is_import(name, path)).map(|(_, path)| path);
    used.chain(&source.paths)
        .filter_map(|path| defining_file(path, files))
        .filter(|other| *other != module)
        .collect()
}

#[test]
fn every_arrow_between_modules_is_one_of_the_picture() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let files = files();
    let rooms: BTreeSet<&String> = files.keys().map(|module| &module[0]).collect();
    for (module, source) in &files {
        let others = source.uses.values().chain(&source.paths).filter_map(|path| path.first());
        let others = others.filter(|name| **name != module[0] && rooms.contains(name));
        used.entry(module[0].clone()).or_default().extend(others.cloned());
    }
    assert!(used.len() >= 15, "modules were not found: {:?}", used.keys());
    used.remove("cli");
    let mut faults = Vec::new();
    for (module, others) in &used {
        let (_, allowed) = ARROWS.iter().find(|(name, _)| name == module).unwrap_or_else(|| {
            panic!("{module} is not in the picture: add it to src/lib.rs and to this test");
        });
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        faults.extend(others.difference(&allowed).map(|name| format!("{module} uses {name}")));
        let unused = allowed.difference(others);
        faults.extend(unused.map(|name| format!("{module} no longer uses {name}: remove the arrow")));
    }
    assert!(faults.is_empty(), "the picture has other arrows than the code: {faults:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = files();
    assert!(files.len() >= 150, "files were not found: {}", files.len());
    let imports: FileImports<'_> = files.keys().map(|module| (module, imports(module, &files))).collect();
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() >= 300, "imports were not found");
    let circles = circles(&imports);
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
}

/// The files that each file imports from.
type FileImports<'a> = BTreeMap<&'a ModulePath, BTreeSet<&'a ModulePath>>;

/// Returns the imports that are part of a circle.
fn circles(imports: &FileImports<'_>) -> Vec<String> {
    let reached = |file| {
        let mut reached: BTreeSet<&ModulePath> = BTreeSet::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            next.extend(imports[file].iter().filter(|other| reached.insert(**other)));
        }
        reached
    };
    let reach: FileImports<'_> = imports.keys().map(|file| (*file, reached(*file))).collect();
    let mut circles = Vec::new();
    for (file, others) in imports {
        let back = others.iter().filter(|other| reach[**other].contains(file));
        let back: Vec<_> = back.map(|path| path.join("/")).collect();
        if !back.is_empty() {
            circles.push(format!("{} imports {}", file.join("/"), back.join(", ")));
        }
    }
    circles
}

#[test]
fn each_inherent_impl_is_in_the_file_of_its_type() {
    let mut found = 0;
    let mut faults = Vec::new();
    for (module, SourceFile { code, .. }) in files() {
        let words: Vec<&str> = code.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
        let is_definition = |pair: &&[&str]| ["struct", "enum"].contains(&pair[0]);
        let defined: BTreeSet<&str> = words.windows(2).filter(is_definition).map(|pair| pair[1]).collect();
        for name in inherent_impls(&code) {
            found += 1;
            if !defined.contains(name) {
                faults.push(format!("{} has an impl of {name}", module.join("/")));
            }
        }
    }
    assert!(found >= 200, "impls were not found: {found}");
    assert!(faults.is_empty(), "these impls belong to the file of their type: {faults:#?}");
}

/// Returns the type of each `impl` without a trait.
fn inherent_impls(code: &str) -> impl Iterator<Item = &str> {
    // In formatted code, only the start of an `impl` block is the first word of a line.
    let starts =
        code.match_indices("impl").filter(|(at, _)| code[..*at].trim_end_matches(' ').ends_with('\n'));
    let headers = starts.filter_map(|(at, word)| code[at + word.len()..].split('{').next());
    headers.filter(|header| header.starts_with([' ', '<']) && !header.contains(" for ")).filter_map(
        |header| {
            let mut depth = 0;
            let header = header.trim_start_matches(|c| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth > 0 || c == '>' || c == ' '
            });
            header.split(|c| !is_word(c)).next()
        },
    )
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Returns the code of each module.
fn modules() -> BTreeMap<String, String> {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    for (module, source) in files() {
        modules.entry(module[0].clone()).or_default().push_str(&source.code);
    }
    modules
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "tests", "benches", "examples", "fuzz"].map(|folder| root.join(folder));
    let files: Vec<_> =
        folders.iter().filter(|folder| folder.exists()).flat_map(|folder| sources(folder)).collect();
    assert!(files.len() >= 250, "files were not found: {}", files.len());
    for path in files {
        let lines = fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= 600, "{} has {lines} lines; split it", path.display());
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
                // The audit log may go to standard output.
                let of_audit = usize::from(module == "telemetry" && word == "stdout()");
                assert!(code.matches(word).count() <= of_audit, "{module} prints with {word}");
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
