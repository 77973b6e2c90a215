//! Speaks to Netdata as an external plugin does and schedules jobs. Knows no GPU, no YAML, no HTTP.

pub mod chart;
pub mod frame;
pub mod module;
