//! The flags that most commands share, and the configuration that results from file, environment
//! and flags.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit::CommandExit;
use super::output::complain;
use crate::app::config_watcher::ReloadError;
use crate::app::system_env::SystemEnv;
use crate::config::{AdminConfig, ConfigFile, ConfigOutline, FlagSetting, ProxyConfig, SettingLayer};
use crate::credentials::SourceEnv as _;

/// Flags win over the environment (`OSS_PROXY_` and the flag in upper snake case), which wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct CommonFlags {
    /// Path to the configuration file [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on: HOST:PORT, unix:PATH or systemd:NAME [default: 127.0.0.1:8770]
    #[arg(long, value_name = "ADDRESS", help_heading = LISTENER)]
    listen: Option<String>,
    /// Allow non-loopback listeners (anyone who can connect can use the keys)
    #[arg(long, help_heading = LISTENER)]
    unsafe_open: bool,
    /// Base domain for virtual-hosted requests (BUCKET.DOMAIN); may be repeated
    #[arg(long, value_name = "DOMAIN", help_heading = LISTENER)]
    domain: Vec<String>,
    /// Address of the admin listener: HOST:PORT, unix:PATH or "off" [default: 127.0.0.1:8771]
    #[arg(long, value_name = "ADDRESS", help_heading = LISTENER)]
    admin_listen: Option<String>,
    /// Reject all requests except reads: GET, HEAD and POST queries
    #[arg(long, help_heading = LISTENER)]
    read_only: bool,
    /// Region of the buckets, such as cn-hangzhou
    #[arg(long, help_heading = UPSTREAM)]
    region: Option<String>,
    /// Use the region's internal endpoint
    #[arg(long, help_heading = UPSTREAM)]
    internal: bool,
    /// OSS endpoint [default: the region's]
    #[arg(long, value_name = "URL", help_heading = UPSTREAM)]
    endpoint: Option<String>,
    /// Serve only this bucket; the whole path is then the key
    #[arg(long, help_heading = UPSTREAM)]
    bucket: Option<String>,
    /// Signature version [default: v4]
    #[arg(long, value_name = "VERSION", help_heading = UPSTREAM)]
    signature: Option<SignatureValue>,
    /// PEM file of CA certificates to trust instead of the system store
    #[arg(long, value_name = "FILE", help_heading = UPSTREAM)]
    ca_file: Option<String>,
    /// Least severe level to log [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = LOGGING)]
    log_level: Option<LogLevelValue>,
    /// Log format; auto is text on a terminal and JSON elsewhere [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = LOGGING)]
    log_format: Option<LogFormatValue>,
}

const LISTENER: &str = "Listener";
const UPSTREAM: &str = "Upstream";
const LOGGING: &str = "Logging";

impl CommonFlags {
    /// Returns the configuration, or prints its errors.
    pub(super) fn load(&self) -> Result<ProxyConfig, CommandExit> {
        match self.outline() {
            Ok(ConfigOutline { config: Some(config), errors: None }) => Ok(config),
            Ok(ConfigOutline { errors, .. }) => {
                errors.into_iter().for_each(complain);
                Err(CommandExit::Config)
            }
            Err(unreadable) => {
                complain(unreadable);
                Err(CommandExit::Config)
            }
        }
    }

    /// Returns the bucket, for a command that gives it another meaning.
    pub(super) fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// Returns the flags without the bucket.
    pub(super) fn without_bucket(&self) -> Self {
        Self { bucket: None, ..self.clone() }
    }

    /// Returns the path of the configuration file, if one is named.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| SystemEnv.variable("OSS_PROXY_CONFIG").map(PathBuf::from))
    }

    /// Returns the configuration, or its errors.
    pub(super) fn read(&self) -> Result<ProxyConfig, ReloadError> {
        match self.outline()? {
            // guard: config-with-mistake
            ConfigOutline { config: Some(config), errors: None } => Ok(config),
            ConfigOutline { errors, .. } => Err(errors.unwrap_or_default().into()),
        }
    }

    /// Reads the configuration for the proxy of one command. It has a listener on a free port of
    /// loopback, another one for the keys that it passes on, if any, and no admin listener.
    pub(super) fn read_alone(&self) -> Result<ProxyConfig, ReloadError> {
        let text = self.text()?;
        let layers = [SettingLayer::from_environment(&SystemEnv), self.layer().alone()];
        Ok(ProxyConfig::load(text.given(), &layers, &SystemEnv)?)
    }

    /// Returns the admin settings, or their errors. No other part of the configuration is read.
    pub(super) fn read_admin(&self) -> Result<Option<AdminConfig>, String> {
        let text = self.text()?;
        let layers = [SettingLayer::from_environment(&SystemEnv), self.layer()];
        ProxyConfig::admin(text.given(), &layers, &SystemEnv).map_err(|errors| errors.to_string())
    }

    /// Returns the first given flag that configures a listener.
    pub(super) fn about_listeners(&self) -> Option<&'static str> {
        let given = [
            ("--listen", self.listen.is_some()),
            ("--admin-listen", self.admin_listen.is_some()),
            ("--unsafe-open", self.unsafe_open),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// Returns the readable part of the configuration, and its errors. Fails if the file cannot be
    /// read.
    pub(super) fn outline(&self) -> Result<ConfigOutline, String> {
        let text = self.text()?;
        let layers = [SettingLayer::from_environment(&SystemEnv), self.layer()];
        Ok(ProxyConfig::outline(text.given(), &layers, &SystemEnv))
    }

    /// Reads the named file in full.
    fn text(&self) -> Result<ConfigText, String> {
        let Some(path) = self.file() else { return Ok(ConfigText(None)) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(ConfigText(Some((path, text)))),
            Err(error) => {
                let path = path.display();
                Err(format!("{path}: cannot be read: {error}; name a file that this user may read"))
            }
        }
    }

    fn layer(&self) -> SettingLayer {
        FlagSetting::ALL.into_iter().fold(SettingLayer::flags(), |layer, setting| {
            self.values(setting).into_iter().fold(layer, |layer, value| layer.set(setting, Some(value)))
        })
    }

    /// Returns the values given for a setting.
    fn values(&self, setting: FlagSetting) -> Vec<String> {
        let given = |flag: bool| flag.then(|| "true".to_owned());
        let value = match setting {
            FlagSetting::Listen => self.listen.clone(),
            FlagSetting::UnsafeOpen => given(self.unsafe_open),
            FlagSetting::Domain => return self.domain.clone(),
            FlagSetting::ReadOnly => given(self.read_only),
            FlagSetting::AdminListen => self.admin_listen.clone(),
            FlagSetting::Region => self.region.clone(),
            FlagSetting::Internal => given(self.internal),
            FlagSetting::Endpoint => self.endpoint.clone(),
            FlagSetting::Bucket => self.bucket.clone(),
            FlagSetting::Signature => self.signature.and_then(name),
            FlagSetting::CaFile => self.ca_file.clone(),
            FlagSetting::LogLevel => self.log_level.and_then(name),
            FlagSetting::LogFormat => self.log_format.and_then(name),
        };
        value.into_iter().collect()
    }
}

/// A value of `--signature`. The variants of the three enums have no comments, because clap would
/// print them, and then spread every flag over several lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SignatureValue {
    V4,
    V1,
}

/// A value of `--log-level`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevelValue {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A value of `--log-format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatValue {
    Auto,
    Text,
    Json,
}

/// Returns the text of a value on the command line, which is also its text in the configuration.
fn name(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

/// A file with its path, if one is named.
struct ConfigText(Option<(PathBuf, String)>);

impl ConfigText {
    fn given(&self) -> Option<ConfigFile<'_>> {
        self.0.as_ref().map(|(path, text)| ConfigFile { path, text })
    }
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, Args as _, Command, FromArgMatches as _};

    use super::CommonFlags;
    use crate::config::{FlagSetting, flag_default};

    fn command() -> Command {
        CommonFlags::augment_args(Command::new("test"))
    }

    #[test]
    fn every_setting_has_a_flag_of_its_name_which_sets_it_alone() {
        for setting in FlagSetting::ALL {
            let flag = setting.flag();
            let command = command();
            let argument = command.get_arguments().find(|one| one.get_long() == flag.strip_prefix("--"));
            let argument = argument.unwrap_or_else(|| panic!("no flag {flag}"));
            let values = argument.get_possible_values();
            let (words, value) = match (argument.get_action(), values.first()) {
                (ArgAction::SetTrue, _) => (vec![flag], "true"),
                (_, Some(value)) => (vec![flag, value.get_name().to_owned()], value.get_name()),
                (_, None) => (vec![flag, "a-value".to_owned()], "a-value"),
            };
            let words = std::iter::once("test".to_owned()).chain(words);
            let matches = command.clone().try_get_matches_from(words).expect("a valid flag");
            let flags = CommonFlags::from_arg_matches(&matches).expect("the flags");
            for other in FlagSetting::ALL {
                let expected = if other == setting { vec![value.to_owned()] } else { Vec::new() };
                assert_eq!(flags.values(other), expected, "{setting:?}, {other:?}");
            }
        }
    }

    #[test]
    fn the_defaults_in_the_help_are_those_of_the_settings() {
        let command = command();
        for setting in FlagSetting::ALL {
            let flag = setting.flag();
            let argument = command.get_arguments().find(|one| one.get_long() == flag.strip_prefix("--"));
            let help = argument.and_then(|argument| argument.get_help()).expect("a help text").to_string();
            let shown = help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
            let default = flag_default(setting).expect("a key with this flag");
            match (default.as_text(), shown) {
                (Some(value), shown) => assert_eq!(shown, Some(value), "{flag}"),
                (None, Some(shown)) => assert_eq!(shown, default.to_string(), "{flag}"),
                (None, None) => {}
            }
        }
    }
}
