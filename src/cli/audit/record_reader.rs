//! Reads the records of an audit log: what each caller did, and with which statements.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

use serde::Deserialize;

use super::observed_rights::{ObservedResource, ObservedRights};

/// The reader of one audit log, or of several in their order.
#[derive(Default)]
pub(super) struct RecordReader {
    /// Whether denied requests count too.
    with_denied: bool,
    /// The rights of each caller. Requests of clients without a caller have no name.
    pub(super) callers: BTreeMap<Option<String>, ObservedRights>,
    /// The number of lines that are no records.
    pub(super) unreadable: u64,
    /// The digests of the documents of each caller, by the number of the configuration.
    configurations: HashMap<u64, HashMap<String, Vec<String>>>,
    are_keys_shown: bool,
    /// The requests whose further records are expected.
    unfinished: HashMap<String, RecordOwner>,
}

/// The parts of the first record of a request that its further records lack.
#[derive(Clone)]
struct RecordOwner {
    caller: Option<String>,
    prefix: Option<String>,
    configuration: u64,
}

/// A record, with the fields that are read.
#[derive(Deserialize)]
struct AuditRecord {
    event: String,
    #[serde(default)]
    id: String,
    decision: Option<String>,
    reason: Option<String>,
    caller: Option<String>,
    prefix: Option<String>,
    not_understood: Option<String>,
    keys: Option<String>,
    part: Option<u64>,
    parts: Option<u64>,
    #[serde(default)]
    configuration: u64,
    #[serde(default)]
    permissions: Vec<RecordedPermission>,
    #[serde(default)]
    policies: Vec<RecordedPolicies>,
}

#[derive(Deserialize)]
struct RecordedPermission {
    action: String,
    resource: String,
    statement: Option<RecordedStatement>,
}

#[derive(Deserialize)]
struct RecordedStatement {
    effect: String,
    document: usize,
    statement: usize,
}

#[derive(Deserialize)]
struct RecordedPolicies {
    caller: String,
    documents: Vec<String>,
}

impl RecordReader {
    pub(super) fn new(with_denied: bool) -> Self {
        Self { with_denied, are_keys_shown: true, ..Self::default() }
    }

    /// Reads all records.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn read(&mut self, log: impl BufRead) -> io::Result<()> {
        for line in log.split(b'\n') {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<AuditRecord>(&line) {
                Ok(record) => self.add(record),
                Err(_) => self.unreadable += 1,
            }
        }
        Ok(())
    }

    fn add(&mut self, record: AuditRecord) {
        match record.event.as_str() {
            "configuration" => self.add_configuration(record),
            "decision" => self.add_decision(record),
            _ => {}
        }
    }

    fn add_configuration(&mut self, record: AuditRecord) {
        if let Some(keys) = record.keys {
            self.are_keys_shown = matches!(keys.as_str(), "plain" | "prefix");
        }
        if record.part.unwrap_or(1) == 1 {
            self.configurations.remove(&record.configuration);
        }
        let known = self.configurations.entry(record.configuration).or_default();
        known.extend(record.policies.into_iter().map(|policies| (policies.caller, policies.documents)));
    }

    fn add_decision(&mut self, record: AuditRecord) {
        let is_counted = match (record.decision.as_deref(), record.reason.as_deref()) {
            (Some("allow"), _) => true,
            (Some("deny"), Some("denied")) => self.with_denied,
            _ => false,
        };
        if !is_counted {
            return;
        }
        let part = record.part.unwrap_or(1);
        let owner = if part == 1 {
            let AuditRecord { caller, prefix, configuration, .. } = record;
            RecordOwner { caller, prefix, configuration }
        } else {
            // A log that begins in the middle of a request has only the rest of it.
            let Some(owner) = self.unfinished.remove(&record.id) else { return };
            owner
        };
        let documents = owner
            .caller
            .as_ref()
            .and_then(|caller| self.configurations.get(&owner.configuration)?.get(caller));
        let rights = self.callers.entry(owner.caller.clone()).or_default();
        rights.requests += u64::from(part == 1);
        rights.unknown += u64::from(record.not_understood.is_some());
        for RecordedPermission { action, resource, statement } in record.permissions {
            let prefix = owner.prefix.as_deref();
            if let Some(resource) = ObservedResource::parse(&resource, prefix, self.are_keys_shown) {
                rights.actions.entry(action).or_default().insert(resource);
            }
            if let Some(statement) = statement.filter(|statement| statement.effect == "Allow")
                && let Some(digest) = documents.and_then(|all| all.get(statement.document.checked_sub(1)?))
            {
                rights.used.insert((digest.clone(), statement.statement));
            }
        }
        if part < record.parts.unwrap_or(1) {
            self.unfinished.insert(record.id, owner);
        }
    }
}
