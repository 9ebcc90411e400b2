//! The Python AWS Encryption SDK opens what is sealed here, and the reverse.

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::sync::OnceLock;

use anchorhold_envelope::crypto::Provider;
use anchorhold_envelope::limits::{DEFAULT_FRAME_LENGTH, Limits};
use anchorhold_envelope::raw_rsa::{KeyName, UnwrappingKey, WrappingKey};
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptionContext, OpenError, PUBLIC_KEY_FIELD, SealPlan, Suite,
    UnverifiedMessage,
};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::python::Python;
use common::{PROVIDERS, SUITES};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

const FRAME: usize = DEFAULT_FRAME_LENGTH as usize;

/// Some hundred frames and a piece.
const LARGE: usize = 2_500_007;

/// An RSA key that both parties have.
struct Shared {
    name: &'static str,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Shared {
    fn new(name: &'static str) -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        Self {
            name,
            pkcs8: pkcs8.as_ref().to_vec(),
            public: public.as_ref().to_vec(),
        }
    }

    fn name(&self) -> KeyName {
        KeyName::new("test-namespace", self.name).unwrap()
    }

    fn unwrapping(&self) -> UnwrappingKey {
        UnwrappingKey::from_pkcs8_der(self.name(), &self.pkcs8).unwrap()
    }

    fn wrapping(&self) -> WrappingKey {
        WrappingKey::from_public_key_der(self.name(), &self.public).unwrap()
    }

    fn for_python(&self) -> Value {
        let body = STANDARD.encode(&self.pkcs8);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        json!({"namespace": "test-namespace", "name": self.name, "private_key": pem})
    }
}

fn shared() -> &'static Shared {
    static KEY: OnceLock<Shared> = OnceLock::new();
    KEY.get_or_init(|| Shared::new("key one"))
}

/// Bytes that show a frame in the wrong place.
fn plaintext(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

fn context() -> EncryptionContext {
    // Keys whose order in UTF-8 and in UTF-16 differs.
    let pairs = [
        ("purpose", "records"),
        ("\u{ff5e}", "fullwidth"),
        ("\u{1f511}", "key"),
        ("", ""),
    ];
    EncryptionContext::from_pairs(pairs).unwrap()
}

fn python_encrypts(
    python: &mut Python,
    keys: &[&Shared],
    suite: u16,
    context: &EncryptionContext,
    frame_length: usize,
    plaintext: &[u8],
) -> Vec<u8> {
    let answer = python.ask(&json!({
        "op": "encrypt",
        "keys": keys.iter().map(|key| key.for_python()).collect::<Vec<_>>(),
        "suite": suite,
        "context": context.as_map(),
        "frame_length": frame_length,
        "plaintext": STANDARD.encode(plaintext),
    }));
    STANDARD
        .decode(
            answer["message"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}")),
        )
        .unwrap()
}

fn open_here(
    provider: &'static dyn Provider,
    key: &Shared,
    message: &[u8],
    rule: &ContextRule,
) -> Result<Vec<u8>, OpenError> {
    let begun = UnverifiedMessage::begin_with(message, Limits::default(), provider)?;
    let data_key = key
        .unwrapping()
        .unwrap(begun.encrypted_data_keys())
        .unwrap();
    let opener = begun.authenticate(&data_key, rule)?;
    let mut output = opener.unreleased(Vec::new());
    let verified = opener.open_into(&mut output)?;
    Ok(output.release(&verified).unwrap())
}

#[test]
fn python_messages_open_here() {
    let mut python = Python::start("esdk.py");
    let rule = ContextRule::Exactly(context());
    for suite in SUITES {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, LARGE] {
            let expected = plaintext(length);
            let id = suite.id();
            let message =
                python_encrypts(&mut python, &[shared()], id, &context(), FRAME, &expected);
            for provider in PROVIDERS {
                let opened = open_here(provider, shared(), &message, &rule).unwrap();
                assert!(
                    opened == expected,
                    "{suite}, {length} bytes, {}",
                    provider.name()
                );
            }
        }
    }
}

#[test]
fn python_messages_with_other_frames_open_here() {
    let mut python = Python::start("esdk.py");
    let rule = ContextRule::Exactly(EncryptionContext::empty());
    for suite in SUITES {
        // 0 makes an unframed message; the SDK takes multiples of 128.
        for frame_length in [0, 128, 1 << 20] {
            for length in [0, 1, 127, 128, 129, 4097] {
                let expected = plaintext(length);
                let empty = EncryptionContext::empty();
                let (id, keys) = (suite.id(), [shared()]);
                let message =
                    python_encrypts(&mut python, &keys, id, &empty, frame_length, &expected);
                let opened = open_here(PROVIDERS[0], shared(), &message, &rule).unwrap();
                assert_eq!(
                    opened, expected,
                    "{suite}, frames of {frame_length}, {length} bytes"
                );
            }
        }
    }
}

#[test]
fn messages_sealed_here_open_in_python() {
    let mut python = Python::start("esdk.py");
    for provider in PROVIDERS {
        for suite in SUITES {
            for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, LARGE] {
                let expected = plaintext(length);
                let data_key = DataKey::generate().unwrap();
                let plan = SealPlan::new_with(suite, context(), provider).unwrap();
                let keys = vec![shared().wrapping().wrap(&data_key).unwrap()];
                let in_header = plan.encryption_context().clone();
                let mut sealer = plan.seal_to(Vec::new(), &data_key, keys).unwrap();
                sealer.write_all(&expected).unwrap();
                let (message, sealed) = sealer.finish().unwrap();
                assert_eq!(sealed.message_length(), message.len() as u64);

                let answer = python.ask(&json!({
                    "op": "decrypt",
                    "keys": [shared().for_python()],
                    "message": STANDARD.encode(&message),
                }));
                let opened = answer["plaintext"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{answer}"));
                assert!(
                    STANDARD.decode(opened).unwrap() == expected,
                    "{suite}, {length} bytes"
                );
                assert_eq!(answer["context"], json!(in_header.as_map()));
                assert_eq!(in_header.get(PUBLIC_KEY_FIELD).is_some(), suite.is_signed());
            }
        }
    }
}

#[test]
fn each_of_several_keys_opens_a_message() {
    let mut python = Python::start("esdk.py");
    let other = Shared::new("key two");
    let rule = ContextRule::Exactly(context());
    let suite = Suite::CommittedSigned;
    let keys = [shared(), &other];
    let message = python_encrypts(
        &mut python,
        &keys,
        suite.id(),
        &context(),
        FRAME,
        b"for two",
    );
    for key in keys {
        assert_eq!(
            open_here(PROVIDERS[0], key, &message, &rule).unwrap(),
            b"for two"
        );
    }

    let data_key = DataKey::generate().unwrap();
    let wrapped = keys
        .map(|key| key.wrapping().wrap(&data_key).unwrap())
        .to_vec();
    let plan = SealPlan::new(suite, context()).unwrap();
    let mut sealer = plan.seal_to(Vec::new(), &data_key, wrapped).unwrap();
    sealer.write_all(b"from here").unwrap();
    let message = STANDARD.encode(sealer.finish().unwrap().0);
    for key in keys {
        let command = json!({"op": "decrypt", "keys": [key.for_python()], "message": message});
        assert_eq!(
            python.ask(&command)["plaintext"],
            STANDARD.encode(b"from here")
        );
    }
}

#[test]
fn pairs_that_are_not_in_the_header_must_be_known() {
    let mut python = Python::start("esdk.py");
    let pairs = |pairs: &[(&str, &str)]| EncryptionContext::from_pairs(pairs.to_vec()).unwrap();
    for suite in SUITES {
        let answer = python.ask(&json!({
            "op": "encrypt",
            "keys": [shared().for_python()],
            "suite": suite.id(),
            "context": {"stored": "1", "tenant": "blue", "year": "2031"},
            "required": ["tenant", "year"],
            "frame_length": 4096,
            "plaintext": STANDARD.encode(b"known to both"),
        }));
        let message = STANDARD
            .decode(answer["message"].as_str().unwrap())
            .unwrap();
        let begin = || UnverifiedMessage::begin(&message[..]).unwrap();
        let data_key = shared()
            .unwrapping()
            .unwrap(begin().encrypted_data_keys())
            .unwrap();

        let known = pairs(&[("tenant", "blue"), ("year", "2031")]);
        let begun = begin().with_reproduced_context(&known).unwrap();
        let all = pairs(&[("stored", "1"), ("tenant", "blue"), ("year", "2031")]);
        let opener = begun
            .authenticate(&data_key, &ContextRule::Exactly(all))
            .unwrap();
        let mut output = opener.unreleased(Vec::new());
        let verified = opener.open_into(&mut output).unwrap();
        assert_eq!(output.release(&verified).unwrap(), b"known to both");

        let rule = ContextRule::AtLeast(EncryptionContext::empty());
        for wrong in [
            &[][..],
            &[("tenant", "blue")],
            &[("tenant", "red"), ("year", "2031")],
        ] {
            let begun = begin().with_reproduced_context(&pairs(wrong)).unwrap();
            let refusal = begun.authenticate(&data_key, &rule).err().unwrap();
            assert_eq!(refusal.rule(), "header.tag", "{wrong:?}");
        }
        let refusal = begin()
            .with_reproduced_context(&pairs(&[("stored", "1")]))
            .err()
            .unwrap();
        assert_eq!(refusal.rule(), "context.duplicate");
    }
}

#[test]
fn suites_that_do_not_commit_are_refused_by_name() {
    let mut python = Python::start("esdk.py");
    let suites = [
        0x0014, 0x0046, 0x0078, 0x0114, 0x0146, 0x0178, 0x0214, 0x0346, 0x0378,
    ];
    for suite in suites {
        let message = python_encrypts(&mut python, &[shared()], suite, &context(), FRAME, b"old");
        let refusal = UnverifiedMessage::begin(&message[..]).err().unwrap();
        assert!(
            matches!(refusal, OpenError::Version { found: 1 }),
            "{suite:#06x}: {refusal}"
        );

        // The same suite in a version 2 header.
        let mut message = common::seal(PROVIDERS[0], Suite::Committed, 16, b"");
        message[1..3].copy_from_slice(&suite.to_be_bytes());
        let refusal = UnverifiedMessage::begin(&message[..]).err().unwrap();
        assert!(
            matches!(refusal, OpenError::Suite { found } if found == suite),
            "{refusal}"
        );
        assert!(refusal.to_string().contains("AES_"), "{refusal}");
    }
}

#[test]
fn python_refuses_what_is_changed_here() {
    let mut python = Python::start("esdk.py");
    let data_key = DataKey::generate().unwrap();
    let keys = vec![shared().wrapping().wrap(&data_key).unwrap()];
    let plan = SealPlan::new(Suite::CommittedSigned, context()).unwrap();
    let mut sealer = plan.seal_to(Vec::new(), &data_key, keys).unwrap();
    sealer.write_all(b"to be changed").unwrap();
    let message = sealer.finish().unwrap().0;
    // The oracle judges: commitment, frame, signature.
    for from_end in [10, 110, 180] {
        let mut changed = message.clone();
        let at = changed.len() - from_end;
        changed[at] ^= 1;
        let answer = python.ask(&json!({
            "op": "decrypt",
            "keys": [shared().for_python()],
            "message": STANDARD.encode(&changed),
        }));
        assert!(
            answer["error"].is_string(),
            "{from_end} bytes from the end: {answer}"
        );
    }
}

#[test]
fn contexts_of_all_kinds_agree() {
    let python = RefCell::new(Python::start("esdk.py"));
    let pairs = proptest::collection::btree_map("\\PC{0,12}", "\\PC{0,20}", 0..8);
    let body = proptest::collection::vec(any::<u8>(), 0..300);
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&(pairs, any::<bool>(), body), |case| {
        let (pairs, signed, body) = case;
        let pairs = pairs
            .into_iter()
            .filter(|(key, _)| !key.starts_with("aws-crypto-"));
        let context = EncryptionContext::from_pairs(pairs).unwrap();
        let suite = if signed {
            Suite::CommittedSigned
        } else {
            Suite::Committed
        };
        let (python, keys) = (&mut python.borrow_mut(), [shared()]);
        let message = python_encrypts(python, &keys, suite.id(), &context, 128, &body);
        let rule = ContextRule::Exactly(context);
        let opened = open_here(PROVIDERS[0], shared(), &message, &rule).unwrap();
        prop_assert_eq!(opened, body);
        Ok(())
    });
    outcome.unwrap();
}
