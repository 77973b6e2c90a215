//! Which processes are new, without a listing of all: that costs by how many there are, and every few seconds nearly
//! all are those that were there before.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

/// Age of the last listing at which the next is due: numbers wrap around, and the dead have to be forgotten.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Numbers given out since the last look, threads' among them, up to which trying each costs less than a listing.
const MOST: u32 = 512;

/// Where new processes are to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Among {
    /// Anywhere.
    All,
    /// These numbers have been given out since the last look; they may be threads', or nobody's any more.
    Numbers(RangeInclusive<u32>),
}

/// Remembers the last number.
#[derive(Debug, Default)]
pub struct Newcomers {
    last: Option<u32>,
    listed: Option<Instant>,
}

impl Newcomers {
    /// Where to look now, in the /proc at `root`.
    pub fn look(&mut self, root: &Path, now: Instant) -> Among {
        let number = last_number(root);
        let before = std::mem::replace(&mut self.last, number);
        let is_due = |at: Instant| now.saturating_duration_since(at) >= LIST_EVERY;
        match (before, number) {
            (Some(before), Some(number))
                if before <= number
                    && number - before <= MOST
                    && !self.listed.is_none_or(is_due) =>
            {
                Among::Numbers(before + 1..=number)
            }
            _ => {
                self.listed = Some(now);
                Among::All
            }
        }
    }

    /// The next look is a listing.
    pub fn forget(&mut self) {
        self.listed = None;
    }
}

/// The number that the kernel gave out last. It tells our own namespace's, so that it is of use only where `root`
/// shows that one: then we are ourselves in it.
fn last_number(root: &Path) -> Option<u32> {
    let own = fs::read_link(root.join("self")).ok()?;
    if own.to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    let text = fs::read_to_string(root.join("loadavg")).ok()?;
    text.split_ascii_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::FakeProc;
    use super::*;

    /// A /proc that shows this process, where `last` is the number given out last.
    fn proc(last: u32) -> FakeProc {
        let proc = FakeProc::new();
        let own = std::process::id().to_string();
        std::os::unix::fs::symlink(own, proc.path().join("self")).unwrap();
        gave_out(&proc, last);
        proc
    }

    fn gave_out(proc: &FakeProc, last: u32) {
        proc.file("loadavg", format!("0.10 0.20 0.30 2/345 {last}\n"));
    }

    #[test]
    fn between_two_listings_only_new_numbers_are_tried() {
        let (proc, start) = (proc(700), Instant::now());
        let mut newcomers = Newcomers::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(newcomers.look(proc.path(), start), Among::All);
        gave_out(&proc, 703);
        let look = newcomers.look(proc.path(), at(4));
        assert_eq!(look, Among::Numbers(701..=703));
        let look = newcomers.look(proc.path(), at(8));
        assert!(matches!(look, Among::Numbers(none) if none.is_empty()));
        assert_eq!(newcomers.look(proc.path(), at(60)), Among::All);
        gave_out(&proc, 704);
        let look = newcomers.look(proc.path(), at(64));
        assert_eq!(look, Among::Numbers(704..=704));
        newcomers.forget();
        assert_eq!(newcomers.look(proc.path(), at(65)), Among::All);
    }

    #[test]
    fn numbers_that_wrap_around_or_are_many_need_a_listing() {
        let (proc, start) = (proc(30_000), Instant::now());
        let mut newcomers = Newcomers::default();
        newcomers.look(proc.path(), start);
        gave_out(&proc, 300);
        assert_eq!(newcomers.look(proc.path(), start), Among::All);
        gave_out(&proc, 300 + MOST + 1);
        assert_eq!(newcomers.look(proc.path(), start), Among::All);
    }

    #[test]
    fn a_proc_of_another_namespace_is_always_listed() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        gave_out(&proc, 700);
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.look(proc.path(), start), Among::All);
        std::os::unix::fs::symlink("1", proc.path().join("self")).unwrap();
        assert_eq!(newcomers.look(proc.path(), start), Among::All);
    }
}
