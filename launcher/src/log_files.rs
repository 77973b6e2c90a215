//! `netdata.log` and the logs put aside: never more of them than a known size, also while Netdata writes. Its
//! processes keep the file open for as long as they live, so a running log is copied and then emptied.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log longer than this is put aside. A busy day writes less than 1 MiB.
pub const LIMIT_BYTES: u64 = 8 << 20;
/// Logs put aside that are kept: `netdata.log.1` is the newest.
const KEPT: usize = 3;

/// The newest log that was put aside.
pub fn newest_kept(log: &Path) -> PathBuf {
    kept(log, 1)
}

/// All names of logs put aside.
pub fn all_kept(log: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=KEPT).map(|number| kept(log, number))
}

fn kept(log: &Path, number: usize) -> PathBuf {
    log.with_extension(format!("log.{number}"))
}

/// Moves each to the next number; the oldest goes.
fn shift(log: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        match fs::rename(kept(log, number), kept(log, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_long(log: &Path, limit: u64) -> bool {
    fs::metadata(log).is_ok_and(|meta| meta.len() > limit)
}

/// Puts a log that nobody writes aside, if it is longer than `limit`.
pub fn put_aside(log: &Path, limit: u64) -> io::Result<()> {
    if is_long(log, limit) {
        shift(log)?;
        fs::rename(log, kept(log, 1))?;
    }
    Ok(())
}

/// The same with a log that is being written. Where a copy cannot be had (a full disk), the earlier logs go, and at
/// last the log itself: it must not be what fills the disk.
pub fn shorten(log: &Path, limit: u64) {
    if !is_long(log, limit) || copy_and_empty(log).is_ok() {
        return;
    }
    for kept in all_kept(log) {
        let _ = fs::remove_file(kept);
    }
    if copy_and_empty(log).is_err()
        && is_long(log, 2 * limit)
        && let Ok(file) = File::options().write(true).open(log)
    {
        let _ = file.set_len(0);
    }
}

fn copy_and_empty(log: &Path) -> io::Result<()> {
    let mut from = File::options().read(true).write(true).open(log)?;
    let unfinished = log.with_extension("log.new");
    let copied = copy(&mut from, &unfinished);
    let mut to = match copied {
        Ok(to) => to,
        Err(error) => {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
    };
    shift(log)?;
    fs::rename(&unfinished, kept(log, 1))?;
    // What was added meanwhile; after it only a line of this very moment can be lost.
    io::copy(&mut from, &mut to)?;
    from.set_len(0)
}

fn copy(from: &mut File, to: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = fs::remove_file(to);
    let mut to = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    from.seek(SeekFrom::Start(0))?;
    io::copy(from, &mut to)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_log_that_grows_for_ever_stays_bounded_and_its_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("netdata.log");
        let mut writer = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        for number in 0..1000 {
            writeln!(writer, "line {number:095}").unwrap();
            shorten(&log, 1000);
        }
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let total: u64 = all_kept(&log).map(|kept| size(&kept)).sum::<u64>() + size(&log);
        assert!((3000..=4500).contains(&total), "{total} bytes");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + KEPT);
        // Nothing is lost between the newest two.
        let newest =
            fs::read_to_string(newest_kept(&log)).unwrap() + &fs::read_to_string(&log).unwrap();
        let numbers: Vec<usize> = newest
            .lines()
            .map(|line| line[5..].trim_start_matches('0').parse().unwrap())
            .collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
        assert_eq!(numbers.last(), Some(&999));
    }

    #[test]
    fn a_log_that_cannot_be_copied_is_emptied_rather_than_left_to_grow() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("netdata.log");
        fs::write(&log, vec![b'x'; 2500]).unwrap();
        // In the place of the copy stands a directory, as no disk would have it.
        fs::create_dir(dir.path().join("netdata.log.new")).unwrap();
        shorten(&log, 1000);
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    }

    #[test]
    fn a_start_keeps_three_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("netdata.log");
        for text in ["a--", "b--", "c--", "d--", "e"] {
            fs::write(&log, text).unwrap();
            put_aside(&log, 2).unwrap();
        }
        let texts = all_kept(&log).map(|kept| fs::read_to_string(kept).unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["d--", "c--", "b--"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), "e");
    }
}
