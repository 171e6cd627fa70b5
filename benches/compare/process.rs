//! Processes that are started, and what the kernel says of them.

use std::fs;
use std::process::{Child, Command, Stdio};

/// A process that ends with this, and its children.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts"))
    }

    /// The process and its children.
    fn ids(&self) -> Vec<u32> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }

    /// CPU time that all of them have used, in nanoseconds. The scheduler counts finer than the clock ticks.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let of_thread = |path: &std::path::Path| {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        };
        let of_process = |id: u32| -> u64 {
            let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return 0 };
            threads.flatten().map(|thread| of_thread(&thread.path())).sum()
        };
        self.ids().into_iter().map(of_process).sum()
    }

    /// Memory of all of them that is theirs or their share of what they share, in KiB.
    pub(crate) fn pss_kib(&self) -> u64 {
        self.sum("smaps_rollup", "Pss:")
    }

    /// Resident memory of all of them, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.sum("status", "VmRSS:")
    }

    /// The most that was ever resident, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.sum("status", "VmHWM:")
    }

    /// Has the most that was ever resident begin anew.
    pub(crate) fn forget_peak(&self) {
        for id in self.ids() {
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }

    fn sum(&self, file: &str, field: &str) -> u64 {
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/{file}")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        self.ids().into_iter().filter_map(of).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ids = self.ids();
        let _ = Command::new("kill").args(ids.iter().map(u32::to_string)).stderr(Stdio::null()).status();
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether there is a command of this name.
pub(crate) fn exists(name: &str) -> bool {
    Command::new(name).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Takes all the open files that this process may have: each client is one.
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // What cannot be raised shows when clients connect.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Prints what everything runs on.
pub(crate) fn describe() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cores} cores, Linux {}", kernel.trim());
    for name in ["nginx", "haproxy"] {
        let said = Command::new(name).arg("-v").output().map(|said| [said.stdout, said.stderr].concat());
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        println!("{}", said.lines().next().unwrap_or(name));
    }
    println!("oss-signing-proxy {}", env!("CARGO_PKG_VERSION"));
}
