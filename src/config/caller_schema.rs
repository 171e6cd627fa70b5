//! The settings of callers, and of the keys that they have: `[[caller]]`, `callers_dir`, `[sealing]`
//! and `[hand_out]`.

use super::schema::{DefaultValue, SectionSchema, SettingSpec, ValueKind};

pub(super) const CALLERS_DIR: SectionSchema = SectionSchema {
    name: "callers_dir",
    groups: &[&[
        SettingSpec::optional_text("path", "required", "the directory"),
        SettingSpec::optional_text(
            "ceiling",
            "none",
            "`file:PATH` of a file with the most that its callers may be allowed, such as `allow = \"read\"`",
        ),
    ]],
    ..SectionSchema::EMPTY
};

/// A file of `callers_file` or `callers_dir`.
pub(super) const CALLERS_FILE: SectionSchema = SectionSchema {
    name: "a file of callers",
    groups: &[&[SettingSpec::of_section("caller", ValueKind::TableList(&CALLER))]],
    ..SectionSchema::EMPTY
};

/// A file of `callers_dir.ceiling`.
pub(super) const CEILING: SectionSchema = SectionSchema {
    name: "a ceiling",
    groups: &[&[SettingSpec::optional_text("allow", "required", "the highest value of `allow`")]],
    ..SectionSchema::EMPTY
};

pub(super) const CALLER: SectionSchema = SectionSchema {
    name: "[[caller]]",
    groups: &[&[
        SettingSpec::optional_text(
            "name",
            "required",
            "the unique name: 1 to 64 letters, digits, `-`, `_` and `.`",
        ),
        SettingSpec::new(
            "allow",
            ValueKind::TextOrTableList(&ALLOW_RULE),
            DefaultValue::Described("nothing, with a warning"),
            "the operations that it may use: `\"everything\"`, `\"read\"` for GET, HEAD and listing, or a list of inline tables with the keys below",
        ),
        SettingSpec::new(
            "policy",
            ValueKind::TextList,
            DefaultValue::Described("none"),
            "RAM policy documents, each `file:PATH` or the document itself; they apply together, and beside `allow`",
        ),
        SettingSpec::new(
            "callbacks",
            ValueKind::Boolean,
            DefaultValue::Described("`false`"),
            "it may let OSS send requests to other servers (`x-oss-callback`), for which no RAM action exists",
        ),
        SettingSpec::optional_text(
            "list_buckets",
            "`\"refuse\"`",
            "lists of all buckets: `\"filter\"` removes those in which the caller holds no grant, `\"refuse\"` rejects the request unless the rights grant `oss:ListBuckets` on `*`",
        ),
        SettingSpec::new(
            "session_policy",
            ValueKind::Boolean,
            DefaultValue::Described("`false`"),
            "its rights are sent to STS as session policy of the roles that sign for it, so that OSS applies them too; they must fit into 2048 characters. Not in files of `callers_dir`",
        ),
        SettingSpec::new(
            "key",
            ValueKind::TableList(&CALLER_KEY),
            DefaultValue::Described("none"),
            "its access key, or two during a rotation; a list of inline tables with the keys below",
        ),
        SettingSpec::optional_text(
            "presign_max",
            "none",
            "the maximum lifetime of URLs that are presigned with its keys, such as `\"1h\"`; the remaining time of a URL with signature V1",
        ),
        SettingSpec::optional_text(
            "token",
            "none",
            "its bearer token, by reference or sealed: at least 27 random characters",
        ),
        SettingSpec::new(
            "jwt",
            ValueKind::Table(&CALLER_JWT),
            DefaultValue::Described("none"),
            "its JSON Web Tokens, such as those of Kubernetes service accounts; an inline table with the keys below",
        ),
        SettingSpec::new(
            "certificate",
            ValueKind::Table(&CALLER_CERTIFICATE),
            DefaultValue::Described("none"),
            "the name in its client certificate; an inline table with exactly one of the keys below",
        ),
        SettingSpec::new(
            "uid",
            ValueKind::Number,
            DefaultValue::Described("none"),
            "its user id at the other end of a Unix socket; not 65534 (nobody)",
        ),
        SettingSpec::new(
            "gid",
            ValueKind::Number,
            DefaultValue::Described("none"),
            "its primary group id there; not 65534",
        ),
        SettingSpec::optional_text(
            "user",
            "none",
            "its user there, by the name that the system has for it when the configuration is loaded",
        ),
        SettingSpec::optional_text(
            "credentials_not_before",
            "none",
            "keys that were handed out to it until this time are rejected, and none are handed out before; `2026-11-30T00:00:00Z`",
        ),
        // Without callers, there is no such setting, and thus no value.
        SettingSpec::new(
            "open",
            ValueKind::Boolean,
            DefaultValue::Described("`false`"),
            "requests without an identity are of this caller; at most one caller is open",
        ),
        SettingSpec::new(
            "limits",
            ValueKind::Table(&CALLER_LIMITS),
            DefaultValue::Described("`caller` of `[limits]`"),
            "its limits; an inline table with the keys below. A missing key has the default of `[limits]`",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const ALLOW_RULE: SectionSchema = SectionSchema {
    name: "allow of [[caller]]",
    groups: &[&[
        SettingSpec::new(
            "group",
            ValueKind::TextList,
            DefaultValue::Described("required"),
            "groups of operations: `read`, `list`, `write`, `delete`, and, without a prefix, `manage`",
        ),
        SettingSpec::optional_text("bucket", "required", "the bucket"),
        SettingSpec::optional_text(
            "prefix",
            "the whole bucket",
            "the prefix of the keys; it should end in `/`",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const CALLER_JWT: SectionSchema = SectionSchema {
    name: "jwt of [[caller]]",
    groups: &[&[
        SettingSpec::optional_text("issuer", "required", "the issuer, exactly as in the claim `iss`"),
        SettingSpec::optional_text(
            "audience",
            "required",
            "the audience that names this proxy: the claim `aud`, or one of its entries",
        ),
        SettingSpec::optional_text(
            "subject",
            "required",
            "the subject, as in the claim `sub`; `*` matches any sequence of characters except `:`",
        ),
        SettingSpec::optional_text(
            "jwks_file",
            "`jwks_url`",
            "the public keys of the issuer, a JWK set; watched for changes",
        ),
        SettingSpec::optional_text(
            "jwks_url",
            "`jwks_file`",
            "the URL of these keys, `https://`, or `http://` on a loopback address; redirects are not followed",
        ),
        SettingSpec::optional_text(
            "jwks_ca_file",
            "the host's",
            "CA certificates to trust for `jwks_url` instead of the host's; read for each fetch",
        ),
        SettingSpec::optional_text(
            "jwks_token_file",
            "none",
            "a file whose content is sent to `jwks_url` as bearer token; read for each fetch",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const CALLER_CERTIFICATE: SectionSchema = SectionSchema {
    name: "certificate of [[caller]]",
    groups: &[&[
        SettingSpec::optional_text("dns", "none", "a DNS name in the subjectAltName; `*` matches nothing"),
        SettingSpec::optional_text("uri", "none", "the only URI in the subjectAltName, such as a SPIFFE id"),
        SettingSpec::optional_text(
            "subject",
            "none",
            "the subject as in RFC 4514, such as `CN=backup,O=Example`",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const CALLER_KEY: SectionSchema = SectionSchema {
    name: "key of [[caller]]",
    groups: &[&[
        SettingSpec::optional_text(
            "id",
            "required",
            "the access key id, which no other caller has: 1 to 128 letters, digits, `-`, `_` and `.`",
        ),
        SettingSpec::optional_text(
            "secret",
            "required",
            "the access key secret, by reference or sealed: at least 27 random characters",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const SEALING: SectionSchema = SectionSchema {
    name: "[sealing]",
    groups: &[&[SettingSpec::new(
        "master",
        ValueKind::TextList,
        DefaultValue::Described("none"),
        "references to the masters of the values `sealed:…`, each at least 32 random bytes; a second one during a rotation",
    )]],
    ..SectionSchema::EMPTY
};

pub(super) const CALLER_LIMITS: SectionSchema = SectionSchema {
    name: "limits of [[caller]]",
    groups: &[&[
        SettingSpec::new(
            "requests",
            ValueKind::Number,
            DefaultValue::Described("no limit"),
            "requests in flight of a caller, in all workers. Further requests wait for up to `queue`, and then get 503",
        ),
        SettingSpec::new(
            "rate",
            ValueKind::Number,
            DefaultValue::Described("no limit"),
            "requests per second of a caller, likewise",
        ),
        SettingSpec::new(
            "upload",
            ValueKind::Size,
            DefaultValue::Described("no limit"),
            "bytes of request bodies per second, of all requests of a caller together, such as `\"10MiB\"`; faster ones are slowed down",
        ),
        SettingSpec::new(
            "download",
            ValueKind::Size,
            DefaultValue::Described("no limit"),
            "bytes of response bodies per second, likewise",
        ),
    ]],
    ..SectionSchema::EMPTY
};

pub(super) const HAND_OUT: SectionSchema = SectionSchema {
    name: "[hand_out]",
    groups: &[&[
        SettingSpec::list(
            "master",
            "one or two masters, by reference, with at least 32 random bytes: the first makes keys, and both verify them",
        ),
        SettingSpec::duration("lifetime", "1h", "the lifetime of keys, from `1m` to `12h`"),
        SettingSpec::optional_text(
            "credentials",
            "none",
            "pass on the keys of these credentials, which another proxy has handed out, instead of making keys; `run` does so for its command",
        ),
    ]],
    ..SectionSchema::EMPTY
};
