//! The plugin as the agent runs it, on a simulated driver that goes wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hangs;
mod plugin;
mod replaced;
mod xids;
