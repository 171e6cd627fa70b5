//! Files that other tools keep their access keys in: found, read again when they change, never written. What they describe is
//! built once for each state of the file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::guarded::{FileState, Guarded, state};
use super::recipe::{Mistake, Recipe};
use super::sts::Place;
use super::{Answer, Edge, Fingerprint, Provide, ProvideError};

/// What is said about the file of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tool {
    /// The file; `None` for where the tool itself keeps it.
    pub path: Option<PathBuf>,
    /// The profile or section; `None` for the one that the tool would take.
    pub profile: Option<String>,
    /// Whether a command that the file names is run.
    pub allow_process: bool,
    /// Whether a file that other users can read is refused.
    pub strict: bool,
    /// Where STS is asked, if the file does not say.
    pub place: Place,
}

/// A kind of file.
pub(super) trait Format: Send + Sync {
    /// What the vendor's libraries call it.
    fn name(&self) -> &'static str;

    /// Where the file is, if nobody says: a path that the environment names, or paths in the home directory.
    fn places(&self, edge: &dyn Edge) -> Places;

    /// What the file describes.
    fn read(&self, text: &str, tool: &Tool, edge: &dyn Edge) -> Result<Recipe, Unfit>;
}

/// Where a file may be.
pub(super) enum Places {
    /// Only there.
    Named(PathBuf),
    /// In the first of these that is there, below the home directory.
    Home(&'static [&'static str]),
    /// Nowhere: it is switched off.
    Off(&'static str),
}

/// Why a file describes no source of ours.
pub(super) enum Unfit {
    /// What was asked for is not in it, and nobody asked by name.
    Absent(String),
    /// It is wrong.
    Wrong(String),
}

impl From<Mistake> for Unfit {
    fn from(Mistake(text): Mistake) -> Self {
        Self::Wrong(text)
    }
}

/// The file of a tool, as a source.
pub(super) struct ToolFile {
    format: Box<dyn Format>,
    tool: Tool,
    guarded: Guarded,
    built: Mutex<Option<Built>>,
}

/// What a state of the file describes.
#[derive(Clone)]
struct Built {
    text: Arc<Zeroizing<String>>,
    provider: Arc<dyn Provide>,
}

impl ToolFile {
    pub(super) fn new(format: impl Format + 'static, tool: Tool) -> Self {
        let guarded = Guarded::new(tool.strict);
        Self { format: Box::new(format), tool, guarded, built: Mutex::default() }
    }

    /// The file that is to be read, and whether somebody named it. The error says why there is none.
    fn path(&self, edge: &dyn Edge) -> Result<(PathBuf, bool), String> {
        if let Some(path) = &self.tool.path {
            return Ok((path.clone(), true));
        }
        let below = match self.format.places(edge) {
            Places::Named(path) => return Ok((path, true)),
            Places::Off(variable) => return Err(format!("{variable} is true")),
            Places::Home(below) => below,
        };
        let home = edge.variable("HOME").map(PathBuf::from).ok_or("HOME is not set")?;
        let mut there = below.iter().map(|below| home.join(below)).filter(|path| path.exists());
        let Some(path) = there.next() else {
            return Err(format!("there is no ~/{}", below.join(" and no ~/")));
        };
        if let Some(other) = there.next()
            && state(&path) != state(&other)
            && std::fs::read(&path).ok().map(Zeroizing::new) != std::fs::read(&other).ok().map(Zeroizing::new)
        {
            tracing::warn!(
                used = %path.display(),
                ignored = %other.display(),
                "there are two files of the same kind, and they differ; keep one of them"
            );
        }
        Ok((path, false))
    }

    /// What the file describes now.
    fn provider(&self, edge: &dyn Edge) -> Result<Arc<dyn Provide>, ProvideError> {
        let (path, named) = self.path(edge).map_err(ProvideError::NotConfigured)?;
        let shown = path.display();
        let text = self.guarded.read(&path).map_err(|why| match (why.is_absent(), named) {
            (true, false) => ProvideError::NotConfigured(why.to_string()),
            (true | false, _) => ProvideError::Unavailable(why.to_string()),
        })?;
        if let Some(built) = &*self.built()
            && **built.text == *text
        {
            return Ok(Arc::clone(&built.provider));
        }
        let recipe = self.format.read(&text, &self.tool, edge).map_err(|unfit| match unfit {
            Unfit::Absent(why) if !named && self.tool.profile.is_none() => {
                ProvideError::NotConfigured(format!("{shown}: {why}"))
            }
            // The file is somebody else's, and may be put right.
            Unfit::Absent(why) | Unfit::Wrong(why) => ProvideError::Refused(format!("{shown}: {why}")),
        })?;
        let provider: Arc<dyn Provide> = recipe.build(self.format.name()).into();
        *self.built() = Some(Built { text: Arc::new(text), provider: Arc::clone(&provider) });
        Ok(provider)
    }

    fn built(&self) -> MutexGuard<'_, Option<Built>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provide for ToolFile {
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a> {
        Box::pin(async move {
            let provider = self.provider(edge)?;
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

    fn fingerprint(&self, edge: &dyn Edge) -> Option<Fingerprint> {
        let found: (Option<PathBuf>, FileState) = match self.path(edge) {
            Ok((path, _)) => (Some(path.clone()), state(&path)),
            Err(_) => (None, None),
        };
        Some(Fingerprint::of(&found))
    }

    fn renew_after(&self) -> Option<Duration> {
        let built = self.built().clone();
        built.and_then(|built| built.provider.renew_after())
    }

    fn explain(&self, edge: &dyn Edge) -> Vec<String> {
        let mut lines: Vec<String> =
            self.path(edge).iter().map(|(path, _)| format!("file {}", path.display())).collect();
        lines.extend(self.built().clone().map(|built| built.provider.explain(edge)).unwrap_or_default());
        lines
    }
}
