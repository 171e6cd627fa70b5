//! Looks at the first bytes of a connection without reading them.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use super::client_io::ClientSocket;

/// Waits until the first bytes suffice for `decide`, which returns `None` if it needs more of them.
/// The bytes remain in the socket.
///
/// # Errors
/// If the connection breaks, or ends before the decision.
pub(super) async fn peek<const MAX: usize, T>(
    socket: &impl ClientSocket,
    mut decide: impl FnMut(&[u8]) -> io::Result<Option<T>>,
) -> io::Result<T> {
    loop {
        socket.readable().await?;
        let looked = socket.try_io(Interest::READABLE, || {
            // Asked first: what is received before the end is then seen below.
            let has_ended = has_ended(socket)?;
            let mut bytes = [0; MAX];
            let (_, count) = recv(socket, &mut bytes, RecvFlags::PEEK)?;
            match &bytes[..count.min(MAX)] {
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                seen => match decide(seen)? {
                    Some(decision) => Ok(decision),
                    // The end of the stream remains readable, so that the loop would not wait.
                    // guard: end-of-peeked-stream
                    None if has_ended => Err(io::ErrorKind::UnexpectedEof.into()),
                    // These bytes remain readable. `WouldBlock` clears the readiness, so that the
                    // loop waits for more.
                    None => Err(io::ErrorKind::WouldBlock.into()),
                },
            }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked,
        }
    }
}

/// Returns whether the client has closed its sending side.
fn has_ended(socket: &impl ClientSocket) -> io::Result<bool> {
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    use super::peek;

    #[tokio::test]
    async fn a_stream_that_ends_before_the_decision_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for sent in [&b""[..], b"a"] {
            let mut client =
                TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            client.write_all(sent).expect("sent");
            client.shutdown(Shutdown::Write).expect("shut down");
            let accepted = listener.accept().expect("a connection").0;
            accepted.set_nonblocking(true).expect("set");
            let socket = tokio::net::TcpStream::from_std(accepted).expect("a socket");
            let peeked = peek::<4, ()>(&socket, |_| Ok(None));
            let ended = tokio::time::timeout(Duration::from_secs(10), peeked).await.expect("no wait");
            assert_eq!(ended.expect_err("no decision").kind(), io::ErrorKind::UnexpectedEof, "{sent:?}");
        }
    }
}
