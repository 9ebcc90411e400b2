//! What both ends of the measurement agree on: an order, and how its bytes are carried out.
//!
//! Whoever connects to vsock port 5005 sends one [`Order`] as a line of JSON. If it is for a
//! channel, that is made next, the caller being the initiator. Then the caller sends [`GO`], which
//! begins the time, and the bytes go one way in messages of [`MESSAGE`]: plainly, as just these
//! bytes, or as the channel's messages. Who has read the last answers [`DONE`], where it is the
//! enclave that reads.
//!
//! The enclave appraises its caller under the root and against the image that the caller itself
//! names. That is worth nothing, as is what is sent: this is for measuring only.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use anchorhold_channel::{Channel, ChannelError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Where the enclave listens.
pub const PORT: u32 = 5005;
/// Bytes of each message, and of each plain write.
pub const MESSAGE: usize = 1 << 20;
/// Most messages of an order.
pub const MAX_MESSAGES: u32 = 1 << 20;
/// Most bytes of the line with an order.
pub const MAX_LINE: u64 = 1024;
/// Begins the time.
pub const GO: u8 = b'g';
/// Ends it.
pub const DONE: u8 = b'd';
/// What the context of such a channel is of.
pub const APPLICATION: &str = "anchorhold-throughput";

/// How the bytes are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// As they are.
    Plain,
    /// Through an attested channel.
    Channel,
}

/// Who is sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// The caller.
    Parent,
    /// The enclave.
    Enclave,
}

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// How.
    pub way: Way,
    /// Whereto.
    pub to: To,
    /// How many messages.
    pub messages: u32,
    /// SHA-256 over the root of the caller's security module, in hex.
    pub root: String,
    /// The caller's PCR0, in hex.
    pub pcr0: String,
}

/// Why nothing was carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarryError {
    /// The stream failed.
    #[error("expected a stream that carries, got a failure")]
    Stream(#[from] io::Error),
    /// The channel failed.
    #[error("expected a channel that carries, got a failure")]
    Channel(#[from] ChannelError),
    /// Something else came than had to.
    #[error("expected {expected}, got {got} bytes of it or other ones")]
    Other {
        /// What had to come.
        expected: &'static str,
        /// Bytes that came.
        got: usize,
    },
}

/// A stream or a channel that messages are carried over.
pub trait Carrier {
    /// Sends one message.
    ///
    /// # Errors
    /// [`CarryError`].
    fn send(&mut self, message: &[u8]) -> Result<(), CarryError>;

    /// Reads one message of a length that both know, into `place`, whose content it replaces.
    ///
    /// # Errors
    /// [`CarryError`], also for a message of another length.
    fn receive(&mut self, length: usize, place: &mut Zeroizing<Vec<u8>>) -> Result<(), CarryError>;
}

/// A bare stream.
pub struct Plain<S>(pub S);

impl<S: Read + Write> Carrier for Plain<S> {
    fn send(&mut self, message: &[u8]) -> Result<(), CarryError> {
        Ok(self.0.write_all(message)?)
    }

    fn receive(&mut self, length: usize, place: &mut Zeroizing<Vec<u8>>) -> Result<(), CarryError> {
        place.resize(length, 0);
        Ok(self.0.read_exact(place)?)
    }
}

impl<R: Read, W: Write> Carrier for Channel<R, W> {
    fn send(&mut self, message: &[u8]) -> Result<(), CarryError> {
        Ok(Channel::send(self, message)?)
    }

    fn receive(&mut self, length: usize, place: &mut Zeroizing<Vec<u8>>) -> Result<(), CarryError> {
        let came = self.receive_into(place)?;
        match came && place.len() == length {
            true => Ok(()),
            false => Err(CarryError::Other {
                expected: "a message of the order's length",
                got: place.len(),
            }),
        }
    }
}

/// Sends an order's messages.
///
/// # Errors
/// [`CarryError`].
pub fn send_all(carrier: &mut impl Carrier, messages: u32) -> Result<(), CarryError> {
    let message = vec![7; MESSAGE];
    (0..messages).try_for_each(|_| carrier.send(&message))
}

/// Reads an order's messages.
///
/// # Errors
/// [`CarryError`].
pub fn receive_all(carrier: &mut impl Carrier, messages: u32) -> Result<(), CarryError> {
    let mut place = Zeroizing::default();
    (0..messages).try_for_each(|_| carrier.receive(MESSAGE, &mut place))
}

/// Waits for a message of one byte that both know.
///
/// # Errors
/// [`CarryError`], also for another byte.
pub fn expect(
    carrier: &mut impl Carrier,
    byte: u8,
    expected: &'static str,
) -> Result<(), CarryError> {
    let mut place = Zeroizing::default();
    carrier.receive(1, &mut place)?;
    match place.as_slice() == [byte] {
        true => Ok(()),
        false => Err(CarryError::Other {
            expected,
            got: place.len(),
        }),
    }
}

/// The enclave's part behind the order and the handshake.
///
/// # Errors
/// [`CarryError`].
pub fn serve(carrier: &mut impl Carrier, to: To, messages: u32) -> Result<(), CarryError> {
    expect(carrier, GO, "the byte that begins")?;
    match to {
        To::Parent => send_all(carrier, messages),
        To::Enclave => {
            receive_all(carrier, messages)?;
            carrier.send(&[DONE])
        }
    }
}

/// The caller's part behind the order and the handshake.
///
/// # Errors
/// [`CarryError`].
pub fn call(carrier: &mut impl Carrier, to: To, messages: u32) -> Result<(), CarryError> {
    carrier.send(&[GO])?;
    match to {
        To::Parent => receive_all(carrier, messages),
        To::Enclave => {
            send_all(carrier, messages)?;
            expect(carrier, DONE, "the byte that ends")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    fn both(to: To, messages: [u32; 2]) -> [Result<(), CarryError>; 2] {
        let (here, there) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let serving = scope.spawn(move || serve(&mut Plain(there), to, messages[0]));
            let called = call(&mut Plain(here), to, messages[1]);
            [serving.join().unwrap(), called]
        })
    }

    #[test]
    fn bytes_are_carried_either_way() {
        for to in [To::Parent, To::Enclave] {
            let [served, called] = both(to, [3, 3]);
            served.unwrap();
            called.unwrap();
        }
    }

    #[test]
    fn too_few_bytes_are_no_measurement() {
        let [_, called] = both(To::Parent, [2, 3]);
        assert!(matches!(called, Err(CarryError::Stream(_))));
        let (mut here, there) = UnixStream::pair().unwrap();
        let serving = thread::spawn(move || serve(&mut Plain(there), To::Enclave, 2));
        here.write_all(&[GO]).unwrap();
        here.write_all(&vec![7; MESSAGE]).unwrap();
        drop(here);
        let served = serving.join().unwrap();
        assert!(matches!(served, Err(CarryError::Stream(_))));
    }

    #[test]
    fn another_beginning_is_refused() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"x").unwrap();
        let served = serve(&mut Plain(there), To::Parent, 1);
        assert!(matches!(served, Err(CarryError::Other { got: 1, .. })));
    }

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let order = Order {
            way: Way::Channel,
            to: To::Enclave,
            messages: 3,
            root: "00".repeat(32),
            pcr0: "11".repeat(48),
        };
        let line = serde_json::to_string(&order).unwrap();
        assert!(
            (line.len() as u64) < MAX_LINE && line.contains(r#""way":"channel","to":"enclave""#)
        );
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
    }
}
