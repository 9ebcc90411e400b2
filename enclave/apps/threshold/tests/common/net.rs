//! The way between participants: socket pairs, through a relay that may stop carrying.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anchorhold_threshold_app::world::{Link, Socket};

/// Calls that wait, and what relays do.
#[derive(Default)]
pub struct Net {
    waiting: Mutex<BTreeMap<u16, VecDeque<Link>>>,
    faults: Mutex<BTreeMap<(u16, u16), Fault>>,
    called: AtomicUsize,
    last: Mutex<BTreeMap<(u16, u16), Arc<AtomicUsize>>>,
}

/// What a relay does with calls from one participant to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Carries so many bytes of the caller's, and swallows the rest.
    Swallow(usize),
    /// Ends the call after so many bytes of the caller's.
    Cut(usize),
}

impl Net {
    /// Breaks the way from one participant to another, for calls from now on.
    pub fn break_way(&self, from: u16, to: u16, fault: Fault) {
        self.faults.lock().unwrap().insert((from, to), fault);
    }

    /// All ways are whole again.
    pub fn mend(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// How often somebody called.
    pub fn calls(&self) -> usize {
        self.called.load(Ordering::SeqCst)
    }

    /// How many bytes the caller of the last call from one to another has sent.
    pub fn sent(&self, from: u16, to: u16) -> usize {
        self.last.lock().unwrap()[&(from, to)].load(Ordering::SeqCst)
    }

    pub fn call(&self, from: u16, to: u16) -> io::Result<Link> {
        let (here, there) = UnixStream::pair()?;
        let fault = self.faults.lock().unwrap().get(&(from, to)).copied();
        let mut waiting = self.waiting.lock().unwrap();
        let link = Link::new(Ended::whole(there));
        waiting.entry(to).or_default().push_back(link);
        self.called.fetch_add(1, Ordering::SeqCst);
        let caller = Ended::new(here, fault);
        let sent = Arc::clone(&caller.sent);
        self.last.lock().unwrap().insert((from, to), sent);
        Ok(Link::new(caller))
    }

    pub fn answer(&self, me: u16) -> Option<Link> {
        self.waiting.lock().unwrap().get_mut(&me)?.pop_front()
    }
}

/// One end of a pair.
pub struct Ended {
    socket: UnixStream,
    fault: Option<Fault>,
    sent: Arc<AtomicUsize>,
}

impl Ended {
    pub fn whole(socket: UnixStream) -> Self {
        Self::new(socket, None)
    }

    fn new(socket: UnixStream, fault: Option<Fault>) -> Self {
        let sent = Arc::default();
        Self {
            socket,
            fault,
            sent,
        }
    }
}

impl Socket for Ended {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &self.socket, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        let limit = match self.fault {
            None => return Write::write(&mut &self.socket, bytes),
            Some(Fault::Swallow(limit) | Fault::Cut(limit)) => limit,
        };
        let keep = limit.saturating_sub(before).min(bytes.len());
        Write::write_all(&mut &self.socket, &bytes[..keep])?;
        if keep < bytes.len() && matches!(self.fault, Some(Fault::Cut(_))) {
            self.end();
        }
        Ok(bytes.len())
    }

    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(limit))
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(limit))
    }

    fn end(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
