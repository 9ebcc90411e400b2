//! A made-up kernel package and programs, so that tests need no network.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anchorhold_image::kernel::MODULES;
use tempfile::TempDir;

pub const PACKAGE: &str = "linux-image-6.12.1+deb12-cloud-amd64";
pub const RELEASE: &str = "6.12.1+deb12-cloud-amd64";
pub const VERSION: &str = "6.12.1-1";

/// A directory with `kernel.deb`, its `kernel.lock`, and the static programs `init` and `app`.
pub struct Bench {
    directory: TempDir,
}

impl Bench {
    /// Everything in place, the kernel not yet in the cache.
    pub fn new() -> Self {
        let bench = Self {
            directory: TempDir::new().expect("a temporary directory"),
        };
        kernel_package(&bench.path("kernel.deb"), b"the kernel");
        for program in ["init", "app"] {
            fs::write(bench.path(program), static_program(program)).expect("written");
        }
        let locked = bench.run(["kernel", "--update-lock", "--package-file", "kernel.deb"]);
        assert!(locked.status.success(), "{}", stderr(&locked));
        fs::remove_dir_all(bench.path("cache")).expect("removed");
        bench
    }

    /// As [`Bench::new`], with the kernel in the cache.
    pub fn with_kernel() -> Self {
        let bench = Self::new();
        let fetched = bench.run(["kernel", "--package-file", "kernel.deb"]);
        assert!(fetched.status.success(), "{}", stderr(&fetched));
        bench
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The tool in this directory, with this lock and cache for commands that take a kernel.
    pub fn tool<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_anchorhold-image"));
        command.current_dir(self.root()).args(&arguments);
        let kernel = ["kernel", "pack", "build", "expect", "reproduce"];
        if arguments
            .first()
            .is_some_and(|first| kernel.contains(first))
        {
            command.args(["--cache", "cache"]);
            if !arguments.contains(&"--lock") {
                command.args(["--lock", "kernel.lock"]);
            }
        }
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        self.tool(arguments).output().expect("the tool starts")
    }

    /// Runs and demands success; gives what is on stdout.
    pub fn succeed<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs and demands exit status 1 with this rule; gives what is on stderr.
    pub fn refuse<'a>(&self, arguments: impl IntoIterator<Item = &'a str>, rule: &str) -> String {
        refused(&self.run(arguments), rule)
    }

    /// Names in this directory or one below, sorted.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Writes an executable script that stands for a program in `bin`.
    pub fn script(&self, name: &str, body: &str) {
        fs::create_dir_all(self.path("bin")).expect("created");
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}")).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("set");
    }
}

pub fn refused(output: &Output, rule: &str) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "nothing on stdout");
    assert!(text.contains(&format!("error[{rule}]: ")), "{text}");
    text
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A package with a bzImage of the right form and modules that only name what they need.
pub fn kernel_package(to: &Path, content: &[u8]) {
    kernel_package_of(to, VERSION, content);
}

pub fn kernel_package_of(to: &Path, version: &str, content: &[u8]) {
    let root = TempDir::new().expect("a temporary directory");
    let write = |path: String, bytes: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, bytes).expect("written");
    };
    let control = format!(
        "Package: {PACKAGE}\nVersion: {version}\nArchitecture: amd64\n\
         Maintainer: nobody <nobody@example.com>\nDescription: made up\n"
    );
    write("DEBIAN/control".into(), control.as_bytes());
    write(format!("boot/vmlinuz-{RELEASE}"), &bzimage(content));
    for (name, place) in MODULES {
        let needs = if name == "vmw_vsock_virtio_transport" {
            "vsock"
        } else {
            ""
        };
        let object = format!("\x7fELF\0depends={needs}\0name={name}\0");
        write(
            format!("lib/modules/{RELEASE}/kernel/{place}"),
            &xz(object.as_bytes()),
        );
    }
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--build", "--root-owner-group"])
        .arg(root.path())
        .arg(to);
    let output = command
        .output()
        .expect("dpkg-deb is missing: run `cargo xtask setup`");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A bzImage with one setup sector whose boot header tells its length.
pub fn bzimage(content: &[u8]) -> Vec<u8> {
    let paragraphs = content.len().div_ceil(16);
    let mut kernel = vec![0; 1024];
    kernel[0x1f1] = 1;
    kernel[0x1f4..0x1f8].copy_from_slice(&(paragraphs as u32).to_le_bytes());
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel.extend(content);
    kernel.resize(1024 + 16 * paragraphs, 0);
    kernel
}

/// The header of a 64-bit x86 executable without program headers, and some content.
pub fn static_program(content: &str) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    program[18] = 62;
    program.extend(content.as_bytes());
    program
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// Makes a file of zeros, for what needs to be large.
pub fn sparse(path: &Path, size: u64) {
    File::create(path)
        .and_then(|file| file.set_len(size))
        .expect("created");
}
