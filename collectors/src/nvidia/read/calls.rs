//! Asking one GPU: what it does not support is not asked again, what fails is a gap, and the worst
//! it said about itself becomes its state.

use std::sync::Arc;

use nvml_wrapper::error::NvmlError;

use super::fields::is_never;
use super::progress::Progress;
use crate::nvidia::snapshot::State;

/// `NVML_ERROR_ARGUMENT_VERSION_MISMATCH`: the driver is older than the structure it was given.
const STRUCT_VERSION_UNKNOWN: u32 = 25;

/// One GPU's record of calls. Names are NVML's own, with what distinguishes two uses in brackets.
#[derive(Debug, Default)]
pub struct Calls {
    unsupported: Vec<&'static str>,
    /// Not for this user, as things are now.
    denied: Vec<&'static str>,
    failing: Vec<Failing>,
    answered: bool,
    trouble: Option<State>,
    fatal: Option<NvmlError>,
    /// NVML's index of the GPU, and who is told every call.
    reports: Option<(u32, Arc<Progress>)>,
}

/// A call that failed the last time.
#[derive(Debug)]
struct Failing {
    call: &'static str,
    error: NvmlError,
    /// Whether the log knows.
    told: bool,
}

/// Whether an error concerns the driver as a whole, so that asking on is pointless.
pub fn is_fatal(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::LibRmVersionMismatch | NvmlError::DriverNotLoaded | NvmlError::Uninitialized
    )
}

impl Calls {
    /// Forgets what the previous tick said, not what is unsupported.
    pub fn begin(&mut self) {
        self.answered = false;
        self.trouble = None;
    }

    /// Tells `progress` every call from now on.
    pub fn reports(&mut self, index: u32, progress: &Arc<Progress>) {
        self.reports = Some((index, Arc::clone(progress)));
    }

    /// Whether that call is known to be refused.
    pub fn lacks(&self, call: &str) -> bool {
        self.unsupported.contains(&call)
    }

    /// Forgets what is not supported: the GPU has changed.
    pub fn ask_again(&mut self) {
        self.unsupported.clear();
    }

    /// Forgets what was denied: an administrator may have changed it.
    pub fn ask_denied_again(&mut self) {
        self.denied.clear();
    }

    /// Asks, unless this GPU is known not to answer. `None` is a gap.
    pub fn ask<T>(
        &mut self,
        uuid: &str,
        call: &'static str,
        read: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Option<T> {
        // Each call to a lost GPU may wait for the bus; one a tick is enough to see it return.
        if self.trouble == Some(State::Lost)
            || self.fatal.is_some()
            || self.unsupported.contains(&call)
            || self.denied.contains(&call)
        {
            return None;
        }
        if let Some((index, progress)) = &self.reports {
            progress.begins(Some(*index), call);
        }
        match read() {
            Ok(value) => {
                self.answered = true;
                if let Some(at) = self.failing.iter().position(|known| known.call == call)
                    && self.failing.swap_remove(at).told
                {
                    log::info!("GPU {uuid}: {call} answers again");
                }
                Some(value)
            }
            Err(error) => {
                self.refused(uuid, call, error);
                None
            }
        }
    }

    /// Notes that one field of an answered batch was refused; false if it will not be answered ever.
    pub fn keeps_field(&mut self, uuid: &str, field: u32, scope: u32, error: NvmlError) -> bool {
        if is_never(&error) {
            log::debug!(
                "GPU {uuid}: field {field} (scope {scope}) will not be asked again: {error}"
            );
            return false;
        }
        match error {
            NvmlError::GpuLost => self.trouble = Some(State::Lost),
            NvmlError::ResetRequired => self.trouble = Some(State::ResetRequired),
            error if is_fatal(&error) => self.fatal = Some(error),
            _ => {}
        }
        true
    }

    fn refused(&mut self, uuid: &str, call: &'static str, error: NvmlError) {
        match error {
            NvmlError::GpuLost => self.trouble = Some(State::Lost),
            NvmlError::ResetRequired => self.trouble = Some(State::ResetRequired),
            error if is_fatal(&error) => self.fatal = Some(error),
            // Refusing a feature is an answer; refusing the user is not.
            NvmlError::NoPermission => {
                self.denied.push(call);
                log::debug!("GPU {uuid}: {call} is not for this user");
            }
            NvmlError::NotSupported
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::UnexpectedVariant(STRUCT_VERSION_UNKNOWN) => {
                self.answered = true;
                self.unsupported.push(call);
                log::debug!("GPU {uuid}: {call} will not be asked again: {error}");
            }
            error => {
                if !self.failing.iter().any(|known| known.call == call) {
                    self.failing.push(Failing {
                        call,
                        error,
                        told: false,
                    });
                }
            }
        }
    }

    /// What this tick's answers say about the GPU. Tells the log what fails on a GPU that is well
    /// otherwise: where nothing works, that the GPU is in trouble says it all.
    pub fn finish(&mut self, uuid: &str) -> State {
        let state = match self.trouble {
            Some(trouble) => trouble,
            None if self.answered => State::Ok,
            None => State::Stale,
        };
        if state == State::Ok {
            for failing in self.failing.iter_mut().filter(|failing| !failing.told) {
                failing.told = true;
                log::warn!("GPU {uuid}: {} failed: {}", failing.call, failing.error);
            }
        }
        state
    }

    /// Why the last call was refused that was not answered.
    pub fn refusal(&self) -> Option<String> {
        let failing = self.failing.last();
        let failed = failing.map(|failing| format!("{} failed: {}", failing.call, failing.error));
        let denied = || "this user may not ask it. See who may use /dev/nvidia*".to_owned();
        failed.or_else(|| (!self.denied.is_empty()).then(denied))
    }

    /// What concerns the driver as a whole, once.
    pub fn take_fatal(&mut self) -> Option<NvmlError> {
        self.fatal.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_not_supported_is_asked_once_and_one_that_failed_every_time() {
        let (mut calls, mut asked) = (Calls::default(), 0);
        for _ in 0..3 {
            calls.begin();
            calls.ask("GPU-1", "fan", || {
                asked += 1;
                Err::<(), _>(NvmlError::NotSupported)
            });
        }
        assert_eq!(asked, 1);
        for _ in 0..3 {
            calls.ask("GPU-1", "power", || {
                asked += 1;
                Err::<(), _>(NvmlError::Unknown)
            });
        }
        assert_eq!(asked, 4);
    }

    #[test]
    fn a_lost_gpu_is_asked_one_call_a_tick_and_comes_back() {
        let mut calls = Calls::default();
        calls.begin();
        assert_eq!(
            calls.ask("GPU-1", "a", || Err::<u32, _>(NvmlError::GpuLost)),
            None
        );
        assert_eq!(calls.ask("GPU-1", "b", || Ok(1)), None);
        assert_eq!(calls.finish("GPU-1"), State::Lost);
        calls.begin();
        assert_eq!(calls.ask("GPU-1", "a", || Ok(1)), Some(1));
        assert_eq!(calls.finish("GPU-1"), State::Ok);
    }

    #[test]
    fn a_gpu_that_wants_a_reset_keeps_what_it_still_tells() {
        let mut calls = Calls::default();
        calls.begin();
        calls.ask("GPU-1", "a", || Err::<u32, _>(NvmlError::ResetRequired));
        assert_eq!(calls.ask("GPU-1", "b", || Ok(1)), Some(1));
        assert_eq!(calls.finish("GPU-1"), State::ResetRequired);
    }

    #[test]
    fn a_gpu_that_answers_nothing_is_stale() {
        let mut calls = Calls::default();
        calls.begin();
        calls.ask("GPU-1", "a", || Err::<u32, _>(NvmlError::Timeout));
        assert_eq!(calls.finish("GPU-1"), State::Stale);
    }

    #[test]
    fn a_driver_replaced_underneath_ends_the_reading() {
        let mut calls = Calls::default();
        calls.ask("GPU-1", "a", || {
            Err::<u32, _>(NvmlError::LibRmVersionMismatch)
        });
        assert_eq!(calls.ask("GPU-1", "b", || Ok(1)), None);
        assert!(calls.take_fatal().is_some());
    }
}
