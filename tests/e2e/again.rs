//! A second chance: a machine that was too busy for a test's deadlines is no fault of what is tested, and dozens of
//! tests side by side make it busy. A test that failed is run again, alone and in a process of its own. What fails then,
//! fails; and where several fail it is no accident, and there is no second chance.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

/// Failures that may be accidents.
const AT_MOST: usize = 3;
/// Set for one that is run again.
const VARIABLE: &str = "E2E_AGAIN";

/// Names of the tests that failed.
#[derive(Default)]
pub struct Failures(Mutex<Vec<&'static str>>);

impl Failures {
    /// Runs the test of that name.
    pub fn noting(
        &self,
        name: &'static str,
        test: impl FnOnce() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let outcome = catch_unwind(AssertUnwindSafe(test));
        if !matches!(outcome, Ok(Ok(()))) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(name);
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// All so far.
    pub fn all(&self) -> Vec<&'static str> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

/// Whether tests that failed have a second chance.
pub fn is_due(failed: &[&str]) -> bool {
    (1..=AT_MOST).contains(&failed.len()) && std::env::var_os(VARIABLE).is_none()
}

/// Runs each of them alone. Nothing that the others started may be left.
pub fn alone(failed: Vec<&'static str>) -> Conclusion {
    println!("\nfailed beside the others, and run again, each alone: {failed:?}");
    let one = Arguments {
        test_threads: Some(1),
        ..Arguments::default()
    };
    let trials = failed.into_iter().map(|name| {
        Trial::test(format!("{name} (again)"), move || {
            let status = Command::new(std::env::current_exe()?)
                .args(["--exact", name, "--nocapture"])
                .env(VARIABLE, "1")
                .status()?;
            match status.success() {
                true => Ok(()),
                false => Err(Failed::from(format!("see above: {status}"))),
            }
        })
    });
    libtest_mimic::run(&one, trials.collect())
}
