//! Answers that only the attested enclave opens.

use std::sync::{Arc, Mutex};

use anchorhold_enclave::kms::{Attester, NonceSource};
use anchorhold_enclave::recipient::RecipientKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cms::Envelope;
use crate::module;
use crate::server::{Authority, Reply, Server};
use crate::support::{
    ARN, HOST, OTHER_ARN, PLAINTEXT, SECRET_KEY, assert_safe_to_log, client, context,
    decrypt_attested, envelope_for, honest, recipient, recipient_of,
};

#[test]
fn an_attested_answer_opens() {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, honest);
    let kms = client(&authority, &server);
    let nsm = module::nsm();
    let other = RecipientKey::generate().unwrap();
    let plaintext = kms
        .decrypt_attested(
            b"blob",
            &context(),
            ARN,
            &Attester::new(&nsm, recipient(), NonceSource::None),
        )
        .unwrap();
    assert_eq!(plaintext[..], *PLAINTEXT);
    let random = kms
        .generate_random_attested(
            77,
            &Attester::new(&nsm, recipient(), NonceSource::Given(b"mine")),
        )
        .unwrap();
    assert_eq!(random[..], [5; 77]);
    let pair = kms
        .generate_data_key_attested(
            ARN,
            &context(),
            &Attester::new(&nsm, &other, NonceSource::Kms),
        )
        .unwrap();
    assert_eq!(
        (pair.plaintext.as_slice(), pair.key_arn.as_str()),
        (PLAINTEXT, ARN)
    );
    assert_eq!(pair.ciphertext, b"ciphertext blob");

    let seen = server.seen();
    let targets: Vec<_> = seen
        .iter()
        .map(|seen| seen.target().split_once('.').unwrap().1)
        .collect();
    assert_eq!(
        targets,
        [
            "Decrypt",
            "GenerateRandom",
            "GetAttestationNonce",
            "GenerateDataKey"
        ]
    );
    assert_eq!(seen[0].body["KeyId"], ARN);
    assert_eq!(
        seen[0].body["EncryptionContext"],
        json!({"purpose": "records"})
    );
    assert_eq!(seen[0].body["CiphertextBlob"], STANDARD.encode(b"blob"));
    let recipients = [0, 1, 3].map(|at| recipient_of(&seen[at]));
    assert_eq!(recipients[0].1, None);
    assert_eq!(recipients[1].1.as_deref(), Some(&b"mine"[..]));
    assert_eq!(recipients[2].1.as_deref(), Some(&[9; 32][..]));
    // One key serves as many calls as its holder likes.
    let keys = recipients.map(|(key, _)| key);
    let (same, other) = (recipient().public_key_der(), other.public_key_der());
    assert_eq!(keys, [same, same, other]);
    for request in &seen {
        assert!(request.head.starts_with("POST / HTTP/1.1\r\n"));
        assert_eq!(request.header("Host"), Some(HOST));
        assert_eq!(
            request.header("X-Amz-Security-Token"),
            Some("session-token")
        );
        let signature = request.header("Authorization").unwrap();
        assert!(
            signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
            "{signature}"
        );
        assert!(!request.head.contains(SECRET_KEY));
    }
}

#[test]
fn an_answer_about_another_key_is_refused() {
    let other = decrypt_attested(|seen| {
        let envelope = envelope_for(seen, PLAINTEXT);
        Reply::Json(
            200,
            json!({"KeyId": OTHER_ARN, "CiphertextForRecipient": envelope}),
        )
    });
    assert_eq!(other.unwrap_err().rule(), "kms.other-key");
    // The bare id of the right key is not its ARN either.
    let bare = decrypt_attested(|seen| {
        let envelope = envelope_for(seen, PLAINTEXT);
        Reply::Json(
            200,
            json!({"KeyId": &ARN[42..], "CiphertextForRecipient": envelope}),
        )
    });
    assert_eq!(bare.unwrap_err().rule(), "kms.other-key");
    let missing = decrypt_attested(|seen| {
        Reply::Json(
            200,
            json!({"CiphertextForRecipient": envelope_for(seen, PLAINTEXT)}),
        )
    });
    assert_eq!(missing.unwrap_err().rule(), "kms.answer-missing");

    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, |_| {
        Reply::Json(
            200,
            json!({"KeyId": OTHER_ARN, "Plaintext": STANDARD.encode(PLAINTEXT)}),
        )
    });
    let refusal = client(&authority, &server)
        .decrypt(b"blob", &context(), ARN)
        .unwrap_err();
    assert_eq!(refusal.rule(), "kms.other-key");
    assert_safe_to_log(&refusal);
}

#[test]
fn plaintext_beside_the_envelope_is_refused() {
    for plaintext in [
        json!(STANDARD.encode(PLAINTEXT)),
        json!(""),
        Value::Null,
        json!({"x": [1]}),
    ] {
        let refused = decrypt_attested(move |seen| {
            let envelope = envelope_for(seen, PLAINTEXT);
            let body =
                json!({"KeyId": ARN, "CiphertextForRecipient": envelope, "Plaintext": plaintext});
            Reply::Json(200, body)
        });
        assert_eq!(refused.unwrap_err().rule(), "kms.plaintext-in-clear");
    }
}

#[test]
fn answers_without_an_envelope_for_this_key_are_refused() {
    for envelope in [Value::Null, json!(7)] {
        let expected = if envelope.is_null() {
            "kms.answer-missing"
        } else {
            "kms.answer"
        };
        let answer = json!({"KeyId": ARN, "CiphertextForRecipient": envelope});
        let refused = decrypt_attested(move |_| Reply::Json(200, answer.clone()));
        assert_eq!(refused.unwrap_err().rule(), expected);
    }
    let absent = decrypt_attested(|_| Reply::Json(200, json!({"KeyId": ARN})));
    assert_eq!(absent.unwrap_err().rule(), "kms.answer-missing");
    let not_base64 = decrypt_attested(|_| {
        Reply::Json(
            200,
            json!({"KeyId": ARN, "CiphertextForRecipient": "top secret data key!"}),
        )
    });
    assert_eq!(not_base64.unwrap_err().rule(), "kms.answer");
    let other = RecipientKey::generate().unwrap();
    let swapped = decrypt_attested(move |_| {
        let envelope = STANDARD.encode(Envelope::new(other.public_key_der(), PLAINTEXT).write());
        Reply::Json(
            200,
            json!({"KeyId": ARN, "CiphertextForRecipient": envelope}),
        )
    });
    assert_eq!(swapped.unwrap_err().rule(), "recipient.other");
}

#[test]
fn an_answer_presented_to_the_next_key_is_refused() {
    let authority = Authority::new("pinned");
    let first = Arc::new(Mutex::new(None));
    let server = Server::start(&authority, HOST, move |seen| {
        let mut first = first.lock().unwrap();
        let answer = first.get_or_insert_with(|| match honest(seen) {
            Reply::Json(_, body) => body,
            _ => unreachable!(),
        });
        Reply::Json(200, answer.clone())
    });
    let kms = client(&authority, &server);
    let nsm = module::nsm();
    let decrypt = |key: &RecipientKey| {
        let attester = Attester::new(&nsm, key, NonceSource::None);
        kms.decrypt_attested(b"blob", &context(), ARN, &attester)
    };
    assert_eq!(decrypt(recipient()).unwrap()[..], *PLAINTEXT);
    let next = RecipientKey::generate().unwrap();
    assert_eq!(decrypt(&next).unwrap_err().rule(), "recipient.other");
}

#[test]
fn answers_of_other_lengths_are_refused() {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, |seen| {
        let blob = STANDARD.encode(b"blob");
        let short = STANDARD.encode([1; 31]);
        Reply::Json(
            200,
            match seen.body["Recipient"].is_object() {
                true => json!({
                    "KeyId": ARN,
                    "CiphertextBlob": blob,
                    "CiphertextForRecipient": envelope_for(seen, &[1; 31]),
                }),
                false => json!({
                    "KeyId": ARN,
                    "CiphertextBlob": blob,
                    "Plaintext": short,
                    "Nonce": short,
                }),
            },
        )
    });
    let kms = client(&authority, &server);
    let nsm = module::nsm();
    let none = NonceSource::None;
    let refusals = [
        kms.generate_random_attested(32, &Attester::new(&nsm, recipient(), none))
            .err()
            .unwrap(),
        kms.generate_data_key_attested(ARN, &context(), &Attester::new(&nsm, recipient(), none))
            .err()
            .unwrap(),
        kms.generate_data_key(ARN, &context()).err().unwrap(),
        kms.attestation_nonce().err().unwrap(),
        kms.generate_random_attested(32, &Attester::new(&nsm, recipient(), NonceSource::Kms))
            .err()
            .unwrap(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.rule(), "kms.answer-length", "{refusal}");
    }
}

#[test]
fn a_data_key_without_its_wrapped_form_is_refused() {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, |seen| {
        let envelope = envelope_for(seen, PLAINTEXT);
        Reply::Json(
            200,
            json!({"KeyId": ARN, "CiphertextForRecipient": envelope}),
        )
    });
    let kms = client(&authority, &server);
    let refused = kms.generate_data_key_attested(
        ARN,
        &context(),
        &Attester::new(&module::nsm(), recipient(), NonceSource::None),
    );
    assert_eq!(refused.err().unwrap().rule(), "kms.answer-missing");
}
