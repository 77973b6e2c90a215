//! `logs`: what Netdata and its plugins printed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Scene;
use crate::cli::LogsArgs;
use crate::log_files;
use crate::process::FileId;

/// How often `-f` looks for more.
const POLL: Duration = Duration::from_millis(250);

pub(super) fn run(scene: &Scene, args: &LogsArgs) -> Result<ExitCode> {
    let path = scene.paths.log_file();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tell!("nothing was logged yet: Netdata was never started from this home");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let reading = || format!("reading {}", path.display());
    let mut out = io::stdout().lock();
    let wanted = |line: &[u8]| !args.plugin || is_plugins(line);
    let mut reader = BufReader::new(&mut file);
    for line in last_lines(&mut reader, args.lines, wanted).with_context(reading)? {
        // A reader that went away (`logs | head`) ends the command, and is no error.
        if out.write_all(&line).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut follower = Follower {
        file,
        kept: FileId::of(&log_files::newest_kept(&path)),
        path: path.clone(),
    };
    let mut more = Vec::new();
    loop {
        follower.read(&mut more).with_context(reading)?;
        // With a filter an unfinished line waits for its end.
        let whole = match more.iter().rposition(|byte| *byte == b'\n') {
            _ if !args.plugin => more.len(),
            Some(end) => end + 1,
            None => 0,
        };
        let shown = more[..whole].split_inclusive(|byte| *byte == b'\n');
        for line in shown.filter(|line| wanted(line)) {
            if out.write_all(line).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if out.flush().is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        more.drain(..whole);
        thread::sleep(POLL);
    }
}

/// A log that is read on as it grows, also when it is put aside.
struct Follower {
    file: File,
    path: PathBuf,
    /// The newest log that was put aside: another one means that ours was.
    kept: Option<FileId>,
}

impl Follower {
    /// Appends what is new since the last look.
    fn read(&mut self, more: &mut Vec<u8>) -> io::Result<()> {
        let name = log_files::newest_kept(&self.path);
        let kept = FileId::of(&name);
        if kept != self.kept {
            self.kept = kept;
            // The end of what was followed is there, at the same place.
            let at = self.file.stream_position()?;
            if let Ok(mut aside) = File::open(&name) {
                aside.seek(SeekFrom::Start(at))?;
                aside.read_to_end(more)?;
            }
            self.file = File::open(&self.path)?;
        }
        // Emptied by somebody else.
        if self.file.stream_position()? > self.file.metadata()?.len() {
            self.file.rewind()?;
        }
        self.file.read_to_end(more).map(drop)
    }
}

/// The plugin's own lines are logfmt; Netdata's name its file.
fn is_plugins(line: &[u8]) -> bool {
    let has = |part: &[u8]| line.windows(part.len()).any(|window| window == part);
    has(b"plugin=rs.d") || has(b"rs.d.plugin")
}

fn last_lines<R: BufRead + Seek>(
    reader: &mut R,
    count: usize,
    wanted: impl Fn(&[u8]) -> bool,
) -> io::Result<VecDeque<Vec<u8>>> {
    reader.seek(SeekFrom::Start(0))?;
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        if !wanted(&line) {
            continue;
        }
        lines.push_back(line);
        if lines.len() > count {
            lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_missed_or_shown_twice_when_the_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netdata.log");
        let append = || {
            let mut options = File::options();
            options.append(true).create(true).open(&path).unwrap()
        };
        let mut writer = append();
        let mut follower = Follower {
            file: File::open(&path).unwrap(),
            path: path.clone(),
            kept: None,
        };
        let mut seen = Vec::new();
        let mut written = String::new();
        for number in 0..300 {
            let line = format!("line {number}\n");
            writer.write_all(line.as_bytes()).unwrap();
            written += &line;
            if number % 7 == 0 {
                follower.read(&mut seen).unwrap();
            }
            // Between two looks, once while Netdata writes and once as a start does it.
            if number % 50 == 24 {
                log_files::shorten(&path, 100);
            }
            if number == 200 {
                log_files::put_aside(&path, 1).unwrap();
                writer = append();
            }
        }
        follower.read(&mut seen).unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), written);
    }

    #[test]
    fn the_last_lines_are_shown_in_order_with_an_unfinished_one() {
        let mut text = io::Cursor::new(b"a\nb\nc".to_vec());
        assert_eq!(
            last_lines(&mut text, 2, |_| true).unwrap(),
            [b"b\n".to_vec(), b"c".to_vec()]
        );
        assert_eq!(last_lines(&mut text, 9, |_| true).unwrap().len(), 3);
        assert!(last_lines(&mut text, 0, |_| true).unwrap().is_empty());
    }

    #[test]
    fn the_plugins_lines_are_counted_after_the_others_are_left_out() {
        let log = b"time=1 level=info msg=\"a\" plugin=rs.d\nnetdata INFO: x\nPLUGINSD: 'rs.d.plugin' started\ny\n";
        let mut text = io::Cursor::new(log.to_vec());
        let lines = last_lines(&mut text, 2, is_plugins).unwrap();
        assert!(lines[0].starts_with(b"time=1") && lines[1].starts_with(b"PLUGINSD"));
    }
}
