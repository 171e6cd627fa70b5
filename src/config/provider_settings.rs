//! The table of settings of credentials: the keys of `[credentials.NAME]` for each type.

use super::schema::{DefaultValue, SectionSchema, SettingSpec, ValueKind};

/// A type of credentials and its keys.
#[derive(Clone, Copy)]
pub(super) struct ProviderSchema {
    /// The value of the key `type`.
    pub(super) kind: &'static str,
    pub(super) provider_type: ProviderType,
    pub(super) schema: &'static SectionSchema,
}

/// The types of credentials that this build supports.
#[derive(Clone, Copy)]
pub(super) enum ProviderType {
    Chain,
    Static,
    Env,
    File,
    AssumeRole,
    Oidc,
    Ecs,
    Uri,
    Process,
    Profile,
    Ini,
    Ossutil,
    Anonymous,
}

/// The supported types of credentials with their keys.
pub(super) const PROVIDERS: [ProviderSchema; 13] = [
    ProviderSchema { kind: "chain", provider_type: ProviderType::Chain, schema: &CHAIN },
    ProviderSchema { kind: "static", provider_type: ProviderType::Static, schema: &STATIC },
    ProviderSchema { kind: "env", provider_type: ProviderType::Env, schema: &ENV },
    ProviderSchema { kind: "file", provider_type: ProviderType::File, schema: &FILE },
    ProviderSchema { kind: "assume_role", provider_type: ProviderType::AssumeRole, schema: &ASSUME_ROLE },
    ProviderSchema { kind: "oidc", provider_type: ProviderType::Oidc, schema: &OIDC },
    ProviderSchema { kind: "ecs", provider_type: ProviderType::Ecs, schema: &ECS },
    ProviderSchema { kind: "uri", provider_type: ProviderType::Uri, schema: &URI },
    ProviderSchema { kind: "process", provider_type: ProviderType::Process, schema: &PROCESS },
    ProviderSchema { kind: "profile", provider_type: ProviderType::Profile, schema: &PROFILE },
    ProviderSchema { kind: "ini", provider_type: ProviderType::Ini, schema: &INI },
    ProviderSchema { kind: "ossutil", provider_type: ProviderType::Ossutil, schema: &OSSUTIL },
    ProviderSchema { kind: "anonymous", provider_type: ProviderType::Anonymous, schema: &ANONYMOUS },
];

/// Types of credentials that are rejected until a build supports them.
pub(super) const LATER_TYPES: &[&str] = &["cloud_sso", "oauth"];

pub(super) const STATIC: SectionSchema = SectionSchema {
    name: "credentials of type static",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::optional_text("access_key_id", "required", "the id, by reference or as a value"),
            SettingSpec::optional_text("access_key_secret", "required", "the secret, by reference"),
            SettingSpec::optional_text(
                "security_token",
                "none",
                "the token of temporary credentials, by reference",
            ),
        ],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const FILE: SectionSchema = SectionSchema {
    name: "credentials of type file",
    groups: &[
        &[TYPE],
        &[SettingSpec::optional_text(
            "path",
            "required",
            "a JSON file, or a directory with one file for each value",
        )],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const ASSUME_ROLE: SectionSchema = SectionSchema {
    name: "credentials of type assume_role",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::optional_text("source", "required", "the credentials that assume the role"),
            SettingSpec::optional_text("role_arn", "required", "the role"),
        ],
        SESSION,
        &[SettingSpec::optional_text("external_id", "none", EXTERNAL_ID_MEANING)],
        STS,
        &[SettingSpec::text("sts_signature", "acs3", "`\"acs3\"`, or `\"rpc\"`")],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const OIDC: SectionSchema = SectionSchema {
    name: "credentials of type oidc",
    groups: &[
        &[TYPE, ROLE_ARN],
        &[
            SettingSpec::optional_text(
                "oidc_provider_arn",
                "`ALIBABA_CLOUD_OIDC_PROVIDER_ARN`",
                "the ARN of the cluster's OIDC provider",
            ),
            SettingSpec::optional_text(
                "token_file",
                "`ALIBABA_CLOUD_OIDC_TOKEN_FILE`",
                "the token of the service account",
            ),
        ],
        SESSION,
        STS,
    ],
    ..SectionSchema::EMPTY
};

pub(super) const ECS: SectionSchema = SectionSchema {
    name: "credentials of type ecs",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::optional_text("role_name", "the instance's", "the role of the instance"),
            SettingSpec::optional_text(
                "endpoint",
                "`ALIBABA_CLOUD_IMDS_ENDPOINT`, or `http://100.100.100.200`",
                "the metadata service",
            ),
            SettingSpec::boolean("imds_v1", true, "fall back to version 1 if the service issues no tokens"),
        ],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const URI: SectionSchema = SectionSchema {
    name: "credentials of type uri",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::optional_text("url", "required", "the URL of a service that returns credentials"),
            SettingSpec::list("allowed_addresses", "addresses that may be used without TLS"),
            SettingSpec::optional_text(
                "authorization_file",
                "none",
                "the file with the value of the Authorization header",
            ),
            SettingSpec::optional_text(
                "bearer_token_file",
                "none",
                "a file with a bearer token alone, such as a projected service account token",
            ),
            SettingSpec::optional_text(
                "client_cert_file",
                "none",
                "the certificate that an `https://` service requests (PEM)",
            ),
            SettingSpec::optional_text(
                "client_key_file",
                "none",
                "the private key of that certificate (PEM)",
            ),
        ],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const ENV: SectionSchema = SectionSchema {
    name: "credentials of type env",
    groups: &[&[TYPE, ROLE_ARN], SESSION, &[EXTERNAL_ID], STS, &[ASSUME_ROLE_FROM_ENV]],
    ..SectionSchema::EMPTY
};

pub(super) const CHAIN: SectionSchema = SectionSchema {
    name: "credentials of type chain",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::text(
                "order",
                "default",
                "`\"default\"`, or `\"alibaba\"` for the order of the Alibaba Cloud SDKs",
            ),
            SettingSpec::optional_text(
                "pin_identity",
                "none",
                "the only ARN that may sign; any other identity is rejected",
            ),
        ],
        &[ROLE_ARN],
        SESSION,
        &[EXTERNAL_ID],
        STS,
        &[ASSUME_ROLE_FROM_ENV],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const PROCESS: SectionSchema = SectionSchema {
    name: "credentials of type process",
    groups: &[
        &[TYPE],
        &[
            SettingSpec::new(
                "command",
                ValueKind::TextList,
                DefaultValue::Described("required"),
                "the program and its arguments",
            ),
            SettingSpec::list("environment", "environment variables to pass to it"),
            SettingSpec::duration("cache", "15m", "how long output without an expiration is used"),
        ],
    ],
    ..SectionSchema::EMPTY
};

pub(super) const PROFILE: SectionSchema = SectionSchema {
    name: "credentials of type profile",
    groups: &[&[TYPE], TOOL_FILE, &[ALLOW_PROCESS], STS],
    ..SectionSchema::EMPTY
};

pub(super) const INI: SectionSchema = SectionSchema {
    name: "credentials of type ini",
    groups: &[&[TYPE], TOOL_FILE, STS],
    ..SectionSchema::EMPTY
};

pub(super) const OSSUTIL: SectionSchema = SectionSchema {
    name: "credentials of type ossutil",
    groups: &[
        &[TYPE],
        TOOL_FILE,
        &[ALLOW_PROCESS],
        &[SettingSpec::boolean(
            "routes",
            false,
            "use its `[buckets NAME]`, `[Bucket-Endpoint]` and `[Bucket-Cname]` as routes",
        )],
        STS,
    ],
    ..SectionSchema::EMPTY
};

pub(super) const ANONYMOUS: SectionSchema =
    SectionSchema { name: "credentials of this type", groups: &[&[TYPE]], ..SectionSchema::EMPTY };

const TYPE: SettingSpec = SettingSpec::optional_text("type", "required", "the provider type");

const ROLE_ARN: SettingSpec = SettingSpec::optional_text("role_arn", "from the environment", "the role");

/// The session of an assumed role.
const SESSION: &[SettingSpec] = &[
    SettingSpec::optional_text(
        "session_name",
        "`ossp-HOSTNAME`, or `oss-signing-proxy` if `HOSTNAME` is not set",
        "the session name in the audit trail. For `assume_role` and `oidc`, `{caller}` in it is the name of the caller",
    ),
    SettingSpec::duration("duration", "1h", "the lifetime of the credentials that STS returns, 15m to 12h"),
    SettingSpec::optional_text(
        "policy",
        "none",
        "a policy that further restricts the permissions of the role",
    ),
];

const EXTERNAL_ID: SettingSpec =
    SettingSpec::optional_text("external_id", "`ALIBABA_CLOUD_EXTERNAL_ID`", EXTERNAL_ID_MEANING);
const EXTERNAL_ID_MEANING: &str = "the external id that the role's trust policy requires";

const ASSUME_ROLE_FROM_ENV: SettingSpec = SettingSpec::boolean(
    "assume_role_from_env",
    false,
    "assume the role of `ALIBABA_CLOUD_ROLE_ARN` with an access key of the environment",
);

const STS: &[SettingSpec] = &[
    SettingSpec::optional_text("sts_endpoint", "the region's", "the STS endpoint"),
    SettingSpec::optional_text("sts_region", "the upstream's", "the region of the STS endpoint"),
];

/// The file of another tool.
const TOOL_FILE: &[SettingSpec] = &[
    SettingSpec::optional_text("path", "the tool's default", "the tool's configuration file"),
    SettingSpec::optional_text("profile", "the current or `default` one", "the profile or section"),
];

const ALLOW_PROCESS: SettingSpec =
    SettingSpec::boolean("allow_process", false, "run the command of a profile of mode External or Process");

/// Returns the type of credentials with this value of `type`.
pub(super) fn provider(kind: &str) -> Option<ProviderSchema> {
    PROVIDERS.into_iter().find(|provider| provider.kind == kind)
}

/// Returns the supported types of credentials, separated by commas.
pub(super) fn listed_types() -> String {
    PROVIDERS.each_ref().map(|provider| provider.kind).join(", ")
}

/// Returns whether any type of credentials has this key.
pub(super) fn has_key(key: &str) -> bool {
    PROVIDERS.iter().any(|provider| provider.schema.setting(key).is_some())
}
