//! One connection: TLS handshake, HTTP/1.1 or HTTP/2, one call after another.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::body::BodyBudget;
use super::call::respond;
use super::limits::{Limits, MAX_HEAD, MAX_HEADERS, MAX_STREAMS};
use crate::audit::event::TlsDetails;
use crate::service::Service;

/// What all connections share.
pub(super) struct Connections {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
}

/// What all calls share.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) bodies: BodyBudget,
    /// One permit for each call in work.
    pub(super) calls: Arc<Semaphore>,
    pub(super) limits: Limits,
    /// Cloned into whatever must end before the server does.
    pub(super) alive: mpsc::Sender<()>,
}

/// The peer of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) tls: Option<TlsDetails>,
    /// The connection's own budget.
    pub(super) bodies: Arc<BodyBudget>,
}

/// Whether a connection is of use: requests in work, and when the last one was answered.
struct Activity {
    start: Instant,
    in_work: AtomicUsize,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl Connections {
    pub(super) fn new(
        service: Arc<Service>,
        tls: Option<Arc<rustls::ServerConfig>>,
        limits: Limits,
        stopped: watch::Receiver<bool>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                service,
                bodies: BodyBudget::of_all(),
                calls: Arc::new(Semaphore::new(limits.calls)),
                limits,
                alive,
            }),
            tls: tls.map(TlsAcceptor::from),
            stopped,
        }
    }

    /// Serves a connection on a task of its own, which holds `slot` until it ends.
    pub(super) fn spawn(&self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        let shared = Arc::clone(&self.shared);
        let tls = self.tls.clone();
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
            let _slot = slot;
            // Answers are small and complete: waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let mut peer = Peer {
                address: peer.ip(),
                tls: None,
                bodies: Arc::new(BodyBudget::of_one()),
            };
            let Some(acceptor) = tls else {
                return drive(TokioIo::new(stream), false, shared, peer, stopped).await;
            };
            let handshake = tokio::time::timeout(shared.limits.handshake, acceptor.accept(stream));
            let stream = tokio::select! {
                Ok(Ok(stream)) = handshake => stream,
                _ = stopped.changed() => return,
                else => return,
            };
            let session = stream.get_ref().1;
            let http2 = session.alpn_protocol() == Some(b"h2");
            peer.tls = Some(details(session));
            drive(TokioIo::new(stream), http2, shared, peer, stopped).await;
        });
    }
}

fn details(session: &rustls::ServerConnection) -> TlsDetails {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    };
    let suite = session
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("unknown");
    TlsDetails {
        tls_version: version.to_owned(),
        cipher_suite: suite.replace("TLS13_", "TLS_"),
    }
}

/// Serves requests until the peer leaves, the server ends, or the connection is of no use.
async fn drive<I>(
    io: I,
    http2: bool,
    shared: Arc<Shared>,
    peer: Peer,
    mut stopped: watch::Receiver<bool>,
) where
    I: Read + Write + Unpin + Send + 'static,
{
    let _alive = shared.alive.clone();
    let limits = shared.limits;
    let activity = Arc::new(Activity::new());
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request| {
            let (shared, peer) = (Arc::clone(&shared), peer.clone());
            let working = Activity::begin(&activity);
            async move {
                let response = respond(shared, peer, request).await;
                drop(working);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let builder = builder(http2, &limits);
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let mut ticks = tokio::time::interval(limits.idle / 12);
    let mut patience = limits.idle;
    let mut ending = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.changed(), if !ending => {}
            _ = ticks.tick() => {
                // Neither a request nor an answer moves: whatever the peer does, it is not using us.
                if !activity.is_idle(patience) {
                    continue;
                }
                if ending {
                    return;
                }
            }
        }
        // The peer is told, and an answer on its way has the time to leave.
        ending = true;
        patience = limits.last_answer;
        let first = tokio::time::Instant::now() + patience;
        ticks = tokio::time::interval_at(first, patience / 2);
        connection.as_mut().graceful_shutdown();
    }
}

fn builder(http2: bool, limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        // A peer that has said all it wants to say still gets its answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.head);
    if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    }
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            in_work: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Counts a request as in work until the guard is dropped.
    fn begin(activity: &Arc<Self>) -> Working {
        activity.in_work.fetch_add(1, Ordering::AcqRel);
        Working(Arc::clone(activity))
    }

    fn is_idle(&self, patience: Duration) -> bool {
        let idle_for = self.now().saturating_sub(self.last.load(Ordering::Acquire));
        self.in_work.load(Ordering::Acquire) == 0 && u128::from(idle_for) > patience.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.last.store(self.0.now(), Ordering::Release);
        self.0.in_work.fetch_sub(1, Ordering::AcqRel);
    }
}
