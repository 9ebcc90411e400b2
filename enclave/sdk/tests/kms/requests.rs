//! What is asked, how often, and for how long.

use std::time::Duration;

use anchorhold_enclave::EncryptionContext;
use anchorhold_enclave::kms::{
    Attester, Client, Endpoint, KmsError, MAX_ATTEMPTS, NonceSource, Timeouts,
};
use anchorhold_enclave::transport::Tcp;
use serde_json::{Value, json};

use crate::module;
use crate::server::{Authority, Reply, Seen, Server, refusal};
use crate::support::{ARN, HOST, PLAINTEXT, client, context, everything, honest, recipient};

#[test]
fn the_owners_operations_work() {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, honest);
    let kms = client(&authority, &server);
    let created = kms.create_key("records", Some("{}")).unwrap();
    assert_eq!(
        (created.arn.as_str(), created.key_state.as_str()),
        (ARN, "Enabled")
    );
    assert_eq!(created.warnings, ["policy: the root is not pinned"]);
    assert_eq!(kms.describe_key("alias/records").unwrap().key_id, "1234");
    assert!(kms.put_key_policy(ARN, "{}", false).unwrap().is_empty());
    assert_eq!(kms.key_policy(ARN).unwrap(), "{}");
    assert_eq!(
        kms.encrypt(ARN, b"p", &context()).unwrap().ciphertext,
        b"ciphertext blob"
    );
    assert_eq!(
        kms.decrypt(b"blob", &context(), ARN).unwrap()[..],
        *PLAINTEXT
    );
    let pair = kms
        .generate_data_key(ARN, &EncryptionContext::empty())
        .unwrap();
    assert_eq!(pair.plaintext[..], *PLAINTEXT);
    assert_eq!(kms.attestation_nonce().unwrap(), [9; 32]);
    let seen = server.seen();
    assert_eq!(seen[2].body["BypassPolicyLockoutSafetyCheck"], false);
    assert_eq!(
        seen[6].body["EncryptionContext"],
        Value::Null,
        "an empty context is left out"
    );
}

#[test]
fn requests_that_no_kms_takes_are_not_sent() {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, honest);
    let kms = client(&authority, &server);
    let nsm = module::nsm();
    let none = NonceSource::None;
    for ciphertext in [&[][..], &[0; 6145]] {
        let refusal = kms
            .decrypt_attested(
                ciphertext,
                &context(),
                ARN,
                &Attester::new(&nsm, recipient(), none),
            )
            .unwrap_err();
        assert_eq!(refusal.rule(), "kms.request-length");
        let refusal = kms.decrypt(ciphertext, &context(), ARN).unwrap_err();
        assert_eq!(refusal.rule(), "kms.request-length");
    }
    for count in [0, 1025] {
        let refusal = kms
            .generate_random_attested(count, &Attester::new(&nsm, recipient(), none))
            .unwrap_err();
        assert_eq!(refusal.rule(), "kms.request-length");
    }
    for key in [
        "",
        "1234",
        "alias/x",
        "arn:aws:kms:eu:1:alias/x",
        "arn:aws:s3:eu:1:key/x",
        "arn:aws:kms::1:key/x",
        "arn:aws:kms:eu-north-1:111122223333:key/",
    ] {
        let refusal = kms
            .decrypt_attested(
                b"blob",
                &context(),
                key,
                &Attester::new(&nsm, recipient(), none),
            )
            .unwrap_err();
        assert_eq!(refusal.rule(), "kms.key-arn", "{key}");
    }
    assert!(server.seen().is_empty());
    for (host, region) in [
        ("", "eu"),
        ("a b", "eu"),
        ("h:1", "eu"),
        ("h", ""),
        ("h", "EU/x"),
    ] {
        assert_eq!(
            Endpoint::new(host, region).unwrap_err().rule(),
            "kms.endpoint"
        );
    }
}

/// Attempts that a server sees of one call that it answers so.
fn attempts(
    answer: impl FnMut(&Seen) -> Reply + Send + 'static,
    call: impl Fn(&Client<Tcp>) -> Result<(), KmsError>,
) -> (usize, Result<(), KmsError>) {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, answer);
    let outcome = call(&client(&authority, &server));
    (server.seen().len(), outcome)
}

#[test]
fn calls_are_repeated_only_where_that_is_safe() {
    const ALL: usize = MAX_ATTEMPTS as usize;
    let describe = |kms: &Client<Tcp>| kms.describe_key("x").map(|_| ());
    let create = |kms: &Client<Tcp>| kms.create_key("", None).map(|_| ());
    let with_nonce = |kms: &Client<Tcp>| {
        let nonce = NonceSource::Given(b"once");
        kms.decrypt_attested(
            b"b",
            &context(),
            ARN,
            &Attester::new(&module::nsm(), recipient(), nonce),
        )
        .map(|_| ())
    };
    let drop = |_: &Seen| Reply::Drop;
    let cut =
        |_: &Seen| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    let internal = |_: &Seen| refusal("KMSInternalException", "");
    let throttled = |_: &Seen| refusal("ThrottlingException", "");
    let denied = |_: &Seen| refusal("AccessDeniedException", "");
    let malformed = |_: &Seen| Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());

    assert_eq!(attempts(drop, describe).0, ALL);
    assert_eq!(attempts(cut, describe).0, ALL);
    assert_eq!(attempts(internal, describe).0, ALL);
    assert_eq!(attempts(throttled, describe).0, ALL);
    assert_eq!(attempts(denied, describe).0, 1);
    assert_eq!(attempts(malformed, describe).0, 1);
    for once in [
        create,
        with_nonce as fn(&Client<Tcp>) -> Result<(), KmsError>,
    ] {
        assert_eq!(attempts(drop, once).0, 1);
        assert_eq!(attempts(cut, once).0, 1);
        assert_eq!(attempts(internal, once).0, 1);
        assert_eq!(attempts(throttled, once).0, ALL);
    }
    let mut count = 0;
    let (seen, outcome) = attempts(
        move |seen| {
            count += 1;
            if count < ALL {
                Reply::Drop
            } else {
                honest(seen)
            }
        },
        describe,
    );
    assert!(seen == ALL && outcome.is_ok(), "the last attempt counts");
}

#[test]
fn a_slow_server_is_left_at_the_deadline() {
    let authority = Authority::new("pinned");
    let metadata = json!({"KeyId": "1", "Arn": ARN, "Description": "x".repeat(200)});
    let body = json!({ "KeyMetadata": metadata }).to_string();
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Each byte comes well within any time-out of a single read, the last after half a minute.
    let server = Server::start(&authority, HOST, move |_| {
        Reply::Drip(response.clone().into_bytes(), Duration::from_millis(100))
    });
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        exchange: Duration::from_secs(6),
    };
    let kms = client(&authority, &server).with_timeouts(timeouts);
    let refusal = kms.create_key("", None).unwrap_err();
    assert!(
        ["http.cut", "http.no-response"].contains(&refusal.rule()),
        "{}",
        refusal.rule()
    );
    assert!(
        everything(&refusal).contains("timed out"),
        "{}",
        everything(&refusal)
    );
}
