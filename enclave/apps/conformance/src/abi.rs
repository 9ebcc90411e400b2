//! The device itself, below AWS's client: sizes, malformed requests, permissions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use anchorhold_document::nsm::{ErrorCode, Request, Response};
use anchorhold_enclave_sys::nsm::{DEVICE_PATH, NsmDevice, NsmError};

use crate::outcome::{Checked, Failure, Results, equal, machine, mismatch};

/// `EINVAL`.
const INVALID: i32 = 22;

/// Whatever the device is given and asked.
pub fn check(results: &mut Results) {
    results.note("device.mode", mode);
    results.note("device.read-write", read_and_write);
    results.note("device.request-too-large", || {
        for length in [MAX_REQUEST + 1, 0x10000, 0x100000] {
            match device()?.request(&vec![0x41; length]) {
                Err(NsmError::RequestTooLarge { .. }) => {}
                other => return Err(mismatch("0x1001 bytes and more", &"EMSGSIZE", &other)),
            }
        }
        Ok(())
    });
    results.note("device.malformed-requests", malformed);
    results.note("device.longest-request", || {
        let mut longest = vec![0; MAX_REQUEST];
        longest[..4].copy_from_slice(b"\x6bDes");
        refuses(&longest)
    });
    results.note("device.short-response-buffer", short_buffer);
    results.note("device.reopened", || {
        for _ in 0..50 {
            ask(&device()?, &Request::DescribeNsm)?;
        }
        Ok(())
    });
}

/// Any user of the enclave may attest.
fn mode() -> Checked {
    let metadata = fs::metadata(DEVICE_PATH).map_err(machine("stat"))?;
    equal(
        "a character device",
        metadata.file_type().is_char_device(),
        true,
    )?;
    equal("mode", metadata.permissions().mode() & 0o7777, 0o666)
}

/// The driver has neither; the kernel then says EINVAL.
fn read_and_write() -> Checked {
    let mut file = open().map_err(machine("open"))?;
    let errno = |outcome: io::Result<usize>| outcome.err().and_then(|error| error.raw_os_error());
    equal("read", errno(file.read(&mut [0; 16])), Some(INVALID))?;
    equal("write", errno(file.write(&[0; 16])), Some(INVALID))
}

fn malformed() -> Checked {
    let describe = Request::DescribeNsm.to_cbor();
    let requests: [&[u8]; 9] = [
        b"",
        b"\x00",
        b"\xff",
        b"\x61",
        b"DescribeNSM",
        b"\x6bDescribeNSX",
        b"\xa1\x67LockPCR\xa1\x65index\x39\x00\x00",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        &[&describe[..], &[0]].concat(),
    ];
    requests.into_iter().try_for_each(refuses)?;
    let deep = vec![0x81; MAX_REQUEST];
    refuses(&deep)
}

/// As the driver does, a response that does not fit is cut, and the rest left alone.
fn short_buffer() -> Checked {
    let device = device()?;
    let request = Request::DescribeNsm.to_cbor();
    let whole = device.request(&request).map_err(asked)?;
    for room in [
        0,
        1,
        20,
        whole.len() - 1,
        whole.len(),
        whole.len() + 1,
        MAX_RESPONSE + 100,
    ] {
        let mut buffer = vec![0xEE; room];
        let length = device.request_into(&request, &mut buffer).map_err(asked)?;
        equal("bytes written", length, room.min(whole.len()))?;
        let (written, rest) = buffer.split_at(length);
        equal("what was written", written, &whole[..length])?;
        equal(
            "the rest is left alone",
            rest.iter().all(|byte| *byte == 0xEE),
            true,
        )?;
    }
    Ok(())
}

fn refuses(request: &[u8]) -> Checked {
    let answer = device()?.request(request).map_err(asked)?;
    let expected = Response::Error(ErrorCode::InvalidOperation).to_cbor();
    equal("answer to a malformed request", answer, expected)
}

/// Asks with this project's client.
pub fn ask(device: &NsmDevice, request: &Request) -> Result<Response, Failure> {
    let answer = device.request(&request.to_cbor()).map_err(asked)?;
    Response::from_cbor(&answer)
        .map_err(|error| mismatch("answer", &"one of the facts' shape", &error.to_string()))
}

/// Opens the device with this project's client.
pub fn device() -> Result<NsmDevice, Failure> {
    NsmDevice::open().map_err(asked)
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE_PATH)
}

fn asked(error: NsmError) -> Failure {
    mismatch("device", &"an answer", &error)
}
