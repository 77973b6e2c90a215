//! Charts as a table: each line of a chart names the metrics it is made of and how they are taken. What no
//! line names is not read; what decides something (state, percentiles, totals) is in [`super::snapshot`].

pub mod plan;
pub mod readings;
pub mod spec;
