//! The destination of the audit log: a file, standard output, or a socket, which is connected again
//! after a failure.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::settings::{AuditFailureMode, AuditSettings, AuditSinkAddress};
use crate::telemetry::line_writer::{LineWriter, PartialWriteError};
use crate::telemetry::log_file::LogFile;

/// The open destination. Used by the thread that writes; writing may block.
pub(super) struct AuditSink {
    kind: SinkKind,
    /// Whether records must be on the disk, and not only in the cache of the system.
    is_synced: bool,
}

enum SinkKind {
    File(LineWriter<LogFile>),
    Stdout(LineWriter<io::Stdout>),
    Stream { address: AuditSinkAddress, stream: Option<Box<dyn Write + Send>> },
    Syslog { address: AuditSinkAddress, socket: Option<UnixDatagram> },
}

impl AuditSink {
    /// Opens a file. Sockets are connected by the first write, so that the proxy can start before
    /// their servers. Setting `reopen` opens the file again before the next write.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn open(settings: &AuditSettings, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        let address = settings.sink.clone();
        let kind = match &settings.sink {
            AuditSinkAddress::File(path) => SinkKind::File(LineWriter::new(LogFile::open(path, reopen)?)),
            AuditSinkAddress::Stdout => SinkKind::Stdout(LineWriter::new(io::stdout())),
            AuditSinkAddress::Unix(_) | AuditSinkAddress::Tcp(_) => {
                SinkKind::Stream { address, stream: None }
            }
            AuditSinkAddress::Syslog(_) => SinkKind::Syslog { address, socket: None },
        };
        Ok(Self { kind, is_synced: settings.on_failure == AuditFailureMode::Block })
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// [`PartialWriteError`] with the bytes that were written for certain.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), PartialWriteError> {
        let failed = |error| PartialWriteError { taken: 0, error };
        match &mut self.kind {
            SinkKind::File(file) => {
                file.write(lines)?;
                if self.is_synced {
                    // After a failed sync, it is unknown which of the lines are on the disk.
                    file.get_ref().sync().map_err(failed)?;
                }
                Ok(())
            }
            SinkKind::Stdout(out) => out.write(lines),
            SinkKind::Stream { address, stream } => {
                let open = match stream {
                    Some(open) => open,
                    None => stream.insert(connect(address).map_err(failed)?),
                };
                // A new connection begins with a whole line.
                write_lines(open, lines).inspect_err(|_| *stream = None)
            }
            SinkKind::Syslog { address, socket } => {
                let open = match socket {
                    Some(open) => open,
                    None => socket.insert(connect_syslog(address).map_err(failed)?),
                };
                send_messages(open, lines).inspect_err(|_| *socket = None)
            }
        }
    }
}

fn connect(address: &AuditSinkAddress) -> io::Result<Box<dyn Write + Send>> {
    match address {
        AuditSinkAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
            Ok(Box::new(stream))
        }
        AuditSinkAddress::Tcp(address) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, SOCKET_TIMEOUT) {
                    Ok(stream) => {
                        stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
                        stream.set_nodelay(true)?;
                        return Ok(Box::new(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        AuditSinkAddress::File(_) | AuditSinkAddress::Stdout | AuditSinkAddress::Syslog(_) => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

fn write_lines(out: &mut impl Write, lines: &[u8]) -> Result<(), PartialWriteError> {
    let mut taken = 0;
    while taken < lines.len() {
        match out.write(&lines[taken..]) {
            Ok(0) => return Err(PartialWriteError { taken, error: io::ErrorKind::WriteZero.into() }),
            Ok(more) => taken += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PartialWriteError { taken, error }),
        }
    }
    Ok(())
}

fn connect_syslog(address: &AuditSinkAddress) -> io::Result<UnixDatagram> {
    let AuditSinkAddress::Syslog(path) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SOCKET_TIMEOUT))?;
    Ok(socket)
}

/// Sends each line as one message, in the form of syslog(3) without a time: the service adds it.
fn send_messages(socket: &UnixDatagram, lines: &[u8]) -> Result<(), PartialWriteError> {
    let mut taken = 0;
    let mut message = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        message.clear();
        message.extend_from_slice(
            format!("<{PRIORITY}>{}[{}]: ", env!("CARGO_PKG_NAME"), std::process::id()).as_bytes(),
        );
        message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        socket.send(&message).map_err(|error| PartialWriteError { taken, error })?;
        taken += line.len();
    }
    Ok(())
}

/// Timeout for connecting to a socket, and for each write to it.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(3);
/// The facility `authpriv` (10) with the severity `notice` (5), as RFC 5424, 6.2.1 combines them.
const PRIORITY: u8 = 10 * 8 + 5;
