//! The table of settings: every key of the file with its type, its default, its description and
//! the flag that overrides it. Those of callers are in [`super::caller_schema`], those of
//! credentials in [`super::provider_settings`].

use super::caller_schema::{
    CALLER, CALLER_CERTIFICATE, CALLER_JWT, CALLER_KEY, CALLER_LIMITS, CALLERS_DIR, HAND_OUT, SEALING,
};
use super::flag_setting::FlagSetting;
use super::provider_settings::{
    ASSUME_ROLE, CHAIN, ECS, ENV, FILE, INI, OIDC, OSSUTIL, PROCESS, PROFILE, STATIC, URI,
};
use super::schema::{DefaultValue, RenamedKey, SectionSchema, SettingSpec, ValueKind};

pub(super) const ROOT: SectionSchema = SectionSchema {
    groups: &[&[
        SettingSpec::boolean(
            "strict_file_modes",
            false,
            "reject secret files that other users can read; otherwise log a warning",
        ),
        SettingSpec::list(
            "revoked",
            "ids of keys and names of callers that are rejected, wherever they are configured",
        ),
        SettingSpec::optional_text(
            "account",
            "none",
            "the id of the account that owns the buckets: the only one that resources in `policy` may name",
        ),
        SettingSpec::optional_text("callers_file", "none", "a file of further `[[caller]]` sections"),
        SettingSpec::new(
            "callers_dir",
            ValueKind::TextOrTable(&CALLERS_DIR),
            DefaultValue::Described("none"),
            "a directory of such files, one for each team: all `*.toml` whose names do not begin with `.`; its path, or a table with the keys below",
        ),
        SettingSpec::of_section("listen", ValueKind::TableList(&LISTEN)),
        SettingSpec::of_section("caller", ValueKind::TableList(&CALLER)),
        SettingSpec::of_section("sealing", ValueKind::Table(&SEALING)),
        SettingSpec::of_section("hand_out", ValueKind::Table(&HAND_OUT)),
        SettingSpec::of_section("admin", ValueKind::Table(&ADMIN)),
        SettingSpec::of_section("upstream", ValueKind::Table(&UPSTREAM)),
        SettingSpec::of_section("route", ValueKind::TableList(&ROUTE)),
        SettingSpec::of_section("credentials", ValueKind::Providers),
        SettingSpec::of_section("limits", ValueKind::Table(&LIMITS)),
        SettingSpec::of_section("timeouts", ValueKind::Table(&TIMEOUTS)),
        SettingSpec::of_section("log", ValueKind::Table(&LOG)),
        SettingSpec::of_section("audit", ValueKind::Table(&AUDIT)),
        SettingSpec::of_section("process", ValueKind::Table(&OWN_PROCESS)),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const LISTEN: SectionSchema = SectionSchema {
    name: "[[listen]]",
    groups: &[&[
        SettingSpec::text(
            "address",
            "127.0.0.1:8770",
            "`HOST:PORT`, `unix:PATH`, or `systemd:NAME` for the sockets with `FileDescriptorName=NAME`",
        )
        .with_flag(FlagSetting::Listen),
        SettingSpec::text(
            "serve",
            "objects",
            "`\"objects\"`, or `\"credentials\"` for a listener that serves access keys to callers, and no objects",
        ),
        SettingSpec::new(
            "tls",
            ValueKind::Table(&TLS),
            DefaultValue::Described("none"),
            "serve TLS; an inline table with the keys below",
        ),
        SettingSpec::list(
            "domains",
            "base domains for buckets: `BUCKET.<domain>/KEY` and `<domain>/BUCKET/KEY`",
        )
        .with_flag(FlagSetting::Domain),
        SettingSpec::list("allowed_origins", "origins of web pages that may send requests"),
        SettingSpec::boolean(
            "cross_site_reads",
            false,
            "let images, scripts and links of any site load objects (GET and HEAD without an `Origin`). The Host must be in `domains`, in `match.host` of a route, or a configured endpoint. IP addresses, `localhost` and OSS endpoint names are excluded",
        ),
        SettingSpec::boolean(
            "proxy_protocol",
            false,
            "each connection begins with a PROXY protocol header (version 1 or 2), in which a load balancer names its client. Not for Unix sockets",
        ),
        SettingSpec::list(
            "trusted_proxies",
            "addresses and networks of these load balancers, such as `\"10.0.0.0/8\"`. Required with `proxy_protocol`; connections of others are closed",
        ),
        SettingSpec::boolean(
            "read_only",
            false,
            "allow reads only: GET, HEAD, and POST queries such as SelectObject and DoMetaQuery. A POST with an unknown parameter is rejected",
        )
        .with_flag(FlagSetting::ReadOnly),
        SettingSpec::boolean(
            "unsigned_forms",
            false,
            "forward form uploads and preflights unsigned instead of rejecting them",
        ),
        SettingSpec::boolean(
            "verified_forms",
            false,
            "accept form uploads that are signed with access keys of callers, and sign them again. Requires `\"key\"` in `identify`",
        ),
        SettingSpec::boolean(
            "unsafe_open",
            false,
            "allow a non-loopback address, or `proxy_protocol`: any client that can connect can use the credentials. Not needed if there are callers and none is open",
        )
        .with_flag(FlagSetting::UnsafeOpen),
        SettingSpec::list(
            "identify",
            "the kinds of identity that clients may have: `\"key\"` and `\"token\"`, an access key and a bearer token of a caller; `\"jwt\"`, a JSON Web Token; `\"certificate\"`, a client certificate, which requires `client_ca_file`; `\"uid\"`, the user or group at the other end of a Unix socket. Required if there are callers and none is open",
        ),
        SettingSpec::boolean(
            "unsafe_plain",
            false,
            "accept tokens and handed-out keys, and hand out keys, on a non-loopback address without TLS, where others can read them",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const TLS: SectionSchema = SectionSchema {
    name: "tls of [[listen]]",
    groups: &[&[
        SettingSpec::optional_text("cert_file", "required", "the certificate, PEM"),
        SettingSpec::optional_text("key_file", "required", "its key, PEM"),
        SettingSpec::optional_text(
            "client_ca_file",
            "none",
            "clients must present a certificate of this authority; revocation lists (PEM, `X509 CRL`) in the same file apply, see below",
        ),
        SettingSpec::optional_text(
            "client_crl_file",
            "none",
            "more revocation lists (PEM) of these authorities; requires `client_ca_file`",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const ADMIN: SectionSchema = SectionSchema {
    name: "[admin]",
    groups: &[&[
        SettingSpec::text(
            "address",
            "127.0.0.1:8771",
            "`HOST:PORT`, `unix:PATH`, or `\"off\"`; a non-loopback address requires `token`",
        )
        .with_flag(FlagSetting::AdminListen),
        SettingSpec::optional_text("token", "none", "the bearer token for all paths that are not open"),
        SettingSpec::text(
            "ready_when",
            "any",
            "ready when `\"any\"` of the signing providers is usable, or `\"all\"` of them",
        ),
        SettingSpec::boolean("quit", false, "let `POST /-/quit` shut down the process"),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const UPSTREAM: SectionSchema = SectionSchema {
    name: "[upstream]",
    groups: &[&[
        SettingSpec::optional_text(
            "region",
            "none",
            "the region of the buckets; requests are signed for it, it implies the endpoint, and it overrides the region in the endpoint's name",
        )
        .with_flag(FlagSetting::Region),
        SettingSpec::boolean(
            "internal",
            false,
            "the region's internal endpoint; an `endpoint` of a flag or variable overrides the file's `internal`",
        )
        .with_flag(FlagSetting::Internal),
        SettingSpec::optional_text("endpoint", "the region's", "the endpoint to use instead: scheme, host and port")
            .with_flag(FlagSetting::Endpoint),
        SettingSpec::optional_text(
            "bucket",
            "none",
            "the only bucket of the upstream; requests that name another are rejected, and the whole path is the key",
        )
        .with_flag(FlagSetting::Bucket),
        SettingSpec::optional_text(
            "addressing",
            "`\"virtual\"`; `\"path\"` for an IP address, `localhost` and PrivateLink",
            "`\"virtual\"`, `\"path\"` or `\"cname\"`: how the bucket is named to OSS",
        ),
        SettingSpec::text("signature", "v4", "`\"v4\"` or `\"v1\"`").with_flag(FlagSetting::Signature),
        SettingSpec::optional_text(
            "connect",
            "none",
            "connect to this address instead; Host, TLS server name and signature do not change",
        ),
        SettingSpec::optional_text(
            "ca_file",
            "the host's",
            "CA certificates to trust instead of the host's. This file is watched for changes; the host's are read again by each reload",
        )
        .with_flag(FlagSetting::CaFile),
        SettingSpec::boolean(
            "tell_upstream",
            false,
            "name the caller in the `User-Agent` of requests to OSS, as `caller/NAME`. OSS writes it to its access log. Such words of the client are removed",
        ),
        SettingSpec::text("credentials", "default", "the `[credentials.NAME]` that signs"),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const ROUTE: SectionSchema = SectionSchema {
    name: "[[route]]",
    groups: &[&[
        SettingSpec::new(
            "match",
            ValueKind::Table(&MATCH),
            DefaultValue::Described("required"),
            "the condition; all of the keys below that are set must match",
        ),
        SettingSpec::optional_text(
            "region",
            "`[upstream]`'s, if none of the six is set",
            "as in `[upstream]`",
        ),
        SettingSpec::new(
            "internal",
            ValueKind::Boolean,
            DefaultValue::Described("likewise"),
            "as in `[upstream]`",
        ),
        SettingSpec::optional_text("endpoint", "likewise", "as in `[upstream]`"),
        SettingSpec::optional_text("bucket", "likewise", "as in `[upstream]`"),
        SettingSpec::optional_text(
            "addressing",
            "likewise; for an endpoint other than OSS's own, `[upstream]`'s",
            "as in `[upstream]`; `\"cname\"` for the custom domain of a bucket",
        ),
        SettingSpec::optional_text("connect", "likewise", "as in `[upstream]`"),
        SettingSpec::optional_text("credentials", "`[upstream]`'s", "the `[credentials.NAME]` that signs"),
    ]],
    inherited: &["signature", "ca_file", "tell_upstream"],
    ..SectionSchema::EMPTY
};

pub(super) const MATCH: SectionSchema = SectionSchema {
    name: "match",
    groups: &[&[
        SettingSpec::optional_text("host", "any", "the Host; `*` matches any sequence of characters"),
        SettingSpec::optional_text("bucket", "any", "the bucket, likewise"),
        SettingSpec::optional_text("caller", "any", "the name of the caller, likewise"),
    ]],
    later: &["prefix"],
    ..SectionSchema::EMPTY
};

pub(super) const LIMITS: SectionSchema = SectionSchema {
    name: "[limits]",
    groups: &[&[
        SettingSpec::number("client_connections", 10_000, "client connections, in total"),
        SettingSpec::number("requests", 4096, "requests in flight per worker; further requests get 503"),
        SettingSpec::size(
            "header_bytes",
            "64KiB",
            "the size of a request head in HTTP/1.1 form; a larger one gets 431",
        ),
        SettingSpec::size("body", "5GiB", "the size of a request body; a larger one gets 400"),
        SettingSpec::new(
            "caller",
            ValueKind::Table(&CALLER_LIMITS),
            DefaultValue::Described("none"),
            "the limits of each caller that does not set its own",
        ),
        SettingSpec::number(
            "upstream_connections",
            256,
            "connections in use per destination and worker. All destinations together may have four times as many. Connections that were still waiting when an unresponsive upstream recovered do not count",
        ),
        SettingSpec::number(
            "upstream_dials",
            32,
            "connection attempts in progress per destination and worker. All destinations together may have four times as many",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const TIMEOUTS: SectionSchema = SectionSchema {
    name: "[timeouts]",
    groups: &[&[
        SettingSpec::duration("connect", "5s", "to connect to OSS, including TLS"),
        SettingSpec::duration(
            "header_read",
            "10s",
            "to read the head of a client's request, from its first byte",
        ),
        SettingSpec::duration(
            "first_byte",
            "60s",
            "until the response from OSS begins, from the last byte of the request. At least five minutes for copies, the end of a multipart upload, restore and select",
        ),
        SettingSpec::duration("stall", "60s", "how long either side may be idle during a body"),
        SettingSpec::duration(
            "queue",
            "5s",
            "how long a request waits for a connection to OSS, and before that for the limits of its caller",
        ),
        SettingSpec::duration("idle", "50s", "how long an idle connection is kept open"),
        SettingSpec::duration("drain", "25s", "how long requests in flight may run after TERM"),
        SettingSpec::duration(
            "drain_delay",
            "0s",
            "how long requests are still accepted after TERM, before `drain` starts",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const LOG: SectionSchema = SectionSchema {
    name: "[log]",
    groups: &[&[
        SettingSpec::text(
            "format",
            "auto",
            "text on a terminal and JSON elsewhere; or `\"text\"`, `\"json\"`",
        )
        .with_flag(FlagSetting::LogFormat),
        SettingSpec::text("level", "info", "`error`, `warn`, `info`, `debug` or `trace`")
            .with_flag(FlagSetting::LogLevel),
        SettingSpec::boolean("access", true, "one event for each request"),
        SettingSpec::number("sample", 1, "log one in this many successful requests"),
        SettingSpec::optional_text("file", "standard error", "the file to write to; USR1 reopens it")
            .needing_restart(),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const AUDIT: SectionSchema = SectionSchema {
    name: "[audit]",
    groups: &[&[
        SettingSpec::optional_text(
            "sink",
            "no audit log",
            "the destination: `file:PATH`, which USR1 reopens, `stdout`, `unix:PATH` (a stream), `tcp:HOST:PORT`, or `syslog` (`syslog:PATH` for a socket other than `/dev/log`)",
        )
        .needing_restart(),
        SettingSpec::text("format", "json", "`\"json\"`, or `\"ocsf\"` for API Activity events of OCSF 1.4.0")
            .needing_restart(),
        SettingSpec::text(
            "keys",
            "plain",
            "the form of object keys: `\"plain\"`, `\"prefix\"` (up to the last slash), `\"hash\"` (an HMAC-SHA256 with `hash_key`), or `\"none\"`",
        )
        .needing_restart(),
        SettingSpec::optional_text("hash_key", "none", "the key of the hashes; at least 32 bytes")
            .needing_restart(),
        SettingSpec::text(
            "on_failure",
            "block",
            "`\"block\"`: a request is sent to OSS when its record is written (a file: on the disk), and gets 503 if that takes more than 5 s. `\"drop\"`: requests do not wait, and records that cannot be written are counted",
        )
        .needing_restart(),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const OWN_PROCESS: SectionSchema = SectionSchema {
    name: "[process]",
    groups: &[&[
        SettingSpec::boolean(
            "no_new_privileges",
            true,
            "the process cannot gain privileges by executing a program",
        )
        .needing_restart(),
        SettingSpec::boolean("core_dumps", false, "the system may write a core dump if the process crashes")
            .needing_restart(),
        SettingSpec::boolean(
            "dumpable",
            false,
            "other processes of its user may read its memory and environment, and trace it",
        )
        .needing_restart(),
    ]],
    renamed: &[
        RenamedKey { old: "core_files", new: "core_dumps" },
        RenamedKey { old: "inspectable", new: "dumpable" },
    ],
    ..SectionSchema::EMPTY
};

/// The sections in which a misplaced key is looked up, in this order.
const SECTIONS: &[&SectionSchema] = &[
    &LISTEN,
    &TLS,
    &CALLERS_DIR,
    &CALLER,
    &CALLER_KEY,
    &SEALING,
    &CALLER_LIMITS,
    &CALLER_CERTIFICATE,
    &CALLER_JWT,
    &HAND_OUT,
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
    &AUDIT,
    &OWN_PROCESS,
];

/// A key outside the routes and the credentials, which has at most one effective value.
pub(super) struct SingleSetting {
    /// The key with its section. Listeners are numbered, and this is a key of the first:
    /// `listen[0].address`.
    pub(super) path: String,
    pub(super) spec: &'static SettingSpec,
}

/// Returns the keys outside the routes and the credentials, in the order of the table.
pub(super) fn single_settings() -> Vec<SingleSetting> {
    let mut all = Vec::new();
    for spec in ROOT.settings() {
        let section = match spec.kind {
            ValueKind::Table(_) => spec.key.to_owned(),
            ValueKind::TableList(_) => format!("{}[0]", spec.key),
            ValueKind::Providers => continue,
            ValueKind::Text
            | ValueKind::Boolean
            | ValueKind::Number
            | ValueKind::Duration
            | ValueKind::Size
            | ValueKind::TextList
            | ValueKind::TextOrTable(_)
            | ValueKind::TextOrTableList(_) => {
                all.push(SingleSetting { path: spec.key.to_owned(), spec });
                continue;
            }
        };
        let inside = spec.section().into_iter().flat_map(|schema| schema.settings());
        all.extend(inside.map(|spec| SingleSetting { path: format!("{section}.{}", spec.key), spec }));
    }
    all
}

/// Returns the default of the key that a flag overrides.
#[cfg(test)]
pub(crate) fn flag_default(flag: FlagSetting) -> Option<DefaultValue> {
    let spec = single_settings().into_iter().map(|setting| setting.spec).find(|spec| spec.flag == Some(flag));
    spec.map(|spec| spec.default)
}

/// Returns the first section, other than `schema`, that has this key.
pub(super) fn home(key: &str, schema: &SectionSchema) -> Option<&'static str> {
    let has = |other: &&&SectionSchema| other.name != schema.name && other.setting(key).is_some();
    SECTIONS.iter().find(has).map(|schema| schema.name)
}
