//! `emulate`: the emulated OSS on a separate port, for tests of the proxy and of the applications
//! behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::exit::CommandExit;
use super::output::{complain, line};
use super::serve::{block_on, signals};
use crate::app::system_env::SystemEnv;
use crate::config::parse_lifetime;
use crate::emulator::issuer::CredentialIssuer;
use crate::emulator::{EmulatedAccount, Emulator, EmulatorSettings, FaultOrder, OssService};
use crate::oss::{Bucket, Region};
use crate::server::DrainSignal;

#[derive(ClapArgs)]
pub(super) struct EmulateArgs {
    /// Address to listen on; port 0 selects a free port, which is printed
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8780")]
    listen: SocketAddr,
    /// Region of the emulated OSS
    #[arg(long, default_value = "cn-hangzhou", value_parser = Region::parse)]
    region: Region,
    /// Bucket to create at startup; may be repeated
    #[arg(long, value_name = "NAME", value_parser = Bucket::parse)]
    bucket: Vec<Bucket>,
    /// Access key id that requests must be signed with
    #[arg(long, value_name = "ID", default_value = SAMPLE_ID, help_heading = CREDENTIALS)]
    access_key_id: String,
    /// Secret of that access key
    #[arg(long, value_name = "SECRET", default_value = SAMPLE_SECRET, help_heading = CREDENTIALS)]
    access_key_secret: String,
    /// Security token that requests with that key must carry
    #[arg(long, value_name = "TOKEN", help_heading = CREDENTIALS)]
    security_token: Option<String>,
    /// Address of a fake STS, ECS metadata service and credentials URI; the emulated OSS accepts their credentials
    #[arg(long, value_name = "HOST:PORT", help_heading = ISSUER)]
    issuer: Option<SocketAddr>,
    /// Role that the fake STS lets callers assume; may be repeated
    #[arg(long, value_name = "ARN", requires = "issuer", help_heading = ISSUER)]
    role: Vec<String>,
    /// Instance role of the fake ECS metadata service
    #[arg(long, value_name = "NAME", requires = "issuer", default_value = "app", help_heading = ISSUER)]
    instance_role: String,
    /// Service account token that the fake STS exchanges for credentials
    #[arg(long, value_name = "TOKEN", requires = "issuer", help_heading = ISSUER)]
    oidc_token: Option<String>,
    /// Lifetime of issued credentials, such as 20s [default: the requested one]
    #[arg(
        long,
        value_name = "DURATION",
        requires = "issuer",
        value_parser = parse_lifetime,
        help_heading = ISSUER
    )]
    token_lifetime: Option<Duration>,
    #[arg(long = "pod-token", hide = true, value_parser = |_: &str| renamed("--oidc-token"))]
    _pod_token: Option<RenamedFlag>,
    #[arg(long = "life", hide = true, value_parser = |_: &str| renamed("--token-lifetime"))]
    _life: Option<RenamedFlag>,
    #[arg(long, value_name = "[TIMES:]KIND[=VALUE]", help = fault_help(), help_heading = FAULTS)]
    fault: Vec<FaultOrder>,
}

const CREDENTIALS: &str = "Credentials";
const ISSUER: &str = "Credential issuer";
const FAULTS: &str = "Faults";

/// A renamed flag. The type has no value, because use of the flag is an error.
#[derive(Clone, Debug)]
enum RenamedFlag {}

fn renamed(name: &str) -> Result<RenamedFlag, String> {
    Err(format!("this flag was renamed to {name}"))
}

fn fault_help() -> String {
    format!(
        "Inject a fault into every request, or into the next TIMES requests; may be repeated. Kinds: {}",
        FaultOrder::KINDS
    )
}

pub(super) fn run(arguments: &EmulateArgs) -> CommandExit {
    let open = |address: &SocketAddr| !address.ip().is_loopback();
    if open(&arguments.listen) || arguments.issuer.as_ref().is_some_and(open) {
        complain("the emulated OSS is for local tests: --listen and --issuer must be loopback addresses");
        return CommandExit::Usage;
    }
    block_on(emulate(arguments))
}

async fn emulate(arguments: &EmulateArgs) -> CommandExit {
    let account = match &arguments.security_token {
        None => EmulatedAccount::pair(&arguments.access_key_id, &arguments.access_key_secret),
        Some(token) => {
            EmulatedAccount::temporary(&arguments.access_key_id, &arguments.access_key_secret, token)
        }
    };
    let settings = arguments.bucket.iter().cloned().fold(
        EmulatorSettings::new(arguments.region.clone(), Arc::new(SystemEnv)).account(account),
        EmulatorSettings::bucket,
    );
    let emulator = match Emulator::bind(arguments.listen, settings).await {
        Ok(emulator) => emulator,
        Err(error) => {
            complain(format_args!(
                "cannot listen on {}: {error}; choose another address with --listen",
                arguments.listen
            ));
            return CommandExit::Failure;
        }
    };
    let issuer =
        match arguments.issuer.map(|address| issuer(arguments, address, emulator.service())).transpose() {
            Ok(issuer) => issuer,
            Err(error) => {
                complain(format_args!(
                    "the issuer cannot listen: {error}; choose another address with --issuer"
                ));
                return CommandExit::Failure;
            }
        };
    for fault in &arguments.fault {
        fault.apply_to(emulator.service().faults());
    }
    line(format_args!(
        "emulated OSS of {} on http://{}, access key id {}",
        arguments.region,
        emulator.local_addr(),
        arguments.access_key_id
    ));
    if let Some(issuer) = &issuer {
        line(format_args!("issuer on http://{0}, credentials URI http://{0}/credentials", issuer.address));
    }
    let drain = DrainSignal::new();
    if let Err(error) = signals(drain.clone()) {
        complain(format_args!("cannot handle signals: {error}"));
        return CommandExit::Failure;
    }
    drain.leaving().await;
    emulator.shutdown().await;
    CommandExit::Ok
}

fn issuer(arguments: &EmulateArgs, address: SocketAddr, oss: &OssService) -> io::Result<CredentialIssuer> {
    let issuer = CredentialIssuer::spawn(address, oss.clone())?;
    for role in &arguments.role {
        issuer.role(role, None);
    }
    issuer.instance(&arguments.instance_role, Some(true));
    if let Some(token) = &arguments.oidc_token {
        issuer.token(token);
    }
    if let Some(lifetime) = arguments.token_lifetime {
        issuer.set_lifetime(lifetime);
    }
    Ok(issuer)
}

/// The default access key of the emulated OSS. It is valid nowhere else.
pub(super) const SAMPLE_ID: &str = "LTAI5tEmbeddedOssSample";
pub(super) const SAMPLE_SECRET: &str = "embedded-oss-sample-secret";
