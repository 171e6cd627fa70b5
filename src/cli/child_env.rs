//! The environment of a command that `run` starts behind the proxy. It contains the address of the
//! proxy, and no variable with a key or its location. Files with keys are not covered: a command
//! with read access can still read them.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use tokio::process::Command;

use super::no_proxy::{ForwardMode, NoProxyList};
use crate::app::system_env::SystemEnv;
use crate::config::{ProxyConfig, ValueReference};

/// The differences between the environment of the command and that of this process.
pub(super) struct ChildEnv {
    removed: Vec<OsString>,
    region: Option<String>,
    bypass: NoProxyList,
}

/// The addresses of the proxy.
#[derive(Clone, Copy)]
pub(super) struct ChildAddresses {
    /// The listener for objects.
    pub(super) objects: SocketAddr,
    /// The listener that passes on keys of another proxy, if there is one.
    pub(super) keys: Option<SocketAddr>,
}

impl ChildEnv {
    /// Determines the changes for a proxy with this configuration. `names` are the variables of
    /// this process.
    pub(super) fn new(config: &ProxyConfig, names: Vec<OsString>) -> Self {
        let references = || {
            let settings = config.effective_settings.iter().flat_map(|setting| &setting.references);
            settings.chain(&config.ignored_references)
        };
        let read: HashSet<&OsStr> = references()
            .filter_map(|reference| match reference {
                ValueReference::Variable(name) => Some(OsStr::new(name)),
                ValueReference::SystemdCredential => None,
            })
            .collect();
        let of_systemd = references().any(|reference| *reference == ValueReference::SystemdCredential);
        let is_read = |name: &OsStr| read.contains(name) || of_systemd && name == CREDENTIALS;
        let removed =
            names.into_iter().filter(|name| is_read(name) || leads_to_a_key(&name.to_string_lossy()));
        let first = config.routing_table.get(crate::address::UpstreamId(0));
        Self {
            removed: removed.collect(),
            region: first.region.as_ref().map(|region| region.as_str().to_owned()),
            bypass: NoProxyList::from_env(&SystemEnv),
        }
    }

    /// Applies the changes to the command, with the proxy at these addresses.
    pub(super) fn apply_to(&self, command: &mut Command, proxy: ChildAddresses, forward: ForwardMode) {
        for name in &self.removed {
            command.env_remove(name);
        }
        let ChildAddresses { objects, keys } = proxy;
        let url = format!("http://{objects}");
        command.env("OSS_ENDPOINT", &url);
        if let Some(region) = &self.region {
            command.env("OSS_REGION", region);
        }
        // Libraries fail to start without a key. The proxy replaces the signatures made with this
        // one.
        command.env("OSS_ACCESS_KEY_ID", DUMMY_ID).env("OSS_ACCESS_KEY_SECRET", DUMMY_SECRET);
        if forward == ForwardMode::Yes {
            command.env("http_proxy", &url).env("HTTP_PROXY", &url);
        }
        if let Some(keys) = keys {
            for name in OTHER_CONTAINER_VARIABLES {
                command.env_remove(name);
            }
            command.env("ALIBABA_CLOUD_CREDENTIALS_URI", format!("http://{keys}/credentials"));
            command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{keys}/aws"));
        }
        let keys = keys.map(|keys| keys.ip().to_string());
        for (name, value) in self.bypass.with(&objects.ip().to_string(), keys.as_deref(), forward) {
            command.env(name, value);
        }
    }
}

/// Returns whether the variable with this name holds a key, or refers to one.
fn leads_to_a_key(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_of = |family: &&str| name.strip_prefix(*family).is_some_and(is_about_keys);
    name.starts_with(OWN) || BARE.contains(&name.as_str()) || FAMILIES.iter().any(is_of)
}

fn is_about_keys(rest: &str) -> bool {
    // These keep libraries from searching in places that they should not use.
    let is_switch = rest.ends_with("_DISABLED") || rest == "IGNORE_PROFILE";
    !is_switch && WORDS.iter().any(|word| rest.contains(word))
}

/// The directory with the systemd credentials, which the configuration names as `credential:NAME`.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The prefix of this program's settings.
const OWN: &str = "OSS_PROXY_";

/// The variables that one of the vendor's tools reads without any prefix.
const BARE: [&str; 3] = ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"];

/// The prefixes of variables that the vendor's libraries and tools read, and the software built on
/// them.
const FAMILIES: [&str; 6] = ["OSS_", "OSSUTIL_", "ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_", "ALIYUN_"];

/// The variables of AWS that would replace the address of keys, or send another token to it.
const OTHER_CONTAINER_VARIABLES: [&str; 3] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// The words that mark the name of a variable about keys.
const WORDS: [&str; 10] = [
    "ACCESS_KEY",
    "SECRET",
    "TOKEN",
    "ROLE",
    "OIDC",
    "CREDENTIAL",
    "PROFILE",
    "CONFIG",
    "ECS_METADATA",
    "EXTERNAL_ID",
];

const DUMMY_ID: &str = "dummy-id-the-proxy-signs";
const DUMMY_SECRET: &str = "dummy-secret-the-proxy-signs";

#[cfg(test)]
mod tests {
    use super::leads_to_a_key;

    #[test]
    fn whatever_a_library_finds_a_key_by_is_removed_and_nothing_else() {
        for name in [
            "OSS_ACCESS_KEY_ID",
            "OSS_ACCESS_KEY_SECRET",
            "OSS_SESSION_TOKEN",
            "OSS_STS_ROLE_ARN",
            "OSS_CREDENTIAL_PROFILES_FILE",
            "OSS_PROFILE",
            "OSS_PROXY_REGION",
            "OSSUTIL_CONFIG_FILE",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            "ALIBABA_CLOUD_SECURITY_TOKEN",
            "ALIBABA_CLOUD_ROLE_ARN",
            "ALIBABA_CLOUD_ROLE_SESSION_NAME",
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            "ALIBABA_CLOUD_CREDENTIALS_URI",
            "ALIBABA_CLOUD_CREDENTIALS_FILE",
            "ALIBABA_CLOUD_CONFIG_FILE",
            "ALIBABA_CLOUD_PROFILE",
            "ALIBABA_CLOUD_ECS_METADATA",
            "ALIBABA_CLOUD_EXTERNAL_ID",
            "ALIBABACLOUD_ACCESS_KEY_ID",
            "ALIBABACLOUD_PROFILE_PATH",
            "ALIBABACLOUD_PROFILE",
            "ALICLOUD_PROFILE",
            "OSSUTIL_PROFILE",
            "OSSUTIL_CONFIG_VALUE",
            "ALICLOUD_ACCESS_KEY",
            "ALICLOUD_SECRET_KEY",
            "ALICLOUD_ACCESS_KEY_STS_TOKEN",
            "ALIYUN_ACCESS_KEY_ID",
            "ACCESS_KEY_ID",
            "SECURITY_TOKEN",
            "alibaba_cloud_access_key_secret",
        ] {
            assert!(leads_to_a_key(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "OSS_BUCKET",
            "ALIBABA_CLOUD_REGION_ID",
            "ALIBABA_CLOUD_STS_ENDPOINT",
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
            "ALIBABA_CLOUD_IGNORE_PROFILE",
            "MY_ACCESS_KEY_ID",
            "GITHUB_TOKEN",
        ] {
            assert!(!leads_to_a_key(name), "{name}");
        }
    }
}
