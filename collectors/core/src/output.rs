//! Standard output, shared by every job: one `write_all` a tick under one lock, so that lines of two
//! jobs never mix. When the reader is gone the plugin ends: an orphan that went on would spin on EPIPE.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A clonable handle on the output.
#[derive(Clone)]
pub struct Output(Arc<Mutex<dyn Write + Send>>);

impl Output {
    /// Writes to `sink`.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }

    /// Writes `bytes` at once. A failed write ends the process: with 0 if the reader has gone, which is
    /// how Netdata stops its plugins, else with 1.
    pub fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sink.write_all(bytes).and_then(|()| sink.flush()) {
            if error.kind() == ErrorKind::BrokenPipe {
                log::info!("the reader of our output has gone: ending");
                std::process::exit(0);
            }
            log::error!("cannot write to standard output: {error}");
            std::process::exit(1);
        }
    }
}
