//! One epoll descriptor for everything on the host's side: sockets, the timer, and a reminder of
//! work left over.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::protocol::StreamId;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The listening socket has a client.
    Listener,
    /// The timer that [`Poller::wake_at`] set.
    Timer,
    /// What [`Poller::remind`] asked for.
    Reminder,
    /// A client that has not finished its `CONNECT` line.
    Handshake(StreamId),
    /// The host's socket of a stream.
    Stream(StreamId),
}

impl Token {
    fn to_bits(self) -> u64 {
        let (kind, id) = match self {
            Self::Listener => (0, None),
            Self::Timer => (1, None),
            Self::Reminder => (2, None),
            Self::Handshake(id) => (3, Some(id)),
            Self::Stream(id) => (4, Some(id)),
        };
        let id = id.map_or(0, |id: StreamId| {
            u64::from(id.generation) << 32 | u64::from(id.index)
        });
        kind << 56 | id
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let id = StreamId {
            index: bits as u32,
            generation: (bits >> 32) as u32 & 0x00ff_ffff,
        };
        Some(match bits >> 56 {
            0 => Self::Listener,
            1 => Self::Timer,
            2 => Self::Reminder,
            3 => Self::Handshake(id),
            4 => Self::Stream(id),
            _ => return None,
        })
    }
}

/// Events taken in one call; more stay for the next.
const BATCH: usize = 128;

/// The epoll descriptor with its timer and reminder.
pub(crate) struct Poller {
    epoll: Epoll,
    timer: TimerFd,
    reminder: EventFd,
    armed: Option<Instant>,
    reminded: bool,
}

impl Poller {
    /// Makes the descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            timer: TimerFd::new(
                ClockId::CLOCK_MONOTONIC,
                TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
            )?,
            reminder: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            armed: None,
            reminded: false,
        };
        poller.add(poller.timer.as_fd(), Token::Timer, EpollFlags::EPOLLIN)?;
        poller.add(&poller.reminder, Token::Reminder, EpollFlags::EPOLLIN)?;
        Ok(poller)
    }

    /// The descriptor that is readable while events wait.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    /// Starts to watch `fd`.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> io::Result<()> {
        Ok(self
            .epoll
            .add(fd, EpollEvent::new(flags, token.to_bits()))?)
    }

    /// Changes what is watched of `fd`; what is ready already counts as an event again.
    pub(crate) fn modify(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> io::Result<()> {
        let mut event = EpollEvent::new(flags, token.to_bits());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Takes the events that wait, without waiting for any.
    pub(crate) fn take(&mut self) -> io::Result<Vec<(Token, EpollFlags)>> {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        let mut taken = Vec::with_capacity(count);
        for event in events.iter().take(count) {
            let Some(token) = Token::from_bits(event.data()) else {
                continue;
            };
            match token {
                Token::Timer => {
                    self.armed = None;
                    self.disarm(self.timer.as_fd());
                }
                Token::Reminder => {
                    self.reminded = false;
                    self.disarm(self.reminder.as_fd());
                }
                _ => {}
            }
            taken.push((token, event.events()));
        }
        if count == BATCH {
            self.remind();
        }
        Ok(taken)
    }

    /// Reads the counter of a timer or an event, which makes it unreadable.
    fn disarm(&self, fd: BorrowedFd<'_>) {
        let mut counter = [0; 8];
        // Nothing there means that somebody was quicker; the counter is zero either way.
        let _ = nix::unistd::read(fd, &mut counter);
    }

    /// Has the timer fire at `when`, or earlier if it was set to.
    pub(crate) fn wake_at(&mut self, when: Instant, now: Instant) {
        if self.armed.is_some_and(|armed| armed <= when) {
            return;
        }
        // Zero would disarm it.
        let delay = when
            .saturating_duration_since(now)
            .max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(delay));
        match self.timer.set(once, TimerSetTimeFlags::empty()) {
            Ok(()) => self.armed = Some(when),
            Err(errno) => log::warn!("cannot set the vsock switch's timer: {errno}"),
        }
    }

    /// Makes the descriptor readable at once: work is left.
    pub(crate) fn remind(&mut self) {
        if !self.reminded {
            self.reminded = self.reminder.write(1).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let id = StreamId {
            index: u32::MAX,
            generation: 0x00ff_fffe,
        };
        let tokens = [
            Token::Listener,
            Token::Timer,
            Token::Reminder,
            Token::Handshake(id),
            Token::Stream(id),
        ];
        for token in tokens {
            assert_eq!(Token::from_bits(token.to_bits()), Some(token));
        }
        assert_eq!(Token::from_bits(u64::MAX), None);
    }

    #[test]
    fn reminders_and_timers_are_events_once() {
        let mut poller = Poller::new().unwrap();
        assert_eq!(poller.take().unwrap(), []);
        poller.remind();
        poller.remind();
        let now = Instant::now();
        poller.wake_at(now, now);
        std::thread::sleep(Duration::from_millis(2));
        let mut tokens: Vec<_> = poller
            .take()
            .unwrap()
            .into_iter()
            .map(|(token, _)| token)
            .collect();
        tokens.sort_by_key(|token| token.to_bits());
        assert_eq!(tokens, [Token::Timer, Token::Reminder]);
        assert_eq!(poller.take().unwrap(), []);
    }
}
