//! One metric over the ranks of a server: data-parallel ranks add up; pipeline stages and tensor ranks
//! show the same requests again, so that of each dp rank only the first of them counts.

use crate::histogram::Counter;

/// Where a sample comes from. Absent labels are rank 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// `dp_rank`.
    pub dp: u32,
    /// `pp_rank`.
    pub pp: u32,
    /// `tp_rank`. With DP attention it differs with `dp_rank`, so "0 only" would lose ranks.
    pub tp: u32,
}

/// The samples of one metric on one page.
#[derive(Clone, Debug, Default)]
pub struct Ranked {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    rank: Rank,
    /// Samples without a priority, or with the empty one that stands for all.
    total: Option<f64>,
    /// Samples of single priorities.
    by_priority: Option<f64>,
    series: u64,
}

impl Part {
    fn value(&self) -> Option<f64> {
        self.total.or(self.by_priority)
    }
}

/// Data-parallel ranks of one server: far more than any has, and few enough to look through.
const MAX_RANKS: usize = 1024;

impl Ranked {
    /// Forgets the last page.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Adds a sample. `one_priority` says that it is a part of the sample without one; `series` identifies it.
    pub fn add(&mut self, rank: Rank, one_priority: bool, value: f64, series: u64) {
        let fresh = Part {
            rank,
            total: None,
            by_priority: None,
            series: 0,
        };
        let at = match self.parts.iter().position(|part| part.rank.dp == rank.dp) {
            Some(at) => at,
            None if self.parts.len() >= MAX_RANKS => return,
            None => {
                self.parts.push(fresh);
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[at];
        if rank > part.rank {
            return;
        }
        if rank < part.rank {
            *part = fresh;
        }
        let sum = if one_priority {
            &mut part.by_priority
        } else {
            &mut part.total
        };
        *sum = Some(sum.unwrap_or(0.0) + value);
        part.series = part.series.wrapping_add(series);
    }

    /// Over all dp ranks; `None` if there was no sample.
    #[must_use]
    pub fn sum(&self) -> Option<f64> {
        self.counter().map(|counter| counter.total)
    }

    /// The same with the identity of its series.
    #[must_use]
    pub fn counter(&self) -> Option<Counter> {
        let mut parts = self
            .parts
            .iter()
            .filter_map(|part| Some((part.value()?, part.series)));
        let (total, series) = parts.next()?;
        let first = Counter { total, series };
        Some(parts.fold(first, |sum, (value, series)| Counter {
            total: sum.total + value,
            series: sum.series.wrapping_add(series),
        }))
    }

    /// Each dp rank that has a value.
    pub fn ranks(&self) -> impl Iterator<Item = (u32, Counter)> {
        self.parts.iter().filter_map(|part| {
            let (total, series) = (part.value()?, part.series);
            Some((part.rank.dp, Counter { total, series }))
        })
    }

    /// Whether there was a sample.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.ranks().next().is_some()
    }

    /// Of one dp rank, or the sum over all of them.
    #[must_use]
    pub fn of(&self, rank: Option<u32>) -> Option<f64> {
        match rank {
            None => self.sum(),
            Some(rank) => self
                .ranks()
                .find(|(it, _)| *it == rank)
                .map(|(_, it)| it.total),
        }
    }

    /// The highest of all dp ranks.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.parts.iter().filter_map(Part::value).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(samples: &[(u32, u32, u32, f64)]) -> Ranked {
        let mut ranked = Ranked::default();
        for &(dp, pp, tp, value) in samples {
            ranked.add(Rank { dp, pp, tp }, false, value, 1);
        }
        ranked
    }

    #[test]
    fn data_parallel_ranks_add_up() {
        let ranked = ranked(&[(1, 0, 0, 5.0), (0, 0, 0, 2.0)]);
        assert_eq!((ranked.sum(), ranked.max()), (Some(7.0), Some(5.0)));
    }

    #[test]
    fn only_the_first_stage_and_tensor_rank_of_each_counts_whatever_the_order() {
        let ranked = ranked(&[
            (0, 1, 0, 9.0),
            (0, 0, 1, 8.0),
            (0, 0, 0, 3.0),
            (0, 1, 1, 7.0),
        ]);
        assert_eq!(ranked.sum(), Some(3.0));
    }

    #[test]
    fn dp_attention_ranks_count_although_their_tensor_ranks_are_not_zero() {
        let ranked = ranked(&[(0, 0, 0, 1.0), (1, 0, 2, 2.0), (1, 0, 3, 2.0)]);
        assert_eq!(ranked.sum(), Some(3.0));
    }

    #[test]
    fn the_empty_priority_is_the_total_of_the_others() {
        let mut ranked = Ranked::default();
        ranked.add(Rank::default(), true, 2.0, 1);
        assert_eq!(ranked.sum(), Some(2.0));
        ranked.add(Rank::default(), false, 5.0, 2);
        ranked.add(Rank::default(), true, 3.0, 3);
        assert_eq!(ranked.sum(), Some(5.0));
    }

    #[test]
    fn no_sample_is_unknown_and_not_zero() {
        assert_eq!(
            (Ranked::default().sum(), Ranked::default().max()),
            (None, None)
        );
    }
}
