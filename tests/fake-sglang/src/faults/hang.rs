//! A frozen event loop: requests are read, and answered only once it is let go.

use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Default)]
pub struct Hang {
    on: Mutex<bool>,
    changed: Condvar,
}

impl Hang {
    /// Freezes or lets go.
    pub fn set(&self, on: bool) {
        *self.on.lock().unwrap_or_else(PoisonError::into_inner) = on;
        self.changed.notify_all();
    }

    /// Whether requests hang.
    pub fn is_on(&self) -> bool {
        *self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once requests no longer hang.
    pub fn wait(&self) {
        let mut on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        while *on {
            on = self
                .changed
                .wait(on)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hanging_request_goes_on_when_let_go() {
        let hang = Hang::default();
        hang.wait();
        hang.set(true);
        std::thread::scope(|scope| {
            let request = scope.spawn(|| hang.wait());
            assert!(hang.is_on() && !request.is_finished());
            hang.set(false);
        });
    }
}
