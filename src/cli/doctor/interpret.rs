//! Interprets responses of OSS, and names remedies ("Error responses" and "Signature errors" of the
//! OSS API reference).

use http::{HeaderName, StatusCode};

use super::super::exit::CommandExit;
use super::super::refusal::{KnownRefusal, region_of};
use super::fault::FaultKind;
use super::probe::{ProbeResponse, SignedProbe};
use super::report::Finding;
use crate::credentials::Credentials;
use crate::oss::Region;

/// The request that a response belongs to.
pub(super) struct ProbeContext<'a> {
    /// The operation, in the terms of OSS.
    pub(super) what: String,
    pub(super) key: &'a Credentials,
    /// The region in the signature.
    pub(super) region: Option<&'a Region>,
    /// The endpoint that received the request.
    pub(super) endpoint: &'a str,
}

/// Checks whether the response comes from OSS.
pub(super) fn manners(response: &ProbeResponse) -> Finding {
    if response.headers.contains_key(OURS) || response.headers.contains_key(OUR_ERROR) {
        let refusal = response.header(&OUR_ERROR).map_or(String::new(), |code| format!(", with {code}"));
        return Finding::fail(
            "answer",
            FaultKind::NotOss,
            CommandExit::Config,
            format!("the response is from a proxy like this one{refusal}, not from OSS"),
            "point `endpoint` or `connect` at OSS itself: requests that are signed twice are rejected or loop; `unknown-host` means that the other proxy does not serve this name",
        );
    }
    if response.status.is_server_error() {
        return Finding::fail(
            "answer",
            FaultKind::ServerError,
            CommandExit::Unavailable,
            format!("OSS, or a proxy in front of it, reports a server error: {}", response.summary()),
            "retry later; if it persists, check the status of OSS and proxies in between",
        );
    }
    if !response.headers.contains_key(REQUEST_ID) {
        return Finding::warn(
            "answer",
            FaultKind::NotOss,
            format!(
                "the response ({}) does not look like an OSS response: it has no request id",
                response.summary()
            ),
            CHECK_ENDPOINT,
        );
    }
    Finding::ok("answer", "OSS responds")
}

/// Judges the difference between the clocks.
pub(super) fn clocks(ahead_s: Option<i64>) -> Finding {
    let Some(ahead_s) = ahead_s else {
        return Finding::warn(
            "clock",
            FaultKind::ClockUnknown,
            "the Date header of the response is missing, invalid or from a cache",
            "make sure that the clock of this host is right: OSS rejects requests more than 15 minutes off",
        );
    };
    let side = if ahead_s > 0 { "behind" } else { "ahead of" };
    let text = format!("the clock of this host is {} {side} that of OSS", time(ahead_s.abs()));
    match ahead_s.abs() {
        0..=NOTABLE_S => Finding::ok("clock", format!("within {NOTABLE_S} s of that of OSS")),
        ..=SKEW_S_MAX => Finding::warn("clock", FaultKind::ClockOff, text, SET_CLOCK),
        _ => Finding::fail("clock", FaultKind::ClockSkewed, CommandExit::Credentials, text, SET_CLOCK),
    }
}

/// Interprets the response to a signed request: key, clock, region and bucket.
pub(super) fn judge(answered: &SignedProbe, asked: &ProbeContext<'_>) -> Finding {
    let SignedProbe { response, refused, .. } = answered;
    if !response.headers.contains_key(REQUEST_ID) && response.element("Code").is_none() {
        let text = format!("the response to {} ({}) is not from OSS", asked.what, response.summary());
        return Finding::fail("signed", FaultKind::NotOss, CommandExit::Config, text, CHECK_ENDPOINT);
    }
    if response.status.is_success() {
        return accepted_finding(response, refused.as_ref(), asked);
    }
    if response.status.is_server_error() {
        let exit = CommandExit::Unavailable;
        let fault =
            SignedFault::new(FaultKind::ServerError, exit, "OSS reports a server error", "retry later");
        return fault.finding(response, asked);
    }
    if let Some(fault) = elsewhere(response, asked) {
        return fault.finding(response, asked);
    }
    if let Some(known) = known(response) {
        let fault = SignedFault::new(known.into(), known.exit(), known.cause(), known.remedy());
        return fault.finding(response, asked);
    }
    let fault = match response.element("Code").unwrap_or_default() {
        "RequestTimeTooSkewed" => SignedFault::new(
            FaultKind::ClockSkewed,
            CommandExit::Credentials,
            "the clock of this host is too far off",
            SET_CLOCK,
        ),
        "NoSuchBucket" => SignedFault::new(
            FaultKind::NoSuchBucket,
            CommandExit::Config,
            "the key and the signature are accepted, but the bucket does not exist",
            "correct the name of the bucket; if it were in another region, OSS would have reported that",
        ),
        // Numbers that begin with 0002 are about the signature, whatever the code.
        "AccessDenied" if response.number().is_none_or(|number| !number.starts_with("0002-")) => {
            let text = format!(
                "the key and the signature are accepted; {} is not allowed ({})",
                asked.what,
                response.summary()
            );
            return Finding::warn(
                "signed",
                FaultKind::NotAllowed,
                text,
                "ignore this if your applications do not need it; otherwise check the policies of the RAM identity and of the bucket",
            );
        }
        code => refused_key(code, response, asked),
    };
    fault.finding(response, asked)
}

/// A fault for which OSS rejects a signed request.
struct SignedFault {
    kind: FaultKind,
    exit: CommandExit,
    cause: String,
    remedy: String,
}

impl SignedFault {
    fn new(kind: FaultKind, exit: CommandExit, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, exit, cause: cause.into(), remedy: remedy.into() }
    }

    fn of_key(kind: FaultKind, cause: &str, remedy: impl Into<String>) -> Self {
        Self::new(kind, CommandExit::Credentials, cause, remedy)
    }

    fn finding(self, response: &ProbeResponse, asked: &ProbeContext<'_>) -> Finding {
        let why = self.cause;
        let text = format!("{} was rejected ({}): {why}", asked.what, response.summary());
        Finding::fail("signed", self.kind, self.exit, text, self.remedy)
    }
}

/// Returns the fault of the key.
fn refused_key(code: &str, response: &ProbeResponse, asked: &ProbeContext<'_>) -> SignedFault {
    let Credentials { id, token, provider, .. } = asked.key;
    match (code, response.number()) {
        ("SecurityTokenExpired", _) | (_, Some(TOKEN_EXPIRED)) => SignedFault::of_key(
            FaultKind::TokenExpired,
            "the security token has expired",
            format!(
                "set a fresh id, secret and token in {provider}, or use a provider that refreshes them (assume_role, oidc, ecs)"
            ),
        ),
        ("InvalidAccessKeyId", Some(TOKEN_MISSING)) | ("InvalidAccessKeyId", _)
            if token.is_none() && (id.starts_with("STS.") || response.number() == Some(TOKEN_MISSING)) =>
        {
            SignedFault::of_key(
                FaultKind::TokenMissing,
                "the key is temporary, and its security token is missing",
                format!(
                    "set the token together with id and secret in {provider}: `security_token`, or its variable"
                ),
            )
        }
        ("InvalidAccessKeyId", Some(TOKEN_MISSING)) => SignedFault::of_key(
            FaultKind::TokenSuperfluous,
            "the key is long-lived, but was sent with a security token",
            format!("remove the token from {provider}, or set the id that belongs to it"),
        ),
        ("InvalidAccessKeyId", Some(KEY_DISABLED)) => SignedFault::of_key(
            FaultKind::KeyDisabled,
            "the access key is disabled",
            format!("enable it in RAM, or set another one in {provider}"),
        ),
        ("InvalidAccessKeyId", _) => SignedFault::of_key(
            FaultKind::UnknownKey,
            "OSS does not know this access key id",
            format!(
                "check {provider} for a typo; check in RAM that the key exists, is enabled, and belongs to this cloud (cn or intl)"
            ),
        ),
        ("InvalidSecurityToken" | "AccessKeyIdAndSecurityTokenNotMatch", _) => SignedFault::of_key(
            FaultKind::TokenWrong,
            "the security token is malformed, or does not belong to this id",
            format!("set id, secret and token of {provider} together, from one STS response"),
        ),
        ("SignatureDoesNotMatch", _) => SignedFault::of_key(
            FaultKind::WrongSecret,
            "clock, region and id are right, but the signature does not match",
            format!(
                "the secret in {provider} does not belong to this id: copy it again, completely and without spaces; if it is right, a proxy in between changes the request"
            ),
        ),
        (_, _) if response.status == StatusCode::FORBIDDEN => SignedFault::of_key(
            FaultKind::Refused,
            "OSS rejects it for another reason",
            "look up the code in the error reference of OSS",
        ),
        (_, _) => SignedFault::new(
            FaultKind::Refused,
            CommandExit::Config,
            "OSS rejects it for another reason",
            "look up the code in the error reference of OSS",
        ),
    }
}

/// Returns the fault if the bucket, or this OSS, is in a region other than the one addressed or
/// signed for.
fn elsewhere(response: &ProbeResponse, asked: &ProbeContext<'_>) -> Option<SignedFault> {
    let fault = |cause: String, remedy: String| {
        SignedFault::new(FaultKind::WrongRegion, CommandExit::Config, cause, remedy)
    };
    let signed = asked.region.map_or("-", |region| region.as_str());
    if let Some(endpoint) = response.element("Endpoint").filter(|endpoint| *endpoint != asked.endpoint) {
        let remedy = match region_of(endpoint).filter(|region| region.as_str() != signed) {
            Some(right) => format!("set `region` to \"{right}\" (--region {right}) instead of {signed:?}"),
            None => format!("set `endpoint` to {endpoint}, with the current scheme"),
        };
        return Some(fault(
            format!("the bucket belongs to {endpoint}, but the request was sent to {}", asked.endpoint),
            remedy,
        ));
    }
    let scope = response.scope_region().filter(|region| asked.region.is_some() && *region != signed);
    if response.number() == Some(WRONG_REGION) || scope.is_some() {
        let right = scope.map_or(String::new(), |region| format!("; {region} is"));
        return Some(fault(
            format!("{signed} is not the region of this endpoint{right}"),
            format!("set `region` to that of {}, or use the endpoint of {signed}", asked.endpoint),
        ));
    }
    None
}

/// Reports an accepted signature. `refused` is the response to a preceding HEAD that OSS rejected.
fn accepted_finding(
    response: &ProbeResponse,
    refused: Option<&ProbeResponse>,
    asked: &ProbeContext<'_>,
) -> Finding {
    let text = format!("{} was accepted ({})", asked.what, response.summary());
    let Some(refused) = refused else { return Finding::ok("signed", text) };
    if let Some(known) = known(refused) {
        let text = format!(
            "{text}, but a HEAD of the bucket was rejected ({}): {}",
            refused.summary(),
            known.cause()
        );
        return Finding::fail("signed", known.into(), known.exit(), text, known.remedy());
    }
    Finding::warn(
        "signed",
        FaultKind::HeadRefused,
        format!("{text}; a HEAD of the bucket was rejected before ({})", refused.summary()),
        "ignore this if your applications send no HEAD; otherwise check the policies of the RAM identity and of the bucket, and proxies in between",
    )
}

fn known(response: &ProbeResponse) -> Option<KnownRefusal> {
    KnownRefusal::find(response.element("Code").unwrap_or_default(), response.number(), response.message())
}

fn time(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

const CHECK_ENDPOINT: &str =
    "make sure that `endpoint` and `connect` point to OSS, and not to a web server or a login portal";
const SET_CLOCK: &str = "synchronise the clock of this host with NTP; `serve` adopts the time of OSS after a rejection, but the first request after each start is rejected";
/// The largest clock difference that is not reported.
const NOTABLE_S: i64 = 5;
/// The largest clock difference that OSS accepts.
const SKEW_S_MAX: i64 = 15 * 60;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
const OURS: HeaderName = HeaderName::from_static("x-proxy-request-id");
const OUR_ERROR: HeaderName = HeaderName::from_static("x-proxy-error");
const TOKEN_EXPIRED: &str = "0002-00000007";
const TOKEN_MISSING: &str = "0002-00000002";
const KEY_DISABLED: &str = "0002-00000904";
const WRONG_REGION: &str = "0002-00000226";
