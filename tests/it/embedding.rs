//! A program that embeds the proxy needs only public paths: for its environment, for its credential
//! provider, and for the errors that it handles.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use oss_signing_proxy::app::{
    AdminReloadError, App, BindError, BlockingTimeout, InvalidRoots, InvalidTls, StartError, SystemEnv,
};
use oss_signing_proxy::config::{ConfigErrors, ConfigFile, ProxyConfig};
use oss_signing_proxy::credentials::{
    Credentials, InvalidAccessKey, Provide, ProvideError, ProvideFuture, SecretText, SetupError, SourceEnv,
};
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::{Clock, Timestamp};
use tokio::task::LocalSet;

/// An environment whose secret files are in memory.
struct MemoryEnv;

impl Clock for MemoryEnv {
    fn now(&self) -> Timestamp {
        SystemEnv.now()
    }
}

impl SourceEnv for MemoryEnv {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        if path != Path::new("/vault/secret") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(SecretText::new(Secret::new("a-secret-of-the-vault".to_owned())))
    }
}

/// A provider whose service returns expirations in RFC 3339.
struct ServiceProvider {
    expiration: &'static str,
}

impl Provide for ServiceProvider {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async {
            let expires = Timestamp::parse_rfc3339(self.expiration)
                .ok_or_else(|| ProvideError::Unavailable("the expiration is not RFC 3339".to_owned()))?;
            Ok(Credentials {
                id: "STS.app".to_owned(),
                secret: Secret::from("a-secret"),
                token: Some(Secret::from("a-token")),
                expires: Some(expires),
                provider: "service".into(),
            })
        })
    }
}

fn load(text: &str) -> Result<ProxyConfig, ConfigErrors> {
    ProxyConfig::load(Some(ConfigFile { path: Path::new("program.toml"), text }), &[], &MemoryEnv)
}

/// Returns a configuration that listens on `address`.
fn config(address: &str) -> ProxyConfig {
    let text = format!(
        "[[listen]]\naddress = \"{address}\"\n[admin]\naddress = \"off\"\n\
         [upstream]\nregion = \"cn-hangzhou\"\n"
    );
    let mut config = load(&text).expect("a configuration");
    config.sign_with("default", Arc::new(ServiceProvider { expiration: "2999-12-16T16:20:57Z" }));
    config
}

/// Returns the part of the configuration that an error concerns.
fn part_of(error: &StartError) -> &'static str {
    fn part_of_tls(error: &InvalidTls) -> &'static str {
        if matches!(error, InvalidTls::Roots(_)) { "client CA" } else { "certificate" }
    }
    fn part_of_roots(error: &InvalidRoots) -> &'static str {
        if matches!(error, InvalidRoots::Library(_)) { "TLS" } else { "ca_file" }
    }
    fn part_of_timeout(_error: &BlockingTimeout) -> &'static str {
        "files"
    }
    match error {
        StartError::Bind(BindError::InUse(_)) => "address in use",
        StartError::Bind(_) => "address",
        StartError::Tls(error) => part_of_tls(error),
        StartError::Roots(error) => part_of_roots(error),
        StartError::Files(error) => part_of_timeout(error),
        StartError::Credentials(_) | StartError::NoSource(_) => "credentials",
        StartError::Thread(_) => "system",
        StartError::Log { .. } => "log",
        StartError::Audit { .. } => "audit",
        StartError::Several(all) => all.first().map_or("nothing", part_of),
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn secret_files_of_the_environment_of_a_program_are_read() {
    let text = |path: &str| {
        format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"static\"\n\
             access_key_id = \"LTAIprogram\"\naccess_key_secret = \"file:{path}\"\n"
        )
    };
    load(&text("/vault/secret")).expect("a configuration");
    let errors = load(&text("/vault/other")).expect_err("no such file");
    assert!(errors.iter().any(|error| error.to_string().contains("/vault/other")), "{errors}");
}

#[test]
fn a_program_recognizes_an_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    run(async move {
        let error = App::assemble(config(&address), Arc::new(MemoryEnv)).await.err().expect("in use");
        assert_eq!(part_of(&error), "address in use", "{error}");
    });
}

#[test]
fn a_reload_of_a_dropped_proxy_reports_that_it_is_stopping() {
    run(async {
        let app = App::assemble(config("127.0.0.1:0"), Arc::new(MemoryEnv)).await.expect("a proxy");
        let reloads = app.reloads();
        drop(app);
        assert!(matches!(reloads.reload().await, Err(AdminReloadError::Stopping)));
    });
}

#[test]
fn a_mistake_in_an_access_key_becomes_an_error_of_a_provider() {
    let error = ProvideError::from(SetupError::from(InvalidAccessKey::SecretIsId));
    assert!(matches!(
        error,
        ProvideError::Failed(SetupError::InvalidAccessKey(InvalidAccessKey::SecretIsId))
    ));
}
