//! Files that other tools keep their access keys in: found, read again when they change, never written. What they describe is
//! built once for each state of the file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::provider_spec::{FileProviderSpec, InvalidField};
use super::secret_file::{SecretFileError, SecretFileReader, state};
use super::sts::StsEndpointConfig;
use super::{Provide, ProvideError, ProvideFuture, SourceEnv};
use crate::offload::{BlockingLane, FILE_LIMIT};

/// What is said about the file of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExternalFileConfig {
    /// The file; `None` for where the tool itself keeps it.
    pub path: Option<PathBuf>,
    /// The profile or section; `None` for the one that the tool would take.
    pub profile: Option<String>,
    /// Whether a command that the file names is run.
    pub allow_process: bool,
    /// Whether a file that other users can read is refused.
    pub strict: bool,
    /// Where STS is asked, if the file does not say.
    pub place: StsEndpointConfig,
}

/// A kind of file.
pub(super) trait ExternalFormat: Send + Sync {
    /// What the vendor's libraries call it.
    fn name(&self) -> &'static str;

    /// Where the file is, if nobody says: a path that the environment names, or paths in the home directory.
    fn places(&self, edge: &dyn SourceEnv) -> FileLocations;

    /// What the file describes.
    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        edge: &dyn SourceEnv,
    ) -> Result<FileProviderSpec, UnsupportedProfile>;
}

/// Where a file may be.
pub(super) enum FileLocations {
    /// Only there.
    Named(PathBuf),
    /// In the first of these that is there, below the home directory.
    Home(&'static [&'static str]),
    /// Nowhere: it is switched off.
    Off(&'static str),
}

/// Why a file describes no source of ours.
pub(super) enum UnsupportedProfile {
    /// What was asked for is not in it, and nobody asked by name.
    Absent(String),
    /// It is wrong.
    Wrong(String),
}

impl From<InvalidField> for UnsupportedProfile {
    fn from(InvalidField(text): InvalidField) -> Self {
        Self::Wrong(text)
    }
}

/// The file of a tool, as a source.
pub(super) struct ToolFile {
    format: Box<dyn ExternalFormat>,
    tool: ExternalFileConfig,
    guarded: Arc<SecretFileReader>,
    lane: BlockingLane,
    built: Mutex<Option<BuiltProvider>>,
}

/// The paths at which the file may be.
enum CandidatePaths {
    /// Only this one, which was named.
    Named(PathBuf),
    /// The first of these below the home directory that exists.
    Usual { home: PathBuf, below: &'static [&'static str] },
}

/// The file as it was read.
struct ReadFile {
    path: PathBuf,
    named: bool,
    text: Result<Zeroizing<String>, SecretFileError>,
}

/// What a state of the file describes.
#[derive(Clone)]
struct BuiltProvider {
    path: PathBuf,
    text: Arc<Zeroizing<String>>,
    provider: Arc<dyn Provide>,
}

impl ToolFile {
    pub(super) fn new(format: impl ExternalFormat + 'static, tool: ExternalFileConfig) -> Self {
        let guarded = Arc::new(SecretFileReader::new(tool.strict));
        Self {
            format: Box::new(format),
            tool,
            guarded,
            lane: BlockingLane::default(),
            built: Mutex::default(),
        }
    }

    /// Returns the paths at which the file may be. The error says why there are none. No file is looked at.
    fn candidates(&self, edge: &dyn SourceEnv) -> Result<CandidatePaths, String> {
        if let Some(path) = &self.tool.path {
            return Ok(CandidatePaths::Named(path.clone()));
        }
        match self.format.places(edge) {
            FileLocations::Named(path) => Ok(CandidatePaths::Named(path)),
            FileLocations::Off(variable) => Err(format!("{variable} is true")),
            FileLocations::Home(below) => {
                let home = edge.variable("HOME").map(PathBuf::from).ok_or("HOME is not set")?;
                Ok(CandidatePaths::Usual { home, below })
            }
        }
    }

    /// Reads the file. The error says why there is none.
    async fn read(&self, edge: &dyn SourceEnv) -> Result<ReadFile, ProvideError> {
        let candidates = self.candidates(edge).map_err(ProvideError::NotConfigured)?;
        let (all, guarded) = (candidates.shown(), Arc::clone(&self.guarded));
        let read = self.lane.run(FILE_LIMIT, move || candidates.read(&guarded)).await;
        let read = read.map_err(|no_answer| ProvideError::Unavailable(format!("{all}: {no_answer}")))?;
        read.map_err(ProvideError::NotConfigured)
    }

    /// What the file describes now.
    async fn provider(&self, edge: &dyn SourceEnv) -> Result<Arc<dyn Provide>, ProvideError> {
        let ReadFile { path, named, text } = self.read(edge).await?;
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
        let recipe = self.format.read(&text, &self.tool, edge).map_err(|unfit| match unfit {
            UnsupportedProfile::Absent(why) if !named && self.tool.profile.is_none() => {
                ProvideError::NotConfigured(format!("{shown}: {why}"))
            }
            // The file is somebody else's, and may be put right.
            UnsupportedProfile::Absent(why) | UnsupportedProfile::Wrong(why) => {
                ProvideError::Refused(format!("{shown}: {why}"))
            }
        })?;
        let provider: Arc<dyn Provide> = recipe.build(self.format.name()).into();
        *self.built() = Some(BuiltProvider { path, text: Arc::new(text), provider: Arc::clone(&provider) });
        Ok(provider)
    }

    fn built(&self) -> MutexGuard<'_, Option<BuiltProvider>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CandidatePaths {
    /// All of them, for a person.
    fn shown(&self) -> String {
        match self {
            Self::Named(path) => path.display().to_string(),
            Self::Usual { below, .. } => format!("~/{}", below.join(" or ~/")),
        }
    }

    /// Reads the first that exists. The error says that none does.
    fn read(self, guarded: &SecretFileReader) -> Result<ReadFile, String> {
        let (path, named) = match self {
            Self::Named(path) => (path, true),
            Self::Usual { home, below } => {
                let mut existing = below.iter().map(|below| home.join(below)).filter(|path| path.exists());
                let Some(path) = existing.next() else {
                    return Err(format!("there is no ~/{}", below.join(" and no ~/")));
                };
                if let Some(other) = existing.next() {
                    warn_of_two(&path, &other);
                }
                (path, false)
            }
        };
        let text = guarded.read(&path);
        Ok(ReadFile { path, named, text })
    }
}

/// Warns if the two files differ.
fn warn_of_two(used: &Path, ignored: &Path) {
    let content = |path| std::fs::read(path).ok().map(Zeroizing::new);
    if state(used) != state(ignored) && content(used) != content(ignored) {
        tracing::warn!(
            used = %used.display(),
            ignored = %ignored.display(),
            "there are two files of the same kind, and they differ; keep one of them"
        );
    }
}

impl Provide for ToolFile {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            let provider = self.provider(edge).await?;
            let mut given = provider.provide(edge).await.map_err(|error| match error {
                // The file names it: nobody else may sign in its place.
                ProvideError::NotConfigured(why) => {
                    ProvideError::Refused(format!("what {} describes: {why}", self.format.name()))
                }
                ProvideError::Failed(why) => {
                    ProvideError::Refused(format!("what {} describes: {why}", self.format.name()))
                }
                ProvideError::Unavailable(_) | ProvideError::Refused(_) => error,
            })?;
            given.provider = format!("{}/{}", self.format.name(), given.provider).into();
            Ok(given)
        })
    }

    fn files(&self, edge: &dyn SourceEnv) -> Vec<PathBuf> {
        match self.candidates(edge) {
            Ok(CandidatePaths::Named(path)) => vec![path],
            Ok(CandidatePaths::Usual { home, below }) => below.iter().map(|below| home.join(below)).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn renew_after(&self) -> Option<Duration> {
        let built = self.built().clone();
        built.and_then(|built| built.provider.renew_after())
    }

    fn explain(&self, edge: &dyn SourceEnv) -> Vec<String> {
        let built = self.built().clone();
        let file = match (&built, self.candidates(edge)) {
            (Some(built), _) => Some(built.path.display().to_string()),
            (None, Ok(candidates)) => Some(candidates.shown()),
            (None, Err(_)) => None,
        };
        let mut lines: Vec<String> = file.iter().map(|file| format!("file {file}")).collect();
        lines.extend(built.map(|built| built.provider.explain(edge)).unwrap_or_default());
        lines
    }
}
