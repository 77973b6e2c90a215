//! The plugin as the agent runs it, on a simulated driver that goes wrong.

mod hangs;
mod plugin;
mod replaced;
mod xids;
