//! `/proc/PID/stat`, parsed without allocating. It takes none of the process's locks, so that reading it
//! cannot hang on a process that does.

/// What is used of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// The command's name, at most 15 bytes; any program may set it.
    pub comm: &'a str,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    /// The parent's pid.
    pub ppid: u32,
    /// CPU time in user mode, in clock ticks, of all threads, ended children not included.
    pub user_ticks: u64,
    /// CPU time in the kernel, likewise.
    pub system_ticks: u64,
    /// Page faults that needed no disk, ended children's not included.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Threads.
    pub threads: u64,
    /// Start, in clock ticks since boot: tells reused pids apart.
    pub start_ticks: u64,
    /// Resident memory, in pages.
    pub rss_pages: u64,
}

impl<'a> Stat<'a> {
    /// Parses the file's text; `None` if it is no such text.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        // The name may hold blanks and parentheses: the last one closes it.
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let comm = text.get(open + 1..close)?;
        let mut fields = text
            .get(close + 1..)?
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        let state = char::from(*fields.next()?.first()?);
        let mut number =
            |skip| -> Option<u64> { std::str::from_utf8(fields.nth(skip)?).ok()?.parse().ok() };
        Some(Self {
            // A name that is no UTF-8 is nobody's we look for.
            comm: std::str::from_utf8(comm).unwrap_or_default(),
            state,
            ppid: number(0)?.try_into().ok()?,
            minor_faults: number(5)?,
            major_faults: number(1)?,
            user_ticks: number(1)?,
            system_ticks: number(0)?,
            threads: number(4)?,
            start_ticks: number(1)?,
            rss_pages: number(1)?,
        })
    }

    /// Whether it has ended and only waits to be reaped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_a_captured_scheduler() {
        let text = b"25437 (sglang::schedul) R 24633 24633 24633 0 -1 4194560 195608 296 55 3 \
            3107 127 0 0 20 0 13 0 110482 4652212224 270949 18446744073709551615 1 1 0 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.comm, stat.state), ("sglang::schedul", 'R'));
        assert_eq!((stat.ppid, stat.start_ticks), (24633, 110_482));
        assert_eq!((stat.user_ticks, stat.system_ticks), (3107, 127));
        assert_eq!(stat.rss_pages, 270_949);
        assert_eq!((stat.minor_faults, stat.major_faults), (195_608, 55));
        assert_eq!(stat.threads, 13);
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_is_kept_whole() {
        let text = b"7 (a) R (b) S 1 1 1 0 -1 0 0 0 0 0 5 6 0 0 20 0 1 0 42 0 9 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.comm, stat.state), ("a) R (b", 'S'));
        assert_eq!((stat.start_ticks, stat.rss_pages), (42, 9));
    }

    #[test]
    fn what_is_cut_off_or_no_number_is_nothing() {
        for text in [
            "",
            "7",
            "7 (a",
            "7 (a) S",
            "7 (a) S 1 1 1",
            "7 )a( S 1",
            "7 (a) S x 1 1",
        ] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
    }
}
