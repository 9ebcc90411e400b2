//! Giving orders to the guest program over its control connection.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::machine::Machine;

/// The port on which the guest calls.
const PORT: u32 = 1000;

/// Boots under software emulation take 5 to 10 seconds; on a crowded machine many times that.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);

/// Orders take as long as their bytes do.
const ORDER_DEADLINE: Duration = Duration::from_secs(240);

/// The guest, once it has called.
pub struct Guest {
    orders: UnixStream,
    answers: BufReader<UnixStream>,
}

/// The socket on which the guest calls; to be made before the machine boots.
pub struct Call(UnixListener);

impl Call {
    /// Listens as `<prefix>_<control port>`.
    pub fn expect(prefix: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(super::host::port_path(prefix, PORT))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// Waits for the guest of `machine`.
    pub fn answer(self, machine: &mut Machine) -> io::Result<Guest> {
        let deadline = Instant::now() + BOOT_DEADLINE;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return Guest::new(stream),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            if !machine.is_running() || Instant::now() > deadline {
                let console = machine.console();
                return Err(io::Error::other(format!(
                    "the guest did not call:\n{console}"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Guest {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ORDER_DEADLINE))?;
        Ok(Self {
            orders: stream.try_clone()?,
            answers: BufReader::new(stream),
        })
    }

    /// How long answers may take from now on.
    pub fn deadline(&self, deadline: Duration) -> io::Result<()> {
        self.orders.set_read_timeout(Some(deadline))
    }

    /// Begins an order without waiting for its end.
    pub fn begin(&mut self, order: &str) -> io::Result<()> {
        self.orders.write_all(format!("{order}\n").as_bytes())
    }

    /// Waits for the end of the order that was begun; its answer, or the guest's error.
    pub fn end(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim_end().strip_prefix("ok") {
            Some(answer) => Ok(answer.trim_start().to_owned()),
            None => Err(io::Error::other(format!("the guest says: {line:?}"))),
        }
    }

    /// One order and its answer.
    pub fn order(&mut self, order: &str) -> io::Result<String> {
        self.begin(order)?;
        self.end()
    }

    /// One order whose answer is a number of microseconds.
    pub fn timed(&mut self, order: &str) -> io::Result<Duration> {
        let micros = self.order(order)?.parse().map_err(io::Error::other)?;
        Ok(Duration::from_micros(micros))
    }
}
