//! A proxy with a custom credential provider: here a vault within this process. It serves on a free
//! port in front of an emulated OSS, stores one object through the proxy, and exits.
//!
//! ```text
//! cargo run --example custom_provider
//! ```

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oss_signing_proxy::app::{App, SystemEnv};
use oss_signing_proxy::app::{DrainSignal, ListenAddress};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::credentials::{Credentials, Provide, ProvideError, ProvideFuture, SourceEnv};
use oss_signing_proxy::emulator::{EmulatedAccount, Emulator, EmulatorSettings};
use oss_signing_proxy::oss::{Bucket, Region};
use oss_signing_proxy::secret::Secret;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

/// The issuer of the keys. It only fetches: the proxy decides when, how often, and what to do after
/// a failure.
struct Vault {
    role: String,
}

impl Provide for Vault {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            if env.variable("VAULT_SEALED").is_some() {
                // The proxy retries after a backoff. Until then, requests use the credentials that
                // are still valid, or fail with 503.
                return Err(ProvideError::Unavailable("the vault is sealed; unseal it".to_owned()));
            }
            Ok(Credentials {
                id: format!("STS.{}", self.role),
                secret: Secret::from("a-secret-of-the-vault"),
                token: Some(Secret::from("a-token-of-the-vault")),
                expires: Some(env.now() + Duration::from_secs(900)),
                provider: "vault".into(),
            })
        })
    }

    fn explain(&self, _edge: &dyn SourceEnv) -> Vec<String> {
        vec![format!("role {} of the vault", self.role)]
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let account = EmulatedAccount::temporary("STS.app", "a-secret-of-the-vault", "a-token-of-the-vault");
    let settings = EmulatorSettings::new(Region::parse("cn-hangzhou")?, Arc::new(SystemEnv));
    let settings = settings.account(account).bucket(Bucket::parse("photos")?);
    let oss = Emulator::bind(([127, 0, 0, 1], 0).into(), settings).await?;

    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n",
        oss.local_addr()
    );
    let mut config =
        ProxyConfig::load(Some(ConfigFile { path: Path::new("example"), text: &text }), &[], &SystemEnv)?;
    config.sign_with("default", Arc::new(Vault { role: "app".to_owned() }));
    let app = App::assemble(config, Arc::new(SystemEnv)).await?;
    let address = app.addresses().iter().find_map(ListenAddress::socket).ok_or("no port")?;
    let drain = DrainSignal::new();
    let serving = spawn_local(app.run(drain.clone()));
    let status = spawn_blocking(move || put(address)).await??;
    drain.leave();
    serving.await??;
    oss.shutdown().await;
    if status != "HTTP/1.1 200 OK" {
        return Err(format!("the upload was answered {status}").into());
    }
    writeln!(io::stdout(), "stored /photos/hello, signed with a key of the vault")?;
    Ok(())
}

/// Stores an object as any client would. Returns the status line of the response.
fn put(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!(
        "PUT /photos/hello HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
