//! Divides the energy that one GPU used in an interval among those who were on it. Whole millijoules, and not one
//! more or less than the board counted.

/// No board has more memory: keeps the arithmetic within its numbers, whatever a driver says.
const MAX_BYTES: u64 = 1 << 46;

/// What a GPU used between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Gain of the board's energy counter, mJ.
    pub energy_mj: u64,
    /// What an idle board would have used in that time, mJ; `None` until an idle one was seen.
    pub idle_mj: Option<u64>,
    /// Whether anything ran; unknown counts as yes.
    pub ran: Option<bool>,
    /// Whether the list of its processes is known, and means something: not of a board split into instances.
    pub processes_known: bool,
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The server of that number.
    Server(usize),
    /// Another program's.
    Other,
    /// Nobody knows: /proc has no such pid.
    Unknown,
}

/// A process on the GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Whose it is.
    pub owner: Owner,
    /// GPU memory it holds.
    pub mem_bytes: Option<u64>,
    /// Its share of SM time, per cent.
    pub sm_pct: Option<f64>,
    /// Whether it computes through the multi-process service: its SM time is then the service's.
    pub mps: bool,
}

/// How a server's part is known, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribution {
    /// Nobody else was on the GPU.
    Exclusive,
    /// By shares: SM time for what ran, memory for what did not.
    Estimate,
    /// Not at all.
    None,
}

impl Attribution {
    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Estimate => "estimate",
            Self::None => "none",
        }
    }
}

/// A server's part, mJ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Above idle power, while something ran.
    pub active_mj: u64,
    /// What holding the memory cost.
    pub idle_mj: u64,
    /// Both together, while the idle power is not known.
    pub undivided_mj: u64,
}

impl Part {
    /// All of it.
    #[must_use]
    pub fn total_mj(&self) -> u64 {
        self.active_mj + self.idle_mj + self.undivided_mj
    }

    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.active_mj += other.active_mj;
        self.idle_mj += other.idle_mj;
        self.undivided_mj += other.undivided_mj;
    }
}

/// Who used the energy of an interval. All parts together are the interval's energy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Each server on the GPU, in ascending order. The part of one without attribution is 0: what it used is
    /// unattributed.
    pub servers: Vec<(usize, Attribution, Part)>,
    /// Other programs on the GPU, mJ.
    pub others_mj: u64,
    /// Idle power while nobody held memory, mJ.
    pub idle_mj: u64,
    /// Nobody's as far as is known, mJ.
    pub unattributed_mj: u64,
}

impl Split {
    /// Everything, mJ.
    #[cfg(test)]
    pub fn total_mj(&self) -> u64 {
        let servers = self.servers.iter().map(|(_, _, part)| part.total_mj());
        servers.sum::<u64>() + self.others_mj + self.idle_mj + self.unattributed_mj
    }

    /// Takes back what server `index` was given: it is unknown elsewhere.
    pub fn disown(&mut self, index: usize) {
        for (server, attribution, part) in &mut self.servers {
            if *server == index {
                *attribution = Attribution::None;
                self.unattributed_mj += std::mem::take(part).total_mj();
            }
        }
    }

    fn give(&mut self, owner: Owner, amount: u64, field: fn(&mut Part) -> &mut u64) {
        match owner {
            Owner::Server(index) => {
                let known = self.servers.iter_mut().find(|(it, ..)| *it == index);
                if let Some((_, _, part)) = known {
                    *field(part) += amount;
                }
            }
            Owner::Other => self.others_mj += amount,
            Owner::Unknown => self.unattributed_mj += amount,
        }
    }
}

/// Divides an interval's energy among `rows`.
#[must_use]
pub fn split(interval: &Interval, rows: &[Row]) -> Split {
    let mut split = Split::default();
    for row in rows {
        if let Owner::Server(index) = row.owner {
            split
                .servers
                .push((index, Attribution::None, Part::default()));
        }
    }
    split.servers.sort_unstable_by_key(|(index, ..)| *index);
    split.servers.dedup_by_key(|(index, ..)| *index);
    let attribution = attribution(interval, rows);
    if attribution == Attribution::None {
        split.unattributed_mj = interval.energy_mj;
        return split;
    }
    split
        .servers
        .iter_mut()
        .for_each(|(_, its, _)| *its = attribution);

    let Interval {
        energy_mj,
        idle_mj,
        ran,
        ..
    } = *interval;
    let idle = if ran == Some(false) {
        Some(energy_mj)
    } else {
        idle_mj.map(|idle| idle.min(energy_mj))
    };
    let Some(idle) = idle else {
        by_sm_time(&mut split, energy_mj, rows, |part| &mut part.undivided_mj);
        return split;
    };
    by_memory(&mut split, idle, rows);
    by_sm_time(&mut split, energy_mj - idle, rows, |part| {
        &mut part.active_mj
    });
    split
}

fn attribution(interval: &Interval, rows: &[Row]) -> Attribution {
    if !interval.processes_known || rows.iter().any(|row| row.mps) {
        return Attribution::None;
    }
    if is_alone(rows) {
        return Attribution::Exclusive;
    }
    let known = |row: &Row| row.mem_bytes.is_some() && row.sm_pct.is_some();
    if rows.iter().all(known) {
        Attribution::Estimate
    } else {
        Attribution::None
    }
}

/// Whether all are of one server, or there is none: no share is needed then.
fn is_alone(rows: &[Row]) -> bool {
    let server = |row: &Row| matches!(row.owner, Owner::Server(_)) && row.owner == rows[0].owner;
    rows.iter().all(server)
}

fn by_memory(split: &mut Split, amount: u64, rows: &[Row]) {
    let bytes = |row: &Row| row.mem_bytes.unwrap_or_default().min(MAX_BYTES);
    let weights = weights(rows, bytes);
    let mut given = 0;
    for (owner, part) in shares(amount, &weights) {
        split.give(owner, part, |part| &mut part.idle_mj);
        given += part;
    }
    // Nobody holds any.
    split.idle_mj += amount - given;
}

fn by_sm_time(split: &mut Split, amount: u64, rows: &[Row], field: fn(&mut Part) -> &mut u64) {
    // Thousandths of a per cent; a sample is none above 100.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let time = |row: &Row| (row.sm_pct.unwrap_or_default().clamp(0.0, 100.0) * 1e3) as u64;
    let weights = weights(rows, time);
    let mut given = 0;
    for (owner, part) in shares(amount, &weights) {
        split.give(owner, part, field);
        given += part;
    }
    // It ran between two samples, or ended before it was listed.
    split.unattributed_mj += amount - given;
}

/// The rows' weights. One that is alone has it all, whatever is known of it.
fn weights(rows: &[Row], weight: impl Fn(&Row) -> u64) -> Vec<(Owner, u64)> {
    if !rows.is_empty() && is_alone(rows) {
        return vec![(rows[0].owner, 1)];
    }
    rows.iter().map(|row| (row.owner, weight(row))).collect()
}

/// `amount` in proportion to the weights, without a remainder; nothing if they are all 0.
fn shares(amount: u64, weights: &[(Owner, u64)]) -> impl Iterator<Item = (Owner, u64)> {
    let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let (mut sum, mut given) = (0_u128, 0_u64);
    weights
        .iter()
        .filter(move |_| total > 0)
        .map(move |(owner, weight)| {
            sum += u128::from(*weight);
            // Each gets what its end on the whole leaves after the one before: rounding never adds up.
            let until = u128::from(amount) * sum / total;
            let until = u64::try_from(until).unwrap_or(amount);
            let part = until - given;
            given = until;
            (*owner, part)
        })
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
