//! Images that really boot: the locked kernel, init and the hello application.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anchorhold_eif::EifWriter;
use anchorhold_image::kernel::{Fetch, Kernel};
use anchorhold_image::pack::{self, CMDLINE, Parts};
use anchorhold_image::ramdisk::Application;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "measured";

/// Writes the hello image.
pub fn hello(path: &Path) {
    image(path, build("anchorhold-hello"), "anchorhold-hello");
}

/// Writes an image of the program `dialler.rs` beside this file.
pub fn dialler(path: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/dialler.rs");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dialler");
    let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--target", TARGET, "-O", "-o"])
        .args([&program, &source])
        .args(["-C", "target-feature=+crt-static"])
        .status()
        .expect("rustc");
    assert!(status.success(), "the dialler does not build");
    image(path, program, "dialler");
}

/// Writes an image that runs this program.
fn image(path: &Path, program: PathBuf, name: &str) {
    let packed = pack::pack(&Parts {
        name: name.into(),
        version: "1".into(),
        kernel: &kernel(),
        cmdline: CMDLINE.into(),
        init: build("anchorhold-init"),
        application: Application {
            binaries: vec![program],
            command: vec![name.into()],
            ..Application::default()
        },
    })
    .expect("an image");
    fs::write(path, packed.bytes).expect("file");
}

/// Writes an image whose kernel finds no init and panics.
pub fn without_init(path: &Path) {
    let kernel = kernel().read_bzimage().expect("the kernel");
    let trailer = format!("070701{:0>88}{:08x}{:0>8}TRAILER!!!\0\0\0\0", "", 11, "");
    let image = EifWriter::new(&kernel, "console=ttyS0 reboot=t panic=-1")
        .ramdisk(trailer.as_bytes())
        .to_bytes()
        .expect("an image");
    fs::write(path, image).expect("file");
}

fn kernel() -> Kernel {
    let fallback = cache().join("kernel.lock");
    let fetch = Fetch {
        lock: None,
        update_lock: false,
        cache: cache(),
        package_file: None,
    };
    fetch
        .run_or_fall_back(&fallback, &mut |progress| eprintln!("{progress}"))
        .expect("a kernel: run `cargo xtask setup`")
}

/// Builds a package as measured ones are, in a directory of the tests' own: other flags would make
/// other binaries there, and other builds would wait.
fn build(package: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", package])
        .args(["--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(&directory)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo");
    assert!(status.success(), "{package} does not build");
    directory.join(TARGET).join(PROFILE).join(package)
}

/// Where kernels are kept.
fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .expect("HOME or XDG_CACHE_HOME")
        .join("anchorhold")
}
