//! What one start wrote to the log: why it failed, and what Netdata made of the plugin.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Lines in a message.
const EXCERPT: usize = 8;
/// A start writes 60 KB.
const READ_BYTES: u64 = 256 * 1024;
/// Longer lines are cut.
const LINE: usize = 300;

/// The log from where a start began.
#[derive(Debug)]
pub struct StartLog {
    path: PathBuf,
    offset: u64,
}

/// Netdata's last word on the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended by its own will: its configuration switches it off.
    SwitchedOff,
    /// It failed, and is not started again.
    GivenUp,
}

impl StartLog {
    /// The log `path` from `offset` on.
    pub fn new(path: &Path, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            offset,
        }
    }

    /// The lines that look like a reason, else the last ones.
    pub fn excerpt(&self) -> String {
        let lines = relevant(&self.text()).join("\n  ");
        format!("from {}:\n  {lines}", self.path.display())
    }

    /// Whether Netdata could not have its port.
    pub fn port_refused(&self) -> bool {
        self.text().contains("Cannot bind to")
    }

    /// None while Netdata runs the plugin, or has not come to it yet.
    pub fn verdict(&self) -> Option<Verdict> {
        verdict(&self.text())
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        // What cannot be read says nothing.
        let _ = File::open(&self.path).and_then(|mut file| {
            let end = file.metadata()?.len();
            // A log that was put aside meanwhile begins anew.
            let offset = if self.offset > end { 0 } else { self.offset };
            let begin = offset.max(end.saturating_sub(READ_BYTES));
            file.seek(SeekFrom::Start(begin))?;
            file.take(READ_BYTES).read_to_end(&mut text)
        });
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn verdict(text: &str) -> Option<Verdict> {
    let ours = text
        .lines()
        .rev()
        .filter(|line| line.contains("rs.d.plugin"));
    ours.filter_map(|line| {
        if line.contains("reports success") && line.contains("now disabled") {
            Some(Verdict::SwitchedOff)
        } else if line.contains("Disabling it") || line.contains("now disabled") {
            Some(Verdict::GivenUp)
        } else {
            None
        }
    })
    .next()
}

fn relevant(text: &str) -> Vec<String> {
    // Netdata's small plugins call it fatal where they have nothing to do.
    let telling = |line: &&str| {
        line.contains("netdata FATAL")
            || line.starts_with("FATAL:")
            || line.contains("Cannot bind")
            || (line.contains("rs.d") && (line.contains("ERROR") || line.contains("level=error")))
    };
    let last = |lines: Vec<&str>| -> Vec<String> {
        let skip = lines.len().saturating_sub(EXCERPT);
        let plain = |line: &str| {
            line.chars()
                .filter(|c| !c.is_control())
                .take(LINE)
                .collect()
        };
        lines.into_iter().skip(skip).map(plain).collect()
    };
    let found: Vec<&str> = text.lines().filter(telling).collect();
    last(if found.is_empty() {
        text.lines().collect()
    } else {
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_among_the_log() {
        let log = "INFO a\nERROR LISTENER: Cannot bind to 1\nfping.plugin: FATAL: none\n";
        assert_eq!(relevant(log), ["ERROR LISTENER: Cannot bind to 1"]);
        assert_eq!(relevant("a\nb\n"), ["a", "b"]);
        assert_eq!(relevant(&"x\n".repeat(50)).len(), EXCERPT);
    }

    #[test]
    fn an_earlier_starts_lines_are_no_reason_of_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let earlier = "netdata FATAL : old\n";
        std::fs::write(&path, format!("{earlier}new\n")).unwrap();
        let log = StartLog::new(&path, earlier.len() as u64);
        assert!(log.excerpt().ends_with("\n  new"), "{}", log.excerpt());
    }

    #[test]
    fn a_plugin_switched_off_is_told_from_one_that_fails() {
        let name = "'/etc/netdata/custom-plugins.d/rs.d.plugin' (pid 9)";
        let off = format!(
            "{name} does not generate useful output but it reports success (exits with 0). \
             Will not start it again - it is now disabled.."
        );
        let failed = format!(
            "{name} exited with error code 1 and haven't collected any data. Disabling it."
        );
        let again =
            format!("{name} exited with error code 1, but has given useful output in the past");
        assert_eq!(verdict(&off), Some(Verdict::SwitchedOff));
        assert_eq!(verdict(&failed), Some(Verdict::GivenUp));
        assert_eq!(verdict(&again), None);
        assert_eq!(verdict(&failed.replace("rs.d", "perf")), None);
    }
}
