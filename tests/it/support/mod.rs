//! Test fixtures: the emulated OSS, the proxy, a scripted upstream, and a client that sends exactly
//! the given bytes.

pub(crate) mod certificates;
pub(crate) mod cores;
pub(crate) mod h2;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod script;
pub(crate) mod served;
pub(crate) mod silent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::{EmulatedAccount, Emulator, EmulatorSettings, EmulatorThread};
use oss_signing_proxy::oss::{Bucket, Region};

pub(crate) use http::{Answer, Client, ask, ask_if_open};
pub(crate) use proxy::{Proxy, ProxyBuilder, proxy};
pub(crate) use script::{Peer, Script};
pub(crate) use served::{KEY, Served, activated, in_flight, program, run};
pub(crate) use silent::SilentListener;

pub(crate) const ID: &str = "LTAItestkeyid";
pub(crate) const SECRET: &str = "planted-secret-value";
pub(crate) const STS_ID: &str = "STS.testkeyid";
pub(crate) const TOKEN: &str = "planted+token/value==";

/// Returns a bucket of this name.
pub(crate) fn bucket(name: &str) -> Bucket {
    Bucket::parse(name).expect("a bucket name")
}

/// Starts the emulated OSS on a free port, with the buckets `photos` and `files`.
pub(crate) fn oss() -> EmulatorThread {
    let settings =
        EmulatorSettings::new(Region::parse("cn-hangzhou").expect("a region"), Arc::new(SystemEnv))
            .account(EmulatedAccount::pair(ID, SECRET))
            .account(EmulatedAccount::temporary(STS_ID, SECRET, TOKEN))
            .domain("img.example.com", bucket("photos"))
            .bucket(bucket("photos"))
            .bucket(bucket("files"));
    Emulator::spawn(SocketAddr::from(([127, 0, 0, 1], 0)), settings).expect("an emulated OSS")
}

/// Waits until `condition` holds. The test fails with `what` if it never does.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
