//! Computes `no_proxy` for a command that is run behind the proxy. If another proxy is set for all
//! HTTP, this proxy is added. If all HTTP goes through this proxy, OSS host names are removed and
//! the metadata service is added.

use crate::credentials::SourceEnv;

/// Selects whether all plain HTTP of the command goes through the proxy, whatever its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForwardMode {
    Yes,
    No,
}

/// The proxy variables of the environment.
pub(super) struct NoProxyList {
    /// Set if all HTTP goes through some proxy.
    is_proxied: bool,
    /// The value of each of the two variables, if set.
    lists: [Option<String>; 2],
}

impl NoProxyList {
    pub(super) fn from_env(env: &dyn SourceEnv) -> Self {
        let is_proxied = PROXIES.iter().any(|name| env.variable(name).is_some());
        Self { is_proxied, lists: LISTS.map(|name| env.variable(name)) }
    }

    /// Returns the variables to change, with their values. `keys` is the host of a listener for keys,
    /// if there is one.
    pub(super) fn with(
        &self,
        proxy: &str,
        keys: Option<&str>,
        forward: ForwardMode,
    ) -> Vec<(&'static str, String)> {
        let [lower, upper] = &self.lists;
        let each =
            LISTS.into_iter().zip([lower.as_ref().or(upper.as_ref()), upper.as_ref().or(lower.as_ref())]);
        match forward {
            ForwardMode::Yes => each
                .map(|(name, list)| {
                    let list = and(&without_oss(list.map_or("", String::as_str)), METADATA);
                    (name, keys.map_or_else(|| list.clone(), |keys| and(&list, keys)))
                })
                .collect(),
            ForwardMode::No if self.is_proxied => {
                each.map(|(name, list)| (name, and(list.map_or("", String::as_str), proxy))).collect()
            }
            ForwardMode::No => Vec::new(),
        }
    }
}

fn without_oss(list: &str) -> String {
    let remaining: Vec<&str> = list.split(',').filter(|entry| !covers_oss(entry)).collect();
    remaining.join(",")
}

fn and(list: &str, host: &str) -> String {
    if list.is_empty() { host.to_owned() } else { format!("{list},{host}") }
}

/// Returns whether an entry matches OSS host names, in any form that programs accept: `*`,
/// `aliyuncs.com`, `.aliyuncs.com`, `*.aliyuncs.com`, with or without a port.
fn covers_oss(entry: &str) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    let host = entry.split(':').next().unwrap_or_default();
    let name = host.trim_start_matches('*').trim_start_matches('.');
    let is_below =
        |name: &str, above: &str| name.strip_suffix(above).is_some_and(|front| front.ends_with('.'));
    entry == "*" || !name.is_empty() && (name == OSS || is_below(name, OSS) || is_below(OSS, name))
}

/// The metadata service of an instance, which credential libraries query over plain HTTP.
const METADATA: &str = "100.100.100.200";
const OSS: &str = "aliyuncs.com";
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const LISTS: [&str; 2] = ["no_proxy", "NO_PROXY"];

#[cfg(test)]
mod tests {
    use super::{ForwardMode, NoProxyList, covers_oss};

    #[test]
    fn entries_for_oss_are_known_in_every_form() {
        for entry in [
            "*",
            "aliyuncs.com",
            " .Aliyuncs.com ",
            "*.aliyuncs.com",
            "oss-cn-hangzhou.aliyuncs.com:80",
            "com",
        ] {
            assert!(covers_oss(entry), "{entry}");
        }
        for entry in [
            "",
            "localhost",
            "127.0.0.1",
            "notaliyuncs.com",
            ".example.com",
            "::1",
            "aliyun.com",
            "10.0.0.0/8",
        ] {
            assert!(!covers_oss(entry), "{entry}");
        }
    }

    #[test]
    fn the_proxy_of_the_environment_is_asked_neither_for_this_proxy_nor_in_its_place() {
        let list = |is_proxied, lower: Option<&str>, upper: Option<&str>| {
            let lists = [lower.map(str::to_owned), upper.map(str::to_owned)];
            NoProxyList { is_proxied, lists }
        };
        let of = |is_proxied, lower, upper, forward| {
            list(is_proxied, lower, upper).with("127.0.0.1", None, forward)
        };
        let both = |value: &str| vec![("no_proxy", value.to_owned()), ("NO_PROXY", value.to_owned())];
        assert_eq!(of(false, None, Some("a"), ForwardMode::No), []);
        assert_eq!(of(true, None, None, ForwardMode::No), both("127.0.0.1"));
        assert_eq!(of(true, None, Some("a"), ForwardMode::No), both("a,127.0.0.1"));
        assert_eq!(of(true, None, None, ForwardMode::Yes), both("100.100.100.200"));
        assert_eq!(of(false, Some("a,.aliyuncs.com,b"), None, ForwardMode::Yes), both("a,b,100.100.100.200"));
        let upper = ("NO_PROXY", "b,100.100.100.200".to_owned());
        assert_eq!(of(false, Some("*"), Some("b"), ForwardMode::Yes)[1], upper);
        let keys = list(false, Some("a"), None).with("127.0.0.1", Some("127.0.0.1"), ForwardMode::Yes);
        assert_eq!(keys, both("a,100.100.100.200,127.0.0.1"));
    }
}
