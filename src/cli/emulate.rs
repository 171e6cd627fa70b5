//! `emulate`: the embedded OSS on a port of its own, for tests of the proxy and of the applications behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::exit::Exit;
use super::output::{complain, line};
use super::serve::{block_on, signals};
use super::system::System;
use crate::emulator::{Account, Emulator, Fault, Settings};
use crate::oss::{Bucket, Region};
use crate::server::Drain;

#[derive(ClapArgs)]
pub(super) struct Args {
    /// Where it listens; port 0 takes a free one, which is printed
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8780")]
    listen: SocketAddr,
    /// The region it stands in
    #[arg(long, default_value = "cn-hangzhou", value_parser = Region::parse)]
    region: Region,
    /// A bucket that exists from the beginning; may be repeated
    #[arg(long, value_name = "NAME", value_parser = Bucket::parse)]
    bucket: Vec<Bucket>,
    /// The access key id that may sign
    #[arg(long, value_name = "ID", default_value = SAMPLE_ID)]
    access_key_id: String,
    /// The secret of that id
    #[arg(long, value_name = "SECRET", default_value = SAMPLE_SECRET)]
    access_key_secret: String,
    /// The token that must come with them
    #[arg(long, value_name = "TOKEN")]
    security_token: Option<String>,
    /// Misbehave at every request: cut-body=BYTES, short-body=BYTES, delay=MS or status=CODE; may be repeated
    #[arg(long, value_name = "FAULT", value_parser = parse_fault)]
    fault: Vec<Fault>,
}

pub(super) fn run(arguments: &Args) -> Exit {
    if !arguments.listen.ip().is_loopback() {
        complain("the embedded OSS is for tests on this machine: --listen takes a loopback address");
        return Exit::Usage;
    }
    block_on(emulate(arguments))
}

async fn emulate(arguments: &Args) -> Exit {
    let account = match &arguments.security_token {
        None => Account::pair(&arguments.access_key_id, &arguments.access_key_secret),
        Some(token) => Account::triple(&arguments.access_key_id, &arguments.access_key_secret, token),
    };
    let settings = Settings::new(arguments.region.clone(), Arc::new(System)).account(account);
    let settings = arguments.bucket.iter().cloned().fold(settings, Settings::bucket);
    let emulator = match Emulator::bind(arguments.listen, settings).await {
        Ok(emulator) => emulator,
        Err(error) => {
            complain(format_args!(
                "cannot listen on {}: {error}; choose another with --listen",
                arguments.listen
            ));
            return Exit::Failure;
        }
    };
    for fault in &arguments.fault {
        emulator.service().faults().always(fault.clone());
    }
    line(format_args!(
        "embedded OSS of {} on http://{}, access key id {}",
        arguments.region,
        emulator.local_addr(),
        arguments.access_key_id
    ));
    let drain = Drain::new();
    if let Err(error) = signals(drain.clone()) {
        complain(format_args!("signals cannot be received: {error}"));
        return Exit::Failure;
    }
    drain.begun().await;
    emulator.shutdown().await;
    Exit::Ok
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let (kind, value) = text.split_once('=').ok_or("write it as KIND=NUMBER")?;
    let number: usize = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    match kind {
        "cut-body" => Ok(Fault::CutBody { after_bytes: number }),
        "short-body" => Ok(Fault::ShortBody { missing_bytes: number }),
        "delay" => Ok(Fault::Delay(Duration::from_millis(number as u64))),
        "status" => {
            let status = u16::try_from(number).ok().filter(|status| (400..600).contains(status));
            let status = status.ok_or("the status is from 400 to 599")?;
            Ok(Fault::Status { status, code: "InternalError".to_owned() })
        }
        _ => Err(format!("there is no {kind:?}; there are cut-body, short-body, delay and status")),
    }
}

/// The access key that the embedded OSS knows unless told otherwise; it opens nothing else.
pub(super) const SAMPLE_ID: &str = "LTAI5tEmbeddedOssSample";
pub(super) const SAMPLE_SECRET: &str = "embedded-oss-sample-secret";
