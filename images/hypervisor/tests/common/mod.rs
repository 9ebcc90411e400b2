//! A host for hypervisors: directories of its own, images, and programs in QEMU's place.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anchorhold_eif::{EifWriter, Metadata};
use serde_json::Value;
use tempfile::TempDir;

/// What takes longer, on a busy host, hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A program in QEMU's place that does nothing.
pub const SLEEP: &str = "exec sleep 1000";

/// Directories that no other test uses.
pub struct Host {
    root: TempDir,
    pub qemu: Option<PathBuf>,
    state: &'static str,
}

impl Host {
    pub fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("temporary directory"),
            qemu: None,
            state: "state",
        }
    }

    /// Puts the state directory so deep that no socket's path in it fits an address. `state` is a
    /// link to it, by which tests reach what is inside.
    pub fn deepen(mut self) -> Self {
        const DEEP: &str = concat!(
            "a-state-directory-whose-name-is-longer-than-any-socket-address/",
            "and-whose-next-name-is-as-long-so-that-both-are-over-a-hundred-and-fifty/",
            "at-least-state",
        );
        let deep = self.path(DEEP);
        assert!(deep.as_os_str().len() > 150);
        std::os::unix::fs::symlink(&deep, self.path("state")).expect("link");
        self.state = DEEP;
        self
    }

    /// A host on which this shell program stands in QEMU's place. `$console`, `$nsm` and `$status`
    /// are the numbers of its sockets.
    pub fn with_qemu(script: &str) -> Self {
        let mut host = Self::new();
        let path = host.path("qemu");
        let text = format!(
            "#!/bin/bash\nfor word in \"$@\"; do case $word in\n\
             socket,id=console,fd=*) console=${{word##*=}};;\n\
             socket,id=nsm,fd=*) nsm=${{word##*=}};;\n\
             socket,id=status,fd=*) status=${{word##*=}};;\n\
             esac; done\n{script}\n"
        );
        fs::write(&path, text).expect("script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        host.qemu = Some(path);
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// An image that parses and measures, and boots nothing.
    pub fn image(&self) -> PathBuf {
        let path = self.path("small.eif");
        fs::write(&path, small_image()).expect("image");
        path
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anchorhold-hypervisor"));
        command
            .args(words)
            .env("ANCHORHOLD_STATE_DIR", self.path(self.state))
            .env("ANCHORHOLD_PLATFORM_DIR", self.path("platform"))
            .env_remove("ANCHORHOLD_ACCEL")
            .env_remove("ANCHORHOLD_BOOT_DEADLINE")
            .env_remove("ANCHORHOLD_QEMU")
            .stdin(Stdio::null());
        if let Some(qemu) = &self.qemu {
            command.env("ANCHORHOLD_QEMU", qemu);
        }
        command
    }

    /// Runs a command that is refused; gives its exit code and its standard error.
    pub fn refused(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).output().expect("hypervisor");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success(),
            "{words:?} was not refused: {said}"
        );
        (output.status.code(), said)
    }

    /// Starts an enclave as the agent does.
    pub fn start(&self, words: &[&str]) -> Enclave {
        let mut command = self.command(&["run", "--detach"]);
        command.args(words);
        if !words.contains(&"--accel") {
            command.args(["--accel", "tcg"]);
        }
        Enclave::start(command, self.state())
    }

    pub fn sweep(&self) -> Value {
        let output = self.command(&["sweep"]).output().expect("hypervisor");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The names of the enclaves' directories.
    pub fn enclaves(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state().join("enclaves")).into_iter();
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("name")
            })
            .collect();
        names.sort();
        names
    }

    /// The record of an ended enclave.
    pub fn ended(&self, id: &str) -> Value {
        let path = self.state().join(format!("ended/{id}.json"));
        let json = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        serde_json::from_slice(&json).expect("JSON")
    }
}

/// A hypervisor that was started; killed when it is dropped.
pub struct Enclave {
    pub process: Child,
    state: PathBuf,
    out: BufReader<ChildStdout>,
    progress: Option<JoinHandle<String>>,
}

impl Enclave {
    fn start(mut command: Command, state: PathBuf) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hypervisor");
        let out = BufReader::new(process.stdout.take().expect("piped"));
        let err: ChildStderr = process.stderr.take().expect("piped");
        let read = |mut err: ChildStderr| {
            let mut text = String::new();
            // What is not text shows where it is compared.
            let _ = err.read_to_string(&mut text);
            text
        };
        Self {
            process,
            state,
            out,
            progress: Some(thread::spawn(move || read(err))),
        }
    }

    /// Its report, once it runs or has failed.
    pub fn report(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("report");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no report: {line:?}"))
    }

    /// Its report of success.
    pub fn running(&mut self) -> Value {
        let report = self.report();
        let ok = report.get("ok").cloned();
        ok.unwrap_or_else(|| panic!("{report:#}\n{}", self.progress()))
    }

    /// Its report of a refusal.
    pub fn failure(&mut self) -> Value {
        let report = self.report();
        let error = report.get("error").cloned();
        error.unwrap_or_else(|| panic!("it runs: {report:#}"))
    }

    /// The directory of the only enclave there is, once its control socket answers.
    pub fn directory(&self) -> PathBuf {
        let enclaves = self.state.join("enclaves");
        eventually("an enclave's directory", || {
            let entry = fs::read_dir(&enclaves).ok()?.next()?.ok()?;
            let path = entry.path();
            UnixStream::connect(path.join("control.sock")).ok()?;
            Some(path)
        })
    }

    /// Its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the hypervisor's end", || {
            self.process.try_wait().expect("child")
        })
    }

    /// What it told people; it has to have ended, or to run.
    pub fn progress(&mut self) -> String {
        let reader = self.progress.take().expect("asked once");
        reader.join().expect("reader")
    }

    /// The process id of its QEMU.
    pub fn qemu(&self) -> u32 {
        let own = self.process.id();
        eventually("QEMU", || {
            let tasks = fs::read_dir(format!("/proc/{own}/task")).ok()?;
            let children = tasks.flatten().filter_map(|task| {
                let text = fs::read_to_string(task.path().join("children")).ok()?;
                text.split_whitespace().next()?.parse().ok()
            });
            children.into_iter().next()
        })
    }
}

impl Drop for Enclave {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays the guest's part of the heartbeat.
pub fn beat(directory: &Path) {
    let listener = directory.join("vsock.sock_9000");
    let mut stream = eventually("its listener", || UnixStream::connect(&listener).ok());
    stream.write_all(&[0xB7]).expect("heartbeat");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("answer");
    assert_eq!(answer, [0xB7]);
}

/// An enclave that has had its heartbeat, and its description.
pub fn running(host: &Host, more: &[&str]) -> (Enclave, Value) {
    let image = host.image();
    let words = [&["--eif-path", image.to_str().expect("path")], more].concat();
    let mut enclave = host.start(&words);
    beat(&enclave.directory());
    let description = enclave.running();
    (enclave, description)
}

/// Waits for what `probe` finds.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and has not ended.
pub fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim().starts_with(['Z', 'X']))
}

/// RssAnon and RssFile of a process, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).expect("a figure")
    };
    field("RssAnon:") + field("RssFile:")
}

/// What a process has taken of processors since it began.
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("its name in parentheses");
    // utime and stime, fields 14 and 15 (proc_pid_stat(5)), in hundredths of a second.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("a figure")).sum();
    Duration::from_millis(ticks * 10)
}

/// Sends a signal by its name.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .expect("kill");
    assert!(status.success());
}

/// Asks on a control socket.
pub fn ask(directory: &Path, request: &str) -> Value {
    let mut stream = UnixStream::connect(directory.join("control.sock")).expect("control");
    stream.set_read_timeout(Some(LIMIT)).expect("time limit");
    writeln!(stream, "{request}").expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    serde_json::from_str(&answer).expect("JSON")
}

fn small_image() -> Vec<u8> {
    let kernel = bzimage(8);
    let metadata = Metadata {
        image_name: "small".into(),
        image_version: "1.2".into(),
        ..Metadata::default()
    };
    EifWriter::new(&kernel, "console=ttyS0")
        .defaults(128 << 20, 1)
        .ramdisk(b"070701 boot")
        .ramdisk(b"070701 application")
        .metadata(metadata)
        .to_bytes()
        .expect("an image")
}

/// A bzImage of `paragraphs` × 16 bytes behind one setup sector (Linux x86 boot protocol).
fn bzimage(paragraphs: u32) -> Vec<u8> {
    let mut kernel = vec![0x90; 2 * 512 + 16 * paragraphs as usize];
    kernel[0x3c..0x40].copy_from_slice(&0x40u32.to_le_bytes());
    kernel[0x40..0x44].copy_from_slice(b"none");
    kernel[0x1f1] = 1;
    kernel[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel
}
