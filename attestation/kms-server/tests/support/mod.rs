//! What the tests of the real server process share.
#![allow(dead_code)] // Each test binary uses its part.

pub mod client;
pub mod enclave;
pub mod host;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[allow(unused_imports)]
pub use client::{Client, Reply};

/// Account and region of every KMS made here.
pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";

/// An access key as the command line prints it.
#[derive(Clone)]
pub struct Credentials {
    pub arn: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl Credentials {
    pub fn from_json(text: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(text).expect("credentials as JSON");
        let text = |name: &str| value[name].as_str().expect(name).to_owned();
        Self {
            arn: text("principal_arn"),
            access_key_id: text("access_key_id"),
            secret_access_key: text("secret_access_key"),
        }
    }
}

/// A data directory with a KMS, and its administrator.
pub struct Kms {
    pub temp: tempfile::TempDir,
    pub administrator: Credentials,
}

impl Kms {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("kms");
        let arguments = ["--account", ACCOUNT, "--region", REGION];
        let output = anchorhold_kms(&["init"], &dir, &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        Self {
            administrator: Credentials::from_json(&output.stdout),
            temp,
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.temp.path().join("kms")
    }

    /// A file beside the data directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.temp.path().join(name);
        std::fs::write(&path, content).expect("write");
        path
    }

    pub fn command(&self, command: &[&str], arguments: &[&str]) -> Output {
        anchorhold_kms(command, &self.dir(), arguments)
    }

    pub fn add_principal(&self, name: &str, policy: Option<&str>) -> Credentials {
        let output = match policy {
            Some(policy) => {
                let file = self.file(&format!("{name}.json"), policy);
                let file = file.to_str().expect("a path");
                self.command(&["principal", "add", name], &["--policy", file])
            }
            None => self.command(&["principal", "add", name], &[]),
        };
        assert!(output.status.success(), "{}", stderr(&output));
        Credentials::from_json(&output.stdout)
    }

    pub fn serve(&self, arguments: &[&str]) -> Server {
        Server::start(&self.dir(), arguments)
    }

    /// The server, and the file that its log goes to.
    pub fn serve_logged(&self, arguments: &[&str]) -> (Server, PathBuf) {
        let log = self.file("log", "");
        let file = std::fs::File::create(&log).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_anchorhold-kms"));
        command.args(serve_arguments(&self.dir(), arguments));
        (Server::spawn(command.stderr(file)), log)
    }

    /// The events of the trail.
    pub fn events(&self) -> Vec<Value> {
        let output = self.command(&["audit", "export"], &[]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout)
            .expect("text")
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("a line of JSON")["event"].clone()
            })
            .collect()
    }

    /// Verifies the trail, and gives the number of events.
    pub fn verify(&self) -> i64 {
        let output = self.command(&["audit", "verify"], &[]);
        assert!(output.status.success(), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["verified"], true);
        report["events"].as_i64().expect("a number")
    }
}

/// The server process.
pub struct Server {
    pub child: Child,
    pub url: String,
}

impl Server {
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anchorhold-kms"));
        Self::spawn(command.args(serve_arguments(dir, arguments)))
    }

    /// Spawns a prepared command and waits until it says where it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let value: Value = serde_json::from_str(&line).expect("a line of JSON");
        let url = value["listening"].as_str().expect("an endpoint").to_owned();
        Self { child, url }
    }

    pub fn client(&self, credentials: &Credentials) -> Client {
        Client::new(&self.url, credentials)
    }

    /// SIGTERM, and how the process ended.
    pub fn stop(mut self) -> ExitStatus {
        signal(&self.child, "TERM");
        self.child.wait().expect("the server ends")
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("the server ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for what other threads bring about: whether it comes within a minute. The caller asserts
/// it where no thread goes on for want of its end.
pub fn comes(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

pub fn serve_arguments(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let dir = dir.to_str().expect("a path");
    let mut all = vec!["serve", "--data-dir", dir];
    if !arguments.contains(&"--listen") {
        all.extend(["--listen", "127.0.0.1:0"]);
    }
    all.extend(arguments);
    all.into_iter().map(str::to_owned).collect()
}

pub fn anchorhold_kms(command: &[&str], dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anchorhold-kms"))
        .args(command)
        .args(["--data-dir", dir.to_str().expect("a path")])
        .args(arguments)
        .output()
        .expect("the command runs")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The Python with boto3 and the AWS Encryption SDK.
pub fn python() -> PathBuf {
    let python = std::env::var_os("ANCHORHOLD_PYTHON").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("HOME is set");
            std::env::var_os("XDG_CACHE_HOME")
                .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from)
                .join("anchorhold/venv/bin/python")
        },
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    python
}

/// Runs a script of `tests/py` against a server.
pub fn run_script(script: &str, server: &Server, kms: &Kms, variables: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/py")
        .join(script);
    let mut command = Command::new(python());
    command.arg(path);
    let output = aws_environment(&mut command, server, &kms.administrator)
        .envs(variables.iter().copied())
        .output()
        .expect("Python runs");
    assert!(
        output.status.success(),
        "{script}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
}

/// What AWS's tools read; nothing of the machine's own configuration.
pub fn aws_environment<'a>(
    command: &'a mut Command,
    server: &Server,
    credentials: &Credentials,
) -> &'a mut Command {
    command
        .env("AWS_ENDPOINT_URL_KMS", &server.url)
        .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_REGION", REGION)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
}
