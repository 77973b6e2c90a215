//! Where the reading is: which call to the driver was begun last, and when. Whoever waits for the reading
//! tells by it a driver that hangs from one that is slow.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The call that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// NVML's index of the GPU; `None` for a call about none.
    pub gpu: Option<u32>,
    /// NVML's name of it.
    pub call: Cow<'static, str>,
}

/// Shared between the one who reads and the one who waits.
#[derive(Debug, Default)]
pub struct Progress {
    at: Mutex<Option<(Place, Instant)>>,
    /// Whether each call is also written to standard output, for a parent that waits.
    tell: bool,
}

impl Progress {
    /// One that also tells a parent process.
    pub fn told() -> Self {
        Self {
            tell: true,
            ..Self::default()
        }
    }

    /// A call begins.
    pub fn begins(&self, gpu: Option<u32>, call: impl Into<Cow<'static, str>>) {
        let call = call.into();
        if self.tell {
            match gpu {
                Some(gpu) => println!("C {gpu} {call}"),
                None => println!("C - {call}"),
            }
        }
        *self.at() = Some((Place { gpu, call }, Instant::now()));
    }

    /// Nothing is under way.
    pub fn ends(&self) {
        *self.at() = None;
    }

    /// What is under way, and for how long.
    pub fn now(&self) -> Option<(Place, Duration)> {
        let at = self.at();
        at.as_ref()
            .map(|(place, since)| (place.clone(), since.elapsed()))
    }

    fn at(&self) -> MutexGuard<'_, Option<(Place, Instant)>> {
        // Replaced whole.
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
