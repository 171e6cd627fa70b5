//! The callers of a configuration by their files, and the files that cannot be used.
//!
//! A name or an identity belongs to one file: the one that has it in the running configuration. At
//! the start, the main file has precedence, then the order of the files. Another file that claims it
//! is broken. A broken file keeps its previous callers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::diagnostics::{ConfigErrors, ConfigReport};
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use crate::caller::{CallerOrigin, CallerSettings, IdentityClaim};
use crate::policy::CallerRights;

/// The callers of a configuration by their files.
#[derive(Debug, Default)]
pub(crate) struct CallerSources {
    /// The callers of the main file.
    pub(super) main: SharedCallers,
    /// The other files in the order of precedence.
    pub(super) files: Vec<CallersFile>,
    /// The directory, if it cannot be listed.
    pub(super) unlisted: Option<UnlistedDirectory>,
    pub(super) rules: KeptCallerRules,
}

/// Callers that two configurations can share.
pub(super) type SharedCallers = Arc<[Arc<CallerSettings>]>;

/// A file of callers.
#[derive(Debug)]
pub(crate) struct CallersFile {
    name: Arc<str>,
    group: FileGroup,
    /// The callers as read, or the errors.
    read: Result<SharedCallers, String>,
    /// The callers that are served: those that were read, or those that the file had before.
    served: SharedCallers,
    /// The errors because of which the callers are not those that were read.
    fault: Option<String>,
}

/// The setting that names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileGroup {
    /// `callers_file`.
    Single,
    /// `callers_dir`.
    Directory,
}

/// A directory of callers that cannot be listed.
#[derive(Debug)]
pub(crate) struct UnlistedDirectory {
    /// The errors.
    pub(super) fault: String,
}

/// The rules of the main file for the callers that a broken file had before.
#[derive(Debug, Default)]
pub(super) struct KeptCallerRules {
    /// The names and ids that are rejected.
    pub(super) revoked: HashSet<String>,
    /// The ids of configured credentials among those of callers.
    pub(super) real_ids: HashSet<String>,
    /// The highest access in files of the directory.
    pub(super) ceiling: Option<CallerRights>,
}

/// A file of callers that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenCallersFile {
    /// The errors, one per line.
    pub(crate) fault: String,
    /// True if callers that the file had before are served.
    pub(crate) has_callers: bool,
}

impl CallersFile {
    pub(super) fn new(name: Arc<str>, group: FileGroup, read: Result<SharedCallers, String>) -> Self {
        Self { name, group, read, served: SharedCallers::default(), fault: None }
    }

    fn break_with(&mut self, fault: String, before: Option<&Self>) {
        self.fault = Some(fault);
        self.served = before.map_or_else(SharedCallers::default, |before| Arc::clone(&before.served));
    }
}

impl CallerSources {
    /// Determines the callers of each file, after those of the running configuration if there is
    /// one.
    ///
    /// # Errors
    /// If the main file claims what another file has.
    pub(crate) fn settle(&mut self, running: Option<&Self>) -> Result<(), ConfigErrors> {
        self.keep_unlisted(running);
        let before: HashMap<&str, &CallersFile> =
            running.into_iter().flat_map(|running| &running.files).map(|file| (&*file.name, file)).collect();
        for file in &mut self.files {
            match file.read.clone() {
                Ok(callers) => (file.served, file.fault) = (callers, None),
                Err(fault) => file.break_with(fault, before.get(&*file.name).copied()),
            }
        }
        loop {
            let conflicts = self.conflicts(running)?;
            if conflicts.is_empty() {
                return Ok(());
            }
            for ClaimConflict { file, fault } in conflicts {
                let file = &mut self.files[file];
                // Callers that were kept conflict with no others, and this ends the loop in any case.
                let kept = before.get(&*file.name).copied().filter(|_| file.fault.is_none());
                file.break_with(fault, kept);
            }
        }
    }

    /// Returns the callers that are served.
    pub(crate) fn served(&self) -> Vec<Arc<CallerSettings>> {
        let mut served = self.main.to_vec();
        for file in &self.files {
            if file.fault.is_none() {
                served.extend(file.served.iter().cloned());
            } else {
                served.extend(file.served.iter().filter_map(|caller| self.rules.kept(caller, file.group)));
            }
        }
        served
    }

    /// Returns the files that cannot be used.
    pub(crate) fn broken(&self) -> Vec<BrokenCallersFile> {
        let of_file = |file: &CallersFile| {
            let has_callers = !file.served.is_empty();
            file.fault.clone().map(|fault| BrokenCallersFile { fault, has_callers })
        };
        let mut broken: Vec<BrokenCallersFile> = self.files.iter().filter_map(of_file).collect();
        if let Some(UnlistedDirectory { fault }) = &self.unlisted {
            // The directory counts once, instead of its files.
            let has_callers = broken.iter().any(|file| file.fault == *fault && file.has_callers);
            broken.retain(|file| file.fault != *fault);
            broken.push(BrokenCallersFile { fault: fault.clone(), has_callers });
        }
        broken
    }

    /// Returns whether the callers of a file are unknown.
    pub(super) fn is_incomplete(&self) -> bool {
        self.unlisted.is_some() || self.files.iter().any(|file| file.read.is_err())
    }

    /// If the directory cannot be listed, assumes that it has the files that it had before.
    fn keep_unlisted(&mut self, running: Option<&Self>) {
        let Some(UnlistedDirectory { fault }) = &self.unlisted else { return };
        self.files.retain(|file| file.group == FileGroup::Single);
        let before = running.into_iter().flat_map(|running| &running.files);
        let before = before.filter(|file| file.group == FileGroup::Directory);
        let copy = |file: &CallersFile| {
            CallersFile::new(Arc::clone(&file.name), FileGroup::Directory, Err(fault.clone()))
        };
        self.files.extend(before.map(copy));
    }

    /// Returns the files that claim what another one has, each with its errors.
    fn conflicts(&self, running: Option<&Self>) -> Result<Vec<ClaimConflict>, ConfigErrors> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let mut owners: HashMap<IdentityClaim<'_>, ClaimOwner<'_>> = HashMap::new();
        // guard: first-owner-keeps
        if let Some(running) = running {
            self.claim_again(running, &mut owners);
        }
        let mut conflicts = Vec::new();
        for (source, callers) in self.sources() {
            let mut report = ConfigReport::default();
            for caller in callers {
                for claim in IdentityClaim::all(caller) {
                    let owner = owners.entry(claim).or_insert(ClaimOwner { source, at: &caller.origin });
                    // guard: one-owner
                    if owner.source != source {
                        let problem = ConfigErrorKind::ClaimInUse(claim.to_string(), owner.at.to_string());
                        report.error(&section_of(&caller.origin), problem);
                    }
                }
            }
            match (report.finish().errors, source) {
                (None, _) => {}
                (Some(errors), None) => return Err(errors),
                (Some(errors), Some(file)) => {
                    conflicts.push(ClaimConflict { file, fault: errors.to_string() })
                }
            }
        }
        Ok(conflicts)
    }

    /// Gives each file what it has in the running configuration and still claims.
    fn claim_again<'a>(&'a self, running: &'a Self, owners: &mut HashMap<IdentityClaim<'a>, ClaimOwner<'a>>) {
        let mut before: HashMap<IdentityClaim<'_>, Option<&str>> = HashMap::new();
        for (source, callers) in running.sources() {
            let name = source.map(|file| &*running.files[file].name);
            let claims = callers.iter().flat_map(|caller| IdentityClaim::all(caller));
            before.extend(claims.map(|claim| (claim, name)));
        }
        for (source, callers) in self.sources() {
            let name = source.map(|file| &*self.files[file].name);
            for caller in callers {
                let claims = IdentityClaim::all(caller);
                let claims = claims.into_iter().filter(|claim| before.get(claim) == Some(&name));
                owners.extend(claims.map(|claim| (claim, ClaimOwner { source, at: &caller.origin })));
            }
        }
    }

    /// Iterates over the callers of the main file, then over those of each file with its position.
    fn sources(&self) -> impl Iterator<Item = (Option<usize>, &[Arc<CallerSettings>])> {
        let files = self.files.iter().enumerate();
        [(None, &*self.main)].into_iter().chain(files.map(|(file, callers)| (Some(file), &*callers.served)))
    }
}

/// The file that has a name or an identity.
struct ClaimOwner<'a> {
    /// The position of the file; `None` for the main file.
    source: Option<usize>,
    /// The section of the caller.
    at: &'a CallerOrigin,
}

/// A file that claims what another one has.
struct ClaimConflict {
    /// The position of the file.
    file: usize,
    fault: String,
}

impl KeptCallerRules {
    /// Returns a caller that a broken file had before, as far as the main file permits it.
    fn kept(&self, caller: &Arc<CallerSettings>, group: FileGroup) -> Option<Arc<CallerSettings>> {
        // guard: kept-caller-revoked
        if self.revoked.contains(&caller.name) {
            return None;
        }
        let is_valid = |id: &str| !self.revoked.contains(id) && !self.real_ids.contains(id);
        let everything = CallerRights::everything();
        let ceiling = self.ceiling.as_ref().filter(|_| group == FileGroup::Directory).unwrap_or(&everything);
        // guard: kept-caller-limits
        if caller.rights == caller.rights.below(ceiling) && caller.keys.iter().all(|key| is_valid(&key.id)) {
            return Some(Arc::clone(caller));
        }
        Some(Arc::new(caller.restricted(ceiling, is_valid)))
    }
}

fn section_of(origin: &CallerOrigin) -> ValueOrigin {
    ValueOrigin::File { file: Arc::clone(&origin.file), line: Some(origin.line), key: "caller".to_owned() }
}
