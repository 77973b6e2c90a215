//! The host probe: what only a process outside the container can read of the user's other processes. Inside
//! a rootless container `/proc/PID/{fd,io,environ,smaps_rollup}` are closed even for the user's own.
//!
//! [`serve`] is the probe, run as `rs.d.plugin --host-probe SOCKET` beside the container by the launcher;
//! [`HostProbe`] asks it from inside. It answers its own user only, about that user's processes only;
//! of others it says no more than whose they are.

mod client;
mod log_tail;
mod process;
mod protocol;
mod server;
mod slow;

pub use client::HostProbe;
pub use log_tail::{Cursor, Tail};
pub use protocol::ProcessId;
pub use server::serve;

/// The socket's name in the agent's run directory.
pub const SOCKET_NAME: &str = "rs.d-host-probe.sock";
