//! `explain`: shows which source signs and why others do not, the outcome of a request, or the
//! cause of a rejected signature.

mod cause;
mod compare;
mod diagnosis;
mod error_document;
mod print;
mod redact;
mod request;
mod server_error;
mod sources;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use http::{HeaderName, HeaderValue, Method};

use super::exit::CommandExit;
use super::flags::CommonFlags;

pub(super) use sources::{SourceDescription, describe, masked};

#[derive(ClapArgs)]
pub(super) struct ExplainArgs {
    /// The method of a request; without one, who signs for each route is told
    #[arg(requires = "url")]
    method: Option<Method>,
    /// What it asks for: a URL as the client has it, or /BUCKET/KEY as it is sent to the first listener. It is read as HTTP/1.1; the
    /// :authority of an HTTP/2 request is the host of the URL
    url: Option<String>,
    /// A header that the client sends; may be repeated
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = request::parse_header, requires = "url")]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The error document in which OSS refused that request; tells where its text and ours part, and why. - reads it from
    /// standard input
    #[arg(long, value_name = "FILE", requires = "url")]
    server_error: Option<PathBuf>,
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) fn run(arguments: &ExplainArgs) -> CommandExit {
    let ExplainArgs { method, url, header, server_error, flags } = arguments;
    let (Some(method), Some(url)) = (method, url) else {
        return sources::run(flags);
    };
    let asked = request::ExplainedRequest { method, url, headers: header };
    match server_error {
        None => request::run(&asked, flags),
        Some(file) => server_error::run(file, &asked, flags),
    }
}
