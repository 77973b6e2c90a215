//! What the end-to-end tests share: the ordinary user and a place that user owns, the launcher's
//! commands, Netdata's API, processes as /proc shows them, and an independent reading of captures. It
//! depends on none of the code under test.

pub mod alerts;
pub mod api;
pub mod bearers;
pub mod capture;
pub mod formula;
pub mod instance;
pub mod pages;
pub mod place;
pub mod processes;
pub mod registry;
pub mod server;
pub mod watch;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

/// Pause between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Looks until `look` gives something, or fails with `what` and the last reason after `at_most`.
///
/// # Errors
/// When the time is up.
pub fn wait_for<T>(
    what: &str,
    at_most: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if began.elapsed() >= at_most => {
                bail!("{what}: not within {} s: {error:#}", at_most.as_secs())
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// The wall clock, in whole seconds since the epoch, as Netdata stamps its points.
///
/// # Errors
/// When the clock is set before the epoch.
pub fn unix_now() -> anyhow::Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())?)
}
