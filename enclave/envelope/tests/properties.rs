//! Round trips of all shapes, and openers that no input makes panic.

mod common;

use std::io::{BufRead, Read, Write};

use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    ContextRule, EncryptedDataKey, EncryptionContext, OpenError, SealPlan, Suite, UnverifiedMessage,
};
use common::{PROVIDERS, Parts, context, data_key, open, seal};
use proptest::collection::vec;
use proptest::prelude::*;

fn suites() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::Committed), Just(Suite::CommittedSigned)]
}

/// A reader that gives at most `step` bytes at a time.
struct Slow<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.step.min(out.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(count);
        out[..count].copy_from_slice(now);
        self.rest = later;
        Ok(count)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_sealed_opens(
        suite in suites(),
        sealer in 0..2usize,
        opener in 0..2usize,
        frame_length in 1..40u32,
        plaintext in vec(any::<u8>(), 0..200),
        pieces in 1..50usize,
        step in 1..30usize,
    ) {
        let plan = SealPlan::new_with(suite, context(), PROVIDERS[sealer]).unwrap();
        let plan = plan.with_frame_length(frame_length).unwrap();
        let id = *plan.message_id();
        let mut output = plan.seal_to(Vec::new(), &data_key(), vec![common::wrapped()]).unwrap();
        for piece in plaintext.chunks(pieces) {
            output.write_all(piece).unwrap();
            output.flush().unwrap();
        }
        let (message, sealed) = output.finish().unwrap();

        let input = Slow { rest: &message, step };
        let begun = UnverifiedMessage::begin_with(input, Limits::default(), PROVIDERS[opener]).unwrap();
        prop_assert_eq!(begun.suite(), suite);
        prop_assert_eq!(&begun.header_sha384(), sealed.header_sha384());
        prop_assert_eq!(begun.encrypted_data_keys(), &[common::wrapped()][..]);
        let mut opener = begun.authenticate(&data_key(), &ContextRule::Exactly(context())).unwrap();
        let mut opened = Vec::new();
        opener.reader().read_to_end(&mut opened).unwrap();
        let verified = opener.finish().unwrap();
        prop_assert_eq!(&opened, &plaintext);
        prop_assert_eq!(verified.message_id(), &id);
        prop_assert_eq!(verified.plaintext_length(), plaintext.len() as u64);
        prop_assert_eq!(verified.header_sha384(), sealed.header_sha384());
        prop_assert_eq!(verified.encryption_context(), sealed.encryption_context());
        prop_assert_eq!(sealed.message_length(), message.len() as u64);
        // The last frame is empty only when the message is.
        let parts = Parts::of(&message, suite, frame_length as usize);
        prop_assert_eq!(parts.frames.len(), plaintext.len().div_ceil(frame_length as usize).max(1));
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(open(PROVIDERS[0], &bytes).outcome.is_err());
    }

    #[test]
    fn arbitrary_bytes_after_a_version_and_suite_are_refused(
        suite in suites(),
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let start = [&[2][..], &suite.id().to_be_bytes()].concat();
        prop_assert!(open(PROVIDERS[0], &[start, bytes].concat()).outcome.is_err());
    }

    #[test]
    fn arbitrary_bytes_after_an_authentic_header_are_refused(
        suite in suites(),
        bytes in vec(any::<u8>(), 0..300),
        first in prop_oneof![Just(vec![]), Just(vec![0, 0, 0, 1]), Just(vec![0xff; 4])],
    ) {
        let header = Parts::of(&seal(PROVIDERS[0], suite, 16, b""), suite, 16).header;
        let opening = open(PROVIDERS[0], &[header, first, bytes].concat());
        prop_assert!(opening.outcome.is_err());
        prop_assert_eq!(opening.seen, b"");
    }

    #[test]
    fn a_message_with_bytes_replaced_is_refused(
        suite in suites(),
        at in any::<prop::sample::Index>(),
        replacement in vec(any::<u8>(), 1..20),
        cut in 0..20usize,
    ) {
        let plaintext = b"0123456789abcdef0123456789";
        let message = seal(PROVIDERS[1], suite, 16, plaintext);
        let at = at.index(message.len());
        let mut changed = message[..at].to_vec();
        changed.extend_from_slice(&replacement);
        changed.extend_from_slice(message.get(at + cut..).unwrap_or_default());
        prop_assume!(changed != message);
        let opening = open(PROVIDERS[1], &changed);
        prop_assert!(opening.outcome.is_err());
        prop_assert!(plaintext.starts_with(&opening.seen));
    }

    #[test]
    fn contexts_survive(pairs in proptest::collection::btree_map("\\PC{0,20}", "\\PC{0,40}", 0..12)) {
        let pairs = pairs.into_iter().filter(|(key, _)| !key.starts_with("aws-crypto-"));
        let context = EncryptionContext::from_pairs(pairs).unwrap();
        let plan = SealPlan::new(Suite::Committed, context.clone()).unwrap();
        let key = EncryptedDataKey::new("p", [], [0]).unwrap();
        let (message, _) = plan.seal_to(Vec::new(), &data_key(), vec![key]).unwrap().finish().unwrap();
        let begun = UnverifiedMessage::begin(&message[..]).unwrap();
        prop_assert_eq!(begun.encryption_context(), &context);
        prop_assert_eq!(begun.encryption_context().without_reserved(), context);
    }
}

#[test]
fn readers_give_the_refusal_as_an_error() {
    let mut message = seal(
        PROVIDERS[0],
        Suite::CommittedSigned,
        8,
        b"first;\nsecond;\nthird;\n",
    );
    let last = message.len() - 1;
    message[last] ^= 1;
    let begun = UnverifiedMessage::begin(&message[..]).unwrap();
    let mut opener = begun
        .authenticate(&data_key(), &ContextRule::Exactly(context()))
        .unwrap();
    let mut lines = opener.reader().lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first;");
    let refusal = lines
        .find_map(Result::err)
        .expect("the signature was changed");
    let refusal = refusal
        .into_inner()
        .unwrap()
        .downcast::<OpenError>()
        .unwrap();
    assert_eq!(refusal.rule(), "footer.signature");
    assert_eq!(opener.finish().unwrap_err().rule(), "message.refused");
}

#[test]
fn a_reader_that_fails_is_not_an_end() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::ErrorKind::ConnectionReset.into()),
                count => Ok(count),
            }
        }
    }

    // Also where the message is complete and only its end is to be seen.
    let message = seal(PROVIDERS[0], Suite::Committed, 8, b"123456789");
    for length in [0, 100, message.len() - 1, message.len()] {
        let outcome = UnverifiedMessage::begin(Broken(&message[..length]))
            .and_then(|begun| begun.authenticate(&data_key(), &ContextRule::Exactly(context())))
            .and_then(|opener| {
                let mut sink = opener.unreleased(Vec::new());
                opener.open_into(&mut sink)
            });
        assert_eq!(outcome.unwrap_err().rule(), "io.read", "{length} bytes");
    }
}
