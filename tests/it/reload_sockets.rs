//! Listeners under another configuration: who must come on other terms.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::h2::{over_h2, request};
use crate::support::{Client, KEY, Served, oss};

/// A TLS connection that may be asked on more than once.
struct Sealed(StreamOwned<ClientConnection, TcpStream>);

impl Sealed {
    fn connect(to: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let name = "localhost".try_into().expect("a name");
        Self(StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream))
    }

    /// What comes back first.
    fn ask(&mut self) -> Option<String> {
        self.0.write_all(b"HEAD /photos/none HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut bytes = [0; 4096];
        let count = self.0.read(&mut bytes).ok().filter(|count| *count > 0)?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    fn is_served(&mut self) -> bool {
        self.ask().is_some_and(|answer| answer.starts_with("HTTP/1.1 404"))
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }
}

#[test]
fn who_came_in_the_open_is_not_served_any_more_when_the_listener_speaks_tls() {
    let (oss, authority) = (oss(), Authority::new());
    let served = Served::start(oss.address, &[], &KEY);
    let host = served.address.to_string();
    let (mut plain, mut silent) = (Client::connect(served.address), Client::connect(served.address));
    assert_eq!(plain.ask("PUT", "/photos/k", &host, "", b"1").status, 200);
    let files = authority.sign("listener", "localhost");
    let sections = format!("[[listen]]\n{}\n", Authority::listen(&files, ""));
    over_h2(served.address, async |connection| {
        let asked = || request("GET", "http://localhost/photos/k");
        assert_eq!(connection.ask(asked(), b"").await.status, 200);
        served.rewrite(oss.address, &sections);
        assert_eq!(served.reload().0, 200);
        (&mut connection.driver).await.expect("a driver").expect("an end in good order");
    });
    for client in [&mut plain, &mut silent] {
        assert_eq!(client.stream.read(&mut [0; 1]).expect("an end"), 0);
    }
    assert!(Sealed::connect(served.address, authority.client(&[], None)).is_served());
}

#[test]
fn who_showed_no_certificate_or_another_is_not_served_any_more_when_one_is_asked_for() {
    let (oss, authority, other) = (oss(), Authority::new(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let asking = |more: &str| format!("[[listen]]\n{}\n", Authority::listen(&files, more));
    let served = Served::start_with(oss.address, &asking(""), &[], &KEY);
    let (ours, theirs) = (authority.sign("client", "client"), other.sign("client", "client"));

    let mut anybody = Sealed::connect(served.address, authority.client(&[], None));
    assert!(anybody.is_served());
    let clients = authority.directory().join("clients.pem");
    std::fs::copy(other.file(), &clients).expect("copied");
    let certified = asking(&format!(", client_ca_file = {clients:?}"));
    served.rewrite(oss.address, &certified);
    assert_eq!(served.reload().0, 200);
    assert!(anybody.has_ended(), "it showed none");
    assert!(!Sealed::connect(served.address, authority.client(&[], None)).is_served());

    let mut certain = Sealed::connect(served.address, authority.client(&[], Some(&theirs)));
    assert!(certain.is_served());
    // Another certificate of the listener itself, and other rules, are nothing that its clients have to do with.
    authority.sign("listener", "localhost");
    served.rewrite(oss.address, &certified.replace("[[listen]]", "[[listen]]\nread_only = true"));
    assert_eq!(served.reload().0, 200);
    assert!(certain.is_served(), "it came on the same terms");

    std::fs::copy(authority.file(), &clients).expect("copied");
    assert_eq!(served.reload().0, 200);
    assert!(certain.has_ended(), "its authority is trusted no more");
    assert!(!Sealed::connect(served.address, authority.client(&[], Some(&theirs))).is_served());
    assert!(Sealed::connect(served.address, authority.client(&[], Some(&ours))).is_served());
}
