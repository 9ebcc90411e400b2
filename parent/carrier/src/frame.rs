//! Frames between a carrier and its enclave: `type u8 | length u32 | payload`, big-endian. What the
//! types are, and their order, is the application's.

use std::fs::File;
use std::io::{self, Read, Write};

/// The largest payload in bytes that either side sends.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// The payload size in bytes in which files are sent.
pub const PIECE: usize = 64 * 1024;

/// Reads a frame's type and payload.
///
/// # Errors
/// Those of the stream, and `InvalidData` for a payload above [`MAX_PAYLOAD`].
pub fn read(from: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<u8> {
    let mut head = [0_u8; 5];
    from.read_exact(&mut head)?;
    let [frame, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_PAYLOAD {
        let said = format!("frame {frame:#04x} announces {length} bytes, above {MAX_PAYLOAD}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    payload.resize(length, 0);
    from.read_exact(payload)?;
    Ok(frame)
}

/// Writes a frame.
///
/// # Errors
/// Those of the stream, and `InvalidInput` for a payload above [`MAX_PAYLOAD`].
pub fn write(to: &mut impl Write, frame: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_PAYLOAD)
        .ok_or_else(|| {
            let got = payload.len();
            let said = format!("{got} bytes do not fit a frame of {MAX_PAYLOAD}");
            io::Error::new(io::ErrorKind::InvalidInput, said)
        })?;
    let mut head = [0; 5];
    head[0] = frame;
    head[1..].copy_from_slice(&length.to_be_bytes());
    to.write_all(&head)?;
    to.write_all(payload)
}

/// A file that is being sent cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be read on")]
pub(crate) struct Unreadable(#[source] io::Error);

impl Unreadable {
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Writes the rest of a file as frames of one type, in pieces of at most [`PIECE`], none of them
/// empty, and gives its length in bytes.
///
/// # Errors
/// Those of the file and of the stream.
pub fn write_file(to: &mut impl Write, frame: u8, file: &mut File) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut sent = 0_u64;
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => return Ok(sent),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(io::Error::other(Unreadable(error))),
        };
        write(to, frame, piece.get(..count).unwrap_or_default())?;
        sent = sent.saturating_add(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    #[test]
    fn frames_that_are_refused() {
        let mut payload = Vec::new();
        let mut refused = |sent: &[u8]| read(&mut &sent[..], &mut payload).unwrap_err().kind();
        assert_eq!(refused(&[1, 0, 4, 0, 1]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[1, 0, 0, 0, 2, 7]), io::ErrorKind::UnexpectedEof);
        assert_eq!(refused(&[1, 0]), io::ErrorKind::UnexpectedEof);
        let long = write(&mut Vec::new(), 1, &vec![0; MAX_PAYLOAD + 1]);
        assert_eq!(long.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_leaves_in_pieces() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; PIECE + 1]).unwrap();
        file.rewind().unwrap();
        let mut sent = Vec::new();
        assert_eq!(
            write_file(&mut sent, 5, &mut file).unwrap(),
            PIECE as u64 + 1
        );
        let (mut from, mut payload, mut lengths) = (sent.as_slice(), Vec::new(), Vec::new());
        while !from.is_empty() {
            assert_eq!(read(&mut from, &mut payload).unwrap(), 5);
            lengths.push(payload.len());
        }
        assert_eq!(lengths, [PIECE, 1]);
    }
}
