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

#[cfg(test)]
mod tests {
    use super::*;

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
