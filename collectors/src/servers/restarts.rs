//! How often another process was found on a server's address.

use std::collections::BTreeMap;
use std::time::Instant;

/// Most addresses whose restarts are counted: anybody may start processes that claim some.
const MAX_ADDRESSES: usize = 512;

/// How often the process on an address was another one than before.
#[derive(Debug, Default)]
pub struct Restarts(BTreeMap<String, Occupied>);

/// An address with its process, pid and start ticks.
#[derive(Debug)]
struct Occupied {
    process: (u32, u64),
    restarts: u32,
    seen: Instant,
}

impl Restarts {
    /// The restarts at an address, where that process is now.
    pub fn of(&mut self, chart_type: &str, process: (u32, u64), now: Instant) -> u32 {
        if let Some(known) = self.0.get_mut(chart_type) {
            if known.process != process {
                known.process = process;
                known.restarts += 1;
            }
            known.seen = now;
            return known.restarts;
        }
        if self.0.len() >= MAX_ADDRESSES {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.seen);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        let first = Occupied {
            process,
            restarts: 0,
            seen: now,
        };
        self.0.insert(chart_type.to_owned(), first);
        0
    }
}
