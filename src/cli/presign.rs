//! `presign`: prints a signed URL that is valid for one request, from any client that has it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::output::{complain, line};
use super::serve::block_on;
use crate::address::{Host, ListenerNames, LocatedObject, ResolvedEndpoint, UrlScheme};
use crate::app::system_env::SystemEnv;
use crate::caller::remove_client_signature;
use crate::config::{ProxyConfig, parse_lifetime};
use crate::credentials::{Credentials, build_sources};
use crate::proxy::{AddressedRequest, SigningKeyError, prepare_headers, signing_key};
use crate::sign::SigningTime;
use crate::time::Clock as _;

#[derive(ClapArgs)]
pub(super) struct PresignArgs {
    /// HTTP method that the URL allows
    method: Method,
    /// Object, as a client of this proxy would request it: a URL with any host that is served, or /BUCKET/KEY
    url: String,
    /// Lifetime of the URL, such as 10m; V4 allows at most 168h
    #[arg(long, value_name = "DURATION", value_parser = parse_lifetime)]
    expires: Duration,
    /// Header to sign, which the client must send: Content-Type, Content-MD5 or x-oss-*; may be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Allow an expiry later than that of the credentials (the URL stops working when they expire)
    #[arg(long)]
    outlive_credentials: bool,
    #[command(flatten)]
    flags: CommonFlags,
}

/// A reason why no URL is printed.
#[derive(Debug, thiserror::Error)]
enum PresignError {
    /// The arguments are invalid.
    #[error("{0}")]
    Usage(String),
    /// The proxy does not serve the requested object.
    #[error("{0}")]
    Refused(String),
    /// There are no credentials to sign with, or they expire before the requested time.
    #[error("{0}")]
    Credentials(String),
    /// A source is misconfigured.
    #[error("{0}")]
    Config(String),
}

pub(super) fn run(arguments: &PresignArgs) -> CommandExit {
    let config = match arguments.flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    block_on(async {
        match presign(arguments, config).await {
            Ok(url) => {
                line(url);
                CommandExit::Ok
            }
            Err(reason) => {
                complain(format_args!("cannot presign: {reason}"));
                match reason {
                    PresignError::Usage(_) => CommandExit::Usage,
                    PresignError::Refused(_) => CommandExit::Failure,
                    PresignError::Credentials(_) => CommandExit::Credentials,
                    PresignError::Config(_) => CommandExit::Config,
                }
            }
        }
    })
}

async fn presign(arguments: &PresignArgs, config: ProxyConfig) -> Result<String, PresignError> {
    let refused = |reason: &dyn std::fmt::Display| PresignError::Refused(reason.to_string());
    let mut headers: HeaderMap = arguments.header.iter().cloned().collect();
    let mut request = locate(arguments, &config, &headers)?;
    remove_client_signature(&mut headers, &mut request.object.query);
    prepare_headers(&mut headers);
    let found = config.upstreams.get(request.object.upstream.0);
    let settings = found.ok_or_else(|| refused(&"unknown upstream"))?;
    let sources = build_sources(&config.credentials, &Arc::default());
    let source = sources.get(&settings.credentials).ok_or_else(|| {
        refused(&"its credentials are of type \"anonymous\", which never signs; a public object needs no presigned URL")
    })?;
    let credentials = source.refresh(&SystemEnv).await.map_err(PresignError::from_source)?;
    let signing_time = SigningTime::new(SystemEnv.now());
    check_end(arguments, &credentials, &signing_time)?;

    let endpoint = ResolvedEndpoint::as_given(&request.object, &config.routing_table);
    let key = signing_key(&credentials, settings.signature, &endpoint, &signing_time)?;
    let signed = key.presign(&request.signable(&headers), &signing_time, arguments.expires);
    request.object.query = signed.map_err(|error| PresignError::Usage(error.to_string()))?;
    Ok(format!("{}://{}{}", endpoint.scheme.as_str(), endpoint.host, endpoint.target(&request.object)))
}

/// Locates the object of the URL as for a request on any of the listeners.
fn locate(
    arguments: &PresignArgs,
    config: &ProxyConfig,
    headers: &HeaderMap,
) -> Result<AddressedRequest, PresignError> {
    let text = &arguments.url;
    if text.contains('#') {
        return Err(PresignError::Usage(
            "the URL has a fragment (#), which is never sent; write %23 if the # is part of the key"
                .to_owned(),
        ));
    }
    let uri: Uri = text.parse().map_err(|error| {
        PresignError::Usage(format!(
            "{text:?} is not a valid URL ({error}); percent-encode all characters but letters, digits and -._~/"
        ))
    })?;
    let scheme = match uri.scheme_str() {
        None | Some("http") => UrlScheme::Http,
        Some("https") => UrlScheme::Https,
        Some(other) => {
            return Err(PresignError::Usage(format!(
                "unsupported URL scheme {other}:; write http://, https:// or /BUCKET/KEY"
            )));
        }
    };
    // A client of this proxy would send the host of the URL as its Host header.
    let name = uri.authority().map_or("localhost", http::uri::Authority::as_str);
    let host = HeaderValue::from_str(name).map_err(|error| PresignError::Usage(error.to_string()))?;
    let mut headers = headers.clone();
    headers.insert(header::HOST, host);
    let domains: Vec<String> = config.listen.iter().flat_map(|listen| listen.domains.clone()).collect();
    let listener_names = ListenerNames { domains: &domains, scheme, unnamed: false, address: None };
    Host::from_request(&uri, &headers).map_err(|error| PresignError::Usage(error.to_owned()))?;
    let target = uri.path_and_query().cloned().map_or(uri, Uri::from);
    let object =
        LocatedObject::find(&arguments.method, &target, &headers, (listener_names, &config.routing_table))
            .map_err(|error| PresignError::Refused(error.to_string()))?;
    Ok(AddressedRequest { method: arguments.method.clone(), object })
}

/// Checks the requested lifetime against the credentials. A URL expires with the credentials that
/// signed it, regardless of the expiry that it states.
fn check_end(
    arguments: &PresignArgs,
    credentials: &Arc<Credentials>,
    signing_time: &SigningTime,
) -> Result<(), PresignError> {
    let lifetime_s = i64::try_from(arguments.expires.as_secs()).unwrap_or(i64::MAX);
    match credentials.expires {
        Some(end) if end <= signing_time.at() => Err(PresignError::Credentials(format!(
            "the credentials of {} have expired",
            credentials.provider
        ))),
        Some(end) if end.unix_s() < signing_time.at().unix_s().saturating_add(lifetime_s) => {
            if !arguments.outlive_credentials {
                return Err(PresignError::Credentials(format!(
                    "the credentials expire at {}, and the URL with them; shorten --expires, or pass --outlive-credentials",
                    end.rfc3339()
                )));
            }
            complain(format_args!("warning: the URL expires with the credentials, at {}", end.rfc3339()));
            Ok(())
        }
        None if credentials.token.is_some() => {
            complain("warning: the URL expires with the security token, whose expiry is unknown");
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

impl From<SigningKeyError> for PresignError {
    fn from(error: SigningKeyError) -> Self {
        match error {
            SigningKeyError::NoRegion => Self::Refused(format!("{error}; set `region`")),
            SigningKeyError::Unsendable(_) => Self::Credentials(error.to_string()),
        }
    }
}

impl PresignError {
    fn from_source(error: crate::credentials::ProvideError) -> Self {
        use crate::credentials::ProvideError::{Failed, NotConfigured, Refused, Unavailable};
        match error {
            NotConfigured(reason) => Self::Credentials(format!(
                "no credentials ({reason}); set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials]"
            )),
            Unavailable(why) | Refused(why) => Self::Credentials(why),
            Failed(failure) => Self::Config(failure.to_string()),
        }
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "invalid header name".to_owned())?;
    if !crate::sign::v4::is_signed(name.as_str()) {
        return Err(format!("{name} is not signed; the client can send it without --header"));
    }
    let value = value.trim().parse().map_err(|_| "invalid header value".to_owned())?;
    Ok((name, value))
}
