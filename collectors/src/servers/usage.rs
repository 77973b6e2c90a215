//! What the processes of a role use together.

use super::cpu::{Cpu, Faults, together};
use super::outside::Reading;

/// What processes use together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// How many live.
    pub processes: u32,
    /// Their shares of a core, summed.
    pub cpu: Cpu,
    /// The share of a core of the busiest of them: one that runs Python cannot use more than one core.
    pub busiest_pct: Option<f64>,
    /// Resident memory, summed: pages that they share count once for each.
    pub resident_bytes: u64,
    /// Threads, summed.
    pub threads: u64,
    /// Page faults, summed.
    pub faults: Faults,
    /// What the host probe reads of them.
    pub outside: FromOutside,
}

/// Sums of what the host probe reads: `None` as soon as it could not read one of the processes. A new one's
/// first rates are nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FromOutside {
    /// Proportional set size: shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Bytes read from disks a second.
    pub read_rate: Option<f64>,
    /// Bytes written to disks a second.
    pub write_rate: Option<f64>,
}

impl FromOutside {
    /// Adds what was read of another process; the `first` begins the sum.
    pub fn add(&mut self, one: Option<Reading>, first: bool) {
        let one = one.unwrap_or_default();
        if first {
            *self = Self {
                pss_bytes: one.pss_bytes,
                open_files: one.open_files,
                read_rate: one.read_rate,
                write_rate: one.write_rate,
            };
            return;
        }
        let both = |sum: Option<u64>, one: Option<u64>| sum?.checked_add(one?);
        self.pss_bytes = both(self.pss_bytes, one.pss_bytes);
        self.open_files = both(self.open_files, one.open_files);
        // Unknown altogether without open files.
        let rates = self.open_files.is_some();
        let rate = |sum, one| together(sum, one).filter(|_| rates);
        self.read_rate = rate(self.read_rate, one.read_rate);
        self.write_rate = rate(self.write_rate, one.write_rate);
    }
}

#[cfg(test)]
mod tests;
