//! The process as visible to other processes, and its privileges.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::support::{ID, KEY, SECRET, eventually};

/// A user other than root, with fewer permissions to read.
const NOBODY: u32 = 65534;

/// The program, as another user if the test runs as root. It is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it in a folder that this user can access.
    fn start(folder: &Path, sections: &str) -> Self {
        let program = folder.join("program");
        fs::copy(env!("CARGO_BIN_EXE_oss-signing-proxy"), &program).expect("a copy");
        let file = folder.join("proxy.toml");
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n{sections}"
        );
        fs::write(&file, text).expect("written");
        let mut command = Command::new(&program);
        command.env_clear().envs(KEY).arg("--config").arg(&file);
        command.stderr(fs::File::create(folder.join("log")).expect("a log"));
        if fs::metadata("/proc/self").expect("ourselves").uid() == 0 {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(folder, open).expect("open to all");
            command.uid(NOBODY).gid(NOBODY);
        }
        let running = Self(command.spawn().expect("it starts"));
        let listens = || fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains("listening"));
        eventually("it listens", listens);
        running
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0.id()))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.proc(file)).expect("it can be read")
    }

    fn core_limit(&self) -> String {
        let limits = self.read("limits");
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        line.split_whitespace().nth(4).expect("a soft limit").to_owned()
    }
}

#[test]
fn its_environment_and_memory_are_closed_and_it_can_gain_no_rights() {
    let folder = tempfile::tempdir().expect("a directory");
    let running = Running::start(folder.path(), "");
    // The kernel protects files from other processes of the same user by showing root as their
    // owner.
    assert_eq!(fs::metadata(running.proc("environ")).expect("it is there").uid(), 0);
    assert!(running.read("status").contains("NoNewPrivs:\t1"));
    assert_eq!(running.core_limit(), "0");
}

#[test]
fn each_of_these_has_a_switch() {
    let folder = tempfile::tempdir().expect("a directory");
    let open = "[process]\nno_new_privileges = false\ncore_dumps = true\ndumpable = true\n";
    let running = Running::start(folder.path(), open);
    let own = fs::metadata(format!("/proc/{}", running.0.id())).expect("it is there").uid();
    assert_eq!(fs::metadata(running.proc("environ")).expect("it is there").uid(), own);
    assert!(running.read("status").contains("NoNewPrivs:\t0"));
    let limits = running.read("limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[4], words[5], "as much as it may: {line}");
}

#[test]
fn no_secret_stands_in_its_arguments_or_in_the_names_of_its_threads() {
    let folder = tempfile::tempdir().expect("a directory");
    let running = Running::start(folder.path(), "");
    let mut seen = running.read("cmdline");
    for thread in fs::read_dir(running.proc("task")).expect("threads") {
        seen.push_str(&fs::read_to_string(thread.expect("a thread").path().join("comm")).expect("a name"));
    }
    assert!(seen.contains("core-0"), "{seen}");
    for secret in [ID, SECRET] {
        assert!(!seen.contains(secret), "{seen}");
    }
}
