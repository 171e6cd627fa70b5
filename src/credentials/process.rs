//! `process`: credentials that a command prints as JSON. The command runs without a shell, with a
//! minimal environment and a timeout. Its process group is killed unless the command exits by
//! itself. Messages never contain its output.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::provider_config::ProviderConfig;
use super::{CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv, validate};
use crate::offload::BlockingLane;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A command and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessConfig {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The names of the variables it gets besides PATH, HOME and LANG.
    pub(crate) environment: Vec<String>,
    /// The time after which the command runs again if its output has no expiration.
    pub(crate) cache: Duration,
}

impl ProviderConfig for ProcessConfig {
    fn build(&self, _services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(ProcessProvider::new(self.clone()))
    }
}

/// A provider that runs a command.
struct ProcessProvider {
    program: ProcessConfig,
    /// Starts the command, which can block if its disk does not respond.
    lane: BlockingLane,
}

/// The output in both dialects: that of the Alibaba Cloud CLI, and that of the OSS SDKs.
#[derive(Deserialize)]
struct ProcessOutput {
    mode: Option<String>,
    #[serde(alias = "AccessKeyId")]
    access_key_id: Option<Secret>,
    #[serde(alias = "AccessKeySecret")]
    access_key_secret: Option<Secret>,
    #[serde(alias = "SecurityToken", alias = "security_token")]
    sts_token: Option<Secret>,
    #[serde(alias = "Expiration")]
    expiration: Option<String>,
}

impl ProcessProvider {
    fn new(program: ProcessConfig) -> Self {
        Self { program, lane: BlockingLane::default() }
    }

    async fn ask(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let name = self.program.command.first().map_or("", String::as_str);
        let failed = |why: String| ProvideError::Unavailable(format!("the command {name:?} {why}"));
        let mut command = self.command(env);
        // The group is killed even if the command starts after the timeout.
        let started = self.lane.run(START_LIMIT, move || {
            let child = command.spawn()?;
            let group = ProcessGroup::new(&child);
            Ok::<_, io::Error>((group, child))
        });
        let started = started.await.map_err(|timeout| failed(format!("cannot be started: {timeout}")))?;
        let (mut group, mut child) = started.map_err(|error| {
            ProvideError::Refused(format!(
                "cannot run the command {name:?}: {error}; set its path, and check that this user may run it"
            ))
        })?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed("has no output".to_owned()));
        };
        let all = async {
            let (printed, complained) = tokio::try_join!(read(out), count(err))?;
            Ok::<_, OutputTooLarge>((child.wait().await, printed, complained))
        };
        let all = tokio::time::timeout(TIMEOUT, all).await.map_err(|_| {
            failed(format!("did not exit within {TIMEOUT:?} and was killed; run it manually as this user"))
        })?;
        let (ended, printed, complained) =
            all.map_err(|OutputTooLarge| failed("printed more than 64 KiB".to_owned()))?;
        // Processes that the command left running on purpose are not killed.
        group.0 = None;
        let status = ended.map_err(|error| failed(format!("has no exit status: {error}")))?;
        if !status.success() {
            return Err(failed(format!(
                "failed with {status} and wrote {complained} bytes to standard error (not logged); run it manually as this user, without its usual environment"
            )));
        }
        parse(&printed).map_err(|what| failed(format!("printed invalid output: {what}")))
    }

    fn command(&self, env: &dyn SourceEnv) -> Command {
        let mut words = self.program.command.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).env_clear();
        let names = INHERITED.iter().copied().chain(self.program.environment.iter().map(String::as_str));
        command.envs(names.filter_map(|name| Some((name, env.variable(name)?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// The process group of the command, killed on drop unless the command has exited.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn new(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that the group has no process left.
            // guard: group-ends
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The output exceeds [`LONGEST`].
struct OutputTooLarge;

/// Reads the whole output.
async fn read(from: impl AsyncRead + Unpin) -> Result<Zeroizing<Vec<u8>>, OutputTooLarge> {
    let mut all = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    // Truncated output is not valid JSON, and is reported as that.
    let _ = from.take(LONGEST as u64 + 1).read_to_end(&mut all).await;
    if all.len() <= LONGEST { Ok(all) } else { Err(OutputTooLarge) }
}

/// Counts the bytes of an output. Reading them keeps the command from blocking on a full pipe.
async fn count(mut from: impl AsyncRead + Unpin) -> Result<usize, OutputTooLarge> {
    let mut count = 0;
    let mut part = Zeroizing::new([0; 1024]);
    while let Ok(more @ 1..) = from.read(&mut *part).await {
        count += more;
    }
    Ok(count)
}

/// Parses the output. The error describes what was printed instead.
fn parse(printed: &[u8]) -> Result<Credentials, String> {
    let given: ProcessOutput =
        serde_json::from_slice(printed).map_err(|_| "not JSON credentials".to_owned())?;
    let token = given.sts_token.filter(|token| !token.expose().is_empty());
    match given.mode.as_deref() {
        None | Some("AK" | "StsToken") => {}
        Some(_) => return Err("the mode is neither AK nor StsToken".to_owned()),
    }
    if given.mode.as_deref() == Some("StsToken") && token.is_none() {
        return Err("the mode is StsToken, but the token is missing".to_owned());
    }
    let (Some(id), Some(secret)) = (given.access_key_id, given.access_key_secret) else {
        return Err("the access key id or secret is missing".to_owned());
    };
    validate::check_given(id.expose(), secret.expose(), token.as_ref().map(Secret::expose))
        .map_err(|invalid| invalid.to_string())?;
    // Like the readers of the Alibaba Cloud tools, this treats an invalid expiration as missing.
    // The command then runs again after `cache`.
    let expires = given.expiration.as_deref().and_then(Timestamp::parse_rfc3339);
    Ok(Credentials { id: id.expose().to_owned(), secret, token, expires, provider: "external".into() })
}

impl Provide for ProcessProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.ask(env))
    }

    fn renew_after(&self) -> Option<Duration> {
        Some(self.program.cache)
    }
}

/// The default time for which output without an expiration is used.
pub(super) const DEFAULT_CACHE: Duration = Duration::from_secs(15 * 60);
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
const TIMEOUT: Duration = Duration::from_secs(15);
const START_LIMIT: Duration = Duration::from_secs(4);
/// Maximum length of the output, in bytes.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::{ProcessConfig, ProcessProvider, parse};
    use crate::credentials::test_env::TestEnv;
    use crate::credentials::{Provide as _, ProvideError};

    /// Runs this published sample as a command and returns its error.
    async fn run(id: &str) -> ProvideError {
        let all: Value =
            serde_json::from_str(include_str!("../../tests/vectors/process_outputs.json")).expect("json");
        let mut samples = all["samples"].as_array().expect("samples").iter();
        let sample = samples.find(|sample| sample["id"] == id).expect("the sample");
        assert_eq!(sample["expect"], "retryable_error");
        let script = "printf '%s' \"$1\"; printf '%s' \"$2\" >&2; sleep \"$3\"; exit \"$4\"".to_owned();
        let word = |key: &str| {
            let text = sample[key].as_str().map(str::to_owned);
            let number = || sample[key].as_u64().map(|number| number.to_string());
            text.or_else(number).unwrap_or_else(|| if key.starts_with("std") { "" } else { "0" }.to_owned())
        };
        let words = ["stdout", "stderr", "sleep_s", "exit_code"].map(word);
        let mut command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
        command.extend(words);
        let process =
            ProcessProvider::new(ProcessConfig { command, environment: Vec::new(), cache: Duration::MAX });
        process.provide(&TestEnv::with(&[("PATH", "/usr/bin:/bin")])).await.expect_err("no credentials")
    }

    #[tokio::test]
    async fn a_command_that_fails_as_published_may_be_run_again() {
        let error = run("cli/nonzero").await;
        let ProvideError::Unavailable(why) = &error else { panic!("{error:?}") };
        assert!(why.contains("exit status: 3") && !why.contains("login required"), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_never_ends_as_published_is_ended() {
        let error = run("cli/timeout").await;
        assert!(matches!(&error, ProvideError::Unavailable(why) if why.contains("within 15s")), "{error:?}");
    }

    #[test]
    fn each_published_output_comes_to_what_it_should() {
        let all: Value =
            serde_json::from_str(include_str!("../../tests/vectors/process_outputs.json")).expect("json");
        let samples = all["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), 11);
        for sample in
            samples.iter().filter(|sample| sample["stdout"].as_str().is_some_and(|text| !text.is_empty()))
        {
            let id = &sample["id"];
            let printed =
                sample["stdout"].as_str().expect("text").replace("{now+3600s}", "2999-01-01T00:00:00Z");
            let outcome = parse(printed.as_bytes());
            assert_eq!(outcome.is_ok(), sample["expect"] == "credentials", "{id}: {outcome:?}");
            match outcome {
                Ok(given) => {
                    let has = |key: &str| sample["stdout"].as_str().expect("text").contains(key);
                    assert_eq!(given.token.is_some(), has("oken\":"), "{id}");
                    assert_eq!(given.expires.is_some(), has("{now+") || has("2023-12-29"), "{id}");
                }
                Err(text) => assert!(!text.contains("secret\"") && !text.contains("invalid json"), "{text}"),
            }
        }
    }
}
