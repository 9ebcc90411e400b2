//! The session: messages into records, and back.

use zeroize::{Zeroizing, optimization_barrier};

use crate::binding::Transcript;
use crate::error::{FrameError, RecordError};
use crate::keys::{OpeningKey, SealingKey, frame_length};
use crate::limits::{BATCH, MAX_FRAGMENT, MAX_FRAME, RECORD};

/// The first byte of a record's plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Claim and document; the first record of each direction, and no other.
    Evidence,
    /// A part of a message that more follows upon.
    More,
    /// The last part of a message, or all of it.
    Last,
    /// The end of the direction.
    Close,
}

impl Kind {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Evidence => 1,
            Self::More => 2,
            Self::Last => 3,
            Self::Close => 4,
        }
    }

    /// What may come after evidence.
    fn of_session(byte: u8) -> Option<Self> {
        [Self::More, Self::Last, Self::Close]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Both directions of a channel whose peer was appraised. Made by a finished handshake only.
pub struct Session {
    sealer: Sealer,
    opener: Opener,
    transcript: Transcript,
}

impl Session {
    pub(crate) fn new(
        sealing: SealingKey,
        opening: OpeningKey,
        transcript: Transcript,
        max_message: usize,
    ) -> Self {
        Self {
            sealer: Sealer {
                key: sealing,
                plaintext: Zeroizing::new(Vec::with_capacity(1 + MAX_FRAGMENT)),
                frames: Vec::new(),
                over: false,
            },
            opener: Opener {
                key: opening,
                plaintext: Zeroizing::new(vec![0; MAX_FRAME]),
                message: Zeroizing::default(),
                limit: max_message,
                state: State::Open,
            },
            transcript,
        }
    }

    /// [`Sealer::seal`].
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, RecordError> {
        self.sealer.seal(message)
    }

    /// [`Sealer::close`].
    pub fn close(&mut self) -> Result<Vec<u8>, RecordError> {
        self.sealer.close()
    }

    /// [`Opener::open`].
    pub fn open(&mut self, body: &[u8]) -> Result<Opened, RecordError> {
        self.opener.open(body)
    }

    /// What names this session and no other.
    pub fn transcript(&self) -> Transcript {
        self.transcript
    }

    /// The two directions, for a thread each.
    pub fn split(self) -> (Sealer, Opener) {
        (self.sealer, self.opener)
    }
}

/// The direction to the peer.
pub struct Sealer {
    key: SealingKey,
    plaintext: Zeroizing<Vec<u8>>,
    /// As long as the most that was sealed at once.
    frames: Vec<u8>,
    /// Closed, or a message was cut short.
    over: bool,
}

impl Sealer {
    /// Seals a message of any length into frames to send in their order.
    pub fn seal(&mut self, message: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut frames = Vec::with_capacity(message.len() + message.len() / 1024 + 64);
        self.seal_with(message, |sealed| {
            frames.extend_from_slice(sealed);
            Ok::<(), RecordError>(())
        })?;
        Ok(frames)
    }

    /// Seals a message and hands over its frames, as many whole ones at once as fit into [`BATCH`]
    /// bytes, in memory that is used again. If `send` fails, the peer would miss a record: the
    /// direction is over.
    pub fn seal_with<E: From<RecordError>>(
        &mut self,
        message: &[u8],
        mut send: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.over {
            return Err(RecordError::Ended.into());
        }
        self.over = true;
        let (mut rest, mut filled) = (message, 0);
        loop {
            let (part, after) = rest.split_at(rest.len().min(MAX_FRAGMENT));
            let last = after.is_empty();
            filled = self.record(if last { Kind::Last } else { Kind::More }, part, filled)?;
            if last || filled + frame_length(1 + MAX_FRAGMENT) > BATCH {
                send(self.frames.get(..filled).unwrap_or_default())?;
                filled = 0;
            }
            if last {
                break;
            }
            rest = after;
        }
        self.over = false;
        Ok(())
    }

    /// The frame that tells the peer that no more comes; nothing can be sealed afterwards.
    pub fn close(&mut self) -> Result<Vec<u8>, RecordError> {
        if self.over {
            return Err(RecordError::Ended);
        }
        self.over = true;
        let length = self.record(Kind::Close, &[], 0)?;
        self.frames.truncate(length);
        Ok(std::mem::take(&mut self.frames))
    }

    /// Ends the direction: what was handed over may not have been sent whole.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    /// Seals a record behind the frames that are there, and says where it ends.
    fn record(&mut self, kind: Kind, part: &[u8], start: usize) -> Result<usize, RecordError> {
        self.plaintext.clear();
        self.plaintext.push(kind.byte());
        self.plaintext.extend_from_slice(part);
        let end = start + frame_length(self.plaintext.len());
        if self.frames.len() < end {
            self.frames.resize(end, 0);
        }
        let frame = self.frames.get_mut(start..end).ok_or(RecordError::Seal)?;
        self.key
            .seal(&self.plaintext, frame)
            .map_err(|_| RecordError::Seal)?;
        Ok(end)
    }
}

/// What a record brought.
pub enum Opened {
    /// A part of a message; more follows.
    Part,
    /// The end of a message: all of it.
    Message(Zeroizing<Vec<u8>>),
    /// The peer's close record: nothing follows, and nothing is missing.
    Closed,
}

/// The direction from the peer.
pub struct Opener {
    key: OpeningKey,
    plaintext: Zeroizing<Vec<u8>>,
    message: Zeroizing<Vec<u8>>,
    limit: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Failed,
}

impl Opener {
    /// The lengths that the next frame's body may have.
    pub fn bounds(&self) -> std::ops::RangeInclusive<usize> {
        RECORD
    }

    /// Whether the peer's close record came.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Opens the body of the next frame. After a refusal the direction is over: what comes later
    /// cannot be what the peer sent next.
    pub fn open(&mut self, body: &[u8]) -> Result<Opened, RecordError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => return Err(RecordError::Ended),
            State::Closed => return Err(RecordError::AfterClose { got: body.len() }),
            State::Open => {}
        }
        let opened = self.accept(body);
        match &opened {
            Ok(Opened::Closed) => self.state = State::Closed,
            Ok(Opened::Part | Opened::Message(_)) => self.state = State::Open,
            // What never becomes a message is not kept.
            Err(_) => self.message = Zeroizing::default(),
        }
        opened
    }

    /// Takes a message's memory back, for the next message to lie in. Between two messages only:
    /// amid one, or if there is less room in it than in what is there, it is wiped and freed.
    pub fn reuse(&mut self, mut memory: Zeroizing<Vec<u8>>) {
        if self.message.is_empty() && memory.capacity() > self.message.capacity() {
            memory.clear();
            self.message = memory;
        }
    }

    fn accept(&mut self, body: &[u8]) -> Result<Opened, RecordError> {
        if !RECORD.contains(&body.len()) {
            return Err(RecordError::Frame(FrameError {
                expected: RECORD,
                got: body.len(),
            }));
        }
        let number = self.key.number();
        let plaintext = self
            .key
            .open(body, &mut self.plaintext)
            .map_err(|_| RecordError::Authentication { number })?;
        let (&kind, part) = plaintext
            .split_first()
            .ok_or(RecordError::Authentication { number })?;
        match Kind::of_session(kind) {
            Some(Kind::More) if part.len() != MAX_FRAGMENT => Err(RecordError::Fragment {
                number,
                got: part.len(),
            }),
            Some(Kind::More) => {
                append(&mut self.message, part, self.limit)?;
                Ok(Opened::Part)
            }
            Some(Kind::Last) => {
                append(&mut self.message, part, self.limit)?;
                Ok(Opened::Message(std::mem::take(&mut self.message)))
            }
            Some(Kind::Close) => close(number, part, &self.message),
            Some(Kind::Evidence) | None => Err(RecordError::Kind { number, got: kind }),
        }
    }
}

fn close(number: u64, part: &[u8], message: &[u8]) -> Result<Opened, RecordError> {
    match (part.len(), message.len()) {
        (0, 0) => Ok(Opened::Closed),
        (0, got) => Err(RecordError::CloseWithinMessage { number, got }),
        (got, _) => Err(RecordError::CloseBody { number, got }),
    }
}

/// Adds a part to a message. Grows by copying to a new place, so that the old one is wiped, and
/// never far past what has come or the limit: a peer pays for the memory that it takes.
fn append(message: &mut Zeroizing<Vec<u8>>, part: &[u8], limit: usize) -> Result<(), RecordError> {
    let length = message.len().saturating_add(part.len());
    if length > limit {
        return Err(RecordError::TooLong { limit, got: length });
    }
    if length > message.capacity() {
        let capacity = message.capacity().saturating_mul(2).min(limit).max(length);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(message);
        wipe(std::mem::replace(message, larger));
    }
    message.extend_from_slice(part);
    Ok(())
}

/// What `zeroize` does when memory is dropped, many bytes at a time instead of each.
fn wipe(mut memory: Zeroizing<Vec<u8>>) {
    let mut memory = std::mem::take(&mut *memory);
    memory.clear();
    memory.resize(memory.capacity(), 0);
    optimization_barrier(memory.as_slice());
}
