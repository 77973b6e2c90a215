//! The processes of this host, whatever they are: a table over /proc that costs little to keep current,
//! and who listens on which port.

mod files;
mod newcomers;
mod sock_diag;
mod sockets;
mod stat;
mod table;
mod users;
#[cfg(test)]
pub use users::tests;

pub use files::Files;
pub use sockets::{Listener, Listeners};
pub use stat::Stat;
pub use table::{KERNEL_THREADS, ProcessTable, page_bytes, ticks_per_second};
pub use users::{Users, effective_uid, is_hidden, owner};
