//! `doctor`: checks everything that a request depends on, in order, and reports the first fault
//! with a remedy. Its probes use the signer and the connections of the proxy.

mod configuration;
mod connectivity;
mod fault;
mod interpret;
mod listener;
mod probe;
mod report;
mod running;
mod served_bucket;
mod source;
mod upstream;
mod upstream_signer;

use clap::Args as ClapArgs;

use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::serve::block_on;
use crate::app::build::ask_all;
use crate::app::system_env::SystemEnv;
use crate::config::{ConfigOutline, ProxyConfig};
use crate::credentials::each;
use crate::time::Clock as _;

use report::{DoctorReport, ReportFormat, ReportSection};
use served_bucket::ServedBucket;
use upstream_signer::UpstreamSigner;

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
            report.add(configuration::unreadable(unreadable));
            return report.end();
        }
    };
    block_on(async {
        report.add(configuration::examine(config.as_ref(), errors.as_ref()));
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
            report.add(listener::examine(listen.address.to_string(), files));
        }
    }
    let asked = ask_all(&config.credentials, &SystemEnv).await;
    for (name, source) in each(&asked.sources) {
        report.add(source::examine(name, source, &asked));
    }
    if let Some(admin) = &config.admin
        && let Some(section) = running::examine(admin, &asked.sources, SystemEnv.now()).await
    {
        report.add(section);
    }
    if goes == UpstreamProbes::NoFurther {
        return;
    }
    let served = match bucket.map(|name| ServedBucket::find(name, config)).transpose() {
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
        let signer = UpstreamSigner::find(config, index, &asked);
        report.add(upstream::examine(config, index, bucket, signer).await);
    }
}
