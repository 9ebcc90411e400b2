//! Envelopes: openssl's and the KMS's open, everything else is refused.

#[path = "common/cms.rs"]
mod writer;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anchorhold_enclave::cms::{BerError, CmsError, EnvelopedData, MAX_LENGTH};
use anchorhold_enclave::recipient::{RecipientError, RecipientKey};
use aws_lc_rs::digest::{SHA256, digest};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use proptest::collection::vec;
use proptest::prelude::*;
use writer::{CONTENT_KEY, Envelope, IV, bytes, chunks, definite, encrypt, oaep, one_piece, wrap};

const PLAINTEXT: &[u8] = b"a data key of thirty-two bytes!!";

/// One key for all tests of a process: making one takes a while.
fn key() -> &'static RecipientKey {
    static KEY: OnceLock<RecipientKey> = OnceLock::new();
    KEY.get_or_init(|| RecipientKey::generate().unwrap())
}

fn spki() -> &'static [u8] {
    key().public_key_der()
}

fn rule(envelope: &[u8]) -> &'static str {
    key()
        .open_cms(envelope)
        .expect_err("the envelope was to be refused")
        .rule()
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl is missing: run `cargo xtask setup`");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {errors}");
}

/// A folder with a certificate of the recipient key whose key identifier is as KMS computes it.
fn folder_with_certificate() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("public.der"), spki()).unwrap();
    let identifier = hex::encode(digest(&SHA256, spki()));
    fs::write(
        path.join("extensions"),
        format!("subjectKeyIdentifier={identifier}\n"),
    )
    .unwrap();
    openssl(
        path,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca",
    );
    openssl(
        path,
        "req -new -key ca.key -subj /CN=recipient -out request.pem",
    );
    openssl(
        path,
        "pkey -pubin -inform DER -in public.der -out public.pem",
    );
    openssl(
        path,
        "x509 -req -in request.pem -force_pubkey public.pem -CA ca.pem -CAkey ca.key -CAcreateserial \
         -extfile extensions -out recipient.pem",
    );
    folder
}

#[test]
fn envelopes_of_openssl_open() {
    let folder = folder_with_certificate();
    for length in [0, 1, 15, 16, 17, 32, 4096] {
        let plaintext: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        fs::write(folder.path().join("plaintext"), &plaintext).unwrap();
        openssl(
            folder.path(),
            "cms -encrypt -binary -stream -in plaintext -outform DER -out envelope -aes256 -keyid \
             -recip recipient.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
        );
        let envelope = fs::read(folder.path().join("envelope")).unwrap();
        assert_eq!(
            key().open_cms(&envelope).unwrap()[..],
            plaintext,
            "{length} bytes"
        );
    }
}

#[test]
fn other_envelopes_of_openssl_are_refused() {
    let folder = folder_with_certificate();
    fs::write(folder.path().join("plaintext"), PLAINTEXT).unwrap();
    let oaep = "-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256";
    let cases = [
        (
            "definite lengths",
            "cms.encoding",
            format!("-aes256 -keyid -recip recipient.pem {oaep}"),
        ),
        (
            "issuer and serial",
            "cms.unexpected",
            format!("-stream -aes256 -recip recipient.pem {oaep}"),
        ),
        (
            "another cipher",
            "cms.unexpected",
            format!("-stream -aes128 -keyid -recip recipient.pem {oaep}"),
        ),
        (
            "PKCS #1 v1.5",
            "cms.unexpected",
            "-stream -aes256 -keyid -recip recipient.pem".to_owned(),
        ),
        (
            "OAEP with SHA-1",
            "cms.encoding",
            "-stream -aes256 -keyid -recip recipient.pem -keyopt rsa_padding_mode:oaep".to_owned(),
        ),
    ];
    for (what, expected, options) in cases {
        openssl(
            folder.path(),
            &format!("cms -encrypt -binary -in plaintext -outform DER -out envelope {options}"),
        );
        let envelope = fs::read(folder.path().join("envelope")).unwrap();
        assert_eq!(rule(&envelope), expected, "{what}");
    }
}

#[test]
fn envelopes_of_the_kms_open() {
    let recipient = anchorhold_kms_core::recipient::RecipientKey::from_spki(spki()).unwrap();
    for length in [1, 16, 32, 1024, 4096] {
        let plaintext = vec![7; length];
        let mut rng = UnwrapErr(SysRng);
        let envelope =
            anchorhold_kms_core::recipient::envelope(&recipient, &plaintext, &mut rng).unwrap();
        assert_eq!(key().open_cms(&envelope).unwrap()[..], plaintext);
    }
}

#[test]
fn both_forms_of_the_ciphertext_open() {
    let envelope = Envelope::new(spki(), PLAINTEXT);
    assert_eq!(key().open_cms(&envelope.write()).unwrap()[..], *PLAINTEXT);
    let ciphertext = encrypt(&CONTENT_KEY, PLAINTEXT);
    let forms = [
        one_piece(&ciphertext),
        chunks(&[&ciphertext[..16], &ciphertext[16..]]),
        chunks(&[&ciphertext[..1], &[], &ciphertext[1..47], &ciphertext[47..]]),
    ];
    for content in forms {
        let envelope = Envelope {
            content,
            ..envelope.clone()
        };
        assert_eq!(key().open_cms(&envelope.write()).unwrap()[..], *PLAINTEXT);
    }
}

#[test]
fn hash_parameters_may_be_null_or_absent() {
    let absent = bytes(
        "3038 06092a864886f70d010107 302b a00d300b0609608648016503040201 \
         a11a301806092a864886f70d010108 300b0609608648016503040201",
    );
    let envelope = with_algorithm(&absent);
    assert_eq!(key().open_cms(&envelope.write()).unwrap()[..], *PLAINTEXT);
    let garbage = bytes(
        "303d 06092a864886f70d010107 3030 a010300e0609608648016503040201 050100 \
         a11c301a06092a864886f70d010108 300d0609608648016503040201 0500",
    );
    assert_eq!(rule(&with_algorithm(&garbage).write()), "cms.unexpected");
}

/// An envelope whose recipient has another key algorithm.
fn with_algorithm(algorithm: &[u8]) -> Envelope {
    let info = [
        bytes("020102"),
        definite(0x80, digest(&SHA256, spki()).as_ref()),
        algorithm.to_vec(),
        definite(0x04, &wrap(spki(), &CONTENT_KEY)),
    ];
    Envelope {
        recipients: vec![definite(0x30, &info.concat())],
        ..Envelope::new(spki(), PLAINTEXT)
    }
}

#[test]
fn every_flipped_bit_is_refused_or_changes_what_cms_does_not_protect() {
    let envelope = Envelope::new(spki(), PLAINTEXT).write();
    let ciphertext = encrypt(&CONTENT_KEY, PLAINTEXT);
    let find = |part: &[u8]| {
        let at = envelope
            .windows(part.len())
            .position(|window| window == part)
            .unwrap();
        at..at + part.len()
    };
    let (iv, content) = (find(&IV), find(&ciphertext));
    let mut opened = 0;
    for bit in 0..envelope.len() * 8 {
        let mut changed = envelope.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(plaintext) = key().open_cms(&changed) else {
            continue;
        };
        // CMS has no tag: IV and ciphertext can be changed, and then the plaintext is another.
        opened += 1;
        assert!(
            iv.contains(&(bit / 8)) || content.contains(&(bit / 8)),
            "bit {bit}"
        );
        assert_ne!(plaintext[..], *PLAINTEXT, "bit {bit}");
    }
    assert!(
        opened >= 128,
        "all of the IV's bits are unprotected, {opened} opened"
    );
}

#[test]
fn every_truncation_and_addition_is_refused() {
    let envelope = Envelope::new(spki(), PLAINTEXT).write();
    for length in 0..envelope.len() {
        assert_eq!(rule(&envelope[..length]), "cms.encoding", "{length} bytes");
    }
    for tail in [&[0][..], &[0, 0], &envelope] {
        assert_eq!(rule(&[&envelope[..], tail].concat()), "cms.encoding");
    }
    assert_eq!(rule(&vec![0x30; MAX_LENGTH + 1]), "cms.length");
}

#[test]
fn an_envelope_for_another_key_is_refused() {
    let other = RecipientKey::generate().unwrap();
    let envelope = Envelope::new(other.public_key_der(), PLAINTEXT).write();
    assert_eq!(
        key().open_cms(&envelope),
        Err(RecipientError::OtherRecipient)
    );
    assert_eq!(other.open_cms(&envelope).unwrap()[..], *PLAINTEXT);

    // The right identifier over a content key that was wrapped for another.
    let mut envelope = Envelope::new(spki(), PLAINTEXT);
    let info = [
        bytes("020102"),
        definite(0x80, digest(&SHA256, spki()).as_ref()),
        oaep(),
        definite(0x04, &wrap(other.public_key_der(), &CONTENT_KEY)),
    ];
    envelope.recipients = vec![definite(0x30, &info.concat())];
    assert_eq!(key().open_cms(&envelope.write()), Err(RecipientError::Open));
}

#[test]
fn levels_of_definite_length_are_refused() {
    let good = Envelope::new(spki(), PLAINTEXT);
    for level in 0..4 {
        let mut envelope = good.clone();
        envelope.indefinite[level] = false;
        let refusal = EnvelopedData::parse(&envelope.write()).unwrap_err();
        assert!(
            matches!(
                refusal,
                CmsError::Encoding {
                    reason: BerError::Definite,
                    ..
                }
            ),
            "level {level}: {refusal}"
        );
    }
}

#[test]
fn other_versions_types_and_recipients_are_refused() {
    let good = Envelope::new(spki(), PLAINTEXT);
    let with = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        rule(&envelope.write())
    };
    for version in [0, 1, 3, 4] {
        assert_eq!(
            with(&|envelope| envelope.version = version),
            "cms.unexpected"
        );
    }
    let signed_data = bytes("06092a864886f70d010702");
    assert_eq!(
        with(&|envelope| envelope.content_type = signed_data.clone()),
        "cms.unexpected"
    );
    assert_eq!(
        with(&|envelope| envelope.inner_type = signed_data.clone()),
        "cms.unexpected"
    );
    assert_eq!(
        with(&|envelope| envelope.recipients.clear()),
        "cms.encoding"
    );
    let recipient = good.recipients[0].clone();
    assert_eq!(
        with(&|envelope| envelope.recipients.push(recipient.clone())),
        "cms.encoding"
    );
}

#[test]
fn fields_have_the_lengths_they_must_have() {
    let good = Envelope::new(spki(), PLAINTEXT);
    let recipient = |identifier: &[u8], wrapped: &[u8]| {
        let identifier = definite(0x80, identifier);
        let info = [bytes("020102"), identifier, oaep(), definite(0x04, wrapped)];
        let recipients = vec![definite(0x30, &info.concat())];
        rule(
            &Envelope {
                recipients,
                ..good.clone()
            }
            .write(),
        )
    };
    let identifier = digest(&SHA256, spki());
    let wrapped = wrap(spki(), &CONTENT_KEY);
    for length in [0, 20, 31] {
        assert_eq!(
            recipient(&identifier.as_ref()[..length], &wrapped),
            "cms.size"
        );
    }
    for length in [0, 1, 255] {
        assert_eq!(
            recipient(identifier.as_ref(), &wrapped[..length]),
            "recipient.open"
        );
    }
    for content_key in [&CONTENT_KEY[..16], &[]] {
        assert_eq!(
            recipient(identifier.as_ref(), &wrap(spki(), content_key)),
            "recipient.open"
        );
    }
    for length in [0, 15, 17] {
        let iv = definite(0x04, &vec![0; length]);
        let cipher = definite(0x30, &[bytes("060960864801650304012a"), iv].concat());
        assert_eq!(
            rule(
                &Envelope {
                    cipher,
                    ..good.clone()
                }
                .write()
            ),
            "cms.size"
        );
    }
    for length in [0, 1, 15, 17] {
        for content in [one_piece(&vec![0; length]), chunks(&[&vec![0; length]])] {
            assert_eq!(
                rule(
                    &Envelope {
                        content,
                        ..good.clone()
                    }
                    .write()
                ),
                "cms.ciphertext"
            );
        }
    }
    let content = chunks(&[]);
    assert_eq!(
        rule(
            &Envelope {
                content,
                ..good.clone()
            }
            .write()
        ),
        "cms.ciphertext"
    );
    let content = chunks(&vec![&[][..]; 600]);
    assert_eq!(rule(&Envelope { content, ..good }.write()), "cms.chunks");
}

#[test]
fn every_key_is_another() {
    let other = RecipientKey::generate().unwrap();
    assert_ne!(other.public_key_der(), spki());
    // SubjectPublicKeyInfo of RSA-2048 with exponent 65537.
    assert_eq!(spki().len(), 294);
    assert!(spki().ends_with(&[0x02, 0x03, 0x01, 0x00, 0x01]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..700)) {
        prop_assert!(EnvelopedData::parse(&bytes).is_err());
    }

    #[test]
    fn changed_envelopes_do_not_panic(
        at in any::<prop::sample::Index>(),
        replacement in vec(any::<u8>(), 0..12),
        cut in 0..12usize,
    ) {
        let envelope = Envelope::new(spki(), PLAINTEXT).write();
        let at = at.index(envelope.len());
        let mut changed = envelope[..at].to_vec();
        changed.extend_from_slice(&replacement);
        changed.extend_from_slice(envelope.get(at + cut..).unwrap_or_default());
        if let Ok(plaintext) = key().open_cms(&changed) {
            prop_assert!(changed == envelope || plaintext[..] != *PLAINTEXT);
        }
    }

    #[test]
    fn what_is_written_is_parsed(plaintext in vec(any::<u8>(), 0..300), cuts in vec(1..40usize, 0..6)) {
        let ciphertext = encrypt(&CONTENT_KEY, &plaintext);
        let mut pieces = Vec::new();
        let mut rest = &ciphertext[..];
        for cut in cuts {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        pieces.push(rest);
        let envelope = Envelope { content: chunks(&pieces), ..Envelope::new(spki(), b"") };
        let bytes = envelope.write();
        let parsed = EnvelopedData::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.ciphertext, ciphertext);
        prop_assert_eq!(parsed.iv, &IV);
        prop_assert_eq!(key().open_cms(&bytes).unwrap().to_vec(), plaintext);
    }
}
