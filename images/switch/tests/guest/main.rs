//! The guest's side of the switch's tests and of its bench: PID 1 of a microVM that loads the vsock
//! modules, calls the host, and does what it is told, one line at a time.
//!
//! It has no dependencies and is built by `rustc` alone, statically, at the start of a test.

mod pattern;
mod sys;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use pattern::Pattern;

/// The CIDs by which the host may be reached, and the port on which it gives its orders. Other
/// devices than the switch know the host as 2 only.
const HOST_CIDS: [u32; 2] = [3, 2];
const CONTROL_PORT: u32 = 1000;

/// The largest write or read that is asked for.
const MAX_CHUNK: usize = 1 << 20;

fn main() {
    if let Err(error) = run() {
        println!("guest: {error}");
    }
    sys::power_off();
}

fn run() -> io::Result<()> {
    for module in fs::read_to_string("/modules/order")?.lines() {
        sys::load_module(&fs::read(format!("/modules/{module}"))?)?;
    }
    let [parent, host] = HOST_CIDS;
    let control = sys::dial(parent, CONTROL_PORT).or_else(|_| sys::dial(host, CONTROL_PORT))?;
    let mut answers = control.try_clone()?;
    for line in BufReader::new(control).lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match order(&words) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(error) => format!("failed {}: {error}\n", errno(&error)),
        };
        answers.write_all(answer.as_bytes())?;
        if words == ["exit"] {
            break;
        }
    }
    Ok(())
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Does what one line says; the answer is text for the host.
fn order(words: &[&str]) -> io::Result<String> {
    match words {
        ["exit"] => Ok(String::new()),
        ["send", rest @ ..] => send(Transfer::parse(rest)?).map(micros),
        ["receive", rest @ ..] => receive(Transfer::parse(rest)?).map(micros),
        ["drain", rest @ ..] => drain(Transfer::parse(rest)?).map(micros),
        ["both", streams, rest @ ..] => both(number(streams)?, Transfer::parse(rest)?).map(micros),
        ["ping", cid, port, size, count] => {
            ping(number(cid)?, number(port)?, number(size)?, number(count)?)
        }
        ["connect", cid, port] => {
            let start = Instant::now();
            let outcome = sys::dial(number(cid)?, number(port)?);
            let code = outcome.map_or_else(|error| errno(&error), |_| 0);
            Ok(format!("{code} {}", start.elapsed().as_micros()))
        }
        ["flood", cid, port, count] => flood(number(cid)?, number(port)?, number(count)?),
        ["echo", port] => serve(number(port)?, echo),
        ["speak-then-listen", port] => serve(number(port)?, speak_then_listen),
        ["hoard", cid, port, count] => hoard(number(cid)?, number(port)?, number(count)?),
        ["half-close", cid, port] => half_close(number(cid)?, number(port)?),
        ["overfill", cid, port] => overfill(number(cid)?, number(port)?),
        _ => Err(io::Error::other("no such order")),
    }
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse()
        .map_err(|_| io::Error::other("a number was expected"))
}

fn micros(time: Duration) -> String {
    time.as_micros().to_string()
}

/// A stream of `bytes` bytes with `chunk` bytes per system call.
#[derive(Clone, Copy)]
struct Transfer {
    cid: u32,
    port: u32,
    bytes: u64,
    chunk: usize,
}

impl Transfer {
    fn parse(words: &[&str]) -> io::Result<Self> {
        let [cid, port, bytes, chunk] = words else {
            return Err(io::Error::other("CID, port, bytes and chunk were expected"));
        };
        Ok(Self {
            cid: number(cid)?,
            port: number(port)?,
            bytes: number(bytes)?,
            chunk: number::<usize>(chunk)?.clamp(1, MAX_CHUNK),
        })
    }
}

/// Guest to host. The host answers one byte when it has everything; nothing is shut before, since
/// not every device passes that on.
fn send(transfer: Transfer) -> io::Result<Duration> {
    let mut stream = sys::dial(transfer.cid, transfer.port)?;
    let pattern = Pattern::new(0, transfer.chunk);
    let start = Instant::now();
    write_pattern(&mut stream, &pattern, transfer)?;
    stream.read_exact(&mut [0])?;
    Ok(start.elapsed())
}

/// Host to guest, until the host ends.
fn receive(transfer: Transfer) -> io::Result<Duration> {
    let mut stream = sys::dial(transfer.cid, transfer.port)?;
    let pattern = Pattern::new(1, transfer.chunk);
    let start = Instant::now();
    check_pattern(&mut stream, &pattern, transfer)?;
    Ok(start.elapsed())
}

/// Host to guest without a look at the bytes, so that the guest's own work is small.
fn drain(transfer: Transfer) -> io::Result<Duration> {
    let mut stream = sys::dial(transfer.cid, transfer.port)?;
    let mut buffer = vec![0; transfer.chunk];
    let start = Instant::now();
    let mut left = transfer.bytes;
    while left > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other(format!("{left} bytes too few"))),
            len => left = left.saturating_sub(len as u64),
        }
    }
    Ok(start.elapsed())
}

/// Both ways at the same time, on several streams.
fn both(streams: usize, transfer: Transfer) -> io::Result<Duration> {
    let start = Instant::now();
    let workers: Vec<_> = (0..streams)
        .map(|_| {
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || one_both(transfer))
        })
        .collect();
    for worker in workers {
        worker?
            .join()
            .map_err(|_| io::Error::other("a stream's thread panicked"))??;
    }
    Ok(start.elapsed())
}

fn one_both(transfer: Transfer) -> io::Result<()> {
    let mut stream = sys::dial(transfer.cid, transfer.port)?;
    let mut sender = stream.try_clone()?;
    let writer = thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let pattern = Pattern::new(0, transfer.chunk);
        write_pattern(&mut sender, &pattern, transfer)?;
        sender.shutdown(Shutdown::Write)
    })?;
    let pattern = Pattern::new(1, transfer.chunk);
    check_pattern(&mut stream, &pattern, transfer)?;
    writer
        .join()
        .map_err(|_| io::Error::other("the writer panicked"))?
}

fn write_pattern(stream: &mut UnixStream, pattern: &Pattern, transfer: Transfer) -> io::Result<()> {
    let mut position = 0;
    while position < transfer.bytes {
        let left = usize::try_from(transfer.bytes - position).unwrap_or(usize::MAX);
        let len = left.min(transfer.chunk);
        stream.write_all(pattern.piece(position, len))?;
        position += len as u64;
    }
    Ok(())
}

/// Reads to the end and compares every byte.
fn check_pattern(stream: &mut UnixStream, pattern: &Pattern, transfer: Transfer) -> io::Result<()> {
    let mut buffer = vec![0; transfer.chunk];
    let mut position = 0;
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        if &buffer[..len] != pattern.piece(position, len) {
            return Err(io::Error::other(format!("wrong bytes after {position}")));
        }
        position += len as u64;
    }
    if position != transfer.bytes {
        return Err(io::Error::other(format!(
            "{position} bytes instead of {}",
            transfer.bytes
        )));
    }
    Ok(())
}

/// Round trips of `size` bytes against an echo; the median in nanoseconds.
fn ping(cid: u32, port: u32, size: usize, count: usize) -> io::Result<String> {
    let mut stream = sys::dial(cid, port)?;
    let sent = vec![0x5a; size];
    let mut got = vec![0; size];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        stream.write_all(&sent)?;
        stream.read_exact(&mut got)?;
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    let median = times
        .get(count / 2)
        .ok_or_else(|| io::Error::other("no round trip"))?;
    Ok(median.to_string())
}

/// Connects and leaves at once, many times, and says how many of them were answered.
fn flood(cid: u32, port: u32, count: usize) -> io::Result<String> {
    let start = Instant::now();
    let answered = (0..count).filter(|_| sys::dial(cid, port).is_ok()).count();
    Ok(format!("{answered} {}", start.elapsed().as_micros()))
}

/// Keeps as many connections open as it gets, then lets them go.
fn hoard(cid: u32, port: u32, count: usize) -> io::Result<String> {
    let streams: Vec<_> = (0..count)
        .map_while(|_| sys::dial(cid, port).ok())
        .collect();
    Ok(streams.len().to_string())
}

/// Ends its sending, then reads what the host says afterwards.
fn half_close(cid: u32, port: u32) -> io::Result<String> {
    let mut stream = sys::dial(cid, port)?;
    stream.write_all(b"question")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Writes to a host that does not read, until no more goes; says how many bytes went.
fn overfill(cid: u32, port: u32) -> io::Result<String> {
    let mut stream = sys::dial(cid, port)?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let block = [0xa5; 4096];
    let mut went = 0;
    while let Ok(len) = stream.write(&block) {
        went += len;
    }
    Ok(went.to_string())
}

/// Accepts connections of the host's from now on.
fn serve(port: u32, service: fn(UnixStream) -> io::Result<()>) -> io::Result<String> {
    let listener = sys::listen(port)?;
    thread::spawn(move || {
        while let Ok(stream) = sys::accept(&listener) {
            thread::spawn(move || {
                if let Err(error) = service(stream) {
                    println!("guest: service on port {port}: {error}");
                }
            });
        }
    });
    Ok(String::new())
}

/// Gives back what it gets, to the end.
fn echo(mut stream: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

/// Says its piece, ends its sending, and then still listens: what it heard is on the console.
fn speak_then_listen(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(b"that was all")?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    println!("guest heard {} bytes after its end", heard.len());
    Ok(())
}
