//! How many tests run at once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};

/// So many at once, and no more.
pub struct Permits {
    left: Mutex<usize>,
    given_back: Condvar,
}

impl Permits {
    /// So many.
    pub fn of(number: usize) -> Self {
        Self {
            left: Mutex::new(number),
            given_back: Condvar::new(),
        }
    }

    /// Runs `what` as soon as fewer than the permitted number run.
    pub fn within<T>(&self, what: impl FnOnce() -> T) -> T {
        let none = |left: &mut usize| *left == 0;
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.given_back.wait_while(left, none);
        *left.unwrap_or_else(PoisonError::into_inner) -= 1;
        // A test that panics ends its thread, and would take its permit along.
        let outcome = catch_unwind(AssertUnwindSafe(what));
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.given_back.notify_one();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
