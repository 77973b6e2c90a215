//! Histograms as they stand on a page: cumulative buckets, and a sliding window over them.

pub mod window;

/// A counter's value, and which series it was summed from: if those change, its past says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    /// The sum.
    pub total: f64,
    /// Equal for equal sets of series.
    pub series: u64,
}

/// Buckets of one histogram: real ones have 20 to 40, and each becomes a dimension.
pub const MAX_BUCKETS: usize = 256;

/// Cumulative buckets as they stand on the page, summed over series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds, ascending, the last one infinite on a sound page.
    pub bounds: Vec<f64>,
    /// Observations at or under each bound.
    pub cumulative: Vec<f64>,
    /// Sum of the observations.
    pub sum: Option<f64>,
    /// Observations, with the series they came from.
    pub count: Option<Counter>,
}

impl Buckets {
    /// Adds observations at or under `bound`.
    pub fn add(&mut self, bound: f64, observations: f64) {
        // Buckets come in ascending order, series after series.
        let at = match self.bounds.last() {
            Some(&last) if last >= bound => self.bounds.partition_point(|&it| it < bound),
            _ => self.bounds.len(),
        };
        if self.bounds.get(at) == Some(&bound) {
            self.cumulative[at] += observations;
        } else if self.bounds.len() < MAX_BUCKETS || bound.is_infinite() {
            self.bounds.insert(at, bound);
            self.cumulative.insert(at, observations);
        }
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Forgets the readings, keeps the memory.
    pub fn clear(&mut self) {
        self.bounds.clear();
        self.cumulative.clear();
        self.sum = None;
        self.count = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_histogram_has_a_bounded_number_of_buckets() {
        let mut buckets = Buckets::default();
        (0..100_000_u32).for_each(|bound| buckets.add(f64::from(bound), 1.0));
        buckets.add(f64::INFINITY, 7.0);
        assert_eq!(buckets.bounds.len(), MAX_BUCKETS + 1);
        assert_eq!(buckets.cumulative.last(), Some(&7.0));
    }
}
