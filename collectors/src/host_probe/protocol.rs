//! The words of the probe and its client. Version 1: the probe greets with [`GREETING`]; the client sends one
//! request, a line; the answer is any number of lines that begin with `= `, then `ok` or `error REASON`.

use std::fmt;
use std::str::FromStr;

use super::log_tail::Cursor;

/// First line of the probe. Another version is another greeting.
pub const GREETING: &str = "rs.d-host-probe 1";
/// Begins each line of an answer but the last.
pub const DATA: &str = "= ";
/// Last line of a complete answer.
pub const OK: &str = "ok";
/// Begins the last line of an answer that is none.
pub const ERROR: &str = "error ";
/// Longest request, in bytes with its line break.
pub const MAX_REQUEST: usize = 4096;
/// Longest answer: a whole tail of a log.
pub const MAX_ANSWER: usize = 256 * 1024;
/// Most processes in one request.
pub const MAX_PROCESSES: usize = 100;

/// A process: its pid and its start in clock ticks since boot, which tells reused pids apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// As /proc shows it.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The addresses on which a process listens (TCP, this machine's network namespace).
    Listening(ProcessId),
    /// Open files and disk I/O of each process.
    Usage(Vec<ProcessId>),
    /// Proportional set size: memory, with each shared page divided among those who share it.
    Pss(ProcessId),
    /// Whose a process is, in the host's numbers. Asked of any user's: outside the container everybody sees that.
    Owner(ProcessId),
    /// `CUDA_VISIBLE_DEVICES` and `SLURM_JOB_ID`.
    Place(ProcessId),
    /// The engine's statistics lines that its log gained since the cursor.
    Log(ProcessId, Cursor),
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pid, self.start_ticks)
    }
}

impl FromStr for ProcessId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, start_ticks) = text.split_once(':').ok_or(())?;
        Ok(Self {
            pid: pid.parse().map_err(drop)?,
            start_ticks: start_ticks.parse().map_err(drop)?,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(id) => write!(f, "listening {id}"),
            Self::Usage(ids) => {
                f.write_str("usage")?;
                ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
            Self::Pss(id) => write!(f, "pss {id}"),
            Self::Owner(id) => write!(f, "owner {id}"),
            Self::Place(id) => write!(f, "place {id}"),
            Self::Log(id, cursor) => write!(f, "log {id} {cursor}"),
        }
    }
}

impl FromStr for Request {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let verb = words.next().ok_or(())?;
        if verb == "usage" {
            let ids: Vec<_> = words.map(str::parse).collect::<Result<_, ()>>()?;
            return if ids.len() <= MAX_PROCESSES {
                Ok(Self::Usage(ids))
            } else {
                Err(())
            };
        }
        let id = words.next().ok_or(())?.parse()?;
        let request = match verb {
            "listening" => Self::Listening(id),
            "pss" => Self::Pss(id),
            "owner" => Self::Owner(id),
            "place" => Self::Place(id),
            "log" => Self::Log(id, words.next().ok_or(())?.parse()?),
            _ => return Err(()),
        };
        match words.next() {
            None => Ok(request),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProcessId = ProcessId {
        pid: 7,
        start_ticks: 4711,
    };

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for request in [
            Request::Listening(ID),
            Request::Usage(vec![ID, ID]),
            Request::Usage(vec![]),
            Request::Pss(ID),
            Request::Owner(ID),
            Request::Place(ID),
            Request::Log(ID, Cursor::default()),
        ] {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let many = format!("usage{}", " 1:1".repeat(MAX_PROCESSES + 1));
        for line in [
            "",
            "listening",
            "listening 7",
            "listening 7:x",
            "listening 7:1 more",
            "pss -7:1",
            "environ 7:1",
            "log 7:1",
            "log 7:1 nonsense",
            "usage 7",
            &many,
        ] {
            assert_eq!(line.parse::<Request>(), Err(()), "{line}");
        }
    }

    #[test]
    fn the_longest_request_fits() {
        let id = ProcessId {
            pid: 4_194_304,
            start_ticks: 99_999_999_999_999,
        };
        let request = Request::Usage(vec![id; MAX_PROCESSES]).to_string();
        assert!(request.len() < MAX_REQUEST, "{}", request.len());
    }
}
