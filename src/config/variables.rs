//! Checks environment variables: reports unknown names with the prefix of this program, and values
//! that are not UTF-8.

use strsim::levenshtein;

use super::error::ConfigErrorKind;
use super::flag_setting::FlagSetting;
use crate::credentials::SourceEnv;

/// The variables that are read in addition to those of the settings.
pub const READ_VARIABLES: [&str; 44] = [
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
    "OSS_STS_ROLE_ARN",
    "OSS_CREDENTIAL_PROFILES_FILE",
    "OSS_PROFILE",
    "OSSUTIL_CONFIG_FILE",
    "OSSUTIL_PROFILE",
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABACLOUD_ACCESS_KEY_ID",
    "ALIBABACLOUD_ACCESS_KEY_SECRET",
    "ALIBABACLOUD_SECURITY_TOKEN",
    "ALICLOUD_ACCESS_KEY_ID",
    "ALICLOUD_ACCESS_KEY_SECRET",
    "ALICLOUD_SECURITY_TOKEN",
    "ALICLOUD_ACCESS_KEY",
    "ALICLOUD_SECRET_KEY",
    "ALICLOUD_ACCESS_KEY_STS_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "ALIBABA_CLOUD_EXTERNAL_ID",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_STS_ENDPOINT",
    "ALIBABA_CLOUD_STS_REGION",
    "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALIBABA_CLOUD_ECS_METADATA",
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
    "ALIBABA_CLOUD_IMDSV1_DISABLED",
    "ALIBABA_CLOUD_IMDS_ENDPOINT",
    "ALIBABA_CLOUD_CONFIG_FILE",
    "ALIBABA_CLOUD_PROFILE",
    "ALIBABACLOUD_PROFILE",
    "ALICLOUD_PROFILE",
    "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
    "ALIBABA_CLOUD_IGNORE_PROFILE",
    "ALIBABACLOUD_IGNORE_PROFILE",
    "ALIBABA_CLOUD_CREDENTIALS_FILE",
    "HOME",
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDNAMES",
];

/// An environment variable that is unknown or has an invalid value.
#[derive(Clone, Debug)]
pub(super) struct InvalidVariable {
    pub(super) name: String,
    pub(super) problem: ConfigErrorKind,
}

/// Returns the invalid environment variables.
pub(super) fn check(env: &dyn SourceEnv) -> Vec<InvalidVariable> {
    let own: Vec<String> =
        FlagSetting::ALL.into_iter().map(FlagSetting::variable).chain([CONFIG.to_owned()]).collect();
    let mut wrong = Vec::new();
    for name in env.variable_names().into_iter().filter(|name| name.starts_with(PREFIX)) {
        let value = env.variable(&name);
        let is_set = value.is_some() || env.is_not_text(&name);
        if is_set && !own.contains(&name) && !is_service_link(&name, value.as_deref().unwrap_or_default()) {
            let nearest = own.iter().min_by_key(|known| levenshtein(&name, known));
            let problem = ConfigErrorKind::UnknownVariable(nearest.cloned().unwrap_or_default());
            wrong.push(InvalidVariable { name, problem });
        }
    }
    let read = own.into_iter().chain(READ_VARIABLES.map(str::to_owned));
    let unreadable = read.filter(|name| env.is_not_text(name));
    wrong.extend(unreadable.map(|name| InvalidVariable { name, problem: ConfigErrorKind::NotText }));
    wrong
}

/// Returns whether Kubernetes or Docker sets this variable. Kubernetes does so in every pod of a
/// namespace with a service such as `oss-proxy`, and Docker for a link.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && value.contains("://") {
        return true;
    }
    // Docker links set the same variables, and repeat the environment of the other container.
    if name.ends_with("_NAME") && value.starts_with('/') || name.contains("_ENV_") {
        return true;
    }
    let parts: Vec<&str> = name.split('_').collect();
    let is_port = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_link = |at: usize| match &parts[at..] {
        ["PORT", port, "TCP" | "UDP" | "SCTP"]
        | ["PORT", port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => is_port(port),
        _ => false,
    };
    (0..parts.len()).any(is_link)
}

/// The prefix of the variables of this program.
const PREFIX: &str = "OSS_PROXY_";
/// The variable with the path of the configuration file.
const CONFIG: &str = "OSS_PROXY_CONFIG";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{SourceEnv, check};
    use crate::time::{Clock, Timestamp};

    /// An environment. A variable without a value is set to a value that is not UTF-8.
    struct Variables(BTreeMap<&'static str, Option<&'static str>>);

    impl Clock for Variables {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_s(0)
        }
    }

    impl SourceEnv for Variables {
        fn variable(&self, name: &str) -> Option<String> {
            let value = self.0.get(name).copied().flatten();
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        }

        fn variable_names(&self) -> Vec<String> {
            self.0.keys().map(|name| (*name).to_owned()).collect()
        }

        fn is_not_text(&self, name: &str) -> bool {
            self.0.get(name).is_some_and(Option::is_none)
        }
    }

    /// Returns the errors for an environment with only this variable.
    fn wrong(name: &'static str, value: Option<&'static str>) -> Vec<String> {
        let wrong = check(&Variables(BTreeMap::from([(name, value)])));
        wrong.iter().map(|invalid| format!("{}: {}", invalid.name, invalid.problem)).collect()
    }

    #[test]
    fn a_variable_of_ours_that_does_not_exist_is_an_error_with_the_nearest_name() {
        for (name, nearest) in [
            ("OSS_PROXY_REGOIN", "OSS_PROXY_REGION?"),
            ("OSS_PROXY_ADMIN_ADDRESS", "OSS_PROXY_ADMIN_LISTEN?"),
            ("OSS_PROXY_READONLY", "OSS_PROXY_READ_ONLY?"),
            ("OSS_PROXY_LOGLEVEL", "OSS_PROXY_LOG_LEVEL?"),
            ("OSS_PROXY_CONFIGS", "OSS_PROXY_CONFIG?"),
            ("OSS_PROXY_region", "OSS_PROXY_"),
            ("OSS_PROXY_PORT", "OSS_PROXY_"),
            ("OSS_PROXY_", "OSS_PROXY_"),
        ] {
            let wrong = wrong(name, Some("8770"));
            let [only] = &wrong[..] else { panic!("{name}: {wrong:?}") };
            assert!(only.starts_with(&format!("{name}: ")), "{only}");
            assert!(only.contains(&format!("did you mean {nearest}")), "{only}");
        }
    }

    #[test]
    fn variables_of_others_and_those_without_a_value_are_no_errors() {
        for (name, value) in [
            ("OSS_PROXY_REGION", "cn-hangzhou"),
            ("OSS_PROXY_CONFIG", "proxy.toml"),
            ("OSS_PROXY_REGOIN", ""),
            ("OSS_PROXYREGION", "cn-hangzhou"),
            ("OSS_REGION", "cn-hangzhou"),
            // Set for the services oss-proxy and oss-proxy-admin.
            ("OSS_PROXY_SERVICE_HOST", "10.0.0.1"),
            ("OSS_PROXY_NAME", "/client/oss-proxy"),
            ("OSS_PROXY_ENV_RUST_LOG", "info"),
            ("OSS_PROXY_SERVICE_PORT", "8770"),
            ("OSS_PROXY_SERVICE_PORT_HTTP", "8770"),
            ("OSS_PROXY_PORT", "tcp://10.0.0.1:8770"),
            ("OSS_PROXY_PORT_8770_TCP", "tcp://10.0.0.1:8770"),
            ("OSS_PROXY_PORT_8770_TCP_PROTO", "tcp"),
            ("OSS_PROXY_PORT_8770_TCP_PORT", "8770"),
            ("OSS_PROXY_PORT_8770_TCP_ADDR", "10.0.0.1"),
            ("OSS_PROXY_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("OSS_PROXY_ADMIN_PORT", "tcp://10.0.0.1:8771"),
        ] {
            assert_eq!(wrong(name, Some(value)), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_value_that_is_not_text_is_an_error_where_it_would_be_read() {
        for name in ["OSS_PROXY_REGION", "OSS_PROXY_CONFIG", "OSS_ACCESS_KEY_SECRET", "HOME"] {
            let wrong = wrong(name, None);
            let [only] = &wrong[..] else { panic!("{name}: {wrong:?}") };
            assert!(only.contains("is not UTF-8"), "{only}");
        }
        assert_eq!(wrong("PATH", None), Vec::<String>::new());
    }
}
