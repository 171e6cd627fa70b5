//! `emulate`: the embedded OSS on a port of its own, for tests of the proxy and of the applications behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args as ClapArgs;

use super::exit::Exit;
use super::output::{complain, line};
use super::serve::{block_on, signals};
use super::system::System;
use crate::emulator::{Account, Emulator, Order, Settings};
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
    #[arg(long, value_name = "[TIMES:]KIND[=VALUE]", help = fault_help())]
    fault: Vec<Order>,
}

fn fault_help() -> String {
    format!("Misbehave at every request, or at so many; may be repeated. Kinds: {}", Order::KINDS)
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
        fault.give(emulator.service().faults());
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

/// The access key that the embedded OSS knows unless told otherwise; it opens nothing else.
pub(super) const SAMPLE_ID: &str = "LTAI5tEmbeddedOssSample";
pub(super) const SAMPLE_SECRET: &str = "embedded-oss-sample-secret";
