//! Handing the results over.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::Duration;

use anchorhold_enclave_sys::vsock::{VsockError, VsockListener, VsockStream, listen};

/// Where the results are to be had.
const PORT: u32 = 5006;

/// How long somebody may take to come for them.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the visitor may take to read them.
const READING: Duration = Duration::from_secs(20);

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] VsockError),
    /// Nobody connected.
    #[error("nobody asked for the results within {PATIENCE:?}")]
    Nobody,
    /// The visitor did not take them.
    #[error("the results were not taken: {0}")]
    NotTaken(#[source] io::Error),
}

/// A port on which somebody is waited for.
pub struct Port {
    visitors: mpsc::Receiver<io::Result<VsockStream>>,
}

impl Port {
    /// Starts to wait for the one visitor.
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub fn open() -> Result<Self, ServeError> {
        let listener = listen(PORT)?;
        let (sender, visitors) = mpsc::channel();
        std::thread::spawn(move || {
            // Nobody to tell if the main thread has given up.
            let _given_up = sender.send(accept(&listener));
        });
        Ok(Self { visitors })
    }

    /// Tells the visitor, and waits until it has gone with what it was told: the machine
    /// ends when this process does.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn hand_over(&self, line: &str) -> Result<(), ServeError> {
        let visitor = self
            .visitors
            .recv_timeout(PATIENCE)
            .map_err(|_| ServeError::Nobody)?;
        visitor
            .and_then(|stream| tell(stream, line))
            .map_err(ServeError::NotTaken)
    }
}

fn accept(listener: &VsockListener) -> io::Result<VsockStream> {
    listener.accept().map(|(stream, _)| stream)
}

fn tell(mut stream: VsockStream, line: &str) -> io::Result<()> {
    stream.set_write_timeout(Some(READING))?;
    stream.set_read_timeout(Some(READING))?;
    stream.write_all(line.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}
