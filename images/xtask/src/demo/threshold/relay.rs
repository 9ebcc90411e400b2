//! The way between two parents, as hostile as it can be.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a relay does with the calls that begin from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carries them.
    Carry,
    /// Flips one bit of what the caller sends, so many bytes behind its start.
    Flip(usize),
    /// Carries so many bytes of the caller's, and then swallows all: the caller's end, too, until
    /// the mode is another.
    Swallow(usize),
    /// Sends what an earlier caller sent.
    Replay(Arc<[u8]>),
    /// Sends the frame of this number and the next one in each other's place.
    Reorder(usize),
    /// Holds back what the caller sends, for so long each time, and carries it then.
    Delay(Duration),
}

/// Between two looks for another mode.
const LOOK: Duration = Duration::from_millis(20);

/// A relay between two parents.
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    target: String,
    mode: Mode,
    /// What the last caller of a carried call sent.
    recorded: Vec<u8>,
    carried: u64,
    /// What it saw, each direction of each call by itself.
    seen: Vec<Vec<u8>>,
}

impl State {
    /// A place for what one direction of a call shows.
    fn direction(&mut self) -> usize {
        self.seen.push(Vec::new());
        self.seen.len() - 1
    }

    fn see(&mut self, direction: usize, bytes: &[u8]) {
        if let Some(seen) = self.seen.get_mut(direction) {
            seen.extend_from_slice(bytes);
        }
    }
}

impl Relay {
    /// Listens on loopback.
    ///
    /// # Errors
    /// It cannot.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State {
            target: String::new(),
            mode: Mode::Carry,
            recorded: Vec::new(),
            carried: 0,
            seen: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(caller, &shared));
            }
        });
        Ok(Self { port, state })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom it leads to from now on.
    pub fn lead_to(&self, target: String) {
        lock(&self.state).target = target;
    }

    /// What it does from now on.
    pub fn set(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// What the caller of the last carried call sent.
    pub fn recorded(&self) -> Arc<[u8]> {
        Arc::from(lock(&self.state).recorded.as_slice())
    }

    /// Bytes that it has carried.
    pub fn carried(&self) -> u64 {
        lock(&self.state).carried
    }

    /// Whether it ever saw these bytes in a row.
    pub fn saw(&self, bytes: &[u8]) -> bool {
        let state = lock(&self.state);
        let mut streams = state.seen.iter();
        streams.any(|seen| seen.windows(bytes.len()).any(|window| window == bytes))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call. A stream that breaks ends it.
fn serve(caller: TcpStream, state: &Mutex<State>) {
    let (target, mode, there, here) = {
        let mut state = lock(state);
        let (there, here) = (state.direction(), state.direction());
        (state.target.clone(), state.mode.clone(), there, here)
    };
    let Ok(callee) = TcpStream::connect(&target) else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = back(&callee, &caller, here, state);
            let _ = caller.shutdown(Shutdown::Both);
        });
        let _ = match &mode {
            Mode::Replay(recorded) => (&callee)
                .write_all(recorded)
                .and_then(|()| forth(&caller, None, &mode, there, state)),
            _ => forth(&caller, Some(&callee), &mode, there, state),
        };
        // A callee that learned of the caller's end would not wait until its own time is over.
        while matches!(mode, Mode::Swallow(_)) && lock(state).mode == mode {
            thread::sleep(LOOK);
        }
        let _ = callee.shutdown(Shutdown::Write);
    });
}

fn back(
    callee: &TcpStream,
    caller: &TcpStream,
    direction: usize,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let (mut from, mut to) = (callee, caller);
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return to.flush();
        }
        let bytes = chunk.get(..count).unwrap_or_default();
        lock(state).see(direction, bytes);
        to.write_all(bytes)?;
        lock(state).carried += count as u64;
    }
}

fn forth(
    caller: &TcpStream,
    callee: Option<&TcpStream>,
    mode: &Mode,
    direction: usize,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 16 * 1024];
    let mut sent = Vec::new();
    let mut fault = Fault::new(mode.clone());
    loop {
        let mut from = caller;
        let count = from.read(&mut chunk)?;
        if count == 0 {
            if *mode == Mode::Carry {
                lock(state).recorded = sent;
            }
            return Ok(());
        }
        let bytes = chunk.get(..count).unwrap_or_default();
        lock(state).see(direction, bytes);
        let bytes = fault.pass(bytes);
        if *mode == Mode::Carry {
            sent.extend_from_slice(&bytes);
        }
        if let Some(mut to) = callee {
            to.write_all(&bytes)?;
            lock(state).carried += bytes.len() as u64;
        }
    }
}

/// What becomes of one caller's bytes.
struct Fault {
    mode: Mode,
    seen: usize,
    /// Bytes of a frame that is not whole yet, when frames are reordered.
    part: Vec<u8>,
    frame: usize,
    held: Vec<u8>,
}

impl Fault {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            seen: 0,
            part: Vec::new(),
            frame: 0,
            held: Vec::new(),
        }
    }

    /// What is sent on when these bytes come.
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let before = self.seen;
        self.seen += bytes.len();
        match self.mode {
            Mode::Carry | Mode::Replay(_) => {}
            Mode::Flip(at) => {
                let at = at.checked_sub(before);
                if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 1;
                }
            }
            Mode::Swallow(after) => bytes.truncate(after.saturating_sub(before)),
            Mode::Reorder(at) => bytes = self.reorder(at, &bytes),
            Mode::Delay(time) => thread::sleep(time),
        }
        bytes
    }

    /// Frames are `length u16 big-endian | body`, which a relay can see.
    fn reorder(&mut self, at: usize, bytes: &[u8]) -> Vec<u8> {
        self.part.extend_from_slice(bytes);
        let mut send = Vec::new();
        while let Some(header) = self.part.first_chunk::<2>() {
            let length = 2 + usize::from(u16::from_be_bytes(*header));
            if self.part.len() < length {
                break;
            }
            let frame: Vec<_> = self.part.drain(..length).collect();
            if self.frame == at {
                self.held = frame;
            } else {
                send.extend_from_slice(&frame);
                send.append(&mut self.held);
            }
            self.frame += 1;
        }
        send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four frames of one, two, three and four bytes.
    const FRAMES: &[u8] = &[
        0, 1, b'a', 0, 2, b'b', b'b', 0, 3, b'c', b'c', b'c', 0, 4, b'd', b'd', b'd', b'd',
    ];

    fn passed(mode: Mode, pieces: usize) -> Vec<u8> {
        let mut fault = Fault::new(mode);
        let pieces = FRAMES.chunks(pieces);
        pieces.flat_map(|piece| fault.pass(piece)).collect()
    }

    #[test]
    fn two_frames_change_places_however_the_stream_is_chopped() {
        let mut expected = FRAMES.to_vec();
        expected.drain(3..7);
        expected.splice(8..8, FRAMES[3..7].iter().copied());
        for pieces in 1..=FRAMES.len() {
            assert_eq!(passed(Mode::Reorder(1), pieces), expected, "{pieces}");
        }
        assert_ne!(expected, FRAMES);
    }

    /// Its callee waits until its own time is over, whenever the caller gives up.
    #[test]
    fn a_caller_s_end_is_swallowed_with_the_rest() {
        let relay = Relay::start().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        relay.lead_to(listener.local_addr().unwrap().to_string());
        relay.set(Mode::Swallow(3));
        let mut caller = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        caller.write_all(b"a question").unwrap();
        let (mut callee, _) = listener.accept().unwrap();
        drop(caller);
        let mut heard = [0; 3];
        callee.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"a q");
        let silence = Some(Duration::from_millis(200));
        callee.set_read_timeout(silence).unwrap();
        let silent = callee.read(&mut heard);
        assert!(silent.is_err(), "{silent:?}");
        relay.set(Mode::Carry);
        callee.set_read_timeout(None).unwrap();
        assert_eq!(callee.read(&mut heard).unwrap(), 0);
    }

    /// What an enclave said in the clear would be found, in either direction and however it came.
    #[test]
    fn what_passes_in_the_clear_is_seen() {
        let relay = Relay::start().unwrap();
        let callee = TcpListener::bind("127.0.0.1:0").unwrap();
        relay.lead_to(callee.local_addr().unwrap().to_string());
        let mut caller = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        let (mut called, _) = callee.accept().unwrap();
        let mut heard = [0; 1];
        for byte in b"a question" {
            caller.write_all(&[*byte]).unwrap();
            called.read_exact(&mut heard).unwrap();
        }
        for byte in b"an answer" {
            called.write_all(&[*byte]).unwrap();
            caller.read_exact(&mut heard).unwrap();
        }
        assert!(relay.saw(b"question") && relay.saw(b"answer"));
        assert!(!relay.saw(b"questions") && !relay.saw(b"questionan"));
    }

    #[test]
    fn one_bit_is_flipped_and_what_follows_is_swallowed() {
        for pieces in 1..=FRAMES.len() {
            let mut flipped = FRAMES.to_vec();
            flipped[9] ^= 1;
            assert_eq!(passed(Mode::Flip(9), pieces), flipped);
            assert_eq!(passed(Mode::Swallow(9), pieces), &FRAMES[..9]);
            assert_eq!(passed(Mode::Carry, pieces), FRAMES);
        }
    }
}
