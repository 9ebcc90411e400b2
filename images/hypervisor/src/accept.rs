//! Accepting on a Unix socket as long as the process lives.

use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

/// How long is waited after a refusal. One that lasts (a full descriptor table) would otherwise
/// keep a processor busy.
const REST: Duration = Duration::from_millis(10);

/// Hands on every connection.
pub(crate) fn forever(listener: &UnixListener, mut admit: impl FnMut(UnixStream)) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => admit(stream),
            Err(_) => thread::sleep(REST),
        }
    }
}
