//! Files in which other tools keep their access keys. A file is reread when it changes, and never
//! written. The provider it describes is built once for each state of the file.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use zeroize::Zeroizing;

use super::provider_config::ProviderConfig;
use super::secret_file::{SecretFileError, SecretFileReader, state};
use super::{CredentialServices, Provide, ProvideError, ProvideFuture, SourceEnv, StsEndpointConfig};
use crate::offload::{BlockingLane, FILE_LIMIT};
use crate::oss::Region;
use crate::transport::Url;

/// Configuration for the file of another tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ExternalFileConfig {
    /// The file; `None` for the location that the tool itself uses.
    pub(crate) path: Option<PathBuf>,
    /// The profile or section; `None` for the one that the tool would use.
    pub(crate) profile: Option<String>,
    /// If set, a command that the file names may run.
    pub(crate) allow_process: bool,
    /// If set, a file that other users can read is rejected.
    pub(crate) strict: bool,
    /// The STS endpoint, if the file does not set one.
    pub(crate) sts_endpoint: StsEndpointConfig,
}

impl ExternalFileConfig {
    /// Returns the STS endpoint that the file sets; missing values are those of this configuration.
    pub(super) fn sts_endpoint(
        &self,
        endpoint: Option<&str>,
        region: Option<&str>,
        vpc: bool,
    ) -> Result<StsEndpointConfig, InvalidField> {
        let endpoint = endpoint.map(|text| {
            let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
            Url::parse(&text).map_err(|error| InvalidField(format!("the STS endpoint {error}")))
        });
        let region = region.map(|text| {
            Region::parse(text).map_err(|error| InvalidField(format!("the STS region: {error}")))
        });
        Ok(StsEndpointConfig {
            endpoint: endpoint.transpose()?.or_else(|| self.sts_endpoint.endpoint.clone()),
            region: region.transpose()?.or_else(|| self.sts_endpoint.region.clone()),
            vpc: vpc || self.sts_endpoint.vpc,
            of_oss: self.sts_endpoint.of_oss.clone(),
        })
    }
}

/// An error in a field of a file.
pub(super) struct InvalidField(pub(super) String);

impl From<InvalidField> for UnsupportedProfile {
    fn from(InvalidField(text): InvalidField) -> Self {
        Self::Wrong(text)
    }
}

/// The file of another tool in a known format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToolFileConfig<F> {
    /// The format.
    pub(crate) format: F,
    /// The file.
    pub(crate) file: ExternalFileConfig,
}

impl<F: ExternalFormat + Copy + 'static> ProviderConfig for ToolFileConfig<F> {
    fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        Some(&mut self.file.sts_endpoint)
    }

    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(ToolFile {
            format: Box::new(self.format),
            tool: self.file.clone(),
            guarded: Arc::new(SecretFileReader::new(self.file.strict)),
            lane: BlockingLane::default(),
            built: Mutex::default(),
            services: Arc::clone(services),
        })
    }
}

/// A file format of another tool.
pub(crate) trait ExternalFormat: Debug + Send + Sync {
    /// Returns the name that the Alibaba Cloud SDKs use for this provider.
    fn name(&self) -> &'static str;

    /// Returns the default location: a path that the environment names, or paths in the home
    /// directory.
    fn locations(&self, env: &dyn SourceEnv) -> FileLocations;

    /// Parses the file and returns the provider that it describes.
    ///
    /// # Errors
    /// The reason why there is none.
    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile>;
}

/// Possible locations of a file.
pub(crate) enum FileLocations {
    /// Only this path.
    Named(PathBuf),
    /// The first of these paths below the home directory that exists.
    Home(&'static [&'static str]),
    /// No location: the variable of this name disables the file.
    Off(&'static str),
}

/// Reasons why a file describes no supported provider.
pub(crate) enum UnsupportedProfile {
    /// The credentials are absent. This is an error only if the file or the profile was named.
    Absent(String),
    /// The file or the profile is invalid.
    Wrong(String),
}

/// A provider that reads the file of a tool.
struct ToolFile {
    format: Box<dyn ExternalFormat>,
    tool: ExternalFileConfig,
    guarded: Arc<SecretFileReader>,
    lane: BlockingLane,
    built: Mutex<Option<BuiltProvider>>,
    services: Arc<CredentialServices>,
}

/// The paths at which the file may exist.
enum CandidatePaths {
    /// Only this path, which was named.
    Named(PathBuf),
    /// The first of these below the home directory that exists.
    Usual { home: PathBuf, below: &'static [&'static str] },
}

/// The result of reading the file.
struct ReadFile {
    path: PathBuf,
    named: bool,
    text: Result<Zeroizing<String>, SecretFileError>,
}

/// The provider that one state of the file describes.
#[derive(Clone)]
struct BuiltProvider {
    path: PathBuf,
    text: Arc<Zeroizing<String>>,
    provider: Arc<dyn Provide>,
}

impl ToolFile {
    /// Returns the paths at which the file may exist, without accessing any. The error says why
    /// there are none.
    fn candidates(&self, env: &dyn SourceEnv) -> Result<CandidatePaths, String> {
        if let Some(path) = &self.tool.path {
            return Ok(CandidatePaths::Named(path.clone()));
        }
        match self.format.locations(env) {
            FileLocations::Named(path) => Ok(CandidatePaths::Named(path)),
            FileLocations::Off(variable) => Err(format!("{variable} is true")),
            FileLocations::Home(below) => {
                let home = env.variable("HOME").map(PathBuf::from).ok_or("HOME is not set")?;
                Ok(CandidatePaths::Usual { home, below })
            }
        }
    }

    /// Reads the file. The error says why no file was read.
    async fn read(&self, env: &dyn SourceEnv) -> Result<ReadFile, ProvideError> {
        let candidates = self.candidates(env).map_err(ProvideError::NotConfigured)?;
        let all = candidates.shown();
        let guarded = Arc::clone(&self.guarded);
        let read = self.lane.run(FILE_LIMIT, move || candidates.read(&guarded)).await;
        let read = read.map_err(|timeout| ProvideError::Unavailable(format!("{all}: {timeout}")))?;
        read.map_err(ProvideError::NotConfigured)
    }

    /// Returns the provider that the file describes now. It is rebuilt only if the text has
    /// changed.
    async fn provider(&self, env: &dyn SourceEnv) -> Result<Arc<dyn Provide>, ProvideError> {
        let ReadFile { path, named, text } = self.read(env).await?;
        let shown = path.display();
        let text = text.map_err(|why| match (why.is_absent(), named) {
            (true, false) => ProvideError::NotConfigured(why.to_string()),
            (true | false, _) => ProvideError::Unavailable(why.to_string()),
        })?;
        if let Some(built) = &*self.built()
            && **built.text == *text
        {
            return Ok(Arc::clone(&built.provider));
        }
        let described = self.format.read(&text, &self.tool, env).map_err(|unfit| match unfit {
            UnsupportedProfile::Absent(why) if !named && self.tool.profile.is_none() => {
                ProvideError::NotConfigured(format!("{shown}: {why}"))
            }
            // Another tool owns the file, and may correct it.
            UnsupportedProfile::Absent(why) | UnsupportedProfile::Wrong(why) => {
                ProvideError::Refused(format!("{shown}: {why}"))
            }
        })?;
        let provider: Arc<dyn Provide> = described.build(&self.services).into();
        *self.built() = Some(BuiltProvider { path, text: Arc::new(text), provider: Arc::clone(&provider) });
        Ok(provider)
    }

    fn built(&self) -> MutexGuard<'_, Option<BuiltProvider>> {
        self.built.lock()
    }
}

impl CandidatePaths {
    /// Returns all paths, for messages.
    fn shown(&self) -> String {
        match self {
            Self::Named(path) => path.display().to_string(),
            Self::Usual { below, .. } => format!("~/{}", below.join(" or ~/")),
        }
    }

    /// Reads the first path that exists. The error says that none exists.
    fn read(self, guarded: &SecretFileReader) -> Result<ReadFile, String> {
        let named = matches!(self, Self::Named(_));
        let path = match self {
            Self::Named(path) => path,
            Self::Usual { home, below } => {
                let mut existing = below.iter().map(|below| home.join(below)).filter(|path| path.exists());
                let Some(path) = existing.next() else {
                    return Err(format!("no file ~/{}", below.join(" or ~/")));
                };
                if let Some(other) = existing.next() {
                    warn_of_two(&path, &other);
                }
                path
            }
        };
        let text = guarded.read(&path);
        Ok(ReadFile { path, named, text })
    }
}

/// Warns if the contents of the two files differ.
fn warn_of_two(used: &Path, ignored: &Path) {
    let content = |path| SecretFileReader::read_unchecked(path).ok();
    if state(used) != state(ignored) && content(used) != content(ignored) {
        tracing::warn!(
            used = %used.display(),
            ignored = %ignored.display(),
            "found two credential files that differ; remove one of them"
        );
    }
}

impl Provide for ToolFile {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            let provider = self.provider(env).await?;
            let mut given = provider.provide(env).await.map_err(|error| match error {
                // The file names this provider; another one would change the signing identity.
                ProvideError::NotConfigured(why) => {
                    ProvideError::Refused(format!("the provider described by {}: {why}", self.format.name()))
                }
                ProvideError::Failed(why) => {
                    ProvideError::Refused(format!("the provider described by {}: {why}", self.format.name()))
                }
                ProvideError::Unavailable(_) | ProvideError::Refused(_) => error,
            })?;
            given.provider = format!("{}/{}", self.format.name(), given.provider).into();
            Ok(given)
        })
    }

    fn files(&self, env: &dyn SourceEnv) -> Vec<PathBuf> {
        match self.candidates(env) {
            Ok(CandidatePaths::Named(path)) => vec![path],
            Ok(CandidatePaths::Usual { home, below }) => below.iter().map(|below| home.join(below)).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn renew_after(&self) -> Option<Duration> {
        let built = self.built().clone();
        built.and_then(|built| built.provider.renew_after())
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let built = self.built().clone();
        let file = match (&built, self.candidates(env)) {
            (Some(built), _) => Some(built.path.display().to_string()),
            (None, Ok(candidates)) => Some(candidates.shown()),
            (None, Err(_)) => None,
        };
        let mut lines: Vec<String> = file.iter().map(|file| format!("file {file}")).collect();
        lines.extend(built.map(|built| built.provider.explain(env)).unwrap_or_default());
        lines
    }
}
