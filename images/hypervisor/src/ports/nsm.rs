//! The security module's port, `nsm.0`.
//!
//! ```text
//! frame = length u32 big-endian | length bytes of CBOR
//! guest → host: a request, 1 to 0x1000 bytes        (the NSM driver's own bound, EMSGSIZE beyond)
//! host → guest: its response, 1 to 0x3000 bytes     (the size of the driver's response buffer)
//! ```
//!
//! One request is outstanding at a time: the next frame is read when the response is written, so a
//! guest that sends more is held back by its own socket's buffer and makes nothing grow here. A
//! frame out of bounds has no good continuation (nobody knows where the next one would begin) and
//! ends the enclave.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use nix::time::{ClockId, clock_gettime};

/// Requests a second that a guest gets answered on average, cheap ones. An attestation takes a
/// signature, about a millisecond of the host's processor, and counts by [`SHARE`].
pub const REQUESTS_PER_SECOND: u32 = 500;

/// The part of one of the host's processors that a guest's requests may take on average: one in so
/// many, by the time that each really took.
pub const SHARE: u32 = 4;

/// Cheap requests that may come at once before the average counts.
pub const BURST: u32 = 500;

/// How the port ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NsmPortError {
    /// A frame that is empty or too long.
    #[error("the guest sent an NSM frame of {got} bytes: expected 1 to {max}", max = MAX_REQUEST)]
    FrameSize {
        /// The frame's length, as the guest gave it.
        got: u32,
    },
    /// The guest's end went away in the middle of a frame or of a response.
    #[error("the NSM port broke")]
    Io(#[source] io::Error),
    /// The security module's response is out of bounds, which is a fault of ours.
    #[error("the security module answered {got} bytes: expected 1 to {max}", max = MAX_RESPONSE)]
    ResponseSize {
        /// The response's length.
        got: usize,
    },
}

impl NsmPortError {
    /// A stable name of the rule that ended the port.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::FrameSize { .. } => "nsm-port.frame-size",
            Self::Io(_) => "nsm-port.io",
            Self::ResponseSize { .. } => "nsm-port.response-size",
        }
    }
}

/// Answers the guest's requests with `answer` until the port closes between two frames.
///
/// # Errors
/// [`NsmPortError`]: the enclave cannot go on without its security module.
pub fn serve(
    mut port: UnixStream,
    mut answer: impl FnMut(&[u8]) -> Vec<u8>,
) -> Result<(), NsmPortError> {
    let mut rate = Rate::new(Instant::now());
    let mut frame = vec![0; MAX_REQUEST];
    let mut used = processor_time();
    while let Some(request) = read_frame(&mut port, &mut frame)? {
        let response = answer(request);
        write_frame(&mut port, &response)?;
        let now_used = processor_time();
        if let Some(wait) = rate.charge(Instant::now(), now_used.saturating_sub(used)) {
            thread::sleep(wait);
        }
        used = now_used;
    }
    Ok(())
}

/// What this thread has taken of a processor, in the kernel's calls too. Nothing where the kernel
/// does not tell: then the number of requests alone counts.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Reads one frame into `buffer`. `None` when the port closed before its first byte.
fn read_frame<'a>(
    port: &mut impl Read,
    buffer: &'a mut [u8],
) -> Result<Option<&'a [u8]>, NsmPortError> {
    let mut length = [0; 4];
    let Some((first, rest)) = length.split_first_mut() else {
        return Ok(None);
    };
    loop {
        match port.read(std::slice::from_mut(first)) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // QEMU was killed with the guest's bytes unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(NsmPortError::Io(error)),
        }
    }
    port.read_exact(rest).map_err(NsmPortError::Io)?;
    let got = u32::from_be_bytes(length);
    let frame = usize::try_from(got)
        .ok()
        .filter(|&length| length > 0)
        .and_then(|length| buffer.get_mut(..length))
        .ok_or(NsmPortError::FrameSize { got })?;
    port.read_exact(frame).map_err(NsmPortError::Io)?;
    Ok(Some(frame))
}

fn write_frame(port: &mut impl Write, response: &[u8]) -> Result<(), NsmPortError> {
    let got = response.len();
    let length = u32::try_from(got)
        .ok()
        .filter(|_| (1..=MAX_RESPONSE).contains(&got))
        .ok_or(NsmPortError::ResponseSize { got })?;
    let mut frame = Vec::with_capacity(got.saturating_add(4));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(response);
    port.write_all(&frame).map_err(NsmPortError::Io)
}

/// A token bucket of time: a request takes its turn of [`REQUESTS_PER_SECOND`], or [`SHARE`] times
/// what it took of a processor if that is longer; [`BURST`] turns may be taken at once.
#[derive(Debug)]
struct Rate {
    /// When the bucket would be full again.
    full_at: Instant,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Charges a request that took so much of a processor; says how long the next one has to wait,
    /// if it has to.
    fn charge(&mut self, now: Instant, took: Duration) -> Option<Duration> {
        let turn = Duration::from_secs(1) / REQUESTS_PER_SECOND;
        let most = turn * BURST;
        self.full_at = self.full_at.max(now) + turn.max(took.saturating_mul(SHARE));
        let ahead = self.full_at.saturating_duration_since(now);
        ahead.checked_sub(most).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short");
        [&length.to_be_bytes()[..], body].concat()
    }

    /// What the port answers to `input`, and how it ends when the guest closes after it.
    fn exchange(input: &[u8]) -> (Vec<u8>, Result<(), NsmPortError>) {
        let (mut guest, host) = UnixStream::pair().expect("socket pair");
        let server = thread::spawn(move || serve(host, |request| request.to_vec()));
        let mut reader = guest.try_clone().expect("clone");
        let answers = thread::spawn(move || {
            let mut answers = Vec::new();
            let _ = reader.read_to_end(&mut answers);
            answers
        });
        // A port that refused the first frame is closed before the rest is written.
        let _ = guest.write_all(input);
        let _ = guest.shutdown(std::net::Shutdown::Write);
        let result = server.join().expect("server");
        (answers.join().expect("reader"), result)
    }

    #[test]
    fn frames_out_of_bounds_end_the_port() {
        for got in [0, MAX_REQUEST as u32 + 1, u32::MAX] {
            let (answers, result) = exchange(&got.to_be_bytes());
            let error = result.expect_err("out of bounds");
            assert_eq!(error.rule(), "nsm-port.frame-size");
            assert!(error.to_string().contains(&got.to_string()));
            assert!(answers.is_empty());
        }
    }

    #[test]
    fn a_frame_cut_short_is_an_error() {
        for input in [&[0, 0][..], &[0, 0, 0, 9, 1]] {
            let (_, result) = exchange(input);
            assert_eq!(result.expect_err("cut").rule(), "nsm-port.io");
        }
    }

    #[test]
    fn a_response_out_of_bounds_never_leaves() {
        for response in [vec![], vec![0; MAX_RESPONSE + 1]] {
            let mut out = Vec::new();
            let error = write_frame(&mut out, &response).expect_err("out of bounds");
            assert_eq!(error.rule(), "nsm-port.response-size");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn closing_between_frames_is_the_end() {
        let (answers, result) = exchange(b"");
        result.expect("the end");
        assert!(answers.is_empty());
    }

    #[test]
    fn a_guest_that_never_reads_is_held_back() {
        let (mut guest, host) = UnixStream::pair().expect("socket pair");
        thread::spawn(move || serve(host, |_| vec![0; MAX_RESPONSE]));
        guest
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("timeout");
        let request = frame(&[0; MAX_REQUEST]);
        let taken = (0..10_000)
            .take_while(|_| guest.write_all(&request).is_ok())
            .count();
        assert!(taken < 1000, "{taken} requests were taken unanswered");
    }

    #[test]
    fn a_burst_is_free_and_then_the_average_counts() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..BURST {
            assert_eq!(rate.charge(start, Duration::ZERO), None);
        }
        let turn = Duration::from_secs(1) / REQUESTS_PER_SECOND;
        assert_eq!(rate.charge(start, Duration::ZERO), Some(turn));
        assert_eq!(rate.charge(start, turn / SHARE), Some(turn * 2));
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.charge(later, Duration::ZERO), None);
    }

    #[test]
    fn requests_that_take_long_get_their_share_of_a_processor() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let (start, took) = (now, Duration::from_millis(5));
        let mut busy = Duration::ZERO;
        for _ in 0..2000 {
            now += took;
            busy += took;
            now += rate.charge(now, took).unwrap_or_default();
        }
        let share = busy.as_secs_f64() / (now - start).as_secs_f64();
        assert!(share < 1.1 / f64::from(SHARE), "{share}");
        assert!(share > 0.9 / f64::from(SHARE), "{share}");
    }

    #[test]
    fn a_processor_s_time_is_told() {
        let before = processor_time();
        let until = Instant::now() + Duration::from_millis(20);
        while Instant::now() < until {}
        assert!(processor_time() > before);
    }

    proptest! {
        #[test]
        fn every_frame_is_answered_in_order(bodies in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 1..200), 0..20,
        )) {
            let input: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let (answers, result) = exchange(&input);
            prop_assert!(result.is_ok());
            prop_assert_eq!(answers, input);
        }

        #[test]
        fn any_bytes_are_read_without_panic(input in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = [0; 16];
            let _ = read_frame(&mut &input[..], &mut buffer);
        }
    }
}
