//! `explain --server-error`: explains why OSS rejected a signature. Compares the texts that OSS
//! reports with those of this proxy for the same request and time. A document of a proxy is compared
//! with the request of the client.

use std::path::Path;

use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use super::super::serve::block_on;
use super::client_error;
use super::error_document::{InvalidDocument, ServerErrorDocument};
use super::print;
use super::redact::printable;
use super::request::{ExplainError, ExplainedRequest, ReadyConfig, exit};
use super::sources::masked;
use super::text_finding::TextFinding;
use crate::app::system_env::SystemEnv;
use crate::config::ProxyConfig;
use crate::proxy::DryRunReport;
use crate::sign::SignatureVersion;
use crate::time::{Clock as _, Timestamp};

pub(super) fn run(file: &Path, asked: &ExplainedRequest<'_>, flags: &CommonFlags) -> CommandExit {
    let error = match ServerErrorDocument::read(file) {
        Ok(error) => error,
        Err(InvalidDocument::Diagnosed { code, request_id, diagnosis }) => {
            line(format_args!("{:12}{code}, request {request_id}", "error"));
            let server = if diagnosis.is_ours() { "a proxy like this one" } else { "OSS" };
            line(format_args!(
                "It has no signed text to compare: {server} rejected the request for a reason other than its signature."
            ));
            line(format_args!("    usual cause: {diagnosis}"));
            return CommandExit::Ok;
        }
        Err(bad) => {
            complain(format_args!("nothing to compare: {bad}"));
            return CommandExit::Failure;
        }
    };
    let mut config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let configured: Vec<SignatureVersion> =
        config.upstreams.iter().map(|upstream| upstream.signature).collect();
    for upstream in &mut config.upstreams {
        upstream.signature = error.version();
    }
    block_on(async {
        let compared = if error.is_own {
            client_error::compare(config, asked, &error).await
        } else {
            ours(config, asked, &error).await.map(|explained| compare(&error, &explained, &configured))
        };
        compared.unwrap_or_else(|failure| {
            complain(format_args!("nothing to compare: {failure}"));
            failure.exit()
        })
    })
}

/// Explains the request at the time of the server's text.
async fn ours(
    config: ProxyConfig,
    asked: &ExplainedRequest<'_>,
    error: &ServerErrorDocument,
) -> Result<DryRunReport, ExplainError> {
    let ready = ReadyConfig::new(config).await?;
    let at = error.signed_at();
    let shown = at.map_or_else(|| "an unknown time".to_owned(), Timestamp::rfc3339);
    line(format_args!("{:12}{}, request {}", "error", error.code, printable(error.request_id.as_bytes())));
    line(format_args!("{:12}{}, made at {shown}", "signature", error.version().as_str()));
    let explained = ready.explain(asked, at.unwrap_or_else(|| SystemEnv.now())).await?;
    print::head(&explained, &ready.config);
    Ok(explained)
}

fn compare(
    error: &ServerErrorDocument,
    explained: &DryRunReport,
    configured: &[SignatureVersion],
) -> CommandExit {
    let signed = explained.outbound.as_ref().and_then(|outbound| outbound.signed.as_ref());
    let (Some(signed), Some(credentials)) = (signed, explained.credentials.as_deref()) else {
        complain("nothing to compare: this request is not signed here");
        let exit = exit(explained);
        return if exit == CommandExit::Ok { CommandExit::Failure } else { exit };
    };
    line("");
    if let Some(route) = &explained.route
        && configured.get(route.upstream.0).is_some_and(|version| *version != error.version())
    {
        line(format_args!(
            "The server received a {} signature, but this route uses the other version: something else signed that request, or the configuration was different.",
            error.version().as_str()
        ));
    }
    let other_key = error.key_id.as_deref().filter(|id| *id != credentials.id);
    if let Some(id) = other_key {
        line(format_args!(
            "The server received the access key id {}, but {} signs here: other credentials signed.",
            printable(masked(id).as_bytes()),
            masked(&credentials.id)
        ));
    }
    let token = credentials.token.as_ref().map(|token| token.expose());
    let found = TextFinding::all(error, signed, token);
    found.iter().for_each(TextFinding::print);
    if found.is_empty() {
        line("Nothing differs: OSS and this proxy sign the same text.");
        let cause = match (other_key, token) {
            (Some(_), _) => "the two keys have different secrets; see above which key signed",
            (None, None) => {
                "the secret is wrong for this access key id: mistyped, truncated, or of another key; set it again"
            }
            (None, Some(_)) => {
                "the secret is wrong for this access key id: it is from another refresh; set id, secret and token from one response"
            }
        };
        line(format_args!("    usual cause: {cause}"));
    }
    CommandExit::Ok
}
