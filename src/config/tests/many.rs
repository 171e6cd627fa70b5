//! Configurations with thousands of routes and credentials. The limit is generous: it excludes work
//! that grows with the square of these numbers. With such work, reading the routes, valid or
//! invalid, took more than two minutes in a debug build. The invalid texts took 34 s and the
//! comparison 14 s. Without it, none takes more than 3 s.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{UPSTREAM, load, loaded, mistakes};
use crate::config::changes;

/// Returns routes with one bucket each, and sources: up to half of them roles that each need the
/// next, the others keys.
fn text(routes: usize, sources: usize) -> String {
    let mut text = format!("{UPSTREAM}credentials = 'c0'\n");
    // The end of a chain is reached by recursion, so its length is limited.
    let roles = (sources / 2).min(1_000);
    for source in 0..sources {
        let _ = if source < roles {
            write!(
                text,
                "[credentials.c{source}]\ntype = \"assume_role\"\nsource = \"c{}\"\n\
                 role_arn = \"acs:ram::1:role/r{source}\"\n",
                source + 1
            )
        } else {
            write!(
                text,
                "[credentials.c{source}]\ntype = \"static\"\naccess_key_id = \"LTAI5tExample{source:08}\"\n\
                 access_key_secret = \"example-secret-{source}\"\n"
            )
        };
    }
    for route in 0..routes {
        let _ = write!(
            text,
            "[[route]]\nmatch = {{ bucket = \"bucket-{route}\" }}\nregion = \"cn-beijing\"\ncredentials = \"c{}\"\n",
            route % sources
        );
    }
    text
}

#[track_caller]
fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
    done
}

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn ten_thousand_routes_with_two_thousand_credentials_are_read_in_a_moment() {
    let text = text(10_000, 2_000);
    let config = within(LIMIT, || loaded(&text));
    assert_eq!((config.upstreams.len(), config.credentials.len()), (10_001, 2_000));
}

#[test]
fn configurations_of_ten_thousand_routes_are_compared_in_a_moment() {
    let text = text(10_000, 2_000);
    let moved = text.replace("\"cn-beijing\"", "\"cn-shanghai\"");
    let before = loaded(&text).effective_settings;
    let after = loaded(&moved).effective_settings;
    let changes = within(LIMIT, || changes(&before, &after));
    assert_eq!(changes.len(), 10_000);
    assert_eq!(
        changes[9_999].to_string(),
        "route[9999].region changed from \"cn-beijing\" to \"cn-shanghai\""
    );
}

#[test]
fn ten_thousand_wrong_routes_are_reported_in_a_moment_once_each_and_by_line() {
    let text = text(10_000, 2_000).replace("credentials = \"c", "credentials = \"d");
    let mistakes = within(LIMIT, || mistakes(load(&text)));
    assert_eq!(mistakes.len(), 10_000);
    let lines: Vec<usize> = mistakes
        .iter()
        .map(|text| text.split(':').nth(1).expect("a line").parse().expect("a number"))
        .collect();
    assert!(lines.is_sorted_by(|a, b| b - a == 4), "each route is four lines");
    assert!(mistakes[0].ends_with("c18, c19 and 1981 more"), "{}", mistakes[0]);
}

#[test]
fn ten_thousand_wrong_texts_on_one_line_are_reported_in_a_moment() {
    let domains: Vec<String> = (0..10_000).map(|number| format!("\"bad domain {number}\"")).collect();
    let text = format!("{UPSTREAM}[[listen]]\ndomains = [{0}, {0}]\n", domains.join(", "));
    let mistakes = within(LIMIT, || mistakes(load(&text)));
    assert_eq!(mistakes.len(), 10_000, "what is wrong twice at one place is told once");
    assert!(
        mistakes.iter().zip(0..).all(|(text, number)| text.contains(&format!("\"bad domain {number}\"")))
    );
}
