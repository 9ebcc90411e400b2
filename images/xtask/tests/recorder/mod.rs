//! A relay in place of a Unix socket, which keeps every byte that passes in either direction.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What passed so far: one piece of memory for each direction of each connection, so that a value
/// across two reads is found as well.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Direction>>>);

type Direction = Arc<Mutex<Vec<u8>>>;

impl Recorder {
    /// Moves the socket at `path` aside and stands in its place.
    pub fn between(path: &Path) -> Self {
        let behind = path.with_extension("behind");
        fs::rename(path, &behind).unwrap();
        let directory = File::open(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(short(&directory, path)).unwrap();
        let recorder = Self::default();
        let kept = recorder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(other) = UnixStream::connect(short(&directory, &behind)) else {
                    continue;
                };
                let (a, b) = (stream.try_clone().unwrap(), other.try_clone().unwrap());
                let (one, two) = (kept.direction(), kept.direction());
                thread::spawn(move || pump(&one, stream, other));
                thread::spawn(move || pump(&two, b, a));
            }
        });
        recorder
    }

    /// Every byte that passed.
    pub fn bytes(&self) -> Vec<u8> {
        let directions = self.0.lock().unwrap();
        directions
            .iter()
            .flat_map(|direction| direction.lock().unwrap().clone())
            .collect()
    }

    fn direction(&self) -> Direction {
        let direction = Direction::default();
        self.0.lock().unwrap().push(Arc::clone(&direction));
        direction
    }
}

/// The same path through its open directory: a socket's address holds 107 bytes.
fn short(directory: &File, path: &Path) -> PathBuf {
    let directory = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    directory.join(path.file_name().unwrap())
}

fn pump(kept: &Direction, mut from: UnixStream, mut to: UnixStream) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        kept.lock().unwrap().extend_from_slice(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
