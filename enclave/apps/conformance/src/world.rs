//! The rest of the machine: clock, entropy, mounts, and how the application was started.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::helpers;
use crate::module::Client;
use crate::outcome::{Checked, Failure, Results, equal, holds, machine, mismatch};

/// The first argument, as the image gives it.
pub const MODE: &str = "run";

/// The second: one argument although it has a space in it.
const ARGUMENT: &str = "two words";

/// The variable that goes with them, its value with an equals sign.
const VARIABLE: (&str, &str) = ("CONFORMANCE", "one=1");

/// What init adds to every environment that does not have it.
const PATH: (&str, &str) = ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin");

/// Where is what, and with which restrictions, in `/proc/self/mounts`' words.
const MOUNTS: [(&str, &str, &[&str]); 8] = [
    ("/dev", "devtmpfs", &["nosuid", "noexec"]),
    ("/dev/pts", "devpts", &["nosuid", "noexec"]),
    ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"]),
    ("/proc", "proc", &["nosuid", "nodev", "noexec"]),
    ("/run", "tmpfs", &["nosuid", "nodev", "noexec"]),
    ("/sys", "sysfs", &["nosuid", "nodev", "noexec"]),
    ("/sys/fs/cgroup", "cgroup2", &["nosuid", "nodev", "noexec"]),
    ("/tmp", "tmpfs", &["nosuid", "nodev", "noexec"]),
];

/// How far the clock may be from a document's time: what making one takes, generously, as
/// the machine may be emulated on a busy host. What counts is whose time it is, not how exact.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// All that needs no security module, and the clock, which was set by it.
pub fn check(results: &mut Results) {
    results.note("world.arguments", arguments);
    results.note("world.environment", environment);
    results.note("world.clock", clock);
    results.note("world.entropy", entropy);
    results.note("world.mounts", mounts);
    results.note("world.temporary-files", temporary_files);
    results.note("world.device-links", device_links);
    results.note("world.root", root);
    results.note("world.loopback", loopback);
    results.note("world.session", session);
    results.note("world.output", output);
    results.note("world.orphans", orphans);
    results.note("world.signals-to-init", signals_to_init);
}

/// The user id of this process.
pub fn user_id() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether the image gives arguments and a variable, or neither.
fn started_with_arguments() -> bool {
    std::env::args().len() > 1
}

fn arguments() -> Checked {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let expected: &[&str] = if started_with_arguments() {
        &[MODE, ARGUMENT]
    } else {
        &[]
    };
    equal(
        "arguments",
        arguments,
        expected.iter().map(ToString::to_string).collect(),
    )
}

fn environment() -> Checked {
    let mut variables: Vec<(String, String)> = std::env::vars().collect();
    variables.sort();
    let expected: &[(&str, &str)] = if started_with_arguments() {
        &[VARIABLE, PATH]
    } else {
        &[PATH]
    };
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    equal(
        "environment",
        variables,
        expected.iter().map(owned).collect(),
    )
}

fn clock() -> Checked {
    let document = Client::open()?.attest([None; 3])?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let apart = now.abs_diff(Duration::from_millis(document.timestamp_ms));
    holds(
        "clock",
        apart <= CLOCK_TOLERANCE,
        "the time of a new document",
        apart,
    )
}

fn entropy() -> Checked {
    let available = fs::read_to_string("/proc/sys/kernel/random/entropy_avail")
        .map_err(machine("entropy_avail"))?;
    equal("bits in the pool", available.trim(), "256")?;
    // EAGAIN for as long as the generator is not ready (random(4)).
    let mut bytes = [0; 64];
    File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open("/dev/random")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(machine("/dev/random"))
}

fn mounts() -> Checked {
    let table = fs::read_to_string("/proc/self/mounts").map_err(machine("mounts"))?;
    for (target, kind, flags) in MOUNTS {
        let mount = table
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .rfind(|fields| fields.get(1) == Some(&target));
        let [_, _, got, options, ..] = mount.as_deref().unwrap_or_default() else {
            return Err(mismatch("mount", &target, &"none"));
        };
        equal("file system", *got, kind)?;
        let options: Vec<&str> = options.split(',').collect();
        let restricted = flags.iter().all(|flag| options.contains(flag));
        holds(
            "mount flags",
            restricted,
            &format!("{flags:?} on {target}"),
            options,
        )?;
    }
    Ok(())
}

fn temporary_files() -> Checked {
    for directory in ["/tmp", "/run", "/dev/shm"] {
        let path = Path::new(directory).join("conformance");
        fs::write(&path, b"bytes").map_err(machine("write"))?;
        equal(
            "file",
            fs::read(&path).map_err(machine("read"))?,
            b"bytes".to_vec(),
        )?;
        fs::remove_file(&path).map_err(machine("remove"))?;
    }
    Ok(())
}

fn device_links() -> Checked {
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdout", "/proc/self/fd/1"),
    ] {
        let got = fs::read_link(link).map_err(machine("link"))?;
        equal("link", got.as_path(), Path::new(target))?;
    }
    Ok(())
}

/// The root is the application's own, and init's files are out of sight.
fn root() -> Checked {
    for path in ["/init", "/modules", "/cmd", "/env", "/rootfs"] {
        holds(
            "root",
            !Path::new(path).exists(),
            "none of init's files",
            path,
        )?;
    }
    let of_init = fs::read_link("/proc/1/root").map_err(machine("/proc/1/root"))?;
    equal("init's root", of_init.as_path(), Path::new("/"))?;
    let table = fs::read_to_string("/proc/self/mounts").map_err(machine("mounts"))?;
    let mounted = table
        .lines()
        .any(|line| line.split(' ').nth(1) == Some("/"));
    equal("the root is a mount", mounted, true)
}

fn loopback() -> Checked {
    let exchange = || -> io::Result<[u8; 4]> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"ping")?;
        let mut bytes = [0; 4];
        server.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    equal(
        "bytes over 127.0.0.1",
        exchange().map_err(machine("loopback"))?,
        *b"ping",
    )
}

/// The application leads a session of its own, as root, as a child of init.
fn session() -> Checked {
    let stat = fs::read_to_string("/proc/self/stat").map_err(machine("stat"))?;
    // Fields after the name, which may hold spaces: state, parent, group, session.
    let fields: Vec<&str> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let pid = std::process::id().to_string();
    let expected = ["1", &pid, &pid];
    equal(
        "parent, group and session",
        fields.get(1..4),
        Some(&expected[..]),
    )?;
    equal("user", user_id(), Some(0))
}

fn output() -> Checked {
    for descriptor in 0..3 {
        let file = fs::read_link(format!("/proc/self/fd/{descriptor}")).map_err(machine("fd"))?;
        equal("standard stream", file.as_path(), Path::new("/dev/console"))?;
    }
    Ok(())
}

/// A process whose parent has ended is reaped by init.
fn orphans() -> Checked {
    let output = Command::new("/proc/self/exe")
        .arg(helpers::ORPHAN)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(machine("helper"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let orphan: u32 = said
        .trim()
        .parse()
        .map_err(|_| mismatch("orphan", &"a process id", &said))?;
    let process = Path::new("/proc").join(orphan.to_string());
    let deadline = Instant::now() + helpers::ORPHAN_LIFE + Duration::from_secs(30);
    while process.exists() {
        if Instant::now() > deadline {
            return Err(zombie(&process));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Nothing that an application sends to init ends it: the module, which init serves where
/// there is no hardware, goes on answering. Twice, as a handler may serve once.
fn signals_to_init() -> Checked {
    for signal in Signal::iterator().chain(Signal::iterator()) {
        let sent = kill(Pid::from_raw(1), signal).map_err(io::Error::from);
        sent.map_err(machine("kill"))?;
    }
    let document = Client::open()?.attest([None; 3])?;
    holds(
        "document",
        !document.pcrs.is_empty(),
        "one with registers",
        document.pcrs,
    )
}

fn zombie(process: &Path) -> Failure {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    mismatch("orphan", &"reaped", &stat)
}
