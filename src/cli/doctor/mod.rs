//! `doctor`: checks everything that a request depends on, in order, and reports the first fault
//! with a remedy. Its probes use the signer and the connections of the proxy.

mod connectivity;
mod fault;
mod interpret;
mod probe;
mod report;
mod running;
mod upstream;

use clap::Args as ClapArgs;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::exit::CommandExit;
use super::explain::SourceDescription;
use super::flags::CommonFlags;
use super::serve::block_on;
use crate::address::{ListenerNames, LocatedObject, UpstreamId, UrlScheme};
use crate::admin::ListenerCertificate;
use crate::app::BadSource;
use crate::app::build::{SourceResults, ask_all};
use crate::app::system_env::SystemEnv;
use crate::config::{ConfigErrors, ConfigOutline, ProxyConfig};
use crate::credentials::{CredentialSource, NamedSpec, ProviderSpec, each};
use crate::oss::Bucket;
use crate::server::TlsFiles;
use crate::time::Clock as _;

use fault::FaultKind;
use report::{DoctorReport, Finding, ReportFormat, ReportSection};

#[derive(ClapArgs)]
#[command(mut_arg("bucket", |bucket| bucket.help(
    "Send a signed HEAD of this bucket to the upstream that serves it [default: list the buckets]"
)))]
pub(super) struct DoctorArgs {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) fn run(arguments: &DoctorArgs) -> CommandExit {
    let reader = if arguments.json { ReportFormat::Program } else { ReportFormat::Person };
    let mut report = DoctorReport::new(reader);
    let bucket = arguments.flags.bucket();
    let ConfigOutline { config, errors } = match arguments.flags.without_bucket().outline() {
        Ok(outline) => outline,
        Err(unreadable) => {
            report.add(configuration(vec![wrong(unreadable)]));
            return report.end();
        }
    };
    block_on(async {
        report.add(configuration(read(config.as_ref(), errors.as_ref())));
        if let Some(config) = config {
            let probes = if errors.is_some() { UpstreamProbes::NoFurther } else { UpstreamProbes::On };
            examine(&config, bucket, probes, &mut report).await;
        }
        report.end()
    })
}

/// Selects whether probes are sent to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpstreamProbes {
    On,
    /// Nothing is sent with an invalid configuration.
    NoFurther,
}

async fn examine(
    config: &ProxyConfig,
    bucket: Option<&str>,
    goes: UpstreamProbes,
    report: &mut DoctorReport,
) {
    for listen in &config.listen {
        if let Some(files) = &listen.tls {
            report.add(of_listener(listen.address.to_string(), files));
        }
    }
    let asked = ask_all(&config.credentials, &SystemEnv).await;
    for (name, source) in each(&asked.sources) {
        report.add(of_source(name, source, &asked));
    }
    if let Some(admin) = &config.admin
        && let Some(section) = running::examine(admin, &asked.sources, SystemEnv.now()).await
    {
        report.add(section);
    }
    if goes == UpstreamProbes::NoFurther {
        return;
    }
    let served = match bucket.map(|name| served_by(name, config)).transpose() {
        Ok(served) => served,
        Err(finding) => {
            report.add(ReportSection {
                name: "bucket".to_owned(),
                about: bucket.unwrap_or_default().to_owned(),
                findings: vec![finding],
            });
            return;
        }
    };
    for index in 0..config.upstreams.len() {
        let of_it = |served: &&ServedBucket| served.upstream.0 == index;
        let bucket = served.as_ref().filter(of_it).map(|served| &served.bucket);
        let source = sources_of(config, index, &asked);
        report.add(upstream::examine(config, index, bucket, source).await);
    }
}

fn configuration(findings: Vec<Finding>) -> ReportSection {
    ReportSection { name: "configuration".to_owned(), about: String::new(), findings }
}

fn wrong(text: impl Into<String>) -> Finding {
    let remedy = "correct it; `check` reports the same errors";
    Finding::fail("read", FaultKind::Configuration, CommandExit::Config, text, remedy)
}

fn read(config: Option<&ProxyConfig>, errors: Option<&ConfigErrors>) -> Vec<Finding> {
    let warnings = config.into_iter().flat_map(|config| &config.warnings).map(|text| {
        Finding::warn("read", FaultKind::Caution, text.as_str(), "ignore this if it is intended")
    });
    let errors: Vec<_> =
        errors.into_iter().flat_map(ConfigErrors::iter).map(|error| wrong(error.to_string())).collect();
    let good = errors.is_empty().then(|| Finding::ok("read", "no errors"));
    good.into_iter().chain(warnings).chain(errors).collect()
}

/// Checks the certificate of a listener with TLS.
fn of_listener(listener: String, files: &TlsFiles) -> ReportSection {
    let expiry = |expires| {
        let certificate = ListenerCertificate { listener: listener.clone(), expires };
        match certificate.warning(SystemEnv.now()) {
            Some(warning) => {
                Finding::warn("certificate", FaultKind::CertificateExpiry, warning, "renew the certificate")
            }
            None => Finding::ok("certificate", format!("the certificate expires {}", expires.rfc3339())),
        }
    };
    let finding = match files.load() {
        Ok(tls) => {
            tls.expires().map_or_else(|| Finding::ok("certificate", "the certificate is usable"), expiry)
        }
        Err(error) => {
            let remedy = "correct the files of `tls`; `check` reports the same errors";
            Finding::fail("certificate", FaultKind::TlsFiles, CommandExit::Config, error.to_string(), remedy)
        }
    };
    ReportSection { name: "listener".to_owned(), about: listener.clone(), findings: vec![finding] }
}

/// Describes a source as `explain` does, and reports whether it provides credentials.
fn of_source(name: &str, source: &CredentialSource, asked: &SourceResults) -> ReportSection {
    let SourceDescription { summary, details } = SourceDescription::new(source);
    let about = |all: &[BadSource]| {
        let known = all.iter().find(|bad| bad.name == name);
        known.map(|bad| bad.failure.clone())
    };
    let finding = if let Some(failure) = about(&asked.bad) {
        let remedy = "correct this provider; if the message names several, start with the first";
        Finding::fail("credentials", FaultKind::SourceMisconfigured, CommandExit::Config, failure, remedy)
    } else if source.get(SystemEnv.now()).is_ok() {
        Finding::ok("credentials", summary)
    } else {
        let (fault, text) = match about(&asked.unavailable) {
            Some(failure) => (FaultKind::SourceUnavailable, failure),
            None => (FaultKind::NoCredentials, "no provider has credentials".to_owned()),
        };
        let remedy = "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials]; the list of providers shows why each was skipped";
        Finding::fail("credentials", fault, CommandExit::Credentials, text, remedy)
    };
    ReportSection {
        name: "source".to_owned(),
        about: format!("{name:?}"),
        findings: vec![finding.with(details)],
    }
}

/// The signer of requests for an upstream.
enum UpstreamSigner<'a> {
    /// A source, which may have no credentials.
    Source(&'a CredentialSource),
    /// Requests are not signed.
    Nobody,
    /// A source that could not be built.
    Broken,
}

fn sources_of<'a>(config: &ProxyConfig, index: usize, asked: &'a SourceResults) -> UpstreamSigner<'a> {
    let Some(settings) = config.upstreams.get(index) else { return UpstreamSigner::Broken };
    let is_anonymous = |named: &NamedSpec| {
        named.name == settings.credentials && matches!(named.spec, ProviderSpec::Anonymous)
    };
    match asked.sources.get(&settings.credentials) {
        Some(source) => UpstreamSigner::Source(source),
        None if config.credentials.iter().any(is_anonymous) => UpstreamSigner::Nobody,
        None => UpstreamSigner::Broken,
    }
}

/// A bucket with the upstream that its requests are routed to.
struct ServedBucket {
    bucket: Bucket,
    upstream: UpstreamId,
}

/// Returns the upstream that a request for this bucket is routed to.
fn served_by(name: &str, config: &ProxyConfig) -> Result<ServedBucket, Finding> {
    let wrong = |text: String, remedy: &str| {
        Finding::fail("routing", FaultKind::BucketNotServed, CommandExit::Config, text, remedy)
    };
    let bucket = Bucket::parse(name).map_err(|error| wrong(error.to_string(), "name an existing bucket"))?;
    let uri: Uri = format!("/{bucket}?bucketInfo").parse().unwrap_or_default();
    let headers: HeaderMap = [(header::HOST, HeaderValue::from_static("localhost"))].into_iter().collect();
    let listener_names =
        ListenerNames { domains: &[], scheme: UrlScheme::Http, unnamed: false, address: None };
    let located = LocatedObject::find(&Method::GET, &uri, &headers, (listener_names, &config.routing_table));
    let remedy = "name the configured bucket, or add a route with match.bucket";
    match located {
        Ok(LocatedObject { bucket: Some(found), upstream, .. }) if found == bucket => {
            Ok(ServedBucket { bucket, upstream })
        }
        Ok(LocatedObject { bucket: Some(pin), .. }) => {
            Err(wrong(format!("the configuration serves only the bucket {pin}, not {bucket}"), remedy))
        }
        Ok(_) => Err(wrong(format!("no upstream serves {bucket}"), remedy)),
        Err(error) => Err(wrong(error.to_string(), remedy)),
    }
}
