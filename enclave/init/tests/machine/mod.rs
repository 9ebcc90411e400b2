//! A machine for init: QEMU and what stands around it.

mod guest;
mod module;

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anchorhold_switch::{Switch, SwitchConfig, SwitchHandle};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tempfile::TempDir;

pub use module::Module;

/// CID of the enclave.
const CID: u32 = 16;

/// A machine that takes longer, under emulation on a busy host, hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What a machine is made of.
pub struct Parts {
    image: guest::Image,
    /// Who answers at the private port.
    pub module: Module,
    /// Whether it has a vsock device.
    pub vsock: bool,
    /// Whether it has the private port and the status port.
    pub ports: bool,
    module_id: String,
}

impl Parts {
    /// A complete machine for the conformance image with this command.
    pub fn new(command: &[&str]) -> Self {
        let image = guest::image(command);
        let (module_id, module) = module::real(&image.measurements);
        Self {
            image,
            module,
            vsock: true,
            ports: true,
            module_id,
        }
    }
}

/// A running machine.
pub struct Machine {
    qemu: Child,
    begun: Instant,
    directory: TempDir,
    switch: Option<SwitchHandle>,
    console: JoinHandle<Vec<(Duration, String)>>,
    status: Option<JoinHandle<Vec<(Duration, String)>>>,
    heartbeats: Arc<Mutex<Vec<Duration>>>,
    connected: AtomicUsize,
    module_id: String,
}

impl Machine {
    /// Starts it.
    pub fn boot(parts: Parts) -> Self {
        let Parts {
            image,
            module,
            vsock,
            ports,
            module_id,
        } = parts;
        let directory = TempDir::new().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("kernel"), &image.kernel).expect("kernel");
        fs::write(path("ramdisk"), &image.ramdisks).expect("ramdisks");

        let begun = Instant::now();
        let heartbeats = Arc::new(Mutex::new(Vec::new()));
        let mut command = base(&path("kernel"), &path("ramdisk"), &image.cmdline);
        let mut switch = None;
        let mut status = None;
        if vsock {
            let (handle, socket) = start_switch(directory.path(), begun, heartbeats.clone());
            let socket = inheritable(socket);
            command
                .arg("-chardev")
                .arg(format!("socket,id=vsock,fd={}", socket.as_raw_fd()));
            command.args(["-device", "vhost-user-vsock-pci,chardev=vsock"]);
            switch = Some((handle, socket));
        }
        if ports {
            command.args(["-device", "virtio-serial-pci"]);
            let modules = add_port(&mut command, &path("nsm"), "nsm.0");
            thread::spawn(move || module::serve(accept(&modules), module));
            let lines = add_port(&mut command, &path("status"), "status.0");
            status = Some(thread::spawn(move || timed_lines(accept(&lines), begun)));
        }
        let mut qemu = command
            .spawn()
            .expect("qemu-system-x86_64: run `cargo xtask setup`");
        let output = qemu.stdout.take().expect("piped");
        let console = thread::spawn(move || timed_lines(output, begun));
        // QEMU has its own copy of the socket by now.
        let switch = switch.map(|(handle, _socket)| handle);
        let connected = AtomicUsize::new(0);
        Self {
            qemu,
            begun,
            directory,
            switch,
            console,
            status,
            heartbeats,
            connected,
            module_id,
        }
    }

    /// What the security module calls itself.
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// Connects to a vsock port of the guest's, once it is listened on.
    pub fn connect(&self, port: u32) -> UnixStream {
        let deadline = self.begun + LIMIT;
        loop {
            if let Some(stream) = self.try_connect(port) {
                let elapsed = self.begun.elapsed();
                self.connected
                    .store(elapsed.as_millis() as usize, Ordering::Relaxed);
                stream.set_read_timeout(Some(LIMIT)).expect("timeout");
                return stream;
            }
            assert!(Instant::now() < deadline, "nobody listens on port {port}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn try_connect(&self, port: u32) -> Option<UnixStream> {
        let mut stream = UnixStream::connect(self.directory.path().join("vsock")).ok()?;
        stream
            .write_all(format!("CONNECT {port}\n").as_bytes())
            .ok()?;
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            answer.extend(byte);
        }
        answer.starts_with(b"OK ").then_some(stream)
    }

    /// Waits for the machine to end by itself.
    pub fn wait(mut self) -> Ended {
        let deadline = self.begun + LIMIT;
        let mut hung = false;
        while self.qemu.try_wait().expect("wait").is_none() {
            if Instant::now() > deadline {
                self.qemu.kill().expect("kill");
                hung = true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let lasted = self.begun.elapsed();
        let console = self.console.join().expect("console");
        let status = self
            .status
            .map(|lines| lines.join().expect("status"))
            .unwrap_or_default();
        if let Some(switch) = self.switch {
            switch.wait().expect("switch");
        }
        let heartbeats = self.heartbeats.lock().expect("heartbeats").clone();
        let ended = Ended {
            console: console
                .iter()
                .map(|(_, line)| format!("{line}\n"))
                .collect(),
            status,
            heartbeats: heartbeats.len(),
            connected: Duration::from_millis(self.connected.into_inner() as u64),
            lasted,
        };
        assert!(!hung, "the machine did not end within {LIMIT:?}\n{ended}");
        ended
    }
}

/// What a machine has left behind.
pub struct Ended {
    /// Everything on the console.
    pub console: String,
    /// The lines of the status port, with the time since QEMU was started.
    pub status: Vec<(Duration, String)>,
    /// How many heartbeats were heard.
    pub heartbeats: usize,
    connected: Duration,
    lasted: Duration,
}

impl Ended {
    /// The lines of the status port.
    pub fn said(&self) -> Vec<&str> {
        self.status.iter().map(|(_, line)| line.as_str()).collect()
    }

    /// The last of them.
    pub fn last(&self) -> &str {
        self.status.last().map_or("", |(_, line)| line)
    }

    /// The lines that init wrote to the console.
    pub fn console_of_init(&self) -> Vec<&str> {
        self.console
            .lines()
            .filter(|line| line.starts_with("anchorhold-init: "))
            .collect()
    }

    /// What took how long, from QEMU's start.
    pub fn timeline(&self) -> String {
        let mut text = String::from("seconds since QEMU was started:\n");
        for (time, line) in &self.status {
            text.push_str(&format!("{:8.2} {line}\n", time.as_secs_f64()));
        }
        text.push_str(&format!(
            "{:8.2} (connected)\n",
            self.connected.as_secs_f64()
        ));
        text.push_str(&format!(
            "{:8.2} (powered off)\n",
            self.lasted.as_secs_f64()
        ));
        text
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}console:\n{}", self.timeline(), self.console)
    }
}

/// A machine with nothing but a serial console.
fn base(kernel: &Path, ramdisk: &Path, cmdline: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-machine",
            "q35,memory-backend=memory",
            "-accel",
            "tcg",
            "-smp",
            "1",
        ])
        .args([
            "-m",
            "256",
            "-object",
            "memory-backend-memfd,id=memory,size=256M,share=on",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(ramdisk)
        .args(["-append", cmdline])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// A serial port, and the socket that QEMU will connect to for it.
fn add_port(command: &mut Command, path: &Path, name: &str) -> UnixListener {
    let listener = UnixListener::bind(path).expect("socket");
    let id = name.replace('.', "-");
    command
        .arg("-chardev")
        .arg(format!("socket,id={id},path={}", path.display()));
    command
        .arg("-device")
        .arg(format!("virtserialport,chardev={id},name={name}"));
    listener
}

fn accept(listener: &UnixListener) -> UnixStream {
    listener.accept().expect("QEMU connects").0
}

fn start_switch(
    directory: &Path,
    begun: Instant,
    heard: Arc<Mutex<Vec<Duration>>>,
) -> (SwitchHandle, OwnedFd) {
    let prefix: PathBuf = directory.join("vsock");
    let listener = UnixListener::bind(directory.join("vsock_9000")).expect("socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("heartbeat");
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("heartbeat");
            assert_eq!(byte, [0xB7]);
            heard.lock().expect("heartbeats").push(begun.elapsed());
            stream.write_all(&byte).expect("heartbeat");
        }
    });
    Switch::start(SwitchConfig::new(CID, prefix.clone(), vec![prefix])).expect("switch")
}

/// Lets QEMU inherit the descriptor. Each test is a process of its own, and starts one.
fn inheritable(socket: OwnedFd) -> OwnedFd {
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
    socket
}

fn timed_lines(input: impl Read, begun: Instant) -> Vec<(Duration, String)> {
    let mut lines = Vec::new();
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        lines.push((begun.elapsed(), text));
        line.clear();
    }
    lines
}
