//! `explain`: shows which source signs and why others do not, the outcome of a request, or the
//! cause of a rejected signature.

mod cause;
mod client;
mod client_error;
mod clock_difference;
mod compare;
mod diagnosis;
mod error_document;
mod own_rejection;
mod print;
mod redact;
mod request;
mod server_error;
mod sources;
mod text_finding;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use http::{HeaderName, HeaderValue, Method};

use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::request_description::{RequestDescription, parse_header};

pub(super) use redact::{printable, target};
pub(super) use sources::{SourceDescription, describe, masked};

#[derive(ClapArgs)]
pub(super) struct ExplainArgs {
    /// HTTP method of the request to trace [default: show the credentials of each route]
    #[arg(requires = "url")]
    method: Option<Method>,
    /// URL of the request, or /BUCKET/KEY at the first listener; read as HTTP/1.1 (the :authority of HTTP/2 is the
    /// host of the URL)
    url: Option<String>,
    /// Header that the client sends; may be repeated
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = parse_header, requires = "url")]
    header: Vec<(HeaderName, HeaderValue)>,
    /// File with the body, which decides about batch deletes and some other operations
    #[arg(long, value_name = "FILE", requires = "url")]
    body: Option<PathBuf>,
    /// Certificate (PEM) that the client presents
    #[arg(long, value_name = "FILE", requires = "url")]
    client_certificate: Option<PathBuf>,
    /// Error document of OSS or of the proxy to compare with; - for stdin
    #[arg(long, value_name = "FILE", requires = "url")]
    server_error: Option<PathBuf>,
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) fn run(arguments: &ExplainArgs) -> CommandExit {
    let ExplainArgs { method, url, header, body, client_certificate, server_error, flags } = arguments;
    let (Some(method), Some(url)) = (method, url) else {
        return sources::run(flags);
    };
    let asked = request::ExplainedRequest {
        request: RequestDescription { method, url, headers: header, body: body.as_deref() },
        certificate: client_certificate.as_deref(),
    };
    match server_error {
        None => request::run(&asked, flags),
        Some(file) => server_error::run(file, &asked, flags),
    }
}
