//! Ticks: aligned to the wall clock, so that all charts of an agent move together, and never caught up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time from `now` to the next multiple of `every` since the epoch: always more than nothing and
/// never more than `every`, whatever the clock does.
#[must_use]
pub fn until_next_tick(now: SystemTime, every: Duration) -> Duration {
    let every_us = every.as_micros().max(1);
    let since_epoch = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    let left_us = every_us - since_epoch % every_us;
    Duration::from_micros(u64::try_from(left_us).unwrap_or(u64::MAX)).min(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tick_is_on_the_grid_and_never_now() {
        let second = Duration::from_secs(1);
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(
            until_next_tick(at(10_250), second),
            Duration::from_millis(750)
        );
        assert_eq!(until_next_tick(at(10_000), second), second);
        assert_eq!(until_next_tick(at(12_000), second * 5), second * 3);
    }

    #[test]
    fn an_overrun_skips_ticks_instead_of_catching_up() {
        let five = Duration::from_secs(5);
        let late = UNIX_EPOCH + Duration::from_millis(27_500);
        assert_eq!(until_next_tick(late, five), Duration::from_millis(2500));
    }
}
