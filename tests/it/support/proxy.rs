//! The proxy on free ports, from a configuration as a user would write it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use oss_signing_proxy::app::{App, SystemEnv};
use oss_signing_proxy::app::{DrainOutcome, DrainSignal, ListenAddress};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::credentials::SourceEnv;
use oss_signing_proxy::internals::proxy::ProxyState;
use oss_signing_proxy::internals::telemetry::RequestCounts;
use tokio::task::LocalSet;

use super::{ID, SECRET};

/// A proxy that is not started yet.
pub(crate) struct ProxyBuilder {
    upstream: SocketAddr,
    listen: String,
    settings: String,
    rest: String,
    credentials: String,
    env: Arc<dyn SourceEnv>,
}

/// A running proxy. It is stopped on drop.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// The addresses of all listeners on ports.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) state: Arc<ProxyState>,
    pub(crate) drain: DrainSignal,
    thread: Option<JoinHandle<DrainOutcome>>,
}

/// Returns a builder of a proxy for `upstream`, which acts as the OSS of cn-hangzhou.
pub(crate) fn proxy(upstream: SocketAddr) -> ProxyBuilder {
    ProxyBuilder {
        upstream,
        listen: "domains = [\"oss.example.test\"]".to_owned(),
        settings: String::new(),
        rest: String::new(),
        credentials: format!(
            "type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
        ),
        env: Arc::new(SystemEnv),
    }
}

impl ProxyBuilder {
    /// Adds lines to `[[listen]]`.
    pub(crate) fn listen(mut self, lines: &str) -> Self {
        self.listen = format!("{}\n{lines}", self.listen);
        self
    }

    /// Adds lines to `[upstream]`. An endpoint among them replaces the default one.
    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        self.settings = format!("{}\n{lines}", self.settings);
        self
    }

    /// Adds sections.
    pub(crate) fn sections(mut self, text: &str) -> Self {
        self.rest = format!("{}\n{text}", self.rest);
        self
    }

    /// Replaces the lines of `[credentials.default]`.
    pub(crate) fn credentials(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.credentials);
        self
    }

    /// Replaces the environment of the system, with its clock.
    pub(crate) fn env(mut self, env: Arc<dyn SourceEnv>) -> Self {
        self.env = env;
        self
    }

    fn text(&self) -> String {
        let Self { upstream, listen, settings, rest, credentials, .. } = self;
        let endpoint = if settings.contains("endpoint") {
            String::new()
        } else {
            format!("endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"")
        };
        format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n{listen}\n[admin]\naddress = \"127.0.0.1:0\"\n[upstream]\nregion = \"cn-hangzhou\"\n{endpoint}\n{settings}\n[credentials.default]\n{credentials}\n{rest}\n"
        )
    }

    /// Starts the proxy in a new thread.
    pub(crate) fn start(self) -> Proxy {
        let text = self.text();
        let config = match ProxyConfig::load(
            Some(ConfigFile { path: Path::new("test"), text: &text }),
            &[],
            &*self.env,
        ) {
            Ok(config) => config,
            Err(errors) => panic!("{errors}\n{text}"),
        };
        let (ready, started) = mpsc::channel();
        let drain = DrainSignal::new();
        let seen = drain.clone();
        let env = self.env;
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async {
                let app = App::assemble(config, env).await.expect("a proxy");
                let admin = app.admin_address().and_then(|address| address.socket());
                let data: Vec<SocketAddr> =
                    app.addresses().iter().filter_map(ListenAddress::socket).collect();
                let ports = (data, admin.expect("a port"));
                ready.send((ports, app.state())).expect("somebody waits");
                app.run(seen).await.expect("it serves")
            })
        });
        let ((listeners, admin), state) = started.recv().expect("it starts");
        Proxy { address: listeners[0], listeners, admin, state, drain, thread: Some(thread) }
    }
}

impl Proxy {
    /// Waits for the outcome of the drain.
    pub(crate) fn ended(mut self) -> DrainOutcome {
        self.thread.take().expect("running").join().expect("no panic")
    }

    /// Returns the counts of requests.
    pub(crate) fn counts(&self) -> RequestCounts {
        self.state.counters.requests()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.drain.force();
            // The test that caused a panic there has already shown it.
            let _ = thread.join();
        }
    }
}
