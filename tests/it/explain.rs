//! `explain`: every source has its row, also where something is wrong, and the exit code says that it is.

use std::fs;

use crate::support::{KEY, run};

/// Runs `explain` with this configuration.
fn explain(text: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, format!("[upstream]\nregion = \"cn-hangzhou\"\n{text}")).expect("written");
    run(&["explain", "--config", file.path().to_str().expect("a path")], environment)
}

fn all_in(out: &str, words: &[&str]) {
    for word in words {
        assert!(out.contains(word), "{word}: {out}");
    }
}

#[test]
fn half_a_pair_is_a_row_beside_all_others() {
    let text = "[[route]]\nmatch = { bucket = \"logs-*\" }\ncredentials = \"logs\"\n[credentials.logs]\ntype = \"static\"\n\
                access_key_id = \"LTAIlogs\"\naccess_key_secret = \"s3cret-of-logs\"";
    let (code, out, errors) = explain(text, &[("OSS_ACCESS_KEY_ID", "LTAIx"), ("HOME", "/nowhere")]);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(
        &out,
        &[
            "upstream",
            "route 1",
            "source \"default\"  empty",
            "env             SELECTED, FAILS  OSS_ACCESS_KEY_ID is set and OSS_ACCESS_KEY_SECRET is not",
            "oidc_role_arn   not asked",
            "ecs_ram_role    not asked",
            "source \"logs\"  non_expiring",
        ],
    );
    assert!(errors.contains("OSS_ACCESS_KEY_SECRET is not"), "{errors}");
    assert!(!out.contains("s3cret-of-logs"), "{out}");
}

#[test]
fn a_file_that_is_named_and_missing_is_a_row_beside_all_others() {
    let variable = ("ALIBABA_CLOUD_CONFIG_FILE", "/nowhere/config.json");
    let (code, out, _) = explain("", &[variable, ("HOME", "/nowhere")]);
    assert_eq!(code, Some(77), "{out}");
    all_in(
        &out,
        &[
            "env             not configured",
            "cli_profile     SELECTED, FAILS",
            "/nowhere/config.json",
            "ossutil ",
        ],
    );

    let text = "credentials = \"broken\"\n[credentials.broken]\ntype = \"static\"\naccess_key_id = \"LTAIx\"\n\
                access_key_secret = \"file:/nowhere/secret\"\n[credentials.role]\ntype = \"assume_role\"\nsource = \"broken\"\n\
                role_arn = \"acs:ram::1:role/r\"\n[credentials.env]\ntype = \"env\"";
    let (code, out, errors) = explain(text, &KEY);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(
        &out,
        &[
            "-> source \"broken\"",
            "source \"broken\"  misconfigured\n",
            "credentials.broken.access_key_secret: the file \"/nowhere/secret\" cannot be read",
            "source \"role\"  misconfigured\n    needs the source \"broken\"",
            "source \"env\"  non_expiring  env/OSS",
        ],
    );
    assert!(errors.contains("/nowhere/secret"), "{errors}");
}

#[test]
fn what_is_set_up_in_part_is_told_though_another_source_signs() {
    let half = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIhalf");
    let pod = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere/token");
    let (code, out, errors) = explain("", &[&KEY[..], &[half, pod]].concat());
    assert_eq!(code, Some(0), "{errors}");
    all_in(
        &out,
        &[
            "env             SELECTED",
            "half set: ALIBABA_CLOUD_ACCESS_KEY_ID is set and ALIBABA_CLOUD_ACCESS_KEY_SECRET is not",
            "half set: the OIDC source is set up in part",
        ],
    );
}

#[test]
fn a_mistake_elsewhere_leaves_the_rows_and_the_failure() {
    let (code, out, errors) =
        explain("[credentials.a]\ntype = \"no-such-type\"\n[log]\nlevle = \"info\"", &KEY);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(&out, &["source \"default\"  non_expiring", "source \"a\"  misconfigured", "no-such-type"]);
    all_in(&errors, &["levle", "no-such-type"]);
}
