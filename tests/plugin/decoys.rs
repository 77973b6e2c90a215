//! Processes that are no servers, and look like some: editors, clients, a scheduler without a server. The port that
//! they speak of is the test's own, and counts who comes.

use std::net::TcpListener;
use std::process::{Child, Stdio};

use anyhow::Context as _;
use harness::place::Place;

/// What each calls itself, and its arguments. The first of those names a file that a shell reads.
const LOOKS: &[(&str, &[&str])] = &[
    ("vim", &["launch_server.py"]),
    ("nano", &["sglang.launch_server"]),
    ("tail", &["sglang.launch_server", "-f"]),
    ("grep", &["python3 -m sglang.launch_server"]),
    ("python3", &["-m", "sglang.bench_serving"]),
    ("python3", &["-m", "sglang.test.send_one"]),
    ("curl", &["sglang", "serve"]),
    ("sglang::scheduler_TP0", &["sglang"]),
];

/// They end with this.
pub struct Decoys {
    /// The port that they speak of, as if it were theirs.
    pub port: u16,
    listener: TcpListener,
    children: Vec<Child>,
}

impl Decoys {
    /// Starts them in a directory for the test `name`.
    pub fn start(place: &Place, name: &str) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mut decoys = Self {
            port,
            listener,
            children: vec![],
        };
        let dir = place.dir.join(format!("decoys-{name}"));
        place.make_dir(&dir)?;
        for (looks, words) in LOOKS {
            let script = words.iter().find(|word| !word.starts_with('-'));
            place.write(&dir.join(script.context("no script")?), "read -r line\n")?;
            let child = place
                .command("/bin/sh")
                .arg0(looks)
                .args(*words)
                .args(["--port", &port.to_string()])
                .current_dir(&dir)
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            decoys.children.push(child.context("cannot start a decoy")?);
        }
        Ok(decoys)
    }

    /// How many connections came to their port.
    ///
    /// # Errors
    /// When a decoy has ended, which then proves nothing.
    pub fn contacts(mut self) -> anyhow::Result<usize> {
        for (child, (looks, _)) in self.children.iter_mut().zip(LOOKS) {
            let ended = child.try_wait()?;
            anyhow::ensure!(ended.is_none(), "{looks} has ended: {ended:?}");
        }
        Ok(std::iter::from_fn(|| self.listener.accept().ok()).count())
    }
}

impl Drop for Decoys {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
