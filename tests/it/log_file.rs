//! A log file that cannot be written, or was removed: dropped lines are counted, and reported once
//! writing is possible.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{KEY, ask, eventually, oss, program};

/// `serve` with its log in a file. It is killed on drop.
struct Served {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Served {
    fn start(upstream: SocketAddr, log: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let (address, admin) = (free(), free());
        let config = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "[[listen]]\naddress = \"{address}\"\n[admin]\naddress = \"{admin}\"\n[log]\nfile = {log:?}\n\
             [upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n"
        );
        fs::write(config.path(), text).expect("written");
        let path = config.path().to_str().expect("a path").to_owned();
        let child = program(&["serve", "--config", &path]).envs(KEY).spawn().expect("it starts");
        eventually("it listens", || std::net::TcpStream::connect(admin).is_ok());
        Self { child, address, admin, _config: config }
    }

    /// Returns the number of lines that were dropped for this reason.
    fn lost(&self, reason: &str) -> u64 {
        let text = ask(self.admin, "GET", "/metrics", b"").text();
        let line = format!("oss_proxy_log_lines_dropped_total{{reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|known| known.strip_prefix(&line));
        count.unwrap_or_else(|| panic!("{line}: {text}")).parse().expect("a number")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines of the log, each of them JSON.
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}: {text}"))).collect()
}

fn has(lines: &[Value], words: &str) -> bool {
    lines.iter().any(|line| line["msg"].as_str().is_some_and(|text| text.contains(words)))
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted_and_told_when_it_takes_some_again() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (log, real) = (directory.path().join("log"), directory.path().join("log.1"));
    symlink("/dev/full", &log).expect("a link");
    let served = Served::start(oss.address, &log);
    let before = served.lost("write");
    for _ in 0..5 {
        assert_eq!(ask(served.address, "GET", "/photos/none", b"").status, 404, "it serves all the same");
    }
    eventually("five more are lost", || served.lost("write") >= before + 5);
    assert_eq!(served.lost("queue"), 0);
    // As if the disk had space.
    fs::remove_file(&log).expect("removed");
    symlink(&real, &log).expect("a link");
    served.signal("USR1");
    eventually("the end is told", || has(&lines(&real), "log output recovered"));
    assert_eq!(ask(served.address, "GET", "/photos/none", b"").status, 404);
    eventually("what follows is logged", || has(&lines(&real), "request"));
    let lines = lines(&real);
    let told: Vec<&Value> = lines
        .iter()
        .filter(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("log output ")))
        .collect();
    let [begun, ended] = told[..] else { panic!("once each: {lines:?}") };
    assert!(begun["msg"].as_str().is_some_and(|text| text.contains("log output failed")), "{begun}");
    assert!(begun["error"].as_str().is_some_and(|text| text.contains("No space left")), "{begun}");
    assert_eq!(ended["lines"].as_u64(), Some(served.lost("write")), "{ended}");
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_told_of_as_everything_else_is() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (log, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let served = Served::start(oss.address, &log);
    eventually("it logs", || has(&lines(&log), "listening"));
    fs::rename(&log, &moved).expect("moved");
    fs::create_dir(&log).expect("a directory in its way");
    served.signal("USR1");
    eventually("it is told", || has(&lines(&moved), "cannot reopen the log file"));
    let told = lines(&moved);
    let told = told.iter().find(|line| line["level"] == "error").expect("an error");
    assert_eq!(told["path"].as_str(), log.to_str());
    assert!(told["error"].as_str().is_some_and(|text| text.contains("directory")), "{told}");
    assert_eq!(ask(served.address, "GET", "/photos/none", b"").status, 404);
    eventually("the old one still takes lines", || has(&lines(&moved), "request"));
}
