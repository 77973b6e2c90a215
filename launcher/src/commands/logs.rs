//! `logs`: what Netdata and its plugins printed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Scene;
use crate::cli::LogsArgs;

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
    let mut more = Vec::new();
    loop {
        file.read_to_end(&mut more).with_context(reading)?;
        if let Some(newer) = put_aside(&file, &path) {
            // What was added between the two looks is in neither: the old file is read to its end.
            file.read_to_end(&mut more).with_context(reading)?;
            file = newer;
        }
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

/// The file that has taken the place of the one being followed, or the same one if it was emptied.
fn put_aside(file: &File, path: &Path) -> Option<File> {
    let newer = File::open(path).ok()?;
    let (ours, theirs) = (file.metadata().ok()?, newer.metadata().ok()?);
    let emptied = { file }.stream_position().ok()? > theirs.len();
    let same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
    (!same || emptied).then_some(newer)
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
    fn a_log_that_was_put_aside_is_left_for_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = File::open(&path).unwrap();
        io::copy(&mut file, &mut io::sink()).unwrap();
        assert!(put_aside(&file, &path).is_none());
        std::fs::rename(&path, dir.path().join("log.old")).unwrap();
        assert!(put_aside(&file, &path).is_none());
        std::fs::write(&path, "new and longer\n").unwrap();
        assert!(put_aside(&file, &path).is_some());
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
