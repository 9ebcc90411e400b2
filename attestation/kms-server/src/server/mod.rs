//! The network: sockets, TLS, HTTP, limits, and an orderly end.

mod body;
mod call;
mod connection;
mod limits;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::service::Service;
use connection::Connections;
pub use limits::*;
pub use tls::{TlsError, load as load_tls};

/// Why the server does not listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Without TLS everybody on the network could read plaintext and data keys.
    #[error(
        "{address} is not a loopback address: without --tls-cert and --tls-key the server binds to loopback only, for instance 127.0.0.1:8000"
    )]
    PlaintextBeyondLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Something else listens there.
    #[error("{address} is in use by another process: choose another port, or 0 for any free one")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot listen on {address}")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

impl ListenError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::PlaintextBeyondLoopback { .. } => "listen.plaintext-beyond-loopback",
            Self::InUse { .. } => "listen.in-use",
            Self::Io { .. } => "listen.io",
        }
    }
}

/// A socket that listens, before the first connection is taken.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    address: SocketAddr,
    limits: Limits,
}

impl Server {
    /// Listens on `address`; without `tls` on loopback only.
    ///
    /// # Errors
    /// A [`ListenError`].
    pub async fn listen(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        limits: Limits,
    ) -> Result<Self, ListenError> {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(ListenError::PlaintextBeyondLoopback { address });
        }
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => Ok(Self {
                listener,
                tls,
                address,
                limits,
            }),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                Err(ListenError::InUse { address, source })
            }
            Err(source) => Err(ListenError::Io { address, source }),
        }
    }

    /// The endpoint, for instance `https://127.0.0.1:8443`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `end` is ready; then takes no more connections and requests, and
    /// returns when the answers in flight have been given, or [`Limits::drain`] later.
    pub async fn run(self, service: Arc<Service>, end: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        // Each connection and each call in flight holds a sender; when all are gone, so are they.
        let (alive, mut drained) = mpsc::channel::<()>(1);
        let connections = Connections::new(service, self.tls, self.limits, stopped, alive);
        tokio::pin!(end);
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let slot = tokio::select! {
                () = &mut end => break,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let accepted = tokio::select! {
                () = &mut end => break,
                accepted = self.listener.accept() => accepted,
            };
            match (accepted, slot) {
                (Ok((stream, peer)), Ok(slot)) => connections.spawn(stream, peer, slot),
                (Err(error), _) => {
                    // For instance no more file descriptors: they come back as connections end.
                    log::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Ok(_), Err(_)) => break,
            }
        }
        drop(self.listener);
        drop(connections);
        let _ = stop.send(true);
        if tokio::time::timeout(self.limits.drain, drained.recv())
            .await
            .is_err()
        {
            log::warn!(
                "some calls were still in flight after {:?}",
                self.limits.drain
            );
        }
    }
}
