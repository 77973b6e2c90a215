//! What a server is doing, in one word.

/// The states, of which a server is always in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its process runs and does not listen yet.
    Starting,
    /// It answers with metrics.
    Ready,
    /// It answers, without metrics.
    NoMetrics,
    /// It answers, and its engine does not move although there is work.
    Stalled,
    /// It does not answer, or must not be asked.
    Unreachable,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Ready,
        Self::NoMetrics,
        Self::Stalled,
        Self::Unreachable,
    ];

    /// The dimension.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::NoMetrics => "no_metrics",
            Self::Stalled => "stalled",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a tick found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A page with metrics of SGLang's.
    Page {
        /// See [`super::activity`].
        stalled: bool,
    },
    /// Answered, but there are no metrics.
    NoPage,
    /// Nothing listens on its port.
    NotListening,
    /// Asked without success, or not asked at all.
    NoAnswer,
}

/// The state that follows from what was found; `answered` says whether this process ever answered.
#[must_use]
pub fn judge(finding: Finding, answered: bool) -> State {
    match finding {
        Finding::Page { stalled: false } => State::Ready,
        Finding::Page { stalled: true } => State::Stalled,
        Finding::NoPage => State::NoMetrics,
        Finding::NotListening if !answered => State::Starting,
        Finding::NotListening | Finding::NoAnswer => State::Unreachable,
    }
}

/// What the log says of a change, other than why there is no answer, which the failure itself tells.
#[must_use]
pub fn announce(before: Option<State>, now: State) -> Option<&'static str> {
    match (before, now) {
        (before, now) if before == Some(now) => None,
        (_, State::Starting) => Some("it starts: its process runs and does not listen yet"),
        (_, State::Stalled) => Some(
            "its engine stands still: a scheduler is stopped or hangs in the kernel, or there has \
             been work for a minute and nothing moved",
        ),
        (Some(State::Starting), State::Ready) => Some("it is ready"),
        (Some(State::Stalled), State::Ready) => Some("its engine moves again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_and_its_end_are_announced_once() {
        let (ready, stalled) = (State::Ready, State::Stalled);
        assert!(announce(Some(ready), stalled).is_some());
        assert!(announce(None, stalled).is_some());
        assert_eq!(announce(Some(stalled), stalled), None);
        assert_eq!(
            announce(Some(stalled), ready),
            Some("its engine moves again")
        );
        assert_eq!(announce(None, ready), None);
        assert_eq!(announce(Some(State::Starting), ready), Some("it is ready"));
        assert_eq!(announce(Some(ready), State::Unreachable), None);
    }

    #[test]
    fn a_server_that_never_listened_starts_and_one_that_stopped_listening_is_unreachable() {
        assert_eq!(judge(Finding::NotListening, false), State::Starting);
        assert_eq!(judge(Finding::NotListening, true), State::Unreachable);
        assert_eq!(judge(Finding::NoAnswer, false), State::Unreachable);
    }

    #[test]
    fn an_answer_decides_by_what_it_holds() {
        assert_eq!(judge(Finding::NoPage, false), State::NoMetrics);
        assert_eq!(judge(Finding::Page { stalled: false }, false), State::Ready);
        assert_eq!(judge(Finding::Page { stalled: true }, true), State::Stalled);
    }
}
