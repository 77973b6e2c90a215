//! A /proc of our own, so that a test sees no process but its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A host's root, with a `proc` in it.
pub struct Host(tempfile::TempDir);

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self/net")).unwrap();
        fs::write(dir.path().join("proc/self/net/tcp"), "").unwrap();
        let host = Self(dir);
        // By it the plugin knows a host's /proc.
        host.process(1, "init", &["init"]);
        host
    }

    /// As `NETDATA_HOST_PREFIX`.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// A process of our user. Returns its directory.
    pub fn process(&self, pid: u32, comm: &str, argv: &[&str]) -> PathBuf {
        self.child(1, pid, comm, argv)
    }

    /// One that another started.
    pub fn child(&self, parent: u32, pid: u32, comm: &str, argv: &[&str]) -> PathBuf {
        let process = self.root().join("proc").join(pid.to_string());
        fs::create_dir_all(&process).unwrap();
        let stat = format!(
            "{pid} ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 4096 1 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
        );
        fs::write(process.join("stat"), stat).unwrap();
        self.owner(pid, nix::unistd::geteuid().as_raw());
        fs::write(process.join("cmdline"), argv.join("\0") + "\0").unwrap();
        process
    }

    /// Whose a process is.
    pub fn owner(&self, pid: u32, uid: u32) {
        let status = format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(self.root().join(format!("proc/{pid}/status")), status).unwrap();
    }
}
