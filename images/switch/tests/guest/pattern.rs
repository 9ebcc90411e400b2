// Bytes that both sides can make and check, shared by the guest program and the host's tests.

/// After so many bytes the pattern repeats: a prime, so that no buffer size divides it and bytes
/// that are lost, doubled or moved by any power of two are noticed.
const PERIOD: usize = 65_521;

/// An endless sequence of bytes that depends on a seed.
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// The pattern of `seed`, in pieces of at most `longest` bytes.
    pub fn new(seed: u32, longest: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .take(PERIOD)
        .collect();
        while bytes.len() < PERIOD + longest {
            let more = (PERIOD + longest - bytes.len()).min(PERIOD);
            bytes.extend_from_within(..more);
        }
        Self { bytes }
    }

    /// `len` bytes of the pattern, from `position`.
    pub fn piece(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.bytes[start..start + len]
    }
}
