//! A parent instance for the agent: a state directory, and programs in its tools' place.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const ID: &str = "i-0123456789abcdef0-enc0011223344556677";

pub struct Parent {
    root: TempDir,
}

impl Parent {
    /// A parent whose hypervisor and image tool note their arguments and do nothing.
    pub fn new() -> Self {
        let parent = Self {
            root: tempfile::tempdir().expect("temporary directory"),
        };
        parent.tool("hypervisor", "exit 0");
        parent.tool("image", "exit 0");
        parent
    }

    /// Puts a shell program in a tool's place. Each argument it is given is a line of
    /// `<name>.words`.
    pub fn tool(&self, name: &str, script: &str) {
        let words = self.path(&format!("{name}.words"));
        let text = format!(
            "#!/bin/bash\nprintf '%s\\n' \"$@\" >> {}\n{script}\n",
            words.display()
        );
        // Written beside and moved: a program that is being written cannot be started.
        let partial = self.path(&format!("{name}.new"));
        fs::write(&partial, text).expect("script");
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o755)).expect("mode");
        fs::rename(partial, self.path(name)).expect("script");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What a tool was called with.
    pub fn words(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{name}.words"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anchorhold"));
        command
            .args(words)
            .env("ANCHORHOLD_STATE_DIR", self.state())
            .env("ANCHORHOLD_HYPERVISOR", self.path("hypervisor"))
            .env("ANCHORHOLD_IMAGE", self.path("image"))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("agent")
    }

    /// Runs what succeeds; gives its standard output.
    pub fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs what is refused by `rule`; gives its standard error. Nothing is on standard output.
    pub fn refused(&self, words: &[&str], rule: &str) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(&format!("error[{rule}]")), "{rule}: {said}");
        assert!(output.stdout.is_empty(), "{output:?}");
        said
    }

    /// Makes an enclave's directory.
    pub fn enclave(&self) -> PathBuf {
        let path = self.state().join("enclaves").join(ID);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(&path).expect("directory");
        path
    }

    /// A running enclave: its control socket answers.
    pub fn running(&self, flags: &str) -> PathBuf {
        let path = self.enclave();
        let listener = UnixListener::bind(path.join("control.sock")).expect("bind");
        let description = description(flags);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accept");
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("clone"));
                reader.read_line(&mut line).expect("request");
                let answer = match line.contains("terminate") {
                    true => r#"{"Terminated":true}"#.to_owned(),
                    false => description.clone(),
                };
                writeln!(stream, "{{\"ok\":{answer}}}").expect("answer");
            }
        });
        path
    }
}

pub fn description(flags: &str) -> String {
    format!(
        r#"{{"EnclaveName":"hello","EnclaveID":"{ID}","ProcessID":7,"EnclaveCID":16,"NumberOfCPUs":2,"CPUIDs":[0,1],"MemoryMiB":256,"State":"RUNNING","Flags":"{flags}","Measurements":{{"HashAlgorithm":"Sha384 {{ ... }}","PCR0":"00","PCR1":"11","PCR2":"22"}},"ImageName":"hello","ImageVersion":"1"}}"#
    )
}

/// A process that is killed when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for what `probe` finds.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal by its name.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .expect("kill");
    assert!(status.success());
}

/// Whether a file exists, waiting for it.
pub fn appears(path: &Path) {
    eventually(&path.display().to_string(), || path.exists().then_some(()));
}
