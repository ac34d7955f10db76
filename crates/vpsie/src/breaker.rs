//! The circuit breaker: a pure state machine, time passed in.
//!
//! Counts what says the cloud is unwell: no answer, 5xx without a business message, 429. After
//! enough of them in a row nothing is sent for a while, then one probe, then all again.

use std::time::Duration;

/// Failures in a row that open it.
const THRESHOLD: u32 = 5;
/// How long nothing is sent.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// A probe that was never answered blocks the next one for this long at most.
const PROBE_PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed { failures: u32 },
    Open { since: Duration },
    HalfOpen { probing_since: Duration },
}

/// One breaker.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    state: State,
}

/// From one state to another, by name.
pub(crate) type Change = Option<(&'static str, &'static str)>;

impl Breaker {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether [`Breaker::admit`] would let a request through at `now`; changes nothing.
    pub(crate) fn would_admit(&self, now: Duration) -> bool {
        self.clone().admit(now).0
    }

    /// Whether a request may be sent at `now`; being let through half-open is the probe.
    pub(crate) fn admit(&mut self, now: Duration) -> (bool, Change) {
        match self.state {
            State::Closed { .. } => (true, None),
            State::Open { since } if now.saturating_sub(since) >= OPEN_FOR => {
                (true, self.go(State::HalfOpen { probing_since: now }))
            }
            State::HalfOpen { probing_since }
                if now.saturating_sub(probing_since) >= PROBE_PATIENCE =>
            {
                self.state = State::HalfOpen { probing_since: now };
                (true, None)
            }
            State::Open { .. } | State::HalfOpen { .. } => (false, None),
        }
    }

    /// The cloud answered sensibly.
    pub(crate) fn succeeded(&mut self) -> Change {
        self.go(State::Closed { failures: 0 })
    }

    /// The cloud is unwell.
    pub(crate) fn failed(&mut self, now: Duration) -> Change {
        match self.state {
            State::Closed { failures } if failures + 1 < THRESHOLD => self.go(State::Closed {
                failures: failures + 1,
            }),
            _ => self.go(State::Open { since: now }),
        }
    }

    fn go(&mut self, next: State) -> Change {
        let (from, to) = (name(self.state), name(next));
        self.state = next;
        (from != to).then_some((from, to))
    }
}

const fn name(state: State) -> &'static str {
    match state {
        State::Closed { .. } => "closed",
        State::Open { .. } => "open",
        State::HalfOpen { .. } => "half-open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_probes_once_and_closes_on_success() {
        let at = Duration::from_secs;
        let mut breaker = Breaker::new();
        for second in 0..4 {
            assert_eq!(breaker.failed(at(second)), None);
        }
        assert_eq!(
            breaker.succeeded(),
            None,
            "a success in between starts the count anew"
        );
        for second in 0..4 {
            breaker.failed(at(second));
        }
        assert_eq!(breaker.failed(at(4)), Some(("closed", "open")));
        assert!(!breaker.admit(at(33)).0);
        assert_eq!(breaker.admit(at(34)), (true, Some(("open", "half-open"))));
        assert!(!breaker.admit(at(35)).0, "one probe at a time");
        assert_eq!(breaker.failed(at(36)), Some(("half-open", "open")));
        assert!(!breaker.admit(at(65)).0);
        assert!(breaker.admit(at(66)).0);
        assert_eq!(breaker.succeeded(), Some(("half-open", "closed")));
        assert!(breaker.admit(at(67)).0);
    }

    #[test]
    fn a_probe_that_is_never_answered_does_not_block_for_ever() {
        let at = Duration::from_secs;
        let mut breaker = Breaker::new();
        for _ in 0..5 {
            breaker.failed(at(0));
        }
        assert!(breaker.admit(at(30)).0);
        assert!(!breaker.admit(at(89)).0);
        assert!(breaker.admit(at(90)).0);
    }
}
