//! When it pays to look again by oneself a little later, instead of being called.
//!
//! Being called is dear where small packets follow each other: the guest leaves its code for a
//! notification and the host wakes a thread, for each of them, and both together cost more than the
//! packet. So in the middle of bulk the event loop rests for a moment and then takes what has come.
//! Conversations, in which each side waits for the other, are not slowed: they are no bulk.

use std::thread;
use std::time::Duration;

/// The rest. What comes meanwhile waits for so long at most, and a guest under software emulation
/// makes four packets of 4 KiB in the time.
const REST: Duration = Duration::from_micros(100);

/// So many bytes in one direction, less half for each answer in the other, are bulk.
const BULK: u64 = 32 * 1024;

/// How much went in each direction lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    to_host: u64,
    to_guest: u64,
    precise: bool,
}

impl Pace {
    /// Whether the guest is sending in bulk.
    pub(crate) fn bulk_to_host(&self) -> bool {
        self.to_host >= BULK
    }

    /// Whether the host is.
    pub(crate) fn bulk_to_guest(&self) -> bool {
        self.to_guest >= BULK
    }

    /// Notes what a turn moved.
    pub(crate) fn moved(&mut self, to_host: u64, to_guest: u64) {
        if to_host > 0 {
            self.to_guest /= 2;
        }
        if to_guest > 0 {
            self.to_host /= 2;
        }
        self.to_host = self.to_host.saturating_add(to_host);
        self.to_guest = self.to_guest.saturating_add(to_guest);
    }

    /// Nothing came during a rest: the bulk is over.
    pub(crate) fn idle(&mut self) {
        self.to_host = 0;
        self.to_guest = 0;
    }

    /// Rests.
    pub(crate) fn rest(&mut self) {
        if !self.precise {
            self.precise = true;
            // The kernel lets threads sleep 50 µs longer by default (prctl(2), PR_SET_TIMERSLACK).
            // Should it refuse, the rest is longer and nothing else.
            let _ = nix::sys::prctl::set_timerslack(1);
        }
        thread::sleep(REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_no_bulk() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.moved(4096, 0);
            pace.moved(0, 4096);
            assert!(!pace.bulk_to_host() && !pace.bulk_to_guest());
        }
    }

    #[test]
    fn bulk_is_bulk_one_way_and_both_ways_until_it_ends() {
        let mut pace = Pace::default();
        for _ in 0..8 {
            assert!(!pace.bulk_to_host());
            pace.moved(4096, 0);
        }
        assert!(pace.bulk_to_host() && !pace.bulk_to_guest());
        pace.idle();
        assert!(!pace.bulk_to_host());
        for _ in 0..8 {
            pace.moved(65536, 65536);
        }
        assert!(pace.bulk_to_host() && pace.bulk_to_guest());
    }
}
