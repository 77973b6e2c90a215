//! The built library, loaded as programs load it: by path, through nvml-wrapper and raw.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod copy;
mod faults;
mod readings;
