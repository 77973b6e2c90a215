//! Ctrl-C and TERM are noted, not obeyed at once: whatever is half done is undone first.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on INT, TERM and HUP only set the flag that [`check`] reads.
pub fn catch() {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler stores to an atomic, which is async-signal-safe. It fails only for
        // signals that do not exist or cannot be caught, which these are not.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// Whether one of them arrived.
pub fn is_set() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Forgets that one arrived, once it is being obeyed.
pub fn clear() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// Fails once one of them arrived.
pub fn check() -> Result<()> {
    if is_set() {
        bail!("interrupted");
    }
    Ok(())
}
