//! The session against a model of the kernel's half of CUSE (`fuse_do_ioctl` in
//! `fs/fuse/ioctl.c`), with a caller whose memory is a map.

use std::io;

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use anchorhold_document::nsm::{ErrorCode, Response};
use anchorhold_enclave_sys::cuse::session::{self, Answer};
use anchorhold_enclave_sys::cuse::wire::{
    IN_HEADER_SIZE, IOCTL_UNRESTRICTED, Message, OUT_HEADER_SIZE,
};
use anchorhold_enclave_sys::nsm::IOCTL_RAW;
use proptest::prelude::*;

const ARGUMENT: u64 = 0x1000;
const REQUEST: u64 = 0x10_000;
const RESPONSE: u64 = 0x20_000;
const MEMORY: usize = 0x30_000;

/// `FUSE_IOCTL_RETRY`.
const RETRY: u32 = 1 << 2;

/// More messages than this for one ioctl is a loop.
const MESSAGES: usize = 5;

/// A calling process: flat memory, an errno at the end of it.
struct Caller {
    memory: Vec<u8>,
    /// Changes memory between messages, as a second thread of the caller's could.
    meddle: fn(&mut Vec<u8>, usize),
}

impl Caller {
    fn new(request: &[u8], request_length: u64, response_length: u64) -> Self {
        let mut memory = vec![0; MEMORY];
        let fields = [REQUEST, request_length, RESPONSE, response_length];
        for (index, field) in fields.iter().enumerate() {
            let at = ARGUMENT as usize + index * 8;
            memory[at..at + 8].copy_from_slice(&field.to_ne_bytes());
        }
        let at = REQUEST as usize;
        memory[at..at + request.len()].copy_from_slice(request);
        Self {
            memory,
            meddle: |_, _| {},
        }
    }

    fn slice(&mut self, base: u64, length: u64) -> Result<&mut [u8], i32> {
        let start = usize::try_from(base).map_err(|_| libc::EFAULT)?;
        let end = start.checked_add(length as usize).ok_or(libc::EFAULT)?;
        self.memory.get_mut(start..end).ok_or(libc::EFAULT)
    }

    /// `response.len` in the argument.
    fn response_length(&self) -> u64 {
        u64::from_ne_bytes(*self.memory[ARGUMENT as usize + 24..].first_chunk().unwrap())
    }

    /// What `ioctl(fd, command, ARGUMENT)` does: 0, or a negative errno as `Err`.
    fn ioctl(
        &mut self,
        command: u32,
        mut ask: impl FnMut(&[u8]) -> io::Result<Vec<u8>>,
    ) -> Result<(), i32> {
        let mut input: Vec<(u64, u64)> = Vec::new();
        let mut output: Vec<(u64, u64)> = Vec::new();
        for round in 0..MESSAGES {
            (self.meddle)(&mut self.memory, round);
            let message = self.message(command, &input, &output)?;
            let parsed = Message::parse(&message).unwrap();
            let Answer::Reply(reply) = session::answer(&parsed, &mut ask) else {
                panic!("an ioctl needs a reply")
            };
            let body = reply_body(&reply)?;
            let (out, data) = body.split_first_chunk::<16>().expect("fuse_ioctl_out");
            if word(out, 4) & RETRY == 0 {
                return self.copy_out(&output, data);
            }
            let (inputs, outputs) = (word(out, 8) as usize, word(out, 12) as usize);
            let vectors = vectors(data);
            assert_eq!(vectors.len(), inputs + outputs, "EIO in the kernel");
            input = vectors[..inputs].to_vec();
            output = vectors[inputs..].to_vec();
            for direction in [&input, &output] {
                let total: u64 = direction.iter().map(|(_, length)| length).sum();
                assert!(total <= 32 * 4096, "ENOMEM in the kernel");
            }
        }
        panic!("no final reply after {MESSAGES} messages")
    }

    fn message(
        &mut self,
        command: u32,
        input: &[(u64, u64)],
        output: &[(u64, u64)],
    ) -> Result<Vec<u8>, i32> {
        let mut data = Vec::new();
        for (base, length) in input {
            data.extend_from_slice(self.slice(*base, *length)?);
        }
        let room: u64 = output.iter().map(|(_, length)| length).sum();
        let mut body = Vec::new();
        body.extend(0u64.to_ne_bytes());
        body.extend(IOCTL_UNRESTRICTED.to_ne_bytes());
        body.extend(command.to_ne_bytes());
        body.extend(ARGUMENT.to_ne_bytes());
        body.extend((data.len() as u32).to_ne_bytes());
        body.extend((room as u32).to_ne_bytes());
        body.extend(data);
        Ok(header(39, &body))
    }

    fn copy_out(&mut self, output: &[(u64, u64)], mut data: &[u8]) -> Result<(), i32> {
        let room: u64 = output.iter().map(|(_, length)| length).sum();
        assert!(data.len() as u64 <= room, "EIO in the kernel");
        for (base, length) in output {
            let (part, rest) = data.split_at(data.len().min(*length as usize));
            self.slice(*base, part.len() as u64)?.copy_from_slice(part);
            data = rest;
        }
        Ok(())
    }
}

fn header(opcode: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(((IN_HEADER_SIZE + body.len()) as u32).to_ne_bytes());
    message.extend(opcode.to_ne_bytes());
    message.extend(77u64.to_ne_bytes());
    message.extend([0; 24]);
    message.extend(body);
    message
}

/// A reply's body, or the errno in its header.
fn reply_body(reply: &[u8]) -> Result<&[u8], i32> {
    let (head, body) = reply.split_at(OUT_HEADER_SIZE);
    assert_eq!(word(head, 0) as usize, reply.len());
    assert_eq!(head[8..16], 77u64.to_ne_bytes());
    match word(head, 4) as i32 {
        0 => Ok(body),
        error => {
            assert!(error < 0 && body.is_empty());
            Err(-error)
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap())
}

fn vectors(data: &[u8]) -> Vec<(u64, u64)> {
    let half = |bytes: &[u8]| u64::from_ne_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(data.len() % 16, 0);
    data.chunks(16)
        .map(|vector| (half(vector), half(&vector[8..])))
        .collect()
}

/// A module that must not be asked.
fn nobody(_: &[u8]) -> io::Result<Vec<u8>> {
    panic!("asked")
}

#[test]
fn another_ioctl_is_invalid() {
    let mut caller = Caller::new(b"x", 1, 100);
    for command in [0, 0x5401, IOCTL_RAW + 1, u32::MAX] {
        assert_eq!(caller.ioctl(command, nobody), Err(libc::EINVAL));
    }
}

#[test]
fn an_oversized_request_is_refused_unread() {
    for length in [MAX_REQUEST as u64 + 1, 1 << 32, u64::MAX] {
        let mut caller = Caller::new(&[], length, MAX_RESPONSE as u64);
        assert_eq!(caller.ioctl(IOCTL_RAW, nobody), Err(libc::EMSGSIZE));
    }
}

#[test]
fn addresses_outside_the_caller_s_memory_are_its_fault() {
    let mut caller = Caller::new(b"x", 1, 100);
    caller.memory[ARGUMENT as usize..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
    assert_eq!(caller.ioctl(IOCTL_RAW, nobody), Err(libc::EFAULT));

    let mut caller = Caller::new(b"x", 1, 100);
    caller.memory[ARGUMENT as usize + 16..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
    let mut asked = 0;
    let outcome = caller.ioctl(IOCTL_RAW, |_| {
        asked += 1;
        Ok(vec![1; 10])
    });
    assert_eq!(
        (outcome, asked),
        (Err(libc::EFAULT), 1),
        "as in the driver: asked, then copied"
    );
}

#[test]
fn a_module_that_cannot_be_reached_is_an_input_output_error() {
    let mut caller = Caller::new(b"x", 1, 100);
    let outcome = caller.ioctl(IOCTL_RAW, |_| Err(io::ErrorKind::TimedOut.into()));
    assert_eq!(outcome, Err(libc::EIO));
    let refused = io::Error::from_raw_os_error(libc::EPIPE);
    let mut refused = Some(refused);
    let outcome = caller.ioctl(IOCTL_RAW, |_| Err(refused.take().unwrap()));
    assert_eq!(outcome, Err(libc::EPIPE));
}

#[test]
fn an_empty_request_is_answered_without_the_module() {
    let mut caller = Caller::new(&[], 0, 100);
    caller.ioctl(IOCTL_RAW, nobody).unwrap();
    let expected = Response::Error(ErrorCode::InvalidOperation).to_cbor();
    assert_eq!(caller.response_length(), expected.len() as u64);
    assert_eq!(
        caller.slice(RESPONSE, expected.len() as u64).unwrap(),
        expected
    );
}

#[test]
fn a_restricted_ioctl_is_refused() {
    let body = [&[0; 12][..], &IOCTL_RAW.to_ne_bytes(), &[0; 16]].concat();
    let message = header(39, &body);
    let parsed = Message::parse(&message).unwrap();
    let Answer::Reply(reply) = session::answer(&parsed, &mut nobody) else {
        panic!("silence")
    };
    assert_eq!(reply_body(&reply), Err(libc::EIO));
}

#[test]
fn memory_that_changes_between_the_messages_stays_within_its_vectors() {
    // The second thread raises both lengths once the vectors are fixed.
    let mut caller = Caller::new(&[5; 8], 8, 16);
    caller.meddle = |memory, round| {
        if round == 2 {
            memory[ARGUMENT as usize + 8..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
            memory[ARGUMENT as usize + 24..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        }
    };
    let mut seen = Vec::new();
    let outcome = caller.ioctl(IOCTL_RAW, |request| {
        seen = request.to_vec();
        Ok(vec![9; 100])
    });
    assert_eq!((outcome, seen), (Ok(()), vec![5; 8]));
    assert_eq!(caller.response_length(), 16);
    assert_eq!(
        caller.slice(RESPONSE, 17).unwrap(),
        [&[9; 16][..], &[0]].concat()
    );
}

#[test]
fn opens_and_releases_succeed_and_the_rest_is_refused() {
    let reply = |opcode: u32| {
        let message = header(opcode, &[0; 16]);
        match session::answer(&Message::parse(&message).unwrap(), &mut nobody) {
            Answer::Reply(reply) => Some(reply_body(&reply).map(<[u8]>::len)),
            Answer::Silence => None,
        }
    };
    assert_eq!(reply(14), Some(Ok(16)), "open");
    for (name, opcode) in [("release", 18), ("flush", 25), ("destroy", 38)] {
        assert_eq!(reply(opcode), Some(Ok(0)), "{name}");
    }
    for (name, opcode) in [("forget", 2), ("interrupt", 36), ("batch forget", 42)] {
        assert_eq!(reply(opcode), None, "{name}");
    }
    assert_eq!(reply(15), Some(Err(libc::EINVAL)), "read");
    assert_eq!(reply(16), Some(Err(libc::EINVAL)), "write");
    for opcode in [0, 1, 26, 40, 4096, u32::MAX] {
        assert_eq!(reply(opcode), Some(Err(libc::ENOSYS)), "opcode {opcode}");
    }
}

#[test]
fn the_handshake_refuses_kernels_it_cannot_serve() {
    let init = |major: u32, minor: u32, flags: u32| {
        let fields = [major, minor, 0, flags];
        let body: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect();
        session::handshake(&header(4096, &body), "nsm").map_err(|error| error.rule())
    };
    assert_eq!(init(8, 40, 1).unwrap_err(), "cuse.version");
    assert_eq!(init(7, 15, 1).unwrap_err(), "cuse.version");
    assert_eq!(init(7, 40, 0).unwrap_err(), "cuse.unrestricted");
    let other = session::handshake(&header(26, &[0; 16]), "nsm").unwrap_err();
    assert_eq!(other.rule(), "cuse.handshake");
    assert_eq!(
        session::handshake(&[], "nsm").unwrap_err().rule(),
        "cuse.short"
    );

    for (kernel, answered) in [(16, 16), (31, 31), (41, 31)] {
        let reply = init(7, kernel, 1).unwrap();
        let body = reply_body(&reply).unwrap();
        assert_eq!(
            (word(body, 0), word(body, 4), word(body, 12)),
            (7, answered, 1)
        );
        assert!(body.ends_with(b"DEVNAME=nsm\0"));
    }
}

proptest! {
    #[test]
    fn requests_arrive_and_responses_return(
        request in proptest::collection::vec(any::<u8>(), 1..=MAX_REQUEST),
        response in proptest::collection::vec(any::<u8>(), 1..=MAX_RESPONSE),
        room in prop_oneof![0..=MAX_RESPONSE as u64, Just(u64::MAX)],
    ) {
        let mut caller = Caller::new(&request, request.len() as u64, room);
        let outcome = caller.ioctl(IOCTL_RAW, |asked| {
            assert_eq!(asked, request);
            Ok(response.clone())
        });
        prop_assert_eq!(outcome, Ok(()));
        let length = room.min(response.len() as u64);
        prop_assert_eq!(caller.response_length(), length);
        prop_assert_eq!(&*caller.slice(RESPONSE, length).unwrap(), &response[..length as usize]);
        let after = caller.slice(RESPONSE + length, 8).unwrap();
        prop_assert_eq!(&*after, &[0; 8], "nothing is written beyond the room");
    }

    #[test]
    fn no_message_makes_it_panic(
        opcode in prop_oneof![Just(39u32), Just(4096), 0u32..64, any::<u32>()],
        command in prop_oneof![Just(IOCTL_RAW), any::<u32>()],
        input in proptest::collection::vec(any::<u8>(), 0..5000),
        stated in any::<Option<u32>>(),
        room in prop_oneof![Just(0u32), 0u32..64, any::<u32>()],
    ) {
        let mut body = Vec::new();
        body.extend(0u64.to_ne_bytes());
        body.extend(IOCTL_UNRESTRICTED.to_ne_bytes());
        body.extend(command.to_ne_bytes());
        body.extend(ARGUMENT.to_ne_bytes());
        body.extend(stated.unwrap_or(input.len() as u32).to_ne_bytes());
        body.extend(room.to_ne_bytes());
        body.extend(&input);
        let message = header(opcode, &body);
        let answer = session::answer(&Message::parse(&message).unwrap(), &mut |request| {
            assert!((1..=MAX_REQUEST).contains(&request.len()));
            Ok(vec![1; MAX_RESPONSE])
        });
        if let Answer::Reply(reply) = answer {
            prop_assert!(reply.len() <= OUT_HEADER_SIZE + 16 + 32 + MAX_RESPONSE);
        }
        let _ = session::handshake(&message, "nsm");
    }
}
