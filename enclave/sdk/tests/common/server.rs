//! An HTTPS server on loopback that answers as a test tells it to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// A CA of a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn config(&self, name: &str, expired: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

/// A request as it came.
#[derive(Clone)]
pub struct Seen {
    pub head: String,
    pub body: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn target(&self) -> &str {
        self.header("X-Amz-Target").expect("a target")
    }
}

/// What the server does with a request.
pub enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// These bytes, then the end.
    Raw(Vec<u8>),
    /// These bytes one by one, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// The end, without a byte.
    Drop,
}

/// A refusal as AWS writes it.
pub fn refusal(code: &str, message: &str) -> Reply {
    let status = if code == "KMSInternalException" {
        500
    } else {
        400
    };
    Reply::Json(status, json!({"__type": code, "message": message}))
}

type Answer = Box<dyn FnMut(&Seen) -> Reply + Send>;

/// The server; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves under a certificate for `name`.
    pub fn start(
        authority: &Authority,
        name: &str,
        answer: impl FnMut(&Seen) -> Reply + Send + 'static,
    ) -> Self {
        Self::start_with(authority.config(name, false), Box::new(answer))
    }

    /// Serves under a certificate that has expired.
    pub fn start_expired(authority: &Authority, name: &str) -> Self {
        Self::start_with(authority.config(name, true), Box::new(|_| Reply::Drop))
    }

    fn start_with(config: Arc<ServerConfig>, mut answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stopped, log) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that refuses the server or gives up is what many tests are about.
                let _ = serve(stream.unwrap(), &config, &mut answer, &log);
            }
        });
        Self {
            address,
            stop,
            seen,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    answer: &mut Answer,
    log: &Mutex<Vec<Seen>>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let tls = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(tls, stream);
    let request = read_request(&mut stream)?;
    log.lock().unwrap().push(request.clone());
    let bytes = match answer(&request) {
        Reply::Drop => return Ok(()),
        Reply::Raw(bytes) => bytes,
        Reply::Json(status, body) => {
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nx-amzn-RequestId: request-1\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            [head, body].concat().into_bytes()
        }
        Reply::Drip(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
            return Ok(());
        }
    };
    stream.write_all(&bytes)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn read_request(stream: &mut impl Read) -> io::Result<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            break (String::from_utf8(std::mem::replace(&mut bytes, body)).unwrap())
                .trim_end()
                .to_owned();
        }
        read_more(stream, &mut bytes)?;
    };
    let mut seen = Seen {
        head,
        body: Value::Null,
    };
    let length: usize = seen.header("Content-Length").unwrap().parse().unwrap();
    while bytes.len() < length {
        read_more(stream, &mut bytes)?;
    }
    seen.body = serde_json::from_slice(&bytes).unwrap();
    Ok(seen)
}

fn read_more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut step = [0; 4096];
    let count = stream.read(&mut step)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.extend_from_slice(&step[..count]);
    Ok(())
}
