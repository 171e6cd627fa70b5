//! Limits of callers: their own, and the default of `[limits]`.

use std::num::NonZeroU64;

use super::{UPSTREAM, loaded, refused};
use crate::caller::CallerLimits;

/// Returns a configuration of a caller with these limits, which are on line 8.
fn with(limits: &str) -> String {
    format!(
        "{UPSTREAM}[[listen]]\nidentify = [\"token\"]\n[[caller]]\nname = \"a\"\nallow = \"read\"\nlimits = {limits}\n\
         token = \"0123456789abcdef0123456789abcdef01234567\"\n"
    )
}

fn limits(requests: Option<usize>, others: [Option<u64>; 3]) -> CallerLimits {
    let [rate, upload, download] = others.map(|other| other.and_then(NonZeroU64::new));
    CallerLimits { requests, rate, upload, download }
}

#[test]
fn a_caller_has_the_limits_that_it_sets() {
    for (text, expected) in [
        ("{}", limits(None, [None; 3])),
        ("{ requests = 100 }", limits(Some(100), [None; 3])),
        (
            "{ requests = 1, rate = 50, upload = \"1KiB\", download = \"10MiB\" }",
            limits(Some(1), [Some(50), Some(1 << 10), Some(10 << 20)]),
        ),
    ] {
        let config = loaded(&with(text));
        assert_eq!(config.callers.expect("callers")[0].limits, expected, "{text}");
        assert_eq!(config.limits.caller, CallerLimits::default());
    }
}

#[test]
fn limits_of_all_callers_are_the_default_of_each_limit() {
    let config = loaded(&format!("{}[limits.caller]\nrequests = 5\nrate = 7\n", with("{ rate = 9 }")));
    let own = config.callers.expect("callers")[0].limits;
    assert_eq!(own.or(config.limits.caller), limits(Some(5), [Some(9), None, None]));
}

#[test]
fn limits_that_stop_all_transfers_are_rejected() {
    refused(&with("{ requests = 0 }"), "proxy.toml:8: caller.limits.requests", "from 1 to");
    refused(&with("{ rate = \"50\" }"), "proxy.toml:8: caller.limits.rate", "without quotes");
    refused(&with("{ upload = \"1023B\" }"), "proxy.toml:8: caller.limits.upload", "at least 1KiB");
    refused(&with("{ download = \"0B\" }"), "proxy.toml:8: caller.limits.download", "invalid size");
    refused(&with("{ bytes = 1 }"), "proxy.toml:8: caller.limits.bytes", "requests, rate, upload, download");
    refused(
        &format!("{UPSTREAM}[limits]\ncaller = {{ upload = \"1B\" }}\n"),
        "proxy.toml:4: limits.caller.upload",
        "at least 1KiB",
    );
}
