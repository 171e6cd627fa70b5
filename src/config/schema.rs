//! The keys of the file: those that this build supports, and those that are reserved for later
//! builds.

use strsim::levenshtein;

/// The keys of a section.
pub(super) struct SectionSchema {
    /// The section in the syntax of the file.
    pub(super) name: &'static str,
    /// Supported keys.
    pub(super) keys: &'static [&'static str],
    /// Keys that are part of the format but not supported by this build.
    pub(super) later: &'static [&'static str],
    /// Keys that can be set only in `[upstream]` and apply to this section too.
    pub(super) inherited: &'static [&'static str],
}

pub(super) const ROOT: SectionSchema = SectionSchema {
    name: "",
    keys: &[
        "strict_file_modes",
        "listen",
        "admin",
        "upstream",
        "route",
        "credentials",
        "limits",
        "timeouts",
        "log",
        "process",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const LISTEN: SectionSchema = SectionSchema {
    name: "[[listen]]",
    keys: &[
        "address",
        "tls",
        "domains",
        "allowed_origins",
        "cross_site_reads",
        "read_only",
        "unsigned_forms",
        "unsafe_open",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const TLS: SectionSchema = SectionSchema {
    name: "tls of [[listen]]",
    keys: &["cert_file", "key_file", "client_ca_file"],
    later: &[],
    inherited: &[],
};

pub(super) const ADMIN: SectionSchema = SectionSchema {
    name: "[admin]",
    keys: &["address", "token", "ready_when", "quit"],
    later: &[],
    inherited: &[],
};

pub(super) const UPSTREAM: SectionSchema = SectionSchema {
    name: "[upstream]",
    keys: &[
        "region",
        "internal",
        "endpoint",
        "bucket",
        "addressing",
        "signature",
        "connect",
        "ca_file",
        "credentials",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const ROUTE: SectionSchema = SectionSchema {
    name: "[[route]]",
    keys: &["match", "region", "internal", "endpoint", "bucket", "addressing", "connect", "credentials"],
    later: &[],
    inherited: &["signature", "ca_file"],
};

pub(super) const MATCH: SectionSchema =
    SectionSchema { name: "match", keys: &["host", "bucket"], later: &["prefix", "caller"], inherited: &[] };

pub(super) const STATIC: SectionSchema = SectionSchema {
    name: "credentials of type static",
    keys: &["type", "access_key_id", "access_key_secret", "security_token"],
    later: &[],
    inherited: &[],
};

pub(super) const FILE: SectionSchema =
    SectionSchema { name: "credentials of type file", keys: &["type", "path"], later: &[], inherited: &[] };

pub(super) const ASSUME_ROLE: SectionSchema = SectionSchema {
    name: "credentials of type assume_role",
    keys: &[
        "type",
        "source",
        "role_arn",
        "session_name",
        "duration",
        "policy",
        "external_id",
        "sts_endpoint",
        "sts_region",
        "sts_signature",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const OIDC: SectionSchema = SectionSchema {
    name: "credentials of type oidc",
    keys: &[
        "type",
        "role_arn",
        "oidc_provider_arn",
        "token_file",
        "session_name",
        "duration",
        "policy",
        "sts_endpoint",
        "sts_region",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const ECS: SectionSchema = SectionSchema {
    name: "credentials of type ecs",
    keys: &["type", "role_name", "endpoint", "imds_v1"],
    later: &[],
    inherited: &[],
};

pub(super) const URI: SectionSchema = SectionSchema {
    name: "credentials of type uri",
    keys: &["type", "url", "allowed_addresses", "authorization_file"],
    later: &[],
    inherited: &[],
};

pub(super) const ENV: SectionSchema = SectionSchema {
    name: "credentials of type env",
    keys: &[
        "type",
        "role_arn",
        "session_name",
        "duration",
        "policy",
        "external_id",
        "sts_endpoint",
        "sts_region",
        "assume_role_from_env",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const CHAIN: SectionSchema = SectionSchema {
    name: "credentials of type chain",
    keys: &[
        "type",
        "order",
        "pin_identity",
        "role_arn",
        "session_name",
        "duration",
        "policy",
        "external_id",
        "sts_endpoint",
        "sts_region",
        "assume_role_from_env",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const PROCESS: SectionSchema = SectionSchema {
    name: "credentials of type process",
    keys: &["type", "command", "environment", "cache"],
    later: &[],
    inherited: &[],
};

pub(super) const PROFILE: SectionSchema = SectionSchema {
    name: "credentials of type profile",
    keys: &["type", "path", "profile", "allow_process", "sts_endpoint", "sts_region"],
    later: &[],
    inherited: &[],
};

pub(super) const INI: SectionSchema = SectionSchema {
    name: "credentials of type ini",
    keys: &["type", "path", "profile", "sts_endpoint", "sts_region"],
    later: &[],
    inherited: &[],
};

pub(super) const OSSUTIL: SectionSchema = SectionSchema {
    name: "credentials of type ossutil",
    keys: &["type", "path", "profile", "allow_process", "routes", "sts_endpoint", "sts_region"],
    later: &[],
    inherited: &[],
};

/// Sources without settings.
pub(super) const PLAIN: SectionSchema =
    SectionSchema { name: "credentials of this type", keys: &["type"], later: &[], inherited: &[] };

pub(super) const TIMEOUTS: SectionSchema = SectionSchema {
    name: "[timeouts]",
    keys: &["connect", "header_read", "first_byte", "stall", "queue", "idle", "drain", "drain_delay"],
    later: &[],
    inherited: &[],
};

pub(super) const LIMITS: SectionSchema = SectionSchema {
    name: "[limits]",
    keys: &[
        "client_connections",
        "requests",
        "header_bytes",
        "body",
        "upstream_connections",
        "upstream_dials",
    ],
    later: &[],
    inherited: &[],
};

pub(super) const LOG: SectionSchema = SectionSchema {
    name: "[log]",
    keys: &["format", "level", "access", "sample", "file"],
    later: &[],
    inherited: &[],
};

pub(super) const OWN_PROCESS: SectionSchema = SectionSchema {
    name: "[process]",
    keys: &["no_new_privileges", "core_dumps", "dumpable"],
    later: &[],
    inherited: &[],
};

/// Section, old name and current name of renamed keys.
const RENAMED: [(&str, &str, &str); 2] =
    [("[process]", "core_files", "core_dumps"), ("[process]", "inspectable", "dumpable")];

/// Types of credentials that this build supports.
pub(super) const TYPES: &[&str] = &[
    "chain",
    "static",
    "env",
    "file",
    "assume_role",
    "oidc",
    "ecs",
    "uri",
    "process",
    "profile",
    "ini",
    "ossutil",
    "anonymous",
];

/// Types of credentials that are rejected until a build supports them.
pub(super) const LATER_TYPES: &[&str] = &["cloud_sso", "oauth"];

/// All sections with supported keys, except the root and those that have only `type`.
pub(super) const ALL: [&SectionSchema; 22] = [
    &LISTEN,
    &TLS,
    &ADMIN,
    &UPSTREAM,
    &ROUTE,
    &MATCH,
    &STATIC,
    &FILE,
    &ASSUME_ROLE,
    &OIDC,
    &ECS,
    &URI,
    &ENV,
    &CHAIN,
    &PROCESS,
    &PROFILE,
    &INI,
    &OSSUTIL,
    &LIMITS,
    &TIMEOUTS,
    &LOG,
    &OWN_PROCESS,
];

impl SectionSchema {
    /// Returns the current name of a renamed key.
    pub(super) fn renamed(&self, key: &str) -> Option<&'static str> {
        let is_old = |(section, old, _): &&(&str, &str, &str)| *section == self.name && *old == key;
        RENAMED.iter().find(is_old).map(|(_, _, name)| *name)
    }

    /// Returns the known key that is closest to `key`.
    pub(super) fn nearest(&self, key: &str) -> Option<&'static str> {
        nearest(key, self.keys.iter().chain(self.inherited))
    }

    /// Returns another section that has this key.
    pub(super) fn home(&self, key: &str) -> Option<&'static str> {
        let has = |schema: &&&Self| schema.name != self.name && schema.keys.contains(&key);
        ALL.iter().find(has).map(|schema| schema.name)
    }
}

/// Returns whether any type of credentials has this key.
pub(super) fn is_key_of_credentials(key: &str) -> bool {
    let all =
        [&STATIC, &FILE, &ASSUME_ROLE, &OIDC, &ECS, &URI, &ENV, &CHAIN, &PROCESS, &PROFILE, &INI, &OSSUTIL];
    all.iter().any(|schema| schema.keys.contains(&key))
}

/// Returns the closest word with a distance of at most two edits from `text`.
pub(super) fn nearest<'a>(
    text: &str,
    words: impl IntoIterator<Item = &'a &'static str>,
) -> Option<&'static str> {
    let close = |word: &&'static str| {
        let distance = levenshtein(text, word);
        (distance <= 2 && distance < word.len()).then_some((distance, *word))
    };
    let best = words.into_iter().filter_map(close).min_by_key(|(d, _)| *d);
    best.map(|(_, word)| word)
}
