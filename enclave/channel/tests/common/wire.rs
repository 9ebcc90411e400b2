//! A whole small session as bytes on the wire, and a party that is fed such bytes.

use std::io::{self, Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use anchorhold_channel::{Channel, ChannelError, Role};

use super::{Enclave, Fixed, World, timestamp};

/// Messages that each side sends.
pub const MESSAGES: [&[u8]; 3] = [b"first", b"", b"third"];

/// Both directions of one session: handshake, [`MESSAGES`], close.
pub struct Recording {
    pub from_initiator: Vec<u8>,
    pub from_responder: Vec<u8>,
}

impl Recording {
    /// What the party of `role` is sent.
    pub fn to(&self, role: Role) -> &[u8] {
        match role {
            Role::Initiator => &self.from_responder,
            Role::Responder => &self.from_initiator,
        }
    }
}

/// Writes to a socket, and remembers what.
struct Tee<'a>(&'a UnixStream, &'a mut Vec<u8>);

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn seed(role: Role) -> Fixed {
    Fixed(match role {
        Role::Initiator => 1,
        Role::Responder => 2,
    })
}

fn begin<R: Read, W: Write>(
    role: Role,
    reader: R,
    writer: W,
    world: &super::Host,
    enclave: &mut Enclave,
) -> Result<Channel<R, W>, ChannelError> {
    let (terms, mut rng) = (world.terms(), seed(role));
    match role {
        Role::Initiator => Channel::initiate(reader, writer, terms, enclave, timestamp, &mut rng),
        Role::Responder => Channel::respond(reader, writer, terms, enclave, timestamp, &mut rng),
    }
}

/// Runs a session over a socket pair and records it.
pub fn record(world: &mut World) -> Recording {
    let (here, there) = UnixStream::pair().expect("a socket pair");
    let mut recording = Recording {
        from_initiator: Vec::new(),
        from_responder: Vec::new(),
    };
    let World { host, a, b } = world;
    let run = |role, socket: &UnixStream, tape: &mut Vec<u8>, enclave: &mut Enclave| {
        let tee = Tee(socket, tape);
        let mut channel = begin(role, socket, tee, host, enclave).expect("a channel");
        for message in MESSAGES {
            channel.send(message).expect("a message sent");
        }
        channel.close().expect("a close record sent");
        for message in MESSAGES {
            let got = channel.receive().expect("a message");
            assert_eq!(got.expect("no end yet").as_slice(), message);
        }
        assert!(channel.receive().expect("the close record").is_none());
        assert!(channel.receive().expect("the close record").is_none());
    };
    thread::scope(|scope| {
        let tape = &mut recording.from_responder;
        scope.spawn(|| run(Role::Responder, &there, tape, b));
        run(Role::Initiator, &here, &mut recording.from_initiator, a);
    });
    recording
}

/// What a party makes of bytes: the messages that it accepted, and how it ended.
pub fn feed(
    world: &mut World,
    role: Role,
    input: impl Read,
) -> (Vec<Vec<u8>>, Result<(), ChannelError>) {
    let enclave = match role {
        Role::Initiator => &mut world.a,
        Role::Responder => &mut world.b,
    };
    let mut accepted = Vec::new();
    let run = || {
        let mut channel = begin(role, input, io::sink(), &world.host, enclave)?;
        while let Some(message) = channel.receive()? {
            accepted.push(message.to_vec());
        }
        Ok(())
    };
    let end = run();
    (accepted, end)
}

/// [`feed`] for bytes that must be refused: the rule, after a beginning of the messages at most.
pub fn refused(world: &mut World, role: Role, input: &[u8]) -> &'static str {
    let (accepted, end) = feed(world, role, Cursor::new(input));
    assert!(
        MESSAGES
            .iter()
            .zip(&accepted)
            .all(|(sent, got)| sent == got)
    );
    assert!(accepted.len() <= MESSAGES.len());
    let error = end.expect_err("accepted");
    let text = error.to_string();
    assert!(text.contains("expected") && text.contains("got"), "{text}");
    error.rule()
}
