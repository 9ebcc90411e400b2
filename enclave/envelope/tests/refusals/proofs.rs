//! What an opening proves, and what a sealer refuses.

use anchorhold_envelope::limits::{MAX_ENCRYPTED_DATA_KEYS, MAX_FRAME_LENGTH, MAX_WRAPPED_KEY};
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, SealError, SealPlan, Suite, UnverifiedMessage,
};

use crate::common::{PROVIDERS, Parts, context, data_key, seal, wrapped};
use crate::{FRAME, PLAINTEXT};

#[test]
fn nothing_comes_out_after_a_refusal() {
    let suite = Suite::CommittedSigned;
    let mut parts = Parts::of(&seal(PROVIDERS[0], suite, 8, PLAINTEXT), suite, FRAME);
    parts.frames[1][20] ^= 1;
    let message = parts.join();
    let begun = UnverifiedMessage::begin(&message[..]).unwrap();
    let rule = ContextRule::Exactly(context());
    let mut opener = begun.authenticate(&data_key(), &rule).unwrap();
    assert_eq!(
        opener.next_frame().unwrap().unwrap().peek(),
        &&PLAINTEXT[..8]
    );
    assert_eq!(opener.next_frame().err().unwrap().rule(), "frame.tag");
    assert_eq!(opener.next_frame().err().unwrap().rule(), "message.refused");
    assert_eq!(opener.finish().unwrap_err().rule(), "message.refused");
}

#[test]
fn an_unread_end_is_no_proof() {
    let message = seal(PROVIDERS[0], Suite::Committed, 8, PLAINTEXT);
    let rule = ContextRule::Exactly(context());
    let begin = || UnverifiedMessage::begin(&message[..]).unwrap();
    let mut opener = begin().authenticate(&data_key(), &rule).unwrap();
    opener.next_frame().unwrap();
    assert_eq!(opener.finish().unwrap_err().rule(), "message.unfinished");
}

#[test]
fn the_proof_of_one_opening_releases_nothing_of_another() {
    let message = seal(PROVIDERS[0], Suite::Committed, 8, PLAINTEXT);
    let rule = ContextRule::Exactly(context());
    let opener = || {
        let begun = UnverifiedMessage::begin(&message[..]).unwrap();
        begun.authenticate(&data_key(), &rule).unwrap()
    };
    // The same message, opened twice: one opening stopped half-way.
    let mut first = opener();
    first.next_frame().unwrap();
    let half = first.unreleased(8);
    let second = opener();
    let mut whole = second.unreleased(Vec::new());
    let verified = second.open_into(&mut whole).unwrap();
    assert_eq!(half.release(&verified).unwrap_err().rule(), "message.other");
    assert_eq!(
        whole.map(|bytes| bytes.len()).release(&verified).unwrap(),
        PLAINTEXT.len()
    );
}

#[test]
fn sealers_refuse_what_no_opener_takes() {
    let plan = || SealPlan::new(Suite::Committed, context()).unwrap();
    for length in [0, MAX_FRAME_LENGTH + 1, u32::MAX] {
        let refusal = plan().with_frame_length(length).err().unwrap();
        assert!(matches!(refusal, SealError::FrameLength { found, .. } if found == length));
    }
    for count in [0, MAX_ENCRYPTED_DATA_KEYS + 1] {
        let keys = vec![wrapped(); count];
        let refusal = plan().seal_to(Vec::new(), &data_key(), keys).err().unwrap();
        assert_eq!(refusal.rule(), "edk.count");
    }
    assert!(
        plan()
            .seal_to(Vec::new(), &data_key(), vec![wrapped(); 64])
            .is_ok()
    );
    for (id, info, ciphertext) in [(257, 0, 1), (1, 4097, 1), (1, 1, MAX_WRAPPED_KEY + 1)] {
        let key = EncryptedDataKey::new("p".repeat(id), vec![0; info], vec![0; ciphertext]);
        assert_eq!(key.unwrap_err().rule(), "edk.length");
    }
    assert_eq!(
        DataKey::from_bytes(&[0; 31]).err().unwrap().rule(),
        "data-key.length"
    );
}

#[test]
fn a_broken_output_fails_the_message_for_good() {
    use std::io::Write as _;

    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 {
                Err(std::io::ErrorKind::StorageFull.into())
            } else {
                Ok(taken)
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let plan = SealPlan::new(Suite::CommittedSigned, context()).unwrap();
    let mut sealer = plan
        .seal_to(Full(1000), &data_key(), vec![wrapped()])
        .unwrap();
    assert!(sealer.write_all(&[0; 20_000]).is_err());
    assert!(sealer.write_all(b"more").is_err());
    assert_eq!(sealer.finish().err().unwrap().rule(), "message.failed");
}
