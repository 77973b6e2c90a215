//! What the processes beside the main one do: report to it, hold memory, burn CPU, accept nothing.

use std::hint::black_box;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Stdio, id};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::wait::wait;

use super::spawn::spawn_scheduler;
use super::titles::{CONTROLLER, DETOKENIZER};

/// Memory a scheduler holds, so that memory charts tell the roles apart.
const SCHEDULER_BYTES: usize = 24 << 20;
/// Memory the detokenizer holds.
const DETOKENIZER_BYTES: usize = 12 << 20;
/// One round of burning and sleeping.
const ROUND: Duration = Duration::from_millis(100);

/// A line a helper writes to the main process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It runs; a scheduler also says on which loopback port it listens, the others 0.
    Ready { title: String, pid: u32, port: u16 },
    /// Somebody connected to a scheduler's port, which no product should.
    Connection,
}

impl Report {
    fn send(&self) {
        let line = match self {
            Self::Ready { title, pid, port } => format!("ready {title} {pid} {port}\n"),
            Self::Connection => "connection\n".to_owned(),
        };
        // Without a reader the main process is gone, and this one about to be killed.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }

    fn ready(title: &str, port: u16) {
        Self::Ready {
            title: title.to_owned(),
            pid: id(),
            port,
        }
        .send();
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["connection"] => Ok(Self::Connection),
            ["ready", title, pid, port] => Ok(Self::Ready {
                title: title.to_owned(),
                pid: pid.parse()?,
                port: port.parse()?,
            }),
            _ => bail!("not a report: {line:?}"),
        }
    }
}

/// Python's resource tracker: sits there.
pub fn tracker() -> Result<()> {
    Report::ready("tracker", 0);
    sit()
}

/// Holds memory and sits there.
pub fn detokenizer() -> Result<()> {
    let memory = hold(DETOKENIZER_BYTES);
    Report::ready(DETOKENIZER, 0);
    let outcome = sit();
    black_box(memory);
    outcome
}

/// Parent of the schedulers; ends when one of them does.
pub fn controller(schedulers: &[String], cpu: u8) -> Result<()> {
    for title in schedulers {
        spawn_scheduler(title, cpu, Stdio::inherit())?;
    }
    Report::ready(CONTROLLER, 0);
    let ended = wait().context("waiting for the schedulers")?;
    bail!("a scheduler ended: {ended:?}")
}

/// Burns `cpu` percent of a core and counts who connects to its port.
pub fn scheduler(title: &str, cpu: u8) -> Result<()> {
    let memory = hold(SCHEDULER_BYTES);
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("opening a loopback port")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            if connection.is_ok() {
                Report::Connection.send();
            }
        }
    });
    Report::ready(title, port);
    let busy = ROUND * u32::from(cpu) / 100;
    loop {
        let start = Instant::now();
        while start.elapsed() < busy {
            black_box(&memory);
        }
        thread::sleep(
            ROUND
                .saturating_sub(start.elapsed())
                .max(Duration::from_millis(1)),
        );
    }
}

/// Written pages, which count as resident.
fn hold(bytes: usize) -> Vec<u8> {
    black_box(vec![1; bytes])
}

fn sit() -> Result<()> {
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let ready = Report::Ready {
            title: "sglang::scheduler".into(),
            pid: 7,
            port: 40000,
        };
        assert_eq!(
            "ready sglang::scheduler 7 40000".parse::<Report>().unwrap(),
            ready
        );
        assert_eq!("connection".parse::<Report>().unwrap(), Report::Connection);
        assert!("ready x".parse::<Report>().is_err());
    }
}
