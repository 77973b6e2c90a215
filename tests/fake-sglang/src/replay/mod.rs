//! The page a server shows at a given moment, computed from the captured ones.

mod capture;
mod histogram;
mod load;
mod series;

pub use capture::{Capture, Page};
pub use load::{Gauges, Load, Progress, Wave};
pub use series::{GaugeRange, Moment};
