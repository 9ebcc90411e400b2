//! TLS with both HTTP versions, and what goes wrong with it.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use support::{Client, Kms, Server};

struct Tls {
    certificate: String,
    certificate_file: String,
    key_file: String,
}

fn certificate(kms: &Kms) -> Tls {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let parameters = rcgen::CertificateParams::new(names).expect("parameters");
    let certificate = parameters.self_signed(&key).expect("a certificate").pem();
    let path = |path: std::path::PathBuf| path.to_str().expect("a path").to_owned();
    let private = |name: &str, text: &str| {
        let file = kms.file(name, text);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("chmod");
        path(file)
    };
    Tls {
        certificate_file: private("server.pem", &certificate),
        key_file: private("server.key", &key.serialize_pem()),
        certificate,
    }
}

impl Tls {
    fn arguments(&self) -> [&str; 4] {
        [
            "--tls-cert",
            &self.certificate_file,
            "--tls-key",
            &self.key_file,
        ]
    }
}

fn serve(kms: &Kms, tls: &Tls) -> Server {
    kms.serve(&tls.arguments())
}

#[test]
fn bad_tls_files_are_refused_by_name() {
    let kms = Kms::new();
    let tls = certificate(&kms);
    let serve = |arguments: &[&str]| {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let output = kms.command(&["serve"], &all);
        (output.status.code(), support::stderr(&output))
    };
    let (code, message) = serve(&["--tls-cert", &tls.certificate_file]);
    assert_eq!(code, Some(2));
    assert!(message.contains("--tls-key"), "{message}");
    for (certificate, key, expected) in [
        (
            "/nonexistent",
            tls.key_file.as_str(),
            "cannot read certificates from /nonexistent",
        ),
        (
            &tls.certificate_file,
            "/nonexistent",
            "cannot read a private key from /nonexistent",
        ),
        (&tls.key_file, &tls.key_file, "holds no certificate"),
        (
            &tls.certificate_file,
            &tls.certificate_file,
            "cannot read a private key",
        ),
    ] {
        let (code, message) = serve(&["--tls-cert", certificate, "--tls-key", key]);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let others = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&tls.key_file, others).expect("chmod");
    let (certificate, key) = (&tls.certificate_file, &tls.key_file);
    let (code, message) = serve(&["--tls-cert", certificate, "--tls-key", key]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("has mode 0644, expected 06"), "{message}");
}

#[test]
fn peers_that_speak_no_tls_are_dropped_and_do_not_hold_the_server_up() {
    let kms = Kms::new();
    let tls = certificate(&kms);
    let (server, log) = kms.serve_logged(&tls.arguments());
    let address = server.url.trim_start_matches("https://").to_owned();
    let mut plain = TcpStream::connect(&address).expect("connect");
    plain.write_all(b"POST / HTTP/1.1\r\n\r\n").expect("write");
    let _silent = TcpStream::connect(&address).expect("connect");
    let (status, _) = call(&server, &tls, &kms, "http/1.1", "ListKeys", &json!({}));
    assert_eq!(status, 200);
    assert!(server.stop().success());
    // Nor was it the end of its patience that let it end.
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(!log.contains("still in flight"), "{log}");
}

#[test]
fn both_http_versions_serve_and_the_event_names_the_tls_version() {
    let kms = Kms::new();
    let tls = certificate(&kms);
    let server = serve(&kms, &tls);
    assert!(server.url.starts_with("https://127.0.0.1:"));
    for protocol in ["h2", "http/1.1"] {
        let (status, body) = call(&server, &tls, &kms, protocol, "CreateKey", &json!({}));
        assert_eq!(status, 200, "{protocol}: {body}");
        let id = &body["KeyMetadata"]["KeyId"];
        let input = json!({ "KeyId": id, "Plaintext": "AAAA" });
        let (status, _) = call(&server, &tls, &kms, protocol, "Encrypt", &input);
        assert_eq!(status, 200);
        let (status, body) = call(&server, &tls, &kms, protocol, "Decrypt", &json!({}));
        assert_eq!(
            (status, &body["__type"]),
            (400, &json!("ValidationException"))
        );
    }
    let events = kms.events();
    let last = events.last().expect("an event");
    assert_eq!(last["tlsDetails"]["tlsVersion"], "TLSv1.3");
    let suite = last["tlsDetails"]["cipherSuite"].as_str().expect("a suite");
    assert!(suite.starts_with("TLS_AES_"), "{suite}");
    assert!(server.stop().success());
}

/// Begins signed calls on one HTTP/2 connection and resets each stream at once, until the server
/// closes the connection or 300 have been; gives how many.
async fn reset_rapidly(address: &str, tls: &Tls, client: &Client, url: &str) -> usize {
    let body = "{}";
    let headers = client.signed_headers("TrentService.CreateKey", body, SystemTime::now());
    let stream = connect(address, tls, "h2").await.into_inner();
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut reset = 0;
    while reset < 300 {
        let Ok(ready) = sender.ready().await else {
            break;
        };
        sender = ready;
        let mut request = http::Request::post(url);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, value);
        }
        let request = request.body(()).expect("a request");
        let Ok((_, mut stream)) = sender.send_request(request, false) else {
            break;
        };
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
        stream.send_reset(h2::Reason::CANCEL);
        reset += 1;
        tokio::task::yield_now().await;
    }
    connection.abort();
    reset
}

fn resident_kib(server: &Server) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.expect("VmRSS").trim().trim_end_matches(" kB");
    text.parse().expect("a number")
}

/// CVE-2023-44487: streams that are opened and reset cost the peer nothing. They are counted as
/// calls all the same, so the server stays within its memory and serves others.
#[test]
fn streams_that_are_reset_at_once_do_not_take_the_server_from_others() {
    let kms = Kms::new();
    let tls = certificate(&kms);
    let server = serve(&kms, &tls);
    let (status, _) = call(&server, &tls, &kms, "h2", "ListKeys", &json!({}));
    assert_eq!(status, 200);
    let client = Client::new(
        &server.url.replace("https://", "http://"),
        &kms.administrator,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let url = server.url.clone() + "/";
    let flood = |connections: usize| {
        let reset = runtime.block_on(async {
            let mut reset = 0;
            for _ in 0..connections {
                reset += reset_rapidly(&client.address, &tls, &client, &url).await;
            }
            reset
        });
        // Whoever comes next is served, or told to come again while calls are still in work.
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let (status, body) = call(&server, &tls, &kms, "h2", "ListKeys", &json!({}));
            if status == 200 {
                return reset;
            }
            assert_eq!(body["__type"], "ThrottlingException");
            assert!(std::time::Instant::now() < end, "{body}");
        }
    };
    // What the first flood takes, the allocator and the database's caches keep.
    flood(10);
    let before = resident_kib(&server);
    let reset = flood(20);
    assert!(reset >= 200, "the flood was none: {reset}");
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 64 * 1024, "{reset} resets took {grown} KiB");
    assert!(server.stop().success());
    kms.verify();
}

/// One signed call over TLS with this ALPN protocol.
fn call(
    server: &Server,
    tls: &Tls,
    kms: &Kms,
    protocol: &str,
    operation: &str,
    input: &Value,
) -> (u16, Value) {
    let client = Client::new(
        &server.url.replace("https://", "http://"),
        &kms.administrator,
    );
    let body = input.to_string();
    let target = format!("TrentService.{operation}");
    let headers = client.signed_headers(&target, &body, SystemTime::now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let stream = connect(&client.address, tls, protocol).await;
        let http2 = protocol == "h2";
        let uri = if http2 {
            server.url.clone() + "/"
        } else {
            "/".to_owned()
        };
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            // HTTP/2 says the host as `:authority`, which the URI gives.
            if !(http2 && name == "host") {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let response = if http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .expect("HTTP/2");
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
                .await
                .expect("HTTP/1.1");
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    })
}

async fn connect(
    address: &str,
    tls: &Tls,
    protocol: &str,
) -> TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(tls.certificate.as_bytes()).expect("PEM");
    roots.add(der).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connect");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    TokioIo::new(connector.connect(name, stream).await.expect("TLS"))
}
