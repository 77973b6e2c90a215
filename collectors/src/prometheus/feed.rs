//! A page as it arrives: read piece by piece and taken line by line, so that its length costs no memory.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

use super::{Line, Lines, MAX_LINE};

/// What is read at once; holds the longest line several times.
const BUFFER: usize = 64 * 1024;
const _: () = assert!(BUFFER > 2 * MAX_LINE);

/// Reads pages; keeps its buffer between them.
#[derive(Debug, Default)]
pub struct Feed {
    buffer: Vec<u8>,
}

/// What there was besides the lines taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the page.
    pub bytes: usize,
    /// Lines that were no samples.
    pub skipped: u32,
}

impl Feed {
    /// Hands each line of `page` to `take`.
    ///
    /// # Errors
    /// Those of reading; [`io::ErrorKind::FileTooLarge`] for a page above `max` bytes. Lines up to there
    /// have been taken.
    pub fn read(
        &mut self,
        mut page: impl Read,
        max: usize,
        mut take: impl FnMut(Line<'_>),
    ) -> io::Result<Taken> {
        self.buffer.resize(BUFFER, 0);
        let (mut taken, mut filled, mut in_long_line) = (Taken::default(), 0, false);
        loop {
            let read = match page.read(&mut self.buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            taken.bytes += read;
            if taken.bytes > max {
                let why = format!("the page is longer than {} KiB", max / 1024);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            let mut start = 0;
            let fresh = filled;
            filled += read;
            if in_long_line {
                match memchr(b'\n', &self.buffer[..filled]) {
                    Some(end) => (start, in_long_line) = (end + 1, false),
                    None => start = filled,
                }
            }
            // Only what is new can hold another line's end.
            let searched = fresh.max(start);
            let end = if read == 0 {
                filled
            } else {
                memrchr(b'\n', &self.buffer[searched..filled]).map_or(start, |at| searched + at + 1)
            };
            let mut lines = Lines::new(&self.buffer[start..end]);
            lines.by_ref().for_each(&mut take);
            taken.skipped = taken.skipped.saturating_add(lines.skipped());
            if read == 0 {
                return Ok(taken);
            }
            self.buffer.copy_within(end..filled, 0);
            filled -= end;
            if filled == BUFFER {
                (filled, in_long_line) = (0, true);
                taken.skipped = taken.skipped.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a page in pieces of `step` bytes.
    struct Pieces<'a> {
        page: &'a [u8],
        step: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.step.min(self.page.len()).min(buffer.len());
            let (now, later) = self.page.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.page = later;
            Ok(len)
        }
    }

    fn lines(page: &[u8], step: usize) -> (Vec<String>, Taken) {
        let mut lines = vec![];
        let taken = Feed::default()
            .read(Pieces { page, step }, usize::MAX, |line| {
                lines.push(format!("{line:?}"));
            })
            .unwrap();
        (lines, taken)
    }

    #[test]
    fn a_page_in_pieces_has_the_lines_of_the_whole() {
        let page = crate::fixtures::page("0.5.23", "load_t10");
        let mut whole = Lines::new(&page);
        let expected: Vec<_> = whole.by_ref().map(|line| format!("{line:?}")).collect();
        for step in [1, 7, 1000, 65_536, usize::MAX] {
            let (read, taken) = lines(&page, step);
            assert_eq!(read, expected, "in pieces of {step}");
            assert_eq!((taken.bytes, taken.skipped), (page.len(), 0));
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_costs_only_itself() {
        let long = "x".repeat(3 * BUFFER);
        for step in [999, usize::MAX] {
            let (read, taken) = lines(format!("a 1\n{long}\nb 2\n").as_bytes(), step);
            assert_eq!((read.len(), taken.skipped), (2, 1), "in pieces of {step}");
        }
    }

    #[test]
    fn a_page_cut_off_in_a_line_loses_that_line() {
        let (read, taken) = lines(b"a 1\nb 22", 3);
        assert_eq!((read.len(), taken.skipped), (1, 1));
        assert_eq!(lines(b"", 3).1, Taken::default());
    }

    #[test]
    fn a_page_above_the_cap_is_an_error() {
        let page = "a 1\n".repeat(100);
        let error = Feed::default()
            .read(page.as_bytes(), 399, |_| {})
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(Feed::default().read(page.as_bytes(), 400, |_| {}).is_ok());
    }
}
