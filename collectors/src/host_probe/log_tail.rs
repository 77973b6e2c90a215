//! The statistics lines that an engine's log gains, where its stdout or stderr is a regular file. The file is
//! opened through the process, so a renamed or deleted one is still its log. Of the log nothing but such
//! lines is ever told: the rest may hold prompts and keys.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use super::process::Process;

/// Most bytes read of one file for one request: a busy server writes some KiB a second.
const MAX_READ: u64 = 1 << 20;
/// Most lines told at once.
const MAX_LINES: usize = 400;
/// Longest line told; SGLang's have under 400 bytes.
const MAX_LINE: usize = 600;
/// What follows the time stamp in a line of statistics.
const KINDS: [&str; 2] = ["Prefill batch", "Decode batch"];
/// Python's logging writes to stderr; both are often the same file.
const FILES: [&str; 2] = ["fd/2", "fd/1"];

/// How far the files behind stderr and stdout were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor([Option<Position>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    device: u64,
    inode: u64,
    /// Where the first line begins that was not complete.
    offset: u64,
}

/// What a log gained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// From where to go on.
    pub cursor: Cursor,
    /// Lines of statistics, oldest first.
    pub lines: Vec<String>,
    /// Whether lines between the previous and this tail may be missing.
    pub skipped: bool,
}

/// Why a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLog {
    /// Neither stdout nor stderr is a regular file that may be read.
    NotAFile,
}

/// What the log of `process` gained since `cursor`: nothing for a file that was not known, since nobody
/// knows how old its lines are.
pub fn tail(process: &Process, cursor: &Cursor) -> Result<Tail, NoLog> {
    let mut tail = Tail::default();
    for (i, name) in FILES.iter().enumerate() {
        // Not a FIFO, which would hang: the kind is looked at first, and cannot change behind a link of /proc.
        let path = process.path(name);
        if !std::fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let Ok(file) = File::open(path) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        let (device, inode) = (meta.dev(), meta.ino());
        let is_it = |it: &&Position| (it.device, it.inode) == (device, inode);
        if tail.cursor.0.iter().flatten().any(|it| is_it(&it)) {
            continue;
        }
        let offset = match cursor.0.iter().flatten().find(is_it) {
            Some(known) => read_on(&file, known.offset, meta.len(), &mut tail),
            None => Some(meta.len()),
        };
        tail.cursor.0[i] = offset.map(|offset| Position {
            device,
            inode,
            offset,
        });
    }
    if tail.cursor == Cursor::default() {
        return Err(NoLog::NotAFile);
    }
    Ok(tail)
}

/// Reads the complete lines from `offset` on. `None` if the file cannot be read.
fn read_on(mut file: &File, offset: u64, len: u64, tail: &mut Tail) -> Option<u64> {
    // Shorter than before: it was truncated, and begins anew.
    let mut at = if len < offset { 0 } else { offset };
    tail.skipped |= len < offset;
    if len - at > MAX_READ {
        at = len - MAX_READ;
        tail.skipped = true;
    }
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut reader = BufReader::new(file.take(len - at));
    let (mut line, mut lines) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).ok()?;
        if line.last() != Some(&b'\n') {
            // Not complete yet, unless it never will be.
            at += if read as u64 >= MAX_READ {
                read as u64
            } else {
                0
            };
            break;
        }
        at += read as u64;
        lines.extend(statistics(&line));
    }
    let surplus = lines.len().saturating_sub(MAX_LINES);
    tail.skipped |= surplus > 0;
    tail.lines.extend(lines.into_iter().skip(surplus));
    Some(at)
}

/// The line, if it is one of statistics: a time stamp in brackets, then at once what kind it is.
fn statistics(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line.get(..line.len().min(MAX_LINE))?).ok()?;
    let (stamp, rest) = text.strip_prefix('[')?.split_once("] ")?;
    let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let text = text.trim_end();
    let known = KINDS.iter().any(|kind| rest.starts_with(kind));
    (known && stamp.len() < 64 && plain(text)).then(|| text.to_owned())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, position) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match position {
                Some(it) => write!(f, "{}:{}:{}", it.device, it.inode, it.offset)?,
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let position = |text: &str| match text {
            "-" => Ok(None),
            _ => {
                let mut numbers = text.split(':').map(str::parse::<u64>);
                let mut next = || numbers.next().ok_or(())?.map_err(drop);
                Ok(Some(Position {
                    device: next()?,
                    inode: next()?,
                    offset: next()?,
                }))
            }
        };
        let (first, second) = text.split_once(',').ok_or(())?;
        Ok(Self([position(first)?, position(second)?]))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::super::protocol::ProcessId;
    use super::*;
    use crate::processes::tests::FakeProc;

    const LINE: &str = "[2026-11-22 06:36:06] Decode batch. #running-req: 8, #queue-req: 0\n";

    struct Log {
        proc: FakeProc,
        path: PathBuf,
        process: Process,
    }

    impl Log {
        /// A process whose outputs both go to one file.
        fn new() -> Self {
            let proc = FakeProc::new();
            proc.process(10, 1, "python", 'S', &["python"]);
            let path = proc.path().join("server.log");
            fs::write(&path, "").unwrap();
            fs::create_dir(proc.path().join("10/fd")).unwrap();
            for fd in ["1", "2"] {
                symlink(&path, proc.path().join("10/fd").join(fd)).unwrap();
            }
            let id = ProcessId {
                pid: 10,
                start_ticks: 110,
            };
            let process = Process::open(proc.path(), id, 1000).unwrap();
            Self {
                proc,
                path,
                process,
            }
        }

        fn add(&self, text: &str) {
            let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn tail(&self, cursor: &Cursor) -> Tail {
            tail(&self.process, cursor).unwrap()
        }
    }

    #[test]
    fn only_what_is_written_after_the_first_look_is_told_and_each_line_once() {
        let log = Log::new();
        log.add(LINE);
        let first = log.tail(&Cursor::default());
        assert_eq!((first.lines.len(), first.skipped), (0, false));
        log.add(LINE);
        log.add(&LINE[..20]);
        let second = log.tail(&first.cursor);
        assert_eq!(second.lines, [LINE.trim_end()]);
        log.add(&LINE[20..]);
        let third = log.tail(&second.cursor);
        assert_eq!(third.lines, [LINE.trim_end()]);
        assert_eq!(log.tail(&third.cursor).lines, Vec::<String>::new());
    }

    #[test]
    fn nothing_but_statistics_is_told() {
        let log = Log::new();
        let first = log.tail(&Cursor::default());
        log.add("server_args=ServerArgs(api_key='s3cret')\n");
        log.add("[2026-11-22 06:35:08] server_args={'api_key': 's3cret'}, Decode batch\n");
        log.add("Decode batch s3cret\n");
        log.add("[2026-11-22 06:35:08] INFO: prompt=Prefill batch s3cret\n");
        log.add("[2026-11-22 06:35:08] Decode batch\u{1b}[31m, s3cret\n");
        log.add(&format!("[{} s3cret] Decode batch\n", "x".repeat(80)));
        assert_eq!(log.tail(&first.cursor).lines, Vec::<String>::new());
    }

    #[test]
    fn a_truncated_file_is_read_from_its_beginning() {
        let log = Log::new();
        log.add(&LINE.repeat(3));
        let first = log.tail(&Cursor::default());
        fs::write(&log.path, LINE).unwrap();
        let second = log.tail(&first.cursor);
        assert_eq!((second.lines.len(), second.skipped), (1, true));
    }

    #[test]
    fn a_file_in_another_ones_place_is_not_taken_for_it() {
        let log = Log::new();
        let first = log.tail(&Cursor::default());
        let other = log.proc.path().join("other.log");
        fs::write(&other, LINE.repeat(2)).unwrap();
        fs::rename(&other, &log.path).unwrap();
        let second = log.tail(&first.cursor);
        assert_eq!(second.lines, Vec::<String>::new());
        log.add(LINE);
        assert_eq!(log.tail(&second.cursor).lines.len(), 1);
    }

    #[test]
    fn a_flood_is_cut_to_its_end() {
        let log = Log::new();
        let first = log.tail(&Cursor::default());
        log.add(&LINE.repeat(40_000));
        let second = log.tail(&first.cursor);
        assert_eq!((second.lines.len(), second.skipped), (MAX_LINES, true));
        assert!(!log.tail(&second.cursor).skipped);
    }

    #[test]
    fn a_line_without_end_does_not_hold_the_log_up() {
        let log = Log::new();
        let first = log.tail(&Cursor::default());
        log.add(&"x".repeat(3 << 20));
        let second = log.tail(&first.cursor);
        log.add(&format!("\n{LINE}"));
        assert_eq!(log.tail(&second.cursor).lines.len(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_no_log() {
        let log = Log::new();
        for fd in ["1", "2"] {
            let fd = log.proc.path().join("10/fd").join(fd);
            fs::remove_file(&fd).unwrap();
            symlink("/dev/null", &fd).unwrap();
        }
        let outcome = tail(&log.process, &Cursor::default());
        assert_eq!(outcome, Err(NoLog::NotAFile));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Log::new().tail(&Cursor::default()).cursor;
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("-,-".parse(), Ok(Cursor::default()));
        for bad in ["", "-", "1:2,-", "1:2:x,-"] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }
}
