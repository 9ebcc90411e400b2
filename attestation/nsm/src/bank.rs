//! The bank of 32 platform configuration registers.

use std::collections::{BTreeMap, BTreeSet};

use anchorhold_document::limits::PCR_COUNT;
use anchorhold_document::nsm::ErrorCode;
use anchorhold_document::{Pcr, PcrIndex};
use sha2::{Digest, Sha384};

/// Registers 0..16 are the platform's and locked at boot.
const PLATFORM_PCRS: u8 = 16;

/// The registers, and which of them are read-only.
pub(crate) struct PcrBank {
    values: [Pcr; PCR_COUNT as usize],
    locked: BTreeSet<PcrIndex>,
}

impl PcrBank {
    /// A bank after boot: the given registers set, 0–15 locked, everything else zero.
    pub(crate) fn booted(measured: &[(PcrIndex, Pcr)]) -> Self {
        let mut bank = Self {
            values: [Pcr::ZERO; PCR_COUNT as usize],
            locked: PcrIndex::all()
                .filter(|index| index.value() < PLATFORM_PCRS)
                .collect(),
        };
        for &(index, value) in measured {
            if let Some(slot) = bank.values.get_mut(usize::from(index)) {
                *slot = value;
            }
        }
        bank
    }

    /// A register's value and whether it is locked.
    pub(crate) fn describe(&self, index: u16) -> Result<(Pcr, bool), ErrorCode> {
        let index = known(index)?;
        Ok((self.value(index), self.locked.contains(&index)))
    }

    /// Replaces a register by SHA-384(old value ‖ data).
    pub(crate) fn extend(&mut self, index: u16, data: &[u8]) -> Result<Pcr, ErrorCode> {
        let index = self.writable(index)?;
        let new = Pcr(Sha384::new()
            .chain_update(self.value(index).as_bytes())
            .chain_update(data)
            .finalize()
            .into());
        match self.values.get_mut(usize::from(index)) {
            Some(slot) => *slot = new,
            None => return Err(ErrorCode::InvalidIndex),
        }
        Ok(new)
    }

    /// Makes one register read-only; refused if it already is.
    pub(crate) fn lock(&mut self, index: u16) -> Result<(), ErrorCode> {
        let index = self.writable(index)?;
        self.locked.insert(index);
        Ok(())
    }

    /// Makes the registers 0..range read-only; those that already are stay so.
    pub(crate) fn lock_range(&mut self, range: u16) -> Result<(), ErrorCode> {
        if range > u16::from(PCR_COUNT) {
            return Err(ErrorCode::InvalidIndex);
        }
        self.locked
            .extend(PcrIndex::all().filter(|index| u16::from(index.value()) < range));
        Ok(())
    }

    /// The read-only registers.
    pub(crate) fn locked(&self) -> &BTreeSet<PcrIndex> {
        &self.locked
    }

    /// The read-only registers with their values, zero ones included: what a document carries.
    pub(crate) fn locked_values(&self) -> BTreeMap<PcrIndex, Pcr> {
        self.locked
            .iter()
            .map(|&index| (index, self.value(index)))
            .collect()
    }

    fn value(&self, index: PcrIndex) -> Pcr {
        self.values
            .get(usize::from(index))
            .copied()
            .unwrap_or(Pcr::ZERO)
    }

    fn writable(&self, index: u16) -> Result<PcrIndex, ErrorCode> {
        let index = known(index)?;
        if self.locked.contains(&index) {
            Err(ErrorCode::ReadOnlyIndex)
        } else {
            Ok(index)
        }
    }
}

fn known(index: u16) -> Result<PcrIndex, ErrorCode> {
    PcrIndex::try_from(u64::from(index)).map_err(|_| ErrorCode::InvalidIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_or_unknown_register_is_refused() {
        let mut bank = PcrBank::booted(&[]);
        assert_eq!(bank.extend(15, b"x"), Err(ErrorCode::ReadOnlyIndex));
        assert_eq!(bank.lock(0), Err(ErrorCode::ReadOnlyIndex));
        for index in [32, 33, 256, u16::MAX] {
            assert_eq!(bank.describe(index), Err(ErrorCode::InvalidIndex));
            assert_eq!(bank.extend(index, b"x"), Err(ErrorCode::InvalidIndex));
            assert_eq!(bank.lock(index), Err(ErrorCode::InvalidIndex));
        }
        assert_eq!(bank.lock_range(33), Err(ErrorCode::InvalidIndex));
        assert_eq!(bank.locked().len(), 16);
    }

    #[test]
    fn extending_hashes_the_old_value_and_the_data() {
        let mut bank = PcrBank::booted(&[]);
        // echo -n measured | (head -c 48 /dev/zero; cat) | sha384sum
        let expected = Pcr(Sha384::digest([&[0; 48][..], b"measured"].concat()).into());
        assert_eq!(bank.extend(16, b"measured"), Ok(expected));
        assert_eq!(bank.describe(16), Ok((expected, false)));
        let again = Pcr(Sha384::digest([&expected.0[..], b""].concat()).into());
        assert_eq!(bank.extend(16, b""), Ok(again));
    }

    #[test]
    fn a_locked_register_keeps_its_value_and_enters_documents() {
        let mut bank = PcrBank::booted(&[(PcrIndex::PCR0, Pcr([7; 48]))]);
        let value = bank.extend(16, b"x").unwrap();
        assert_eq!(bank.lock(16), Ok(()));
        assert_eq!(bank.extend(16, b"y"), Err(ErrorCode::ReadOnlyIndex));
        assert_eq!(bank.describe(16), Ok((value, true)));
        let values = bank.locked_values();
        assert_eq!(values.len(), 17);
        assert_eq!(values.get(&PcrIndex::PCR0), Some(&Pcr([7; 48])));
        assert_eq!(values.get(&PcrIndex::PCR1), Some(&Pcr::ZERO));
    }

    #[test]
    fn locking_a_range_passes_over_locked_registers() {
        let mut bank = PcrBank::booted(&[]);
        assert_eq!(bank.lock_range(0), Ok(()));
        assert_eq!(bank.lock_range(18), Ok(()));
        assert_eq!(bank.locked().len(), 18);
        assert_eq!(bank.lock_range(32), Ok(()));
        assert_eq!(bank.lock_range(32), Ok(()));
        assert_eq!(bank.locked_values().len(), 32);
    }
}
