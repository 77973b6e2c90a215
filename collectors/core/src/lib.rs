//! Speaks to Netdata as an external plugin does and schedules jobs. Knows no GPU, no YAML, no HTTP.

pub mod chart;
pub mod clock;
pub mod env;
pub mod frame;
pub mod functions;
pub mod log;
pub mod module;
pub mod output;
pub mod runner;
mod self_charts;
pub mod stdin;
pub mod supervisor;
pub mod writer;
