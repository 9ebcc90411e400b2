//! Who is spoken to.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anchorhold_enclave::Credentials;
use anchorhold_enclave::kms::{Attester, Client, Endpoint, NonceSource};
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Tcp;

use crate::module;
use crate::server::{Authority, Server};
use crate::support::{ARN, HOST, SECRET_KEY, client, context, honest, recipient};

#[test]
fn only_the_pinned_authority_and_the_right_name_are_spoken_to() {
    let (pinned, other) = (Authority::new("pinned"), Authority::new("other"));
    let nsm = module::nsm();
    let servers = [
        Server::start(&other, HOST, honest),
        Server::start(&pinned, "kms.us-east-1.amazonaws.com", honest),
        Server::start_expired(&pinned, HOST),
    ];
    for server in &servers {
        let kms = client(&pinned, server);
        let refused = kms.decrypt_attested(
            b"blob",
            &context(),
            ARN,
            &Attester::new(&nsm, recipient(), NonceSource::None),
        );
        assert_eq!(refused.unwrap_err().rule(), "kms.tls");
        assert!(server.seen().is_empty(), "nothing was said to it");
    }
}

#[test]
fn a_peer_that_does_not_speak_tls_is_refused() {
    let authority = Authority::new("pinned");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let tls = PinnedTls::from_pem(authority.pem().as_bytes()).unwrap();
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET_KEY, None).unwrap();
    let endpoint = Endpoint::new(HOST, "eu-north-1").unwrap();
    let kms = Client::new(Tcp::new(address.to_string()), endpoint, tls, credentials);
    assert_eq!(kms.describe_key("x").unwrap_err().rule(), "kms.tls");
    peer.join().unwrap();
}

#[test]
fn nobody_there_is_said_after_three_attempts() {
    let authority = Authority::new("pinned");
    let tls = PinnedTls::from_pem(authority.pem().as_bytes()).unwrap();
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET_KEY, None).unwrap();
    let endpoint = Endpoint::new(HOST, "eu-north-1").unwrap();
    // tcpmux: no port that the system gives out, and nobody serves it.
    let nobody = Tcp::new("127.0.0.1:1");
    let kms = Client::new(nobody, endpoint, tls, credentials);
    let start = Instant::now();
    assert_eq!(kms.create_key("", None).unwrap_err().rule(), "kms.connect");
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "it was tried again"
    );
}

#[test]
fn a_ca_file_names_exactly_one_authority() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    assert!(PinnedTls::from_pem(one.pem().as_bytes()).is_ok());
    let both = [one.pem(), two.pem()].concat();
    let broken = one.pem().replace("-----END CERTIFICATE-----", "");
    let no_certificate =
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let cases = [
        ("", "tls.ca-count"),
        ("not PEM", "tls.ca-count"),
        (&both, "tls.ca-count"),
        (&broken, "tls.ca-pem"),
        (&no_certificate, "tls.ca-certificate"),
        (&"x".repeat(70_000), "tls.ca-length"),
    ];
    for (pem, rule) in cases {
        assert_eq!(
            PinnedTls::from_pem(pem.as_bytes()).err().unwrap().rule(),
            rule
        );
    }
}
