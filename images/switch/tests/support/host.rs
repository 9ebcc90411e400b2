//! Services of the host's that the guest connects to, and connections to the guest.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use super::pattern::Pattern;

/// Bytes per read and write on the host.
const CHUNK: usize = 64 * 1024;

/// What the guest sends, and what it is sent.
static GUESTS: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(0, CHUNK));
static HOSTS: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(1, CHUNK));

/// `<prefix>_<port>`.
pub fn port_path(prefix: &Path, port: u32) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(format!("_{port}"));
    path.into()
}

/// Serves every connection to `port` on a thread of its own, for as long as the process lives.
pub fn serve(
    prefix: &Path,
    port: u32,
    service: impl Fn(UnixStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    let listener = UnixListener::bind(port_path(prefix, port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let service = service.clone();
            thread::spawn(move || service(stream));
        }
    });
    Ok(())
}

/// Reads `bytes` bytes of the guest's pattern and answers that they were right.
pub fn sink(mut stream: UnixStream, bytes: u64) -> io::Result<()> {
    check(&mut stream, bytes)?;
    stream.write_all(&[1])
}

/// Reads `bytes` bytes without a look at them, and says when it has them.
pub fn count(mut stream: UnixStream, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => left = left.saturating_sub(len as u64),
        }
    }
    stream.write_all(&[1])
}

/// Writes `bytes` bytes of the host's pattern, `chunk` at a time, and ends.
pub fn source(mut stream: UnixStream, bytes: u64, chunk: usize) -> io::Result<()> {
    fill(&mut stream, bytes, chunk)
}

/// Both at the same time.
pub fn both(mut stream: UnixStream, bytes: u64) -> io::Result<()> {
    let mut sender = stream.try_clone()?;
    let writer = thread::spawn(move || {
        fill(&mut sender, bytes, CHUNK)?;
        sender.shutdown(Shutdown::Write)
    });
    check(&mut stream, bytes)?;
    writer
        .join()
        .map_err(|_| io::Error::other("the writer panicked"))?
}

/// Gives back what it gets.
pub fn echo(mut stream: UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

/// Writes `bytes` bytes of the host's pattern, at most [`CHUNK`] at a time.
fn fill(stream: &mut UnixStream, bytes: u64, chunk: usize) -> io::Result<()> {
    let mut position = 0;
    while position < bytes {
        let left = usize::try_from(bytes - position).unwrap_or(chunk);
        let len = left.min(chunk).min(CHUNK);
        stream.write_all(HOSTS.piece(position, len))?;
        position += len as u64;
    }
    Ok(())
}

/// Reads `bytes` bytes and compares them with the guest's pattern.
fn check(stream: &mut UnixStream, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut position = 0;
    while position < bytes {
        let wanted = usize::try_from(bytes - position)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let len = stream.read(&mut buffer[..wanted])?;
        if len == 0 || &buffer[..len] != GUESTS.piece(position, len) {
            let error = format!("{len} wrong bytes after {position}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        position += len as u64;
    }
    Ok(())
}

/// Connects to a port of the guest's through the switch's listening socket; an error when the
/// switch or the guest refuses.
pub fn connect(listen_path: &Path, port: u32) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(listen_path)?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let mut line = String::new();
    // One byte at a time, so that nothing of the stream's is taken.
    BufReader::with_capacity(1, &stream).read_line(&mut line)?;
    if line.starts_with("OK ") && line.ends_with('\n') {
        return Ok(stream);
    }
    Err(io::Error::new(
        io::ErrorKind::ConnectionRefused,
        format!("answered {line:?}"),
    ))
}
