//! Every chart of a GPU, as constant data: Netdata's own names, and ours for what Netdata does not chart.

mod board;
mod health;
mod limits;
mod links;
mod mig;
mod nvidia;
mod nvidia_smi;

use netdata_plugin::chart::{Chart, Kind};

pub use board::*;
pub use health::*;
pub use limits::*;
pub use links::*;
pub use mig::*;
pub use nvidia::*;
pub use nvidia_smi::*;

/// What most charts share.
const BASE: Chart = Chart {
    id: "",
    context: "",
    family: "",
    title: "",
    units: "",
    kind: Kind::Line,
    priority: 70_000,
    dims: &[],
    dynamic: None,
};
