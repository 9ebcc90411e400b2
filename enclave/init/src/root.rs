//! The application's world: `/rootfs` as root, with the kernel's file systems in it.
//!
//! The set of mounts is that of AWS's init; where that leaves out a restriction which no
//! application of an enclave can miss, it is added.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anchorhold_enclave_sys::mounts::{self, FileSystem, MsFlags};

use crate::failure::Failure;

/// Where the application's ramdisk puts its files.
const ROOTFS: &str = "/rootfs";

/// Neither devices, nor privilege by file mode, nor programs.
const STRICT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// What init itself needs, moved into the application's root later.
const EARLY: [(&str, FileSystem); 3] = [
    (
        "/dev",
        file_system(
            "devtmpfs",
            MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
            None,
        ),
    ),
    ("/proc", file_system("proc", STRICT, None)),
    ("/sys", file_system("sysfs", STRICT, None)),
];

/// What the application finds besides.
const LATE: [(&str, FileSystem); 4] = [
    ("/run", file_system("tmpfs", STRICT, Some("mode=0755"))),
    ("/tmp", file_system("tmpfs", STRICT, Some("mode=1777"))),
    ("/dev/shm", file_system("tmpfs", STRICT, Some("mode=1777"))),
    (
        "/dev/pts",
        file_system(
            "devpts",
            MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
            Some("mode=0620,ptmxmode=0666"),
        ),
    ),
];

/// Control groups, for applications that divide their memory; a kernel may lack them.
const CGROUP: (&str, FileSystem) = ("/sys/fs/cgroup", file_system("cgroup2", STRICT, None));

/// Names that programs expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// What only init needs, and which would occupy memory to the end.
const LEFTOVERS: [&str; 4] = ["/modules", "/init", "/cmd", "/env"];

/// Mounts `/dev`, `/proc` and `/sys`. The kernel may have mounted `/dev` already.
///
/// # Errors
/// [`Failure::Root`].
pub fn mount_early() -> Result<(), Failure> {
    for (target, filesystem) in &EARLY {
        let target = Path::new(target);
        make_directory(target)?;
        match mounts::mount(filesystem, target) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            outcome => outcome.map_err(at(target))?,
        }
    }
    Ok(())
}

/// Makes `/rootfs` the root, complete with its mounts, and drops what init has used.
///
/// # Errors
/// [`Failure::Root`].
pub fn enter() -> Result<(), Failure> {
    let root = Path::new(ROOTFS);
    mounts::bind_to_itself(root).map_err(at(root))?;
    for (directory, _) in &EARLY {
        let target = below(root, directory);
        make_directory(&target)?;
        mounts::move_mount(Path::new(directory), &target).map_err(at(&target))?;
    }
    remove_leftovers();
    mounts::enter_root(root).map_err(at(root))?;
    for (target, filesystem) in &LATE {
        let target = Path::new(target);
        make_directory(target)?;
        mounts::mount(filesystem, target).map_err(at(target))?;
    }
    let (target, cgroup) = &CGROUP;
    let _absent = mounts::mount(cgroup, Path::new(target));
    LINKS
        .iter()
        .try_for_each(|(name, target)| link(Path::new(name), target))
}

/// Frees memory; a file that is not there, or in use, costs nothing more than before.
fn remove_leftovers() {
    for path in LEFTOVERS {
        let _kept = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(at(path))
}

fn link(name: &Path, target: &str) -> Result<(), Failure> {
    match symlink(target, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome.map_err(at(name)),
    }
}

fn below(root: &Path, absolute: &str) -> PathBuf {
    root.join(absolute.trim_start_matches('/'))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Root { path, source }
}

const fn file_system(
    kind: &'static str,
    flags: MsFlags,
    options: Option<&'static str>,
) -> FileSystem {
    FileSystem {
        source: kind,
        kind,
        flags,
        options,
    }
}
