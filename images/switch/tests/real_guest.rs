//! The switch under a real guest: Debian's kernel in QEMU, one boot for all patterns.

mod support;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anchorhold_switch::{ConsolePort, Switch, SwitchConfig};
use support::control::{Call, Guest};
use support::host;
use support::image::{Kernel, initramfs};
use support::machine::{Backend, Machine};

const MIB: u64 = 1 << 20;
const GUEST_CID: u32 = 16;
const ECONNRESET: &str = "104";
/// A port where nobody listens.
const NOBODY: u32 = 9;
const ECHO: u32 = 1001;
const SINK: u32 = 1002;
const SOURCE: u32 = 1003;
const BOTH: u32 = 1004;
const PARALLEL: u32 = 1005;
const SILENT: u32 = 1006;
const ANSWER: u32 = 1007;
const HOLD: u32 = 1008;
const LAST: u32 = 1009;
const CONSOLE: u32 = GUEST_CID + 10000;

const BULK: u64 = 256 * MIB;
const STREAMS: usize = 64;
const PER_STREAM: u64 = MIB;

/// What the hypervisor's process may have of memory, guest memory and QEMU aside.
const MEMORY_LIMIT: u64 = 32 * MIB;

#[test]
fn microvm_a_guest_reaches_the_parent_and_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::within(directory.path());
    let kernel = Kernel::find();
    let initramfs = initramfs(&kernel, directory.path()).unwrap();

    let mut config = SwitchConfig::new(
        GUEST_CID,
        paths.listen.clone(),
        vec![paths.enclave.clone(), paths.shared.clone()],
    );
    config.console = Some(ConsolePort {
        port: CONSOLE,
        path: paths.console.clone(),
    });
    let (switch, frontend) = Switch::start(config).unwrap();
    assert!(
        host::connect(&paths.listen, ECHO).is_err(),
        "there is no guest yet"
    );

    let call = Call::expect(&paths.enclave).unwrap();
    let mut machine = Machine::boot(
        &kernel,
        &initramfs,
        directory.path(),
        Backend::Descriptor(frontend),
    )
    .unwrap();
    let boot = Instant::now();
    let mut guest = call.answer(&mut machine).unwrap();
    eprintln!("boot: {:.1} s", boot.elapsed().as_secs_f64());

    step("addresses", || addresses(&mut guest, &paths));
    step("refusals", || refusals(&mut guest, &paths));
    step("half-close", || half_close(&mut guest, &paths));
    step("host to guest", || host_to_guest(&mut guest, &paths));
    step("one way", || one_way(&mut guest, &paths));
    step("both ways", || both_ways(&mut guest, &paths));
    step("parallel", || parallel(&mut guest, &paths));
    step("slow reader", || slow_reader(&mut guest, &paths));
    step("flood", || flood(&mut guest, &paths));
    step("hoard", || hoard(&mut guest, &paths));
    step("last words", || {
        last_words(&mut guest, &mut machine, &paths)
    });
    switch.wait().unwrap();
    assert!(
        !paths.listen.exists(),
        "the listening socket goes with the switch"
    );
}

struct Paths {
    listen: PathBuf,
    enclave: PathBuf,
    shared: PathBuf,
    console: PathBuf,
}

impl Paths {
    fn within(directory: &Path) -> Self {
        Self {
            listen: directory.join("vsock.sock"),
            enclave: directory.join("vsock.sock"),
            shared: directory.join("vsock"),
            console: directory.join("console.sock"),
        }
    }
}

fn step(name: &str, run: impl FnOnce() -> io::Result<()>) {
    let start = Instant::now();
    if let Err(error) = run() {
        panic!("{name}: {error}");
    }
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
}

/// CID 3 and CID 2 are the parent; the guest's kernel takes an answer only from the CID it
/// dialled. The enclave's own listener comes before the shared one.
fn addresses(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    host::serve(&paths.shared, ECHO, host::echo)?;
    for cid in [3, 2] {
        let nanos: u64 = guest
            .order(&format!("ping {cid} {ECHO} 64 100"))?
            .parse()
            .unwrap();
        eprintln!("  round trip to CID {cid}: {:.3} ms", nanos as f64 / 1e6);
    }
    // A listener of the enclave's own is preferred from the moment it stands.
    host::serve(&paths.enclave, ANSWER, |stream| answer(stream, b"enclave"))?;
    host::serve(&paths.shared, ANSWER, |stream| answer(stream, b"shared"))?;
    assert_eq!(guest.order(&format!("half-close 3 {ANSWER}"))?, "enclave");
    std::fs::remove_file(host::port_path(&paths.enclave, ANSWER))?;
    assert_eq!(guest.order(&format!("half-close 3 {ANSWER}"))?, "shared");
    std::fs::remove_file(host::port_path(&paths.shared, ANSWER))
}

/// What is not there is refused, whatever the address: a guest that got no answer would say
/// ETIMEDOUT.
fn refusals(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    // A socket file behind which nobody listens any more.
    drop(UnixListener::bind(host::port_path(&paths.shared, 10))?);
    for (cid, port) in [
        (3, NOBODY),
        (2, NOBODY),
        (3, 10),
        (0, CONSOLE + 1),
        (0, ECHO),
        (5, ECHO),
    ] {
        let answer = guest.order(&format!("connect {cid} {port}"))?;
        // A refusal that did not come is told after two seconds, as ETIMEDOUT.
        let (code, _) = answer.split_once(' ').unwrap();
        assert_eq!(code, ECONNRESET, "CID {cid} port {port}");
    }
    let _console = UnixListener::bind(&paths.console)?;
    let answer = guest.order(&format!("connect 0 {CONSOLE}"))?;
    assert!(answer.starts_with("0 "), "the console answers: {answer}");

    for line in [
        "CONNECT\n",
        "HELLO 5\n",
        "CONNECT 99999999999\n",
        &"x".repeat(40),
    ] {
        let mut client = UnixStream::connect(&paths.listen)?;
        client.write_all(line.as_bytes())?;
        assert_eq!(read_all(client)?, b"", "{line:?} gets no answer");
    }
    Ok(())
}

/// The guest ends its sending and still hears the answer.
fn half_close(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    host::serve(&paths.shared, ANSWER, |stream| answer(stream, b"answered"))?;
    assert_eq!(guest.order(&format!("half-close 3 {ANSWER}"))?, "answered");
    Ok(())
}

/// Connections that the host opens, their half-close, and a port where the guest does not listen.
fn host_to_guest(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    assert!(host::connect(&paths.listen, NOBODY).is_err());
    guest.order("echo 2000")?;
    guest.order("speak-then-listen 2001")?;

    let mut stream = host::connect(&paths.listen, 2000)?;
    stream.write_all(b"to the guest and back")?;
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(stream)?, b"to the guest and back");

    let mut stream = host::connect(&paths.listen, 2001)?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    assert_eq!(said, b"that was all");
    stream.write_all(b"heard you")?;
    drop(stream);

    let clients: Vec<_> = (0..16u8)
        .map(|number| {
            let listen = paths.listen.clone();
            thread::spawn(move || {
                let mut stream = host::connect(&listen, 2000)?;
                stream.write_all(&[number; 1000])?;
                stream.shutdown(Shutdown::Write)?;
                Ok::<_, io::Error>(read_all(stream)? == [number; 1000])
            })
        })
        .collect();
    for client in clients {
        assert!(
            client.join().unwrap()?,
            "each client gets its own bytes back"
        );
    }
    Ok(())
}

fn one_way(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    const BYTES: u64 = 32 * MIB;
    host::serve(&paths.shared, SINK, |stream| host::sink(stream, BYTES))?;
    host::serve(&paths.shared, SOURCE, |stream| {
        host::source(stream, BYTES, 65536)
    })?;
    for chunk in [4096, 65536] {
        for (order, port) in [("send", SINK), ("receive", SOURCE)] {
            let time = guest.timed(&format!("{order} 3 {port} {BYTES} {chunk}"))?;
            report(&format!("{order} {chunk}"), BYTES, time);
        }
    }
    Ok(())
}

/// 256 MiB each way at the same time, in writes of 64 KiB.
fn both_ways(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    host::serve(&paths.shared, BOTH, |stream| host::both(stream, BULK))?;
    let time = guest.timed(&format!("both 1 3 {BOTH} {BULK} 65536"))?;
    report("each way", BULK, time);
    Ok(())
}

/// 64 streams, each both ways at the same time, and the memory they take.
fn parallel(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    host::serve(&paths.shared, PARALLEL, |stream| {
        host::both(stream, PER_STREAM)
    })?;
    let peak = PeakMemory::watch();
    let time = guest.timed(&format!("both {STREAMS} 3 {PARALLEL} {PER_STREAM} 65536"))?;
    report("each way", PER_STREAM * STREAMS as u64, time);
    let peak = peak.end();
    eprintln!(
        "  peak memory with this test's own threads: {:.1} MiB",
        peak as f64 / MIB as f64
    );
    assert!(peak <= MEMORY_LIMIT, "{peak} bytes of memory");
    Ok(())
}

/// A host that does not read stalls its own stream, at the window, and no other.
fn slow_reader(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    let (sender, accepted) = mpsc::channel();
    let listener = UnixListener::bind(host::port_path(&paths.shared, SILENT))?;
    let silent = thread::spawn(move || -> io::Result<Vec<u8>> {
        let (stream, _) = listener.accept()?;
        let _ = sender.send(());
        thread::park();
        read_all(stream)
    });
    let start = Instant::now();
    let went: usize = guest
        .order(&format!("overfill 3 {SILENT}"))?
        .parse()
        .unwrap();
    accepted.recv().map_err(io::Error::other)?;
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "the writer was told to stop"
    );
    assert!(
        went < 2 * MIB as usize,
        "{went} bytes went to a host that reads nothing"
    );

    guest.order(&format!("ping 3 {ECHO} 64 20"))?;
    silent.thread().unpark();
    let read = silent.join().unwrap()?;
    assert_eq!(read.len(), went, "a reader that wakes up gets everything");
    assert!(read.iter().all(|byte| *byte == 0xa5));
    Ok(())
}

/// Connects to nobody, again and again, and the switch is none the worse.
fn flood(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    // Clients that never finish their line.
    let idle: Vec<_> = (0..100)
        .map_while(|_| UnixStream::connect(&paths.listen).ok())
        .collect();
    let answer = guest.order(&format!("flood 3 {NOBODY} 500"))?;
    assert!(answer.starts_with("0 "), "nobody answers: {answer}");
    guest.order(&format!("ping 3 {ECHO} 64 20"))?;
    assert_eq!(idle.len(), 100);
    drop(idle);
    let mut stream = host::connect(&paths.listen, 2000)?;
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(stream.read(&mut [0])?, 0);
    Ok(())
}

/// More connections than the limit: those beyond it are refused, and the places come back.
fn hoard(guest: &mut Guest, paths: &Paths) -> io::Result<()> {
    host::serve(&paths.shared, HOLD, |stream| read_all(stream).map(|_| ()))?;
    let held: usize = guest
        .order(&format!("hoard 3 {HOLD} 400"))?
        .parse()
        .unwrap();
    // The control connection is one of the 256.
    assert_eq!(held, 255, "streams at the same time");
    let again: usize = guest
        .order(&format!("hoard 3 {HOLD} 200"))?
        .parse()
        .unwrap();
    assert_eq!(again, 200, "places of streams that are gone");
    Ok(())
}

/// What a guest says right before it ends arrives, though the host only reads afterwards.
fn last_words(guest: &mut Guest, machine: &mut Machine, paths: &Paths) -> io::Result<()> {
    let listener = UnixListener::bind(host::port_path(&paths.shared, LAST))?;
    let reader = thread::spawn(move || -> io::Result<usize> {
        let (stream, _) = listener.accept()?;
        thread::park();
        Ok(read_all(stream)?.len())
    });
    let went: usize = guest.order(&format!("overfill 3 {LAST}"))?.parse().unwrap();
    guest.order("exit")?;
    machine.wait()?;
    reader.thread().unpark();
    assert_eq!(
        reader.join().unwrap()?,
        went,
        "bytes of the guest's that arrived"
    );
    Ok(())
}

/// Reads the question to its end, then answers.
fn answer(mut stream: UnixStream, answer: &[u8]) -> io::Result<()> {
    let question = read_all(stream.try_clone()?)?;
    assert_eq!(question, b"question");
    stream.write_all(answer)
}

fn read_all(mut stream: UnixStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // A socket that was closed with unread bytes in it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(bytes),
        result => result.map(|_| bytes),
    }
}

fn report(what: &str, bytes: u64, time: Duration) {
    let rate = bytes as f64 / MIB as f64 / time.as_secs_f64();
    eprintln!("  {what}: {rate:.1} MiB/s");
}

/// Watches what this process has of memory.
struct PeakMemory {
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<u64>,
}

impl PeakMemory {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watcher = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::SeqCst) {
                peak = peak.max(memory());
                thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        Self { stop, watcher }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.watcher.join().unwrap()
    }
}

/// RssAnon + RssFile of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |field: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kib("RssAnon:") + kib("RssFile:")) * 1024
}
