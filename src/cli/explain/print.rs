//! Prints the explanation of a request. All output is redacted.

use super::super::output::line;
use super::redact;
use super::sources::{describe, masked};
use crate::config::{ProxyConfig, SESSION_POLICY_MAX};
use crate::policy::PolicyDecision;
use crate::proxy::{DryRunReport, DryRunRoute, OutboundHead};
use crate::sign::{SignatureVersion, SigningTexts};

/// Prints the results of the dry run, or the reason why it stopped.
pub(super) fn head(explained: &DryRunReport, config: &ProxyConfig) {
    let DryRunReport { operation, bucket, key, caller, verdict, route, source, .. } = explained;
    if let Some(operation) = operation {
        entry("operation", operation.name());
        entry("bucket", bucket.as_ref().map_or("- (the service)", |bucket| bucket.as_str()));
    }
    if let Some(key) = key.as_ref().filter(|key| !key.is_empty()) {
        entry("key", redact::printable(key.as_bytes()));
    }
    if let Some(caller) = caller {
        let known = caller.caller().map(|caller| &*caller.name);
        let settings = config.callers.iter().flatten().find(|settings| Some(&*settings.name) == known);
        match settings {
            Some(settings) => {
                entry("caller", format_args!("{} ({})", settings.name, settings.origin));
                for document in settings.rights.documents() {
                    let lines: Vec<&str> = document.text().lines().map(str::trim).collect();
                    entry("rights", redact::printable(lines.join(" ").as_bytes()));
                }
                if let Some(policy) = &settings.session_policy {
                    let length = policy.text.chars().count();
                    entry(
                        "session",
                        format_args!(
                            "the rights are the policy of the session, {length} of at most {SESSION_POLICY_MAX} characters"
                        ),
                    );
                }
            }
            None => entry("caller", known.unwrap_or("open")),
        }
    }
    match verdict {
        _ if explained.is_own_answer => {
            entry("policy", "allowed; the proxy responds, without a request to OSS");
        }
        Some(PolicyDecision::Sign) => entry("policy", "allowed"),
        Some(PolicyDecision::PassUnsigned) => entry("policy", "allowed, but never signed"),
        Some(PolicyDecision::Deny(_) | PolicyDecision::Judge) => entry("policy", "denied"),
        None => {}
    }
    if let Some(route) = route {
        self::route(route, config);
    }
    if let Some(source) = source {
        describe(source);
    }
    if let Some(role) = &explained.role {
        entry("role", redact::printable(role.as_bytes()));
    }
    if let Some(expiry) = explained.key_expiry {
        entry("key", format_args!("would be handed out, valid until {}", expiry.rfc3339()));
    }
    if let Some(reason) = &explained.refused {
        entry("refused", format_args!("{} {}: {}", reason.status.as_u16(), reason.code, reason.message));
    }
}

fn route(route: &DryRunRoute, config: &ProxyConfig) {
    let DryRunRoute { upstream, endpoint: resolved, signature } = route;
    let endpoint = &config.routing_table.get(*upstream).endpoint;
    let host = endpoint.host.bracketed();
    let scheme = endpoint.scheme.as_str();
    let wanted =
        config.routing_table.wanted(*upstream).map_or(String::new(), |wanted| format!(" ({wanted})"));
    entry("route", format_args!("{upstream}{wanted}, endpoint {scheme}://{host}:{}", endpoint.port));
    entry("region", resolved.region.as_ref().map_or("- (not configured)", |region| region.as_str()));
    let (dialled, port) = &resolved.dial;
    let tls = match resolved.scheme {
        crate::address::UrlScheme::Https => format!(", TLS as {}", resolved.name),
        crate::address::UrlScheme::Http => String::new(),
    };
    entry("dials", format_args!("{dialled}:{port}{tls}"));
    match signature {
        Some(version) => entry("signature", version.as_str()),
        None => entry("signature", "none"),
    }
}

/// Prints the request that would be sent, and the texts that are signed.
pub(super) fn outbound(explained: &DryRunReport) {
    let Some(OutboundHead { request_line, headers, signed }) = &explained.outbound else { return };
    let credentials = explained.credentials.as_deref();
    let token = credentials.and_then(|credentials| Some(credentials.token.as_ref()?.expose()));
    if let (Some(signed), Some(credentials)) = (signed, credentials) {
        let version = explained.route.as_ref().and_then(|route| route.signature);
        entry("signed by", format_args!("{} of {}", masked(&credentials.id), credentials.provider));
        texts(signed, version, token);
    }
    line("\nrequest that would be sent");
    line(format_args!("    {}", redact::printable(&redact::redact_token(request_line.as_bytes(), token))));
    for (name, value) in headers {
        line(format_args!("    {name}: {}", redact::header(name, value)));
    }
}

fn texts(signed: &SigningTexts, version: Option<SignatureVersion>, token: Option<&str>) {
    if let Some(canonical) = &signed.canonical_request {
        line("\ncanonical request");
        block(&redact::redact_token(canonical, token));
    }
    line(format_args!("\nstring to sign ({})", version.map_or("-", SignatureVersion::as_str)));
    block(&redact::redact_token(&signed.string_to_sign, token));
}

/// Prints a text of several lines, indented.
fn block(text: &[u8]) {
    for text in text.split(|byte| *byte == b'\n') {
        line(format_args!("    {}", redact::printable(text)));
    }
}

fn entry(name: &str, value: impl std::fmt::Display) {
    line(format_args!("{name:12}{value}"));
}
