//! How a server's processes ended. Nobody tells a stranger why a process is gone; what it did when it was
//! last looked at tells a crash from a planned stop in most cases.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends kept; a server that ends more often within the window counts no further.
const MAX_ENDS: usize = 1000;

/// What a process was doing when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It had not answered yet.
    Starting,
    /// It had answered, and had no request.
    Idle,
    /// It had requests, and they are lost.
    WithRequests,
    /// Its engine stood still: that was told before, and ending it is the cure.
    Stalled,
    /// It shows no metrics, or none lately.
    Unknown,
}

impl Doing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Idle,
        Self::WithRequests,
        Self::Stalled,
        Self::Unknown,
    ];

    /// The dimension.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::WithRequests => "with_requests",
            Self::Stalled => "stalled",
            Self::Unknown => "unknown",
        }
    }

    /// For the log.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Starting => "before it answered for the first time",
            Self::Idle => "without requests in flight",
            Self::WithRequests => "with requests in flight: they are lost",
            Self::Stalled => "while its engine stood still",
            Self::Unknown => "and what it was doing is unknown",
        }
    }
}

/// Time for which zeros are charted after the last end is forgotten: an alert on it is taken back by seeing them,
/// not by the chart's going away.
const ZEROS_FOR: Duration = Duration::from_secs(60);

/// The ends within a window that reaches back from now.
#[derive(Clone, Debug)]
pub struct Ends {
    window: Duration,
    ends: VecDeque<(Instant, Doing)>,
    last: Option<Instant>,
}

impl Ends {
    /// None yet.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            ends: VecDeque::new(),
            last: None,
        }
    }

    /// A process was found gone at `now`.
    pub fn add(&mut self, doing: Doing, now: Instant) {
        self.last = Some(now);
        if self.ends.len() < MAX_ENDS {
            self.ends.push_back((now, doing));
        }
    }

    /// Forgets what is older than the window; whether anything is left to be charted.
    pub fn remembers(&mut self, now: Instant) -> bool {
        while let Some((at, _)) = self.ends.front() {
            if now.saturating_duration_since(*at) < self.window {
                break;
            }
            self.ends.pop_front();
        }
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) < self.window + ZEROS_FOR)
    }

    /// How many there were of a kind.
    #[must_use]
    pub fn count(&self, doing: Doing) -> usize {
        self.ends.iter().filter(|(_, it)| *it == doing).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_counts_until_it_is_older_than_the_window() {
        let start = Instant::now();
        let mut ends = Ends::new(Duration::from_secs(60));
        assert!(!ends.remembers(start));
        ends.add(Doing::Idle, start);
        ends.add(Doing::WithRequests, start + Duration::from_secs(30));
        ends.add(Doing::WithRequests, start + Duration::from_secs(31));
        assert!(ends.remembers(start + Duration::from_secs(59)));
        assert_eq!(ends.count(Doing::Idle), 1);
        assert!(ends.remembers(start + Duration::from_secs(60)));
        assert_eq!(Doing::ALL.map(|doing| ends.count(doing)), [0, 0, 2, 0, 0]);
        assert!(ends.remembers(start + Duration::from_secs(91)));
        assert_eq!(Doing::ALL.map(|doing| ends.count(doing)), [0; 5]);
        assert!(!ends.remembers(start + Duration::from_secs(31 + 60 + 60)));
    }

    #[test]
    fn a_server_that_ends_without_end_takes_no_memory_without_end() {
        let (start, mut ends) = (Instant::now(), Ends::new(Duration::from_secs(60)));
        for _ in 0..2 * MAX_ENDS {
            ends.add(Doing::Starting, start);
        }
        assert_eq!(ends.count(Doing::Starting), MAX_ENDS);
    }
}
