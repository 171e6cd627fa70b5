//! Errors of the configuration, each with a suggestion, and warnings. No message contains a secret:
//! a value is repeated only if it cannot hold one.

use crate::address::{Endpoint, InvalidEndpoint, InvalidPattern, ServiceFamily};
use crate::credentials::{BucketEndpointsError, InvalidAccessKey};
use crate::oss::{InvalidBucket, InvalidRegion};
use crate::server::ListenAddress;
use crate::transport::InvalidUrl;

/// An error in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum ConfigErrorKind {
    // Format of the file.
    #[error("{0}; a line is KEY = VALUE or [SECTION], each key once, texts in quotes")]
    Syntax(String),
    #[error("unknown key; did you mean {0}?")]
    Misspelt(&'static str),
    #[error("unknown key here; it belongs to {0}")]
    Misplaced(&'static str),
    #[error("this key is now called {0}; rename it")]
    Renamed(&'static str),
    #[error("unknown key; the keys here are {0}")]
    UnknownKey(String),
    #[error("is not supported by this build; remove it")]
    NotYet,
    #[error("a route takes this from [upstream]; set it there")]
    Inherited,
    #[error("is {1}, and must be {0}")]
    Type(String, &'static str),
    #[error("{0:?} is not one of {1}")]
    Word(String, String),
    #[error(transparent)]
    Key(#[from] InvalidAccessKey),
    #[error("is missing; {0}")]
    Missing(&'static str),
    #[error("{0:?} is not a duration; write a whole number and ms, s, m or h, such as \"5s\", at most 24h")]
    Duration(String),
    #[error(
        "{0:?} is not a size; write a whole number and B, KiB, MiB or GiB, such as \"64KiB\", more than 0"
    )]
    Size(String),
    #[error("{0:?} is not from 8KiB to 256KiB")]
    HeaderBytes(String),
    #[error("must be more than 0; leave it out for the default")]
    Zero,

    // Environment.
    #[error("is no variable of this program; did you mean {0}? use that name, or unset it")]
    UnknownVariable(String),
    #[error("has a value that is not UTF-8; set it to text, or unset it")]
    NotText,
    #[error(
        "the variable {0:?} has a value that is not UTF-8; set it to text, or refer to a file with file:PATH"
    )]
    VariableNotText(String),

    // Listeners.
    #[error(
        "{0:?} is not an address; write HOST:PORT with an IP address, such as 127.0.0.1:8770, unix:PATH, or systemd:NAME"
    )]
    Address(String),
    #[error("the admin interface cannot be on a socket of systemd; write HOST:PORT, unix:PATH or \"off\"")]
    InheritedAdmin,
    #[error("{0:?} cannot be read: {1}; give the path of a readable PEM file")]
    TlsFile(String, String),
    #[error(
        "{0} can be reached from other machines, and everybody who reaches it is signed for; listen on 127.0.0.1, or set unsafe_open = true (--unsafe-open) if the network keeps others out"
    )]
    Open(std::net::SocketAddr),
    #[error(
        "{0} can be reached from other machines, and the admin interface would tell everybody there; set token = \"file:PATH\" in [admin], or use 127.0.0.1, [::1] or \"off\""
    )]
    OpenAdmin(std::net::SocketAddr),
    #[error("{0} is also the address of {1}; give one of them another")]
    Taken(ListenAddress, String),
    #[error("the file has {0} listeners, and this can only replace the address of one; change the file")]
    WhichListener(usize),
    #[error("{0:?} is not a domain; write a host name without port and *, such as oss.example.internal")]
    Domain(String),
    #[error("{0:?} is always served as an address; leave it out")]
    OwnDomain(String),
    #[error("{0:?} belongs to Alibaba Cloud; OSS's own names are understood without it, leave it out")]
    OssDomain(String),
    #[error(
        "is not an origin; write it as browsers do, scheme://host or scheme://host:port, such as https://app.example.com"
    )]
    WebOrigin,

    // Upstreams.
    #[error(
        "no region, and V4 signatures are for one; set it, such as cn-hangzhou, or give an endpoint that is one of OSS's own names with a region"
    )]
    NoRegion,
    #[error("neither a region nor an endpoint; set one of them")]
    Nowhere,
    #[error(transparent)]
    Region(#[from] InvalidRegion),
    #[error(transparent)]
    Bucket(#[from] InvalidBucket),
    #[error("{0}; write it as {meant}", meant = suggested(.0))]
    Endpoint(#[from] InvalidEndpoint),
    #[error("holds an @; a user name or password has no place here, write HOST and PORT alone")]
    UserInfo,
    #[error(
        "{0} is a name of {1}, and only requests of the object API are signed; write the endpoint of a region, such as oss-cn-hangzhou.aliyuncs.com"
    )]
    OtherService(String, ServiceFamily),
    #[error("{0} has no internal endpoint; leave out internal")]
    NoInternal(String),
    #[error(
        "{0} says true, and this endpoint is not internal; the endpoint says by its name whether it is internal, leave out internal"
    )]
    Internal(String),
    #[error(
        "the endpoint begins with a bucket; write it without {0:?}, and set bucket if all requests are for that one"
    )]
    EndpointBucket(String),
    #[error("cname needs to know the bucket that the endpoint is a name of; set bucket")]
    CnameBucket,
    #[error(
        "cname is for a name of the bucket's own, and {0} is none; set endpoint to that name, or leave out addressing"
    )]
    CnameEndpoint(String),
    #[error(
        "{0} is an address, which can have no bucket before it and be no bucket's name; leave out addressing, and path is used for it"
    )]
    AddressedBucket(String),
    #[error(
        "{0} is a name of PrivateLink, which has no bucket before it; leave out addressing, and path is used for it"
    )]
    PrivateLinkBucket(String),
    #[error("a CloudBox takes only V4 signatures; leave out signature")]
    CloudBoxV1,
    #[error("a CloudBox has no endpoint that is implied; set https://{0}.REGION.oss-cloudbox.aliyuncs.com")]
    CloudBoxEndpoint(String),
    #[error("{0:?} is not a destination; write HOST:PORT, such as 127.0.0.1:9000")]
    Destination(String),
    #[error(
        "leads back to {0}, where this proxy itself listens; write the address of OSS or of the tunnel to it"
    )]
    Loop(String),
    #[error("{0:?} cannot be read: {1}; give the path of a readable file with PEM certificates")]
    CaFile(String, String),

    // Routes.
    #[error("a route must say what it is for; set match.host or match.bucket")]
    Matchless,
    #[error(
        "a route must change something; set region, endpoint, internal, connect, bucket, addressing or credentials"
    )]
    Effectless,
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    #[error(
        "{0:?} would serve any name, and so any web page whose name leads here (DNS rebinding); name the hosts"
    )]
    AnyHost(String),
    #[error("{0:?} has a port, and hosts are compared without; leave it out")]
    HostPort(String),
    #[error("the route is for buckets {0:?}, but all its requests are for {1}; nothing would ever take it")]
    Unreachable(String, String),

    // Credentials.
    #[error("there are no credentials {0:?}; known are {1}")]
    UnknownCredentials(String, String),
    #[error("{0:?} is no name for credentials; use letters, digits, -, _ and .")]
    CredentialsName(String),
    #[error("credentials of type {0:?} are not supported by this build; it has {1}")]
    LaterType(String, String),
    #[error("there are no credentials of type {0:?}; this build has {1}")]
    UnknownType(String, String),
    #[error(transparent)]
    Url(InvalidUrl),
    #[error("{0}; an address on a trusted network may be named in allowed_addresses")]
    UnlistedUrl(InvalidUrl),
    #[error("{0:?} is no address; write IP addresses without ports, such as [\"10.0.0.5\"]")]
    ListedAddress(String),
    #[error("{0:?} is no role; write acs:ram::ACCOUNT:role/NAME, as the console shows it")]
    RoleArn(String),
    #[error("{0:?} is not from 15m to 12h")]
    RoleDuration(String),
    #[error("is no policy; write a JSON object of at most 2048 characters, in ''' quotes")]
    Policy,
    #[error(
        "{0:?} is nobody; write acs:ram::ACCOUNT:role/NAME, acs:ram::ACCOUNT:user/NAME or acs:ram::ACCOUNT:root"
    )]
    Identity(String),
    #[error("credentials of type \"anonymous\" are nobody, who can assume no role; name others")]
    NobodyAssumes,
    #[error("the file {0:?} cannot be read as that of ossutil: {1}")]
    ToolFile(String, BucketEndpointsError),
    #[error("is no external id; it has 2 to 1224 letters, digits and characters of _+=,.@:/-")]
    ExternalId,
    #[error("the credentials {0:?} need themselves in the end; let one in the circle be of another type")]
    Circle(String),
    #[error("the variable {0:?} is not set; set it, or refer to a file with file:PATH")]
    NoVariable(String),
    #[error("the file {0:?} cannot be read: {1}; create it, or correct the path")]
    SecretFile(String, String),
    #[error("the file {0:?} is empty")]
    EmptySecret(String),
    #[error(
        "the file {0:?} can be read by other users, and strict_file_modes is set; chmod 600 it, or unset strict_file_modes"
    )]
    ExposedSecret(String),
    #[error("refers to nothing; write file:PATH, env:NAME or credential:NAME")]
    EmptyReference,
    #[error("{0:?} is no name of a systemd credential; write credential:NAME, without a directory")]
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
        "the name of the endpoint is one of region {0}, and requests are signed for {1}, which {2} says; leave out one of them if that is not meant"
    )]
    Regions(String, String, String),
    #[error("requests and objects travel unencrypted; use https:// unless the network is trusted")]
    Plain,
    #[error(
        "OSS refuses path addressing on its own public and internal endpoints; it is for PrivateLink and addresses"
    )]
    PathOnOss,
    #[error(
        "the pattern {0:?} matches names under any domain; a web page could have itself led here (DNS rebinding)"
    )]
    OpenEnded(String),
    #[error(
        "{0} can be reached from other machines, and everybody who reaches it is signed for (unsafe_open)"
    )]
    Open(std::net::SocketAddr),
    #[error("the secret stands in the file itself; refer to it with file:PATH, env:NAME or credential:NAME")]
    Inline,
    #[error("the file {0:?} can be read by other users of this machine; chmod 600 it")]
    Exposed(String),
}
