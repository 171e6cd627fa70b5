//! Child processes, and their statistics from the kernel.

use std::fs;
use std::process::{Child, Command, Stdio};

/// A process that is killed on drop, with its children.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts"))
    }

    /// Returns the ids of the process and of its children.
    fn ids(&self) -> Vec<u32> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }

    /// Returns the CPU time of all of them in nanoseconds. The scheduler's accounting is finer than
    /// clock ticks.
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

    /// Returns the proportional set size of all of them, in KiB.
    pub(crate) fn pss_kib(&self) -> u64 {
        self.sum("smaps_rollup", "Pss:")
    }

    /// Returns the resident memory of all of them, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.sum("status", "VmRSS:")
    }

    /// Returns the peak of their resident memory, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.sum("status", "VmHWM:")
    }

    /// Resets the peak of the resident memory.
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

/// Returns whether a command of this name exists.
pub(crate) fn exists(name: &str) -> bool {
    Command::new(name).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Raises the limit on open files to its maximum: each client needs one.
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If the limit cannot be raised, connecting the clients fails.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Prints the environment of the measurement.
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
