//! The rights of callers: `allow` and `policy`, and the ceiling on what the files of a directory may
//! grant.

use std::path::Path;

use super::caller_schema::{ALLOW_RULE, CEILING};
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::{ConfigErrorKind, ConfigWarning};
use super::layer::SettingLayer;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::{ConfigDocument, ConfigFile, ConfigSection};
use crate::oss::Bucket;
use crate::policy::{
    AllowRule, AllowedGroup, CallerRights, DocumentOptions, PolicyDocument, everything, read_only, translate,
};

/// What the rights of a caller depend on, besides its section.
#[derive(Clone, Copy)]
pub(super) struct RightsContext<'a> {
    pub(super) secrets: &'a SecretResolver<'a>,
    /// The account that owns the buckets, if it is configured.
    pub(super) account: Option<&'a str>,
    pub(super) ceiling: Option<&'a AccessCeiling>,
}

/// A value of `allow` that is a word, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AllowWord {
    Read,
    Everything,
}

/// The highest rights that the files of a directory may grant.
#[derive(Clone, Debug)]
pub(super) struct AccessCeiling {
    pub(super) rights: CallerRights,
    word: AllowWord,
    /// The origin, for errors.
    at: ValueOrigin,
}

impl AccessCeiling {
    /// Reads the ceiling from the text of its file. Returns `None` after it has reported an error.
    pub(super) fn read(path: &Path, text: &str, report: &mut ConfigReport) -> Option<Self> {
        const LAYERS: &[SettingLayer] = &[];
        let document = ConfigDocument::new(Some(ConfigFile { path, text }), LAYERS);
        let before = report.count();
        let table = document.parse(report);
        if report.count() > before {
            return None;
        }
        let root = document.top(table.get_ref());
        root.check(&CEILING, report);
        if !root.has("allow") {
            let problem = ConfigErrorKind::Missing("write allow = \"read\" or allow = \"everything\"");
            report.error(&root.at("allow"), problem);
        }
        let allow = root.word("allow", &ALLOW, report)?;
        Some(Self { rights: allow.value.rights(), word: allow.value, at: allow.at })
    }

    /// Reports a word above the ceiling.
    fn check(&self, given: &SpannedValue<AllowWord>, report: &mut ConfigReport) {
        // guard: access-ceiling
        if given.value > self.word {
            let [allowed, max] = [given.value, self.word].map(AllowWord::as_str);
            report.error(&given.at, ConfigErrorKind::AboveCeiling(allowed, max, self.at.to_string()));
        }
    }
}

impl AllowWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Everything => "everything",
        }
    }

    fn rights(self) -> CallerRights {
        match self {
            Self::Read => CallerRights::read(),
            Self::Everything => CallerRights::everything(),
        }
    }

    /// Returns the text of the document with the same rights.
    fn document(self) -> String {
        match self {
            Self::Read => read_only().to_string(),
            Self::Everything => everything().to_string(),
        }
    }
}

/// Reads the rights of a caller. All documents apply together.
pub(super) fn read_rights(
    section: &ConfigSection<'_>,
    context: RightsContext<'_>,
    report: &mut ConfigReport,
) -> CallerRights {
    let mut texts = Vec::new();
    let mut word = None;
    if section.is_list("allow") {
        let rules: Vec<AllowRule> =
            section.children("allow", report).iter().filter_map(|rule| read_rule(rule, report)).collect();
        if !rules.is_empty() {
            texts.push(DocumentText::new(section.at("allow"), "allow", translate(&rules).to_string()));
        }
    } else if let Some(given) = section.word("allow", &ALLOW, report) {
        if let Some(ceiling) = context.ceiling {
            ceiling.check(&given, report);
        }
        word = Some(given);
    }
    let policies = section.texts("policy", report);
    let has_policies = !policies.is_empty();
    for (index, given) in policies.into_iter().enumerate() {
        if let Some(text) = policy_text(&given, context.secrets, report) {
            let is_file = given.value.starts_with(FILE);
            let name = if is_file { given.value } else { format!("policy {}", index + 1) };
            texts.push(DocumentText::new(given.at, &name, text));
        }
    }
    let rights = match word {
        Some(word) if !has_policies => word.value.rights(),
        _ => {
            texts.extend(word.map(|word| DocumentText::new(word.at.clone(), "allow", word.value.document())));
            parse_documents(texts, context.account, report)
        }
    };
    match context.ceiling {
        Some(ceiling) => rights.below(&ceiling.rights),
        None => rights,
    }
}

/// The text of a document, with its name and its origin.
struct DocumentText {
    at: ValueOrigin,
    name: String,
    text: String,
}

impl DocumentText {
    fn new(at: ValueOrigin, name: &str, text: String) -> Self {
        Self { at, name: name.to_owned(), text }
    }
}

/// Reads whether a caller may let OSS call other servers, which a team cannot decide itself.
pub(super) fn read_callbacks(
    section: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> bool {
    let callbacks = section.truth("callbacks", report).is_some_and(|given| given.value);
    // guard: callbacks-elsewhere
    if secrets.is_confined() && callbacks {
        report.error(&section.at("callbacks"), ConfigErrorKind::CallbacksElsewhere);
    }
    callbacks
}

fn parse_documents(
    texts: Vec<DocumentText>,
    account: Option<&str>,
    report: &mut ConfigReport,
) -> CallerRights {
    let options = DocumentOptions { account, session_policy: false };
    let mut documents = Vec::new();
    for DocumentText { at, name, text } in texts {
        match PolicyDocument::parse(&text, options) {
            Ok(document) => documents.push(document.named(&name)),
            Err(error) => report.error(&at, ConfigErrorKind::PolicyDocument(error.to_string())),
        }
    }
    if documents.is_empty() { CallerRights::nothing() } else { CallerRights::of_documents(documents) }
}

/// Returns the text of a document: the value itself, or that of the file to which it refers.
fn policy_text(
    given: &SpannedValue<String>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<String> {
    if given.value.trim_start().starts_with('{') {
        return Some(given.value.clone());
    }
    let Some(path) = given.value.strip_prefix(FILE).filter(|path| !path.is_empty()) else {
        report.error(&given.at, ConfigErrorKind::PolicyReference);
        return None;
    };
    match secrets.public_file(Path::new(path)) {
        Ok(text) => Some(text),
        Err(error) => {
            let problem = ConfigErrorKind::PolicyFile(path.to_owned(), error.to_string());
            report.error(&given.at, problem);
            None
        }
    }
}

fn read_rule(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<AllowRule> {
    section.check(&ALLOW_RULE, report);
    let mut groups = Vec::new();
    for given in section.texts("group", report) {
        match AllowedGroup::NAMES.iter().find(|(name, _)| *name == given.value) {
            Some((_, group)) => groups.push(*group),
            None => {
                let names = AllowedGroup::NAMES.map(|(name, _)| name).join(", ");
                report.error(&given.at, ConfigErrorKind::Word(given.value, names));
            }
        }
    }
    if groups.is_empty() {
        report.error(&section.at("group"), ConfigErrorKind::Missing("write group = [\"read\", \"list\"]"));
    }
    if !section.has("bucket") {
        report.error(&section.at("bucket"), ConfigErrorKind::Missing("write bucket = \"BUCKET\""));
    }
    let prefix = section.text("prefix", report);
    if let Some(given) = &prefix {
        if given.value.contains(['*', '?']) || given.value.contains("${") {
            report.error(&given.at, ConfigErrorKind::PrefixWildcard);
        } else if !given.value.is_empty() && !given.value.ends_with('/') {
            report.warn(&given.at, &ConfigWarning::OpenPrefix(given.value.clone()));
        }
    }
    let bucket =
        section.parsed("bucket", |text| Bucket::parse(text).map_err(ConfigErrorKind::from), report)?;
    let prefix = prefix.map(|given| given.value).unwrap_or_default();
    (!groups.is_empty()).then_some(AllowRule { groups, bucket: bucket.value, prefix })
}

/// The beginning of a reference to a file.
const FILE: &str = "file:";
/// The words of `allow`.
const ALLOW: [(&str, AllowWord); 2] = [("everything", AllowWord::Everything), ("read", AllowWord::Read)];
