//! Errors of the configuration, each with a suggestion, and warnings. No message contains a secret:
//! a value is repeated only if it cannot hold one.

use crate::address::{Endpoint, InvalidEndpoint, InvalidPattern, ServiceFamily};
use crate::caller::{InvalidSubject, InvalidSubjectPattern};
use crate::credentials::{BucketEndpointsError, InvalidAccessKey};
use crate::oss::{InvalidBucket, InvalidRegion};
use crate::server::ListenAddress;
use crate::transport::InvalidUrl;

/// An error in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum ConfigErrorKind {
    // Format of the file.
    #[error("invalid TOML: {0}; a line must be KEY = VALUE or [SECTION], each key once, strings in quotes")]
    Syntax(String),
    #[error("unknown key; did you mean {0}?")]
    Misspelt(&'static str),
    #[error("unknown key in this section; it belongs to {0}")]
    Misplaced(&'static str),
    #[error("this key was renamed to {0}; use the new name")]
    Renamed(&'static str),
    #[error("unknown key; expected one of {0}")]
    UnknownKey(String),
    #[error("not supported by this build; remove it")]
    NotYet,
    #[error("cannot be set for a route; set it in [upstream]")]
    Inherited,
    #[error("must be {0}; found {1}")]
    Type(String, &'static str),
    #[error("invalid value {0:?}; expected one of {1}")]
    Word(String, String),
    #[error(transparent)]
    Key(#[from] InvalidAccessKey),
    #[error("missing; {0}")]
    Missing(&'static str),
    #[error("invalid duration {0:?}; write a whole number and ms, s, m or h, such as \"5s\", at most 24h")]
    Duration(String),
    #[error("invalid size {0:?}; write a whole number above 0 and B, KiB, MiB or GiB, such as \"64KiB\"")]
    Size(String),
    #[error("{0:?} is out of range; must be from 8KiB to 256KiB")]
    HeaderBytes(String),
    #[error("{0:?} is too low; must be at least 1KiB (per second)")]
    ByteRate(String),
    #[error("must be greater than 0; omit it for the default")]
    Zero,

    // Environment.
    #[error("unknown environment variable; did you mean {0}? rename it or unset it")]
    UnknownVariable(String),
    #[error("the value is not UTF-8; correct it or unset it")]
    NotText,
    #[error("the value of the variable {0:?} is not UTF-8; correct it, or use file:PATH")]
    VariableNotText(String),

    // Listeners.
    #[error("invalid address {0:?}; expected IP:PORT, such as 127.0.0.1:8770, unix:PATH or systemd:NAME")]
    Address(String),
    #[error("the admin listener cannot use a systemd socket; write HOST:PORT, unix:PATH or \"off\"")]
    InheritedAdmin,
    #[error("cannot read {0:?}: {1}; set the path of a readable PEM file")]
    TlsFile(String, String),
    #[error(
        "{0} is not a loopback address: any client that can connect can use the credentials; listen on 127.0.0.1, or set unsafe_open = true (--unsafe-open) if the network restricts access"
    )]
    Open(std::net::SocketAddr),
    #[error(
        "a load balancer passes on clients of other machines to {0}: each can use the credentials; set unsafe_open = true (--unsafe-open) if the network restricts access, or add callers"
    )]
    OpenToProxies(std::net::SocketAddr),
    #[error(
        "{0} is not a loopback address: any client that can connect could use the admin API; set token = \"file:PATH\" in [admin], or use 127.0.0.1, [::1] or \"off\""
    )]
    OpenAdmin(std::net::SocketAddr),
    #[error("{0} conflicts with the address of {1}; change one of them")]
    Taken(ListenAddress, String),
    #[error(
        "the file has {0} listeners, but this can replace the address of only one; change the file instead"
    )]
    WhichListener(usize),
    #[error("invalid domain {0:?}; write a host name without a port or *, such as oss.example.internal")]
    Domain(String),
    #[error("{0:?} is not needed: IP addresses and localhost are always served; remove it")]
    OwnDomain(String),
    #[error("{0:?} belongs to Alibaba Cloud: OSS endpoint names are recognized without it; remove it")]
    OssDomain(String),
    #[error(
        "invalid origin; write it as browsers send it: scheme://host or scheme://host:port, such as https://app.example.com"
    )]
    WebOrigin,
    #[error("needs trusted_proxies: the addresses or networks of the load balancers that connect here")]
    NoTrustedProxies,
    #[error(
        "the peers of a Unix socket have no address to trust; use a TCP address, or remove proxy_protocol"
    )]
    UnixProxyProtocol,
    #[error(
        "invalid network {0:?}; write an address, or ADDRESS/BITS with zeros after the prefix, such as 10.0.0.0/8"
    )]
    Network(String),
    #[error("{0:?} is listed twice; remove one of them")]
    RepeatedIdentity(String),
    #[error(
        "\"certificate\" requires client certificates; set client_ca_file in tls, or remove \"certificate\""
    )]
    NoClientCa,
    #[error("only a Unix socket reports the user of a client; listen on unix:PATH, or remove \"uid\"")]
    UidBeyondUnix,
    #[error("there are no callers to identify; add a [[caller]], or remove identify")]
    NoCallers,
    #[error(
        "the listener would reject all requests, because there are callers and none is open; set identify, such as [\"key\"], or set open = true for a caller"
    )]
    UnusableListener,

    // Callers.
    #[error("invalid caller name {0:?}; use 1 to 64 letters, digits, -, _ and .")]
    CallerName(String),
    #[error("another caller already has this name ({0}); change one of them")]
    CallerNameInUse(String),
    #[error("another caller is already open ({0}); remove one of the two settings")]
    TwoOpenCallers(String),
    #[error(
        "the caller has no identity; set key = [{{ id = \"ID\", secret = \"env:NAME\" }}], certificate, uid, gid, user, token = \"file:PATH\", jwt = {{ issuer = \"URL\", … }}, or open = true"
    )]
    CallerWithoutIdentity,
    #[error("the caller has {0} keys, and the maximum is two, for a rotation; remove the old ones")]
    KeyCount(usize),
    #[error("the two keys have the same id and the same secret; remove one, or change its secret")]
    SameKey,
    #[error("invalid id; use 1 to 128 letters, digits, -, _ and .")]
    CallerKeyId,
    #[error("the id begins like one that is handed out (HO.); use an id such as \"team-a-1\"")]
    HandedOutKeyId,
    #[error("another caller already has a key with this id ({0}); change one of them")]
    KeyIdInUse(String),
    #[error(
        "the id begins like an access key id of Alibaba Cloud (LTAI, STS. or TMP.), and callers must not have such a key; use an id such as \"team-a-1\" and a new secret"
    )]
    RealKeyId,
    #[error(
        "the id is the access key id of the credentials {0:?}, and callers must not have such a key; use an id such as \"team-a-1\" and a new secret"
    )]
    CredentialsKeyId(String),
    #[error(
        "the secret has fewer than 27 characters; use a random secret, such as the output of openssl rand -hex 20"
    )]
    ShortSecret,
    #[error(
        "the token has fewer than 27 characters; use a random token, such as the output of openssl rand -hex 20"
    )]
    ShortToken,
    #[error("the token has characters other than printable ASCII; use letters and digits")]
    TokenCharacters,
    #[error("another caller already has this token ({0}); change one of them")]
    TokenInUse(String),
    #[error("the master must not be in the file itself; use env:NAME, file:PATH or credential:NAME")]
    InlineMaster,
    #[error(
        "the master has fewer than 32 bytes; use a random master, such as the output of openssl rand -hex 32"
    )]
    ShortMaster,
    #[error("the value is sealed, and there is no master; set master = [\"env:NAME\"] in [sealing]")]
    NoMaster,
    #[error("the sealed value is incomplete or altered; copy all of it, or make a new key with `keys new`")]
    SealForm,
    #[error(
        "the sealed value does not belong here: it was sealed with another master, for another caller or id, or altered; move it back, add its master to [sealing], or make a new key with `keys rotate`"
    )]
    SealMismatch,
    #[error(
        "only the secrets and tokens of callers can be sealed; use env:NAME, file:PATH or credential:NAME"
    )]
    MisplacedSeal,
    #[error("teams choose names in callers_dir, so a pattern could match any of them; write the whole name")]
    CallerPattern,
    #[error(
        "a team cannot set its own limits in callers_dir; set them in [limits] caller, or move the caller to the main file"
    )]
    LimitsElsewhere,
    #[error(
        "JSON Web Tokens are possible only in the main file, because their subjects could match those of others; move the caller there"
    )]
    JwtElsewhere,
    #[error("must not be empty, and must not have control characters; write it as in the tokens")]
    Claim,
    #[error("{0}; write it as in the tokens, with * for any characters except :")]
    SubjectClaim(#[from] InvalidSubjectPattern),
    #[error("another caller already has these tokens ({0}); change one of them")]
    JwtInUse(String),
    #[error("the keys of the issuer are needed once; set either jwks_file or jwks_url")]
    KeySetLocation,
    #[error("applies only to jwks_url; remove it")]
    WithoutKeySetUrl,
    #[error(
        "keys that are sent unencrypted could be replaced; use https://, or http:// to a loopback address"
    )]
    PlainKeySetUrl,
    #[error("cannot use the keys in {0:?}: {1}; set the path of a JWK set of the issuer")]
    KeySetFile(String, String),
    #[error(
        "another caller has this issuer with other keys ({0}); all callers of an issuer must have the same"
    )]
    OtherIssuerKeys(String),
    #[error(
        "tokens would be sent unencrypted over the network to {0}; set tls, or unsafe_plain = true if the network is trusted"
    )]
    PlainTokens(std::net::SocketAddr),
    #[error("another caller already has this identity ({0}); change one of them")]
    PeerInUse(String),
    #[error(
        "65534 is nobody, the id that the system shows for all users and groups that it cannot map; use another user or group"
    )]
    Nobody,
    #[error("the system has no user {0:?}; create it, correct the name, or set uid to its number")]
    UnknownUser(String),
    #[error("cannot look up the user {0:?}: {1}; try again, or set uid to its number")]
    UserLookup(String, String),
    #[error("set exactly one of dns, uri and subject, such as {{ dns = \"backup.example\" }}")]
    CertificateNameCount,
    #[error("invalid DNS name {0:?}; write a host name without * and final dot, such as \"backup.example\"")]
    CertificateDns(String),
    #[error("invalid URI {0:?}; write it as in the certificate, such as \"spiffe://example.org/backup\"")]
    CertificateUri(String),
    #[error(transparent)]
    CertificateSubject(#[from] InvalidSubject),

    #[error("invalid time {0:?}; write it as 2026-11-30T00:00:00Z")]
    NotBefore(String),

    #[error("the Authorization header has one value; set authorization_file or bearer_token_file, not both")]
    TwoAuthorizations,
    #[error("a client certificate requires TLS; write url = \"https://…\", or remove client_cert_file")]
    PlainClientCertificate,

    // Keys that are handed out.
    #[error(
        "the master has fewer than 32 bytes; use a random one, such as the output of openssl rand -hex 32"
    )]
    HandOutMaster,
    #[error(
        "{0:?} is no destination of the audit log; write \"file:PATH\", \"stdout\", \"unix:PATH\", \"tcp:HOST:PORT\" or \"syslog\""
    )]
    AuditSink(String),
    #[error("the key has fewer than 32 bytes; use a random one, such as the output of openssl rand -hex 32")]
    AuditHashKey,
    #[error("there are {0} masters, and the maximum is two, for a rotation; remove the old ones")]
    HandOutMasters(usize),
    #[error("{0:?} is out of range; must be from 1m to 12h")]
    HandOutLifetime(String),
    #[error("forms are signed with access keys of callers; add \"key\" to identify")]
    FormsWithoutKeys,
    #[error("a key cannot serve to obtain other keys; remove \"key\" from identify")]
    KeysForKeys,
    #[error(
        "there is no master to make keys with; set master in [hand_out], or credentials to pass on the keys of another proxy"
    )]
    NoHandOut,
    #[error("there are no callers to hand out keys to; add a [[caller]]")]
    NoHolders,
    #[error(
        "keys would be sent unencrypted over the network to {0}; set tls, or unsafe_plain = true if the network is trusted"
    )]
    PlainKeys(std::net::SocketAddr),

    #[error("another caller already has this {0} ({1}); change one of them")]
    ClaimInUse(String, String),
    #[error("only a caller of the main configuration file can be open; remove open, or move the caller")]
    OpenElsewhere,
    #[error("{0:?} is above the ceiling {1:?} ({2}); lower it, or raise the ceiling")]
    AboveCeiling(&'static str, &'static str, String),
    #[error("write file:PATH, the path of a file with allow = \"read\"")]
    CeilingReference,
    #[error("invalid policy document: {0}")]
    PolicyDocument(String),
    #[error("an account id has only digits")]
    AccountId,
    #[error("a policy is file:PATH, or a RAM policy document that begins with {{")]
    PolicyReference,
    #[error("cannot read {0:?}: {1}; correct the path or its permissions")]
    PolicyFile(String, String),
    #[error("a prefix is matched as it is; wildcards are supported only in `policy`")]
    PrefixWildcard,
    #[error("a file of callers_dir cannot set `session_policy`; set it for a caller of the main file")]
    SessionPolicyElsewhere,
    #[error(
        "the rights cannot be a session policy: {0}; remove it from the rights, or remove session_policy"
    )]
    SessionDocument(String),
    #[error(
        "the session policy would have {0} characters, and STS accepts at most 2048; shorten the rights, or remove session_policy"
    )]
    SessionPolicyLength(usize),
    #[error(
        "the requests of the caller {0:?} may be signed with the credentials {1:?}, which take no session policy; use the type assume_role or oidc, or remove session_policy"
    )]
    SessionPolicyType(String, String),
    #[error(
        "the requests of the caller {0:?} may be signed with the credentials {1:?}, which have a policy already, and a session has only one; remove one of them"
    )]
    SecondSessionPolicy(String, String),
    #[error(
        "the credentials {0:?} would have sessions with more than 100 policies; give callers the same rights, or remove session_policy of some"
    )]
    SessionPolicyCount(String),
    #[error("a file of callers_dir cannot set `callbacks`; set it for a caller of the main file")]
    CallbacksElsewhere,
    #[error(
        "a file of callers_dir cannot refer to a variable or a systemd credential, which may hold the secret of another; use file:PATH in that directory"
    )]
    TeamReference,
    #[error("the file is empty, so its callers are unknown; write its callers, or delete it to remove them")]
    EmptyCallersFile,
    #[error("cannot read {0:?}: {1}; correct the path or its permissions")]
    CallersPath(String, String),

    // Upstreams.
    #[error(
        "missing region, which V4 signatures require; set it, such as cn-hangzhou, or use an OSS endpoint name that contains a region"
    )]
    NoRegion,
    #[error("missing region or endpoint; set one of them")]
    Nowhere,
    #[error(transparent)]
    Region(#[from] InvalidRegion),
    #[error(transparent)]
    Bucket(#[from] InvalidBucket),
    #[error("{0}; write {meant}", meant = suggested(.0))]
    Endpoint(#[from] InvalidEndpoint),
    #[error("must not contain @: user names and passwords are not supported; write only HOST and PORT")]
    UserInfo,
    #[error(
        "{0} belongs to {1}, and only object API requests are signed; use a regional endpoint, such as oss-cn-hangzhou.aliyuncs.com"
    )]
    OtherService(String, ServiceFamily),
    #[error("{0} has no internal endpoint; remove internal")]
    NoInternal(String),
    #[error(
        "{0} is true, but this endpoint is not internal; remove internal, because the endpoint name determines it"
    )]
    Internal(String),
    #[error(
        "the endpoint starts with a bucket; remove {0:?}, and set bucket if all requests are for that bucket"
    )]
    EndpointBucket(String),
    #[error("cname addressing requires the bucket that the endpoint belongs to; set bucket")]
    CnameBucket,
    #[error(
        "cname addressing requires a custom domain of the bucket, and {0} is an OSS endpoint; set endpoint to the custom domain, or remove addressing"
    )]
    CnameEndpoint(String),
    #[error(
        "{0} is an address, which supports neither virtual nor cname addressing; remove addressing to use path"
    )]
    AddressedBucket(String),
    #[error(
        "{0} is a PrivateLink endpoint, which does not support virtual addressing; remove addressing to use path"
    )]
    PrivateLinkBucket(String),
    #[error("a CloudBox supports only V4 signatures; remove signature")]
    CloudBoxV1,
    #[error(
        "a CloudBox has no default endpoint; set endpoint to https://{0}.REGION.oss-cloudbox.aliyuncs.com"
    )]
    CloudBoxEndpoint(String),
    #[error("invalid destination {0:?}; write HOST:PORT, such as 127.0.0.1:9000")]
    Destination(String),
    #[error(
        "points to {0}, a listener of this proxy; set the address of OSS or of a tunnel to it, or listen elsewhere (--listen)"
    )]
    Loop(String),
    #[error("cannot read {0:?}: {1}; set the path of a readable PEM file with certificates")]
    CaFile(String, String),

    // Routes.
    #[error("a route must match something; set match.host, match.bucket or match.caller")]
    Matchless,
    #[error("no caller has a name that matches; correct the pattern, or add a [[caller]]")]
    UnknownCaller,
    #[error(
        "a route for a caller cannot have a bucket of its own; remove it, and set match.bucket to the bucket instead"
    )]
    CallerBucket,
    #[error(
        "a route must change something; set region, endpoint, internal, connect, bucket, addressing or credentials"
    )]
    Effectless,
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    #[error(
        "{0:?} matches any host, which lets any web page use the proxy through DNS rebinding; list the hosts"
    )]
    AnyHost(String),
    #[error("{0:?} has a port, but hosts are compared without ports; remove it")]
    HostPort(String),
    #[error(
        "the route matches buckets {0:?}, but serves only {1}, so no request can use it; change one of them"
    )]
    Unreachable(String, String),

    // Credentials.
    #[error("unknown credentials {0:?}; expected one of {1}")]
    UnknownCredentials(String, String),
    #[error("invalid credentials name {0:?}; use letters, digits, -, _ and .")]
    CredentialsName(String),
    #[error("credentials type {0:?} is not supported by this build; expected one of {1}")]
    LaterType(String, String),
    #[error("unknown credentials type {0:?}; expected one of {1}")]
    UnknownType(String, String),
    #[error(transparent)]
    Url(InvalidUrl),
    #[error("{0}; for a trusted network, add the address to allowed_addresses")]
    UnlistedUrl(InvalidUrl),
    #[error("invalid IP address {0:?}; write addresses without ports, such as [\"10.0.0.5\"]")]
    ListedAddress(String),
    #[error("invalid role ARN {0:?}; write acs:ram::ACCOUNT:role/NAME, as shown in the console")]
    RoleArn(String),
    #[error("{0:?} is out of range; must be from 15m to 12h")]
    RoleDuration(String),
    #[error(
        "{{caller}} requires credentials that always have a session; use the type assume_role or oidc, or remove it"
    )]
    SessionType,
    #[error("{{caller}} requires callers, and there are none; add a [[caller]], or remove it")]
    SessionWithoutCallers,
    #[error(
        "{{caller}} in the session name of credentials that assume another role is not supported; write it in the session name of that role"
    )]
    SessionOfSource,
    #[error(
        "{0} callers would each have credentials, and the maximum is 100; use these credentials in routes with match.caller"
    )]
    SessionCallers(usize),
    #[error(
        "the session name of the caller {0:?} would be {1:?}, as is that of {2}; shorten it, or rename the caller"
    )]
    SessionInUse(String, String, String),
    #[error("invalid policy; write a JSON object of at most 2048 characters, in ''' quotes")]
    Policy,
    #[error(
        "invalid identity {0:?}; write acs:ram::ACCOUNT:role/NAME, acs:ram::ACCOUNT:user/NAME or acs:ram::ACCOUNT:root"
    )]
    Identity(String),
    #[error("credentials of type \"anonymous\" cannot assume a role; use other credentials")]
    NobodyAssumes,
    #[error("invalid ossutil configuration file {0:?}: {1}")]
    ToolFile(String, BucketEndpointsError),
    #[error("invalid external ID; use 2 to 1224 letters, digits and characters of _+=,.@:/-")]
    ExternalId,
    #[error("the credentials {0:?} depend on themselves; break the cycle with credentials of another type")]
    Circle(String),
    #[error("the variable {0:?} is not set; set it, or use file:PATH")]
    NoVariable(String),
    #[error("cannot read the file {0:?}: {1}; create it, or correct the path")]
    SecretFile(String, String),
    #[error("the file {0:?} is empty")]
    EmptySecret(String),
    #[error(
        "the file {0:?} is readable by other users, and strict_file_modes is set; chmod 600 it, or unset strict_file_modes"
    )]
    ExposedSecret(String),
    #[error("empty reference; write file:PATH, env:NAME or credential:NAME")]
    EmptyReference,
    #[error("invalid systemd credential name {0:?}; write credential:NAME, without a directory")]
    CredentialName(String),
    #[error(
        "CREDENTIALS_DIRECTORY is not set; systemd sets it for units with LoadCredential=, or use file:PATH"
    )]
    NoCredentialsDirectory,
}

/// Returns a suggestion for an invalid endpoint: the same name, if only its scheme is invalid.
fn suggested(invalid: &InvalidEndpoint) -> String {
    let meant = if let InvalidEndpoint::Scheme(text) = invalid {
        let name = text.split_once("://").map_or(text.as_str(), |(_, name)| name);
        Some(format!("https://{}", name.trim_start_matches('/')))
    } else {
        None
    };
    let meant = meant.filter(|meant| Endpoint::parse(meant).is_ok());
    meant.unwrap_or_else(|| "https://oss-cn-hangzhou.aliyuncs.com".to_owned())
}

/// A valid setting that may not be intended.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ConfigWarning {
    #[error(
        "the endpoint is in region {0}, but requests are signed for region {1}, set by {2}; remove one of them if this is not intended"
    )]
    Regions(String, String, String),
    #[error("requests and objects are sent unencrypted; use https:// unless the network is trusted")]
    Plain,
    #[error(
        "OSS rejects path addressing on its own public and internal endpoints; use it for PrivateLink and addresses"
    )]
    PathOnOss,
    #[error(
        "the pattern {0:?} matches names under any domain, which lets web pages use the proxy through DNS rebinding"
    )]
    OpenEnded(String),
    #[error(
        "{0} is not a loopback address: any client that can connect can use the credentials (unsafe_open)"
    )]
    Open(std::net::SocketAddr),
    #[error(
        "a load balancer passes on clients of other machines to {0}: each can use the credentials (unsafe_open)"
    )]
    OpenToProxies(std::net::SocketAddr),
    #[error(
        "the secret is stored in the configuration file itself; use file:PATH, env:NAME or credential:NAME"
    )]
    Inline,
    #[error(
        "{0} more secrets are stored in the configuration file itself; use file:PATH, env:NAME or credential:NAME"
    )]
    MoreInline(usize),
    #[error("the file {0:?} is readable by other users of this host; chmod 600 it")]
    Exposed(String),
    #[error(
        "the caller may do nothing without `allow` or `policy`; set allow to \"read\", \"everything\" or rules"
    )]
    Rightless,
    #[error("the prefix {0:?} also covers keys such as {0}x; end it with / if it is meant as a folder")]
    OpenPrefix(String),
    #[error("no listener accepts an identity of {0}; add its kind to identify of a listener")]
    UnreachableCallers(String),
    #[error("no caller has a name that matches; correct the pattern, or add the caller to its file")]
    UnknownCaller,
    #[error("entry {0} is neither the name of a caller nor the id of a key; correct it or remove it")]
    UnmatchedRevocation(usize),
    #[error(
        "cannot read {0:?}: {1}; a command of `run` inherits the variables that it names, so unset them or correct the file"
    )]
    UnknownReferences(String, String),
}
