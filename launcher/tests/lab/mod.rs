//! A home, a stand-in for the container runtime, and the launcher as a user runs it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;

/// What the stand-in does with `exec … rs.d.plugin --version`, and with `exec … netdata …`.
pub const RUNS: &str = "exit 0";
pub const STAYS: &str = "exec sleep 1000";

/// Ends at once where the image is a broken one, else answers as a Netdata does.
const ANSWERS: &str = "grep -q broken \"$image\" && { echo 'netdata FATAL : broken' >&2; exit 1; }; \
     $lab/netdata $lab/netdata.py $(cat $lab/port) & child=$!; trap 'kill $child' TERM; \
     wait $child; wait $child";

pub struct Lab {
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let entries = fs::read_dir(self.path("home")).into_iter().flatten();
        let mut names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        if names.any(|name| name.ends_with(".pid")) {
            let _ = self.command(&["stop"]).output();
        }
    }
}

impl Lab {
    pub fn new(plugin: &str, netdata: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["bin", "user"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let lab = Self {
            dir,
            port: free_port(),
        };
        lab.runtime(plugin, netdata);
        lab.program("bin/rs.d.plugin", "");
        lab.image("image.sif", "");
        lab
    }

    /// One whose Netdata comes up, unless the image says `broken`.
    pub fn answering() -> Self {
        Self::answering_by(ANSWERS)
    }

    /// The same, with what the runtime does for `netdata`.
    pub fn answering_by(netdata: &str) -> Self {
        let lab = Self::new(RUNS, netdata);
        fs::write(lab.path("netdata.py"), include_str!("netdata.py")).unwrap();
        fs::write(lab.path("port"), lab.port.to_string()).unwrap();
        // A process has the name of its file.
        std::os::unix::fs::symlink("/usr/bin/python3", lab.path("netdata")).unwrap();
        lab
    }

    /// A SIF file as far as the launcher looks into one, with some text in it.
    pub fn image(&self, name: &str, text: &str) {
        let mut image = vec![0; 128];
        image[32..41].copy_from_slice(b"SIF_MAGIC");
        image.extend_from_slice(text.as_bytes());
        fs::write(self.path(name), image).unwrap();
    }

    /// Everything that `start` needs, in the home's `.env`.
    pub fn settings(&self) {
        fs::create_dir_all(self.path("home")).unwrap();
        let settings = format!(
            "LAUNCHER_IMAGE={}\nLAUNCHER_PLUGIN={}\nLAUNCHER_LISTEN=127.0.0.1\nLAUNCHER_PORT={}\n\
             LAUNCHER_BESIDE_ANOTHER=yes\n",
            self.path("image.sif").display(),
            self.path("bin/rs.d.plugin").display(),
            self.port
        );
        fs::write(self.path("home/.env"), settings).unwrap();
        fs::set_permissions(self.path("home/.env"), Permissions::from_mode(0o600)).unwrap();
    }

    fn runtime(&self, plugin: &str, netdata: &str) {
        // The registry is a file of that name, the image the only word that is one.
        let script = format!(
            "lab={}\n\
             for word; do case $word in *.sif) image=$word;; esac; done\n\
             case \"$1 $*\" in\n\
             pull*) [ -x $lab/pull ] && exec $lab/pull \"$3\"\n\
             [ -e $lab/registry ] && exec cp $lab/registry \"$3\"\n\
             echo 'FATAL:   lookup registry.example: no such host' >&2; exit 255;;\n\
             --version*) echo \"${{0##*/}} version 1.2.3\";;\n\
             exec*--version) {plugin};;\n\
             exec*netdatacli*) $lab/netdatacli;;\n\
             exec*' -V') grep -o 'netdata v[0-9.]*' -a \"$image\";;\n\
             exec*) {netdata};;\n\
             esac",
            self.dir.path().display()
        );
        self.program("bin/apptainer", &script);
    }

    pub fn program(&self, name: &str, script: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn bare_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("launcher"));
        command
            .env_clear()
            .env("HOME", self.path("user"))
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("LAUNCHER_PLUGIN", self.path("bin/rs.d.plugin"))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// The same, with the lab's home.
    pub fn command(&self, words: &[&str]) -> Command {
        let home = self.path("home").display().to_string();
        self.bare_command(&[&["--home", &home], words].concat())
    }

    pub fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        said(&self.command(words).output().unwrap())
    }

    /// Runs a shell script as root of a user namespace with further private ones (`--mount`, `--net`), in which only
    /// the script's commands see what it mounts and sets. It knows `$lab`, `$launcher` (with this home) and `$start`.
    pub fn in_namespaces(&self, namespaces: &[&str], script: &str) -> (Option<i32>, String) {
        let launcher = self.command(&[]);
        let words: Vec<&str> = launcher
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        let preamble = format!(
            "set -e; lab={}; launcher='{} {}'\n\
             start=\"$launcher start --listen 127.0.0.1 --port {} --image $lab/image.sif\"\n",
            self.dir.path().display(),
            launcher.get_program().to_str().unwrap(),
            words.join(" "),
            self.port
        );
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user"])
            .args(namespaces)
            .args(["/bin/sh", "-c"])
            .arg(preamble + script);
        for (name, value) in launcher.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        said(&command.stdin(Stdio::null()).output().unwrap())
    }

    pub fn start(&self, more: &[&str]) -> Command {
        let port = self.port.to_string();
        let image = self.path("image.sif").display().to_string();
        let words = [
            "start",
            "--listen",
            "127.0.0.1",
            "--port",
            &port,
            "--image",
            &image,
        ];
        let mut command = self.command(&words);
        command.args(more);
        command
    }
}

pub fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
