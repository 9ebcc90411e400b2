//! Flow control (clause 5.10.6.3): counters of bytes modulo 2³², one pair per direction.

/// What the guest may send to us: the receive window of one stream.
///
/// Invariant: `forwarded` runs behind `received` by at most `window`, and `told` behind `forwarded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveWindow {
    window: u32,
    received: u32,
    forwarded: u32,
    told: u32,
}

/// The guest sent more than its credit allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Bytes of the packet.
    pub len: u32,
    /// Bytes that were still allowed.
    pub free: u32,
}

impl ReceiveWindow {
    /// An empty window of this many bytes.
    pub fn new(window: u32) -> Self {
        Self {
            window,
            received: 0,
            forwarded: 0,
            told: 0,
        }
    }

    /// Takes in `len` bytes.
    ///
    /// # Errors
    /// [`Overrun`] when they do not fit; nothing is taken in then.
    pub fn receive(&mut self, len: u32) -> Result<(), Overrun> {
        let free = self.window.saturating_sub(self.held());
        if len > free {
            return Err(Overrun { len, free });
        }
        self.received = self.received.wrapping_add(len);
        Ok(())
    }

    /// Notes that `len` bytes have left for the host; more than are held count as all of them.
    pub fn forward(&mut self, len: u32) {
        self.forwarded = self.forwarded.wrapping_add(len.min(self.held()));
    }

    /// Bytes received and not yet forwarded: what is or will be in the stream's buffer.
    pub fn held(&self) -> u32 {
        self.received.wrapping_sub(self.forwarded)
    }

    /// The `buf_alloc` field of packets to the guest.
    pub fn buf_alloc(&self) -> u32 {
        self.window
    }

    /// The `fwd_cnt` field of a packet to the guest that is on its way now.
    pub fn tell(&mut self) -> u32 {
        self.told = self.forwarded;
        self.forwarded
    }

    /// Whether the guest should hear of the room that has become free: when it believes that half
    /// of what it uses of the window or less is left. Sooner would cost packets, later would stall
    /// it. `own` is the size of the guest's own buffer: Linux has no more than that on the way,
    /// however large the window (`virtio_transport_tx_buf_size`).
    pub fn wants_update(&self, own: u32) -> bool {
        let believed_used = self.received.wrapping_sub(self.told);
        self.told != self.forwarded && believed_used >= self.window.min(own) / 2
    }
}

/// What we may send to the guest.
///
/// Invariant: `sent` is never further ahead of `forwarded` than the guest's word at the time of
/// sending allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCredit {
    sent: u32,
    buf_alloc: u32,
    forwarded: u32,
}

impl SendCredit {
    /// Takes the guest's word from any of its packets. A `fwd_cnt` that does not lie between the
    /// last one and what was sent is stale (packets of several threads may overtake each other)
    /// or a lie, and is not used.
    pub fn update(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.buf_alloc = buf_alloc;
        if fwd_cnt.wrapping_sub(self.forwarded) <= self.in_flight() {
            self.forwarded = fwd_cnt;
        }
    }

    /// The guest's buffer, by its last word.
    pub fn buf_alloc(&self) -> u32 {
        self.buf_alloc
    }

    /// Bytes that may be sent now.
    pub fn available(&self) -> u32 {
        self.buf_alloc.saturating_sub(self.in_flight())
    }

    /// Notes that `len` bytes were sent.
    pub fn send(&mut self, len: u32) {
        debug_assert!(len <= self.available(), "sent beyond the guest's credit");
        self.sent = self.sent.wrapping_add(len);
    }

    /// Bytes sent that the guest has not reported as taken.
    pub fn in_flight(&self) -> u32 {
        self.sent.wrapping_sub(self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_overrun_is_refused_whole() {
        let mut window = ReceiveWindow::new(4096);
        window.receive(4000).unwrap();
        assert_eq!(window.receive(97), Err(Overrun { len: 97, free: 96 }));
        assert_eq!(window.held(), 4000);
        window.forward(1);
        window.receive(97).unwrap();
    }

    #[test]
    fn the_guest_hears_of_room_before_it_stalls() {
        let mut window = ReceiveWindow::new(4096);
        window.receive(2000).unwrap();
        window.forward(2000);
        assert!(!window.wants_update(u32::MAX));
        window.receive(48).unwrap();
        assert!(window.wants_update(u32::MAX));
        assert_eq!(window.tell(), 2000);
        assert!(!window.wants_update(u32::MAX));
    }

    #[test]
    fn a_lying_guest_gets_no_more_credit() {
        let mut credit = SendCredit::default();
        credit.update(1000, 0);
        credit.send(600);
        for lie in [601, 1000, u32::MAX] {
            credit.update(1000, lie);
            assert_eq!(credit.available(), 400);
        }
        credit.update(1000, 600);
        assert_eq!(credit.available(), 1000);
        credit.update(100, 599);
        assert_eq!((credit.available(), credit.in_flight()), (100, 0));
    }

    proptest! {
        /// A guest that sends as Linux does, no more than the smaller of the window and its own
        /// buffer unconfirmed, is never left without credit once everything has gone out.
        #[test]
        fn a_guest_with_any_buffer_hears_of_room_before_it_stalls(
            window in 4096u32..=1 << 20,
            own in 128u32..=1 << 20,
            steps in prop::collection::vec(1u32..=1 << 16, 1..200),
        ) {
            let mut receive = ReceiveWindow::new(window);
            let (mut sent, mut told) = (0u32, 0u32);
            for len in steps {
                let len = len.min(window.min(own) - (sent - told));
                prop_assert!(len > 0, "the guest stands still");
                sent += len;
                receive.receive(len).unwrap();
                receive.forward(len);
                if receive.wants_update(own) {
                    told = receive.tell();
                }
            }
        }

        #[test]
        fn held_bytes_never_exceed_the_window(
            window in 1u32..=1 << 20,
            steps in prop::collection::vec((any::<bool>(), any::<u32>()), 0..200),
        ) {
            let mut receive = ReceiveWindow::new(window);
            for (incoming, len) in steps {
                if incoming {
                    let _ = receive.receive(len % (2 * window));
                } else {
                    receive.forward(len);
                }
                prop_assert!(receive.held() <= window);
                if receive.held() == 0 && receive.received.wrapping_sub(receive.told) == window {
                    prop_assert!(receive.wants_update(u32::MAX), "a guest without credit hears of room");
                }
            }
        }

        #[test]
        fn in_flight_never_exceeds_what_the_guest_ever_allowed(
            steps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..200),
        ) {
            let mut credit = SendCredit::default();
            let mut most = 0;
            for (buf_alloc, fwd_cnt, want) in steps {
                credit.update(buf_alloc, fwd_cnt);
                most = most.max(buf_alloc);
                credit.send(want.min(credit.available()));
                prop_assert!(credit.in_flight() <= most);
            }
        }
    }
}
