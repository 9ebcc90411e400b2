//! One enclave's whole memory, searched for the group's key and for its own share.
//!
//! A secret scalar lies in memory as 32 bytes, little-endian, below the group's order. Every window
//! of 32 bytes that could be one is multiplied with the base point. The enclave's share must be
//! found that way, by its public point, which shows that the search finds what is there; the group
//! key must not.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;

use crate::demo::guest::children;

/// Bytes between two windows: what the guest's compiler aligns these values to, or less.
const STEP: usize = 4;
/// Bytes that are read at once; windows that cross are found by an overlap.
const PIECE: usize = 16 << 20;
/// Different byte values that 32 random bytes have at least; fewer come less than once in 10^10.
const DISTINCT: usize = 16;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Bytes of guest memory that were read.
    pub bytes: u64,
    /// Windows that could be scalars, and were multiplied.
    pub candidates: u64,
    /// Windows that are the enclave's own share.
    pub own_share: u64,
    /// Windows that are the group's key.
    pub group_key: u64,
    /// Windows that are another participant's share.
    pub other_shares: u64,
}

/// Whose logarithms are searched for.
pub struct Wanted {
    /// The group key.
    pub group_key: String,
    /// The enclave's own point.
    pub own: String,
    /// The other participants' points.
    pub others: Vec<String>,
}

/// Searches the guest memory of the enclave that a hypervisor runs.
///
/// # Errors
/// There is no such memory, or it may not be read.
pub fn search(hypervisor: u32, wanted: &Wanted) -> Result<Found> {
    let (pid, start, end) = guest_memory(hypervisor)?;
    let memory = File::open(format!("/proc/{pid}/mem")).context("the guest's memory")?;
    let mut candidates = HashSet::new();
    let mut piece = vec![0; PIECE + 32];
    let mut at = start;
    while at < end {
        let length = usize::try_from((end - at).min(piece.len() as u64))?;
        let part = piece.get_mut(..length).unwrap_or_default();
        memory
            .read_exact_at(part, at)
            .with_context(|| format!("reading guest memory at {at:x}"))?;
        collect(part, &mut candidates);
        at += PIECE as u64;
    }
    let (key, own) = (point(&wanted.group_key)?, point(&wanted.own)?);
    let others: Result<Vec<_>> = wanted.others.iter().map(|text| point(text)).collect();
    let others = others?;
    let mut found = Found {
        bytes: end - start,
        candidates: candidates.len() as u64,
        own_share: 0,
        group_key: 0,
        other_shares: 0,
    };
    for scalar in &candidates {
        let point = EdwardsPoint::mul_base(scalar);
        found.own_share += u64::from(point == own);
        found.group_key += u64::from(point == key);
        found.other_shares += u64::from(others.contains(&point));
    }
    Ok(found)
}

/// The windows of a piece that could be secret scalars.
fn collect(piece: &[u8], candidates: &mut HashSet<Scalar>) {
    for (page, rest) in piece.chunks(4096).enumerate() {
        if rest.iter().all(|byte| *byte == 0) {
            continue;
        }
        let from = page * 4096;
        for offset in (0..rest.len()).step_by(STEP) {
            let Some(window) = piece
                .get(from + offset..)
                .and_then(|w| w.first_chunk::<32>())
            else {
                return;
            };
            // The order is 2^252 and a little: the last byte says most of it.
            if window[31] > 0x10 || window[30] == 0 && window[29] == 0 {
                continue;
            }
            if distinct(window) < DISTINCT {
                continue;
            }
            candidates.extend(Option::<Scalar>::from(Scalar::from_canonical_bytes(
                *window,
            )));
        }
    }
}

fn distinct(window: &[u8; 32]) -> usize {
    let mut seen = [0_u64; 4];
    for byte in window {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    seen.iter().map(|word| word.count_ones() as usize).sum()
}

fn point(text: &str) -> Result<EdwardsPoint> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)?;
    let point = CompressedEdwardsY(bytes).decompress();
    point.with_context(|| format!("{text} is no point"))
}

/// The process and addresses of the guest's memory: the largest shared mapping of the hypervisor's
/// QEMU.
fn guest_memory(hypervisor: u32) -> Result<(u32, u64, u64)> {
    for pid in children(hypervisor)? {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let largest = maps
            .lines()
            .filter(|line| line.contains("memfd:"))
            .filter_map(|line| {
                let (range, _) = line.split_once(' ')?;
                let (start, end) = range.split_once('-')?;
                let start = u64::from_str_radix(start, 16).ok()?;
                let end = u64::from_str_radix(end, 16).ok()?;
                Some((start, end))
            })
            .max_by_key(|(start, end)| end - start);
        if let Some((start, end)) = largest
            && end - start >= 64 << 20
        {
            return Ok((pid, start, end));
        }
    }
    bail!("the hypervisor {hypervisor} has no child with guest memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_found_among_noise_and_zeros_are_skipped() {
        let scalar = Scalar::from_bytes_mod_order([
            0x5a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
            23, 24, 25, 26, 27, 28, 29, 30, 3,
        ]);
        let mut piece = vec![0; 3 * 4096];
        piece[5000..5032].copy_from_slice(scalar.as_bytes());
        let mut candidates = HashSet::new();
        collect(&piece, &mut candidates);
        assert!(candidates.contains(&scalar));
        assert!(candidates.len() < 16, "{}", candidates.len());
        let mut none = HashSet::new();
        collect(&vec![0; 8192], &mut none);
        assert!(none.is_empty());
    }
}
