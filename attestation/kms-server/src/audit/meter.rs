//! A bound on what callers without a valid signature can write to the disk.

use std::sync::Mutex;
use std::time::SystemTime;

/// Events of unauthenticated calls that may come at once.
const BURST: f64 = 300.0;
/// Events of unauthenticated calls per second that are recorded in the long run:
/// at about 1 KB each, less than 100 MB a day.
const PER_SECOND: f64 = 1.0;

/// Decides which refusals of unauthenticated calls get an event of their own.
/// The others are counted, and the count goes into the next event.
pub struct RefusalMeter {
    state: Mutex<State>,
}

struct State {
    tokens: f64,
    at: SystemTime,
    unrecorded: u64,
}

impl RefusalMeter {
    /// A meter with its whole burst left.
    pub fn new(now: SystemTime) -> Self {
        Self {
            state: Mutex::new(State {
                tokens: BURST,
                at: now,
                unrecorded: 0,
            }),
        }
    }

    /// Whether a refusal at `now` gets an event: then with the number of refusals
    /// since the last event that got none. `None` counts it instead.
    pub fn admit(&self, now: SystemTime) -> Option<u64> {
        let mut state = self.lock();
        let passed = now.duration_since(state.at).unwrap_or_default();
        state.tokens = (state.tokens + passed.as_secs_f64() * PER_SECOND).min(BURST);
        state.at = now;
        if state.tokens >= 1.0 {
            state.tokens -= 1.0;
            Some(std::mem::take(&mut state.unrecorded))
        } else {
            state.unrecorded = state.unrecorded.saturating_add(1);
            None
        }
    }

    /// The refusals that wait for an event, taken: the caller now records them.
    pub fn take_unrecorded(&self) -> u64 {
        std::mem::take(&mut self.lock().unrecorded)
    }

    /// Gives back a count whose event could not be written.
    pub fn give_back(&self, count: u64) {
        let mut state = self.lock();
        state.unrecorded = state.unrecorded.saturating_add(count);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is plain numbers: sound after a panic elsewhere.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_no_refusal_is_lost() {
        let start = SystemTime::UNIX_EPOCH;
        let meter = RefusalMeter::new(start);
        let recorded = (0..1000).filter(|_| meter.admit(start).is_some()).count();
        assert_eq!(recorded, 300);
        assert_eq!(meter.admit(start + Duration::from_secs(2)), Some(700));
        assert_eq!(meter.admit(start + Duration::from_secs(2)), Some(0));
        assert_eq!(meter.admit(start + Duration::from_secs(2)), None);
        assert_eq!(meter.take_unrecorded(), 1);
        meter.give_back(5);
        assert_eq!(meter.take_unrecorded(), 5);
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let meter = RefusalMeter::new(start);
        while meter.admit(start).is_some() {}
        assert_eq!(meter.admit(SystemTime::UNIX_EPOCH), None);
    }
}
