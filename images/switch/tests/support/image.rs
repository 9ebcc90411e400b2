//! The kernel and the initramfs that the guest boots.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc::{Builder, ModeFileType, trailer};
use liblzma::read::XzDecoder;

/// Modules in load order. Virtio over PCI is built into the kernel.
const MODULES: [&str; 3] = [
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
];

const MISSING_KERNEL: &str = "no kernel for test machines: run `cargo xtask setup`, \
    or name a directory with one in ANCHORHOLD_KERNEL_DIR";

/// A kernel with its modules, unpacked from Debian's package.
pub struct Kernel {
    pub image: PathBuf,
    modules: Vec<PathBuf>,
}

impl Kernel {
    /// The kernel in `ANCHORHOLD_KERNEL_DIR`, else the newest one in the cache.
    pub fn find() -> Self {
        let named = std::env::var_os("ANCHORHOLD_KERNEL_DIR").map(PathBuf::from);
        let directory = named.or_else(newest_cached).expect(MISSING_KERNEL);
        Self::within(&directory)
    }

    /// The kernel somewhere below `directory`.
    pub fn within(directory: &Path) -> Self {
        let files = files_below(directory, 8);
        let named = |wanted: &dyn Fn(&str) -> bool| {
            let name = |path: &&PathBuf| {
                path.file_name()
                    .is_some_and(|name| wanted(&name.to_string_lossy()))
            };
            files.iter().find(name).cloned()
        };
        let image = named(&|name| name.starts_with("vmlinuz") || name == "bzImage");
        let module = |module: &&str| {
            named(&|name| name == format!("{module}.ko.xz") || name == format!("{module}.ko"))
        };
        Self {
            image: image.expect(MISSING_KERNEL),
            modules: MODULES
                .iter()
                .map(|name| module(name).expect(MISSING_KERNEL))
                .collect(),
        }
    }
}

fn newest_cached() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let versions = fs::read_dir(cache.join("anchorhold/kernel")).ok()?;
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    versions
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .max_by_key(changed)
}

fn files_below(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => {
                files.extend(files_below(&entry.path(), depth - 1));
            }
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

/// Builds the guest program, statically, and packs it with the kernel's modules into `directory`.
pub fn initramfs(kernel: &Kernel, directory: &Path) -> io::Result<PathBuf> {
    let program = directory.join("guest");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/main.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "--edition=2024",
            "-O",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
        ])
        .arg("--target=x86_64-unknown-linux-gnu")
        .arg("-o")
        .args([&program, &source])
        .status()?;
    assert!(status.success(), "the guest program does not compile");

    let path = directory.join("initramfs.cpio");
    let mut archive = Archive(File::create(&path)?);
    archive.directory("dev")?;
    archive.console()?;
    archive.file("init", &fs::read(program)?, 0o755)?;
    archive.directory("modules")?;
    let mut order = String::new();
    for (name, module) in MODULES.iter().zip(&kernel.modules) {
        archive.file(&format!("modules/{name}.ko"), &decompressed(module)?, 0o644)?;
        order += &format!("{name}.ko\n");
    }
    archive.file("modules/order", order.as_bytes(), 0o644)?;
    trailer(archive.0)?;
    Ok(path)
}

fn decompressed(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "xz") {
        XzDecoder::new(file).read_to_end(&mut bytes)?;
    } else {
        { file }.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// An archive in the kernel's initramfs format.
struct Archive(File);

impl Archive {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(
            Builder::new(name)
                .mode(0o755)
                .set_mode_file_type(ModeFileType::Directory),
            &[],
        )
    }

    /// The device to which init's output goes: character device 5:1.
    fn console(&mut self) -> io::Result<()> {
        let node = Builder::new("dev/console")
            .mode(0o600)
            .rdev_major(5)
            .rdev_minor(1);
        self.entry(node.set_mode_file_type(ModeFileType::Char), &[])
    }

    fn file(&mut self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let file = Builder::new(name)
            .mode(mode)
            .set_mode_file_type(ModeFileType::Regular);
        self.entry(file, bytes)
    }

    fn entry(&mut self, builder: Builder, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut entry = builder.write(&mut self.0, len);
        entry.write_all(bytes)?;
        entry.finish().map(|_| ())
    }
}
