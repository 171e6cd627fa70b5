//! Changes of files in many forms: what is added or removed, and that all other bytes stay.

use proptest::prelude::*;
use toml::Table;

use super::{CallerBlock, CallerText, EditError, IdentityText, KeyText};

fn key(id: &str) -> KeyText {
    KeyText { id: id.to_owned(), secret: format!("env:{id}") }
}

fn block<'a>(name: &'a str, id: &str) -> CallerBlock<'a> {
    CallerBlock { name, allow: Some("read"), identity: IdentityText::Key(key(id)) }
}

fn parsed(text: &str) -> CallerText<'_> {
    CallerText::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Asserts that `longer` is `shorter` with this addition.
#[track_caller]
fn differs_by(addition: &str, longer: &str, shorter: &str) {
    let mut starts =
        (0..longer.len()).filter(|at| longer.get(*at..).is_some_and(|rest| rest.starts_with(addition)));
    let is_added = starts.any(|at| longer[..at].to_owned() + &longer[at + addition.len()..] == shorter);
    assert!(is_added, "{shorter}\n---\n{longer}\n--- differ not only by\n{addition}");
}

/// Returns whether `longer` is `shorter` with one addition.
fn is_addition(longer: &str, shorter: &str) -> bool {
    let (longer, shorter) = (longer.as_bytes(), shorter.as_bytes());
    let same = longer.iter().zip(shorter).take_while(|(a, b)| a == b).count();
    longer.len() > shorter.len() && longer.ends_with(&shorter[same..])
}

#[test]
fn a_new_caller_is_appended_in_the_form_of_the_others() {
    let section =
        "[[caller]]\nname = \"b\"\nallow = \"read\"\nkey = [{ id = \"b-1\", secret = \"env:b-1\" }]\n";
    let inline = "{ name = \"b\", allow = \"read\", key = [{ id = \"b-1\", secret = \"env:b-1\" }] }";
    let rows = [
        ("", section.to_owned()),
        ("# only a comment\n", format!("\n{section}")),
        ("[upstream]\nregion = 'x' # no line break", format!("\n\n{section}")),
        ("[[caller]]\nname = 'a'\n", format!("\n{section}")),
        ("[[caller]]\r\nname = 'a'\r\n", format!("\n{section}").replace('\n', "\r\n")),
        ("caller = []\n[upstream]\n", inline.to_owned()),
        ("caller = [{ name = 'a' }]\n[upstream]\n", format!(", {inline}")),
        ("caller = [\n\t{ name = 'a' }, # the first\n]\n", format!("\n\t{inline},")),
    ];
    for (text, expected) in rows {
        let edited = parsed(text).with_caller(&block("b", "b-1")).expect(text);
        differs_by(&expected, &edited, text);
    }
    let token =
        CallerBlock { allow: None, identity: IdentityText::Token("file:t".to_owned()), ..block("b", "") };
    let edited = parsed("").with_caller(&token).expect("an edit");
    assert_eq!(edited, "[[caller]]\nname = \"b\"\ntoken = \"file:t\"\n");
}

#[test]
fn a_second_key_follows_the_first_in_its_form() {
    let inline = "{ id = \"2\", secret = \"env:2\" }";
    let section = "[[caller.key]]\nid = \"2\"\nsecret = \"env:2\"";
    let next = "[[caller]]\nname = 'b'\nkey = [{ id = 'b' }]\n[upstream]\n";
    let rows = [
        ("name = 'a'\nkey = [{ id = '1', secret = 'x' }] # c\n", format!(", {inline}")),
        ("name = 'a'\nkey = [ { id = '1' }, ]\n", format!(", {inline}")),
        ("name = 'a'\nkey = [\n  { id = '1' } ]\n", format!(", {inline}")),
        ("name = 'a'\nkey = [\n  { id = '1' }, # old, [\n  # end\n]\n", format!("\n  {inline},")),
        ("name = 'a'\nkey = [] # none\n", inline.to_owned()),
        ("name = 'a' # c\nallow = 'read'\n", format!("\nkey = [{inline}]")),
        ("name = 'a'\n[[caller.key]]\nid = '1' # c\n# end\n", format!("\n{section}")),
        ("name = 'a'\n[[caller.key]]\nid = '1'\nsecret = '''\nx\n'''\n\n", format!("\n{section}")),
    ];
    for (lines, expected) in rows {
        for line_break in ["\n", "\r\n"] {
            let text = format!("# c\n[[caller]]\n{lines}{next}").replace('\n', line_break);
            let edited = parsed(&text).with_key("a", &key("2")).expect(&text);
            let expected = expected.replace('\n', line_break);
            differs_by(&expected, &edited, &text);
            let table: Table = edited.parse().expect("TOML");
            let keys = table["caller"][0]["key"].as_array().expect("keys");
            assert_eq!(keys.last().and_then(|key| key["id"].as_str()), Some("2"));
        }
    }
    let text = "caller = [{ name = 'a' }, { name = 'b' }]\n";
    let edited = parsed(text).with_key("b", &key("2")).expect("an edit");
    assert_eq!(edited, format!("caller = [{{ name = 'a' }}, {{ name = 'b', key = [{inline}] }}]\n"));
    // Two edits, since the comma is missing.
    let text = "[[caller]]\nname = 'a'\nkey = [\n  { id = '1' } # old\n]\n";
    let edited = parsed(text).with_key("a", &key("2")).expect("an edit");
    assert_eq!(edited, text.replace("} # old", &format!("}}, # old\n  {inline}")));
}

#[test]
fn the_first_of_two_keys_is_removed_with_its_line() {
    let rows = [
        ("key = [{ id = '1' }, { id = '2' }]\n", "key = [{ id = '2' }]\n"),
        ("key = [ { id = '1' } , { id = '2' } ]\n", "key = [ { id = '2' } ]\n"),
        ("key = [\n  { id = '1' },\n  # new\n  { id = '2' },\n]\n", "key = [\n  # new\n  { id = '2' },\n]\n"),
        ("key = [\n  { id = '1' }, # old\n  { id = '2' }\n]\n", "key = [\n  # old\n  { id = '2' }\n]\n"),
        ("key = [{ id = '1' } # old\n, { id = '2' }]\n", "key = [ # old\n { id = '2' }]\n"),
        ("key = [{ id = '1' },\n  { id = '2' }]\n", "key = [\n  { id = '2' }]\n"),
        (
            "# a\n[[caller.key]]\nid = '1' # b\n# c\n[[caller.key]]\nid = '2'\n",
            "# a\n# c\n[[caller.key]]\nid = '2'\n",
        ),
    ];
    for (before, after) in rows {
        for line_break in ["\n", "\r\n"] {
            let text =
                |lines: &str| format!("[[caller]]\nname = 'a'\n{lines}[x]\n").replace('\n', line_break);
            let edited = parsed(&text(before)).without_first_key("a").expect(before);
            assert_eq!(edited, text(after));
        }
    }
    for keys in ["", "key = []", "key = [{ id = '1' }]"] {
        let text = format!("[[caller]]\nname = 'a'\n{keys}\n");
        let error = parsed(&text).without_first_key("a").expect_err(&text);
        assert_eq!(error, EditError::NotTwoKeys("a".to_owned()));
    }
}

#[test]
fn a_revocation_is_added_to_the_list_or_above_the_first_setting() {
    let rows = [
        ("revoked = []\n", "revoked = [\"x\"]\n"),
        ("revoked = [\"a\"] # c\n[x]\n", "revoked = [\"a\", \"x\"] # c\n[x]\n"),
        ("revoked = [\n  \"a\",\n]\n", "revoked = [\n  \"a\",\n  \"x\",\n]\n"),
        ("", "revoked = [\"x\"]\n"),
        ("[x]\n", "revoked = [\"x\"]\n\n[x]\n"),
        ("# Title\n\n# The x.\n[x]\n", "# Title\n\nrevoked = [\"x\"]\n\n# The x.\n[x]\n"),
        ("# The x.\n[[x]]\na = 1\n", "revoked = [\"x\"]\n\n# The x.\n[[x]]\na = 1\n"),
        ("# b\na = 1\n[x]\n", "revoked = [\"x\"]\n\n# b\na = 1\n[x]\n"),
        ("\u{feff}[x]\r\n", "\u{feff}revoked = [\"x\"]\r\n\r\n[x]\r\n"),
        ("\u{feff}# b\n[x]\n", "\u{feff}revoked = [\"x\"]\n\n# b\n[x]\n"),
    ];
    for (before, after) in rows {
        let edited = parsed(before).with_revoked("x").expect(before);
        assert_eq!(edited.as_deref(), Some(after));
        assert_eq!(parsed(after).with_revoked("x"), Ok(None), "it has the entry already");
    }
}

#[test]
fn what_cannot_be_changed_is_an_error() {
    let text = "[[caller]]\nname = 'a'\nkey = [{ id = '1', secret = 'env:1' }]\n\
                [[caller]]\nname = 'b'\nkey = [{ id = '2' }, { id = '3' }]\n";
    let text = parsed(text);
    let of = |name: &str| name.to_owned();
    assert_eq!(text.with_caller(&block("a", "9")), Err(EditError::ExistingCaller(of("a"))));
    assert_eq!(text.with_caller(&block("c", "2")), Err(EditError::UsedId(of("b"))));
    assert_eq!(text.with_key("c", &key("9")), Err(EditError::UnknownCaller(of("c"))));
    assert_eq!(text.with_key("b", &key("9")), Err(EditError::TwoKeys(of("b"))));
    assert_eq!(text.with_key("a", &key("2")), Err(EditError::UsedId(of("b"))));
    assert_eq!(text.with_key("a", &key("1")), Err(EditError::UsedReference(of("env:1"))));
    let other = KeyText { id: of("1"), secret: of("env:other") };
    assert!(text.with_key("a", &other).is_ok(), "the same id with another secret");
    assert_eq!(text.without_first_key("c"), Err(EditError::UnknownCaller(of("c"))));
    for odd in ["caller = 1\n", "[caller]\nname = 'a'\n", "revoked = 'x'\ncaller = [1]\n"] {
        assert_eq!(
            parsed(odd).with_caller(&block("b", "9")).err(),
            Some(EditError::Form).filter(|_| !odd.contains("[1]"))
        );
    }
    assert_eq!(parsed("revoked = 'x'\n").with_revoked("y"), Err(EditError::Form));
    let callers = parsed("[[caller]]\nname = 'a'\n").with_revoked("a");
    assert_eq!(callers, Err(EditError::CallersFile));
    let broken = CallerText::parse("a = 1\nb = \n").err().expect("an error").to_string();
    assert!(broken.starts_with("line 2: invalid TOML: "), "{broken}");
}

#[test]
fn names_ids_and_masters_of_a_file_are_found() {
    let text = parsed("[sealing]\nmaster = ['env:M']\n[[caller]]\nname = 'a'\nkey = [{ id = '1' }]\n");
    assert!(text.has_callers() && text.has("a") && text.has("1") && !text.has("2"));
    assert!(text.has_master("env:M") && !text.has_master("env:N"));
    assert!(!parsed("[upstream]\n").has_callers() && !parsed("").has_master("env:M"));
}

/// A file of random comments, sections, blanks and line breaks, with a caller `a` that has this many
/// keys.
fn file(keys: usize) -> impl Strategy<Value = String> {
    let comment =
        prop_oneof![Just(""), Just("# c"), Just("  # [[caller]] name = \"a\""), Just("#"), Just("# ]},")];
    let blank = prop_oneof![Just(""), Just("\n"), Just("  \n"), Just("\t\n\n")];
    let other = prop_oneof![
        Just(""),
        Just("[upstream]\nregion = \"cn-hangzhou\"\n"),
        Just("[[caller]]\nname = 'other'\n[[caller.key]]\nid = 'o'\n"),
        Just("[log]\nlevel = '''\nx'''\n"),
    ];
    let parts = (comment, blank, other, any::<[bool; 6]>());
    (parts.clone(), parts).prop_map(move |((comment, blank, before, flags), (comment_2, blank_2, after, _))| {
        let [is_list, is_multiline, has_comma, is_crlf, ends, is_spaced] = flags;
        let before = if before == after { "" } else { before };
        let space = if is_spaced { "  " } else { "" };
        let keys: Vec<String> = (0..keys).map(|n| format!("id = 'k{n}',{space} secret = 'env:K{n}'")).collect();
        let keys = if is_list {
            let indent = if is_multiline { format!(" {comment}\n{space}") } else { space.to_owned() };
            let comma = if has_comma && !keys.is_empty() { "," } else { "" };
            let list: Vec<String> = keys.iter().map(|key| format!("{indent}{{ {key} }}")).collect();
            let end = if is_multiline { "\n" } else { "" };
            format!("key{space} = [{}{comma}{end}]\n", list.join(","))
        } else {
            let section = |key: &String| {
                let lines = key.replace(", ", "\n").replace(",", "\n");
                format!("{blank}{comment}\n[[caller.key]] {comment_2}\n{lines}\n")
            };
            keys.iter().map(section).collect()
        };
        let text = format!(
            "{comment}\n{blank}{before}{space}[[caller]]{comment_2}\n{space}name = \"a\"{space}{comment}\n{blank_2}{keys}{comment}\n{after}"
        );
        let text = if ends { text } else { text.trim_end().to_owned() };
        if is_crlf { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #[test]
    fn a_change_of_any_file_keeps_all_other_bytes(one in file(1), two in file(2)) {
        let text = parsed(&one);
        let with_caller = text.with_caller(&block("new", "n-1")).expect(&one);
        prop_assert!(with_caller.starts_with(&one));
        match text.with_revoked("a") {
            Ok(revoked) => {
                let revoked = revoked.expect(&one);
                prop_assert!(is_addition(&revoked, &one), "{one}\n{revoked}");
            }
            Err(error) => prop_assert_eq!(error, EditError::CallersFile, "{}", one),
        }
        let with_key = text.with_key("a", &key("n-1")).expect(&one);
        if !is_addition(&with_key, &one) {
            // The other addition is the comma after the former last key.
            let without = with_key.replacen("},", "}", 1);
            prop_assert!(is_addition(&without, &one), "{one}\n{with_key}");
        }
        let finished = parsed(&two).without_first_key("a").expect(&two);
        prop_assert!(is_addition(&two, &finished), "{two}\n{finished}");
    }
}
