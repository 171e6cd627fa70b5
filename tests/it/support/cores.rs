//! Workers for tests of the serving threads, independent of the requests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oss_signing_proxy::app::{App, SystemEnv};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::internals::proxy::WorkerCore;
use oss_signing_proxy::internals::server::{self, MakeCore, ServerPlan};
use oss_signing_proxy::internals::transport::{self, UpstreamTransport};

/// Returns a plan for `count` workers. Each calls `made` when it is built, and at each reload.
pub(crate) async fn cores(count: usize, made: impl Fn() + Send + Sync + 'static) -> ServerPlan {
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
                [credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAItest\"\naccess_key_secret = \"secret-of-it\"\n";
    let config = ProxyConfig::load(Some(ConfigFile { path: Path::new("test"), text }), &[], &SystemEnv)
        .expect("no mistake");
    let state = App::assemble(config, Arc::new(SystemEnv)).await.expect("a proxy").state();
    let upstream = transport::TransportSettings {
        connect: SOME,
        idle: SOME,
        first_byte: SOME,
        stall: SOME,
        connections: 1,
        dials: 1,
        queue: SOME,
    };
    let make_core: MakeCore = Arc::new(move |_| {
        made();
        let transport = UpstreamTransport::new(upstream, Vec::new(), Arc::default());
        WorkerCore::new(Arc::clone(&state), Arc::new(SystemEnv), transport)
    });
    let settings = server::ServerSettings {
        cores: count,
        connections: 1,
        header_bytes: 8 << 10,
        header_read: SOME,
        idle: SOME,
        stall: SOME,
        drain: SOME,
    };
    ServerPlan { settings, make_core }
}

const SOME: Duration = Duration::from_secs(10);
