//! Which virtio devices and serial ports the machine has, as sysfs tells it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::wait::until_ready;

/// Virtio device id of a console, which carries serial ports (VIRTIO 1.2, 5.3).
pub const CONSOLE: u32 = 3;

/// Virtio device id of a Nitro security module (`VIRTIO_ID_NITRO_SEC_MOD`).
pub const SECURITY_MODULE: u32 = 33;

/// How often a port is looked for while it may still appear.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Longest sysfs attribute that is read, in bytes: one page, as sysfs has it.
const ATTRIBUTE_LIMIT: u64 = 4096;

/// Whether a virtio device with this id exists. A kernel without a virtio bus has none.
pub fn device_present(id: u32) -> bool {
    device_present_in(Path::new("/sys/bus/virtio/devices"), id)
}

/// Opens the serial port that the host calls `name`, for reading and writing without
/// blocking, and waits until the host's end is there.
///
/// The kernel learns of ports and their names in messages after it has found the device,
/// hence the waiting, which `deadline` ends.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] without waiting when there is no virtio console;
/// [`io::ErrorKind::TimedOut`] when no port of this name appears, or nobody is at its
/// other end; otherwise what the kernel answers, `EBUSY` if the port is open already.
pub fn open_port(name: &str, deadline: Instant) -> io::Result<File> {
    if !device_present(CONSOLE) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (class, devices) = (Path::new("/sys/class/virtio-ports"), Path::new("/dev"));
    let path = retry_until(deadline, || find_port_in(class, devices, name))?;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    retry_until(deadline, || {
        let events = until_ready(&port, PollFlags::POLLOUT, deadline)?;
        Ok((!events.contains(PollFlags::POLLHUP)).then_some(()))
    })?;
    Ok(port)
}

/// Writes all of `bytes` to a port that does not block, waiting while it is full.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when the host has not taken them by `deadline`; otherwise
/// what the kernel answers.
pub fn write_all(mut port: &File, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match port.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                until_ready(port, PollFlags::POLLOUT, deadline)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Calls `attempt` until it gives a value, sleeping in between, not beyond `deadline`.
fn retry_until<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn device_present_in(bus: &Path, id: u32) -> bool {
    entries(bus).into_iter().any(|device| {
        attribute(&device.join("device"))
            .and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok())
            == Some(id)
    })
}

fn find_port_in(class: &Path, devices: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let port = entries(class)
        .into_iter()
        .find(|port| attribute(&port.join("name")).as_deref() == Some(name));
    Ok(port
        .and_then(|port| Some(devices.join(port.file_name()?)))
        .filter(|path| path.exists()))
}

/// The entries of a directory in the order of their names; none if it does not exist.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// A sysfs attribute without its line end; none if it is missing or not text.
fn attribute(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(ATTRIBUTE_LIMIT)
        .read_to_string(&mut text)
        .ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("virtio-{test}-{}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn devices_are_told_by_their_id() {
        let files = [
            ("virtio0/device", "0x0003\n"),
            ("virtio1/device", "garbage"),
            ("virtio2/x", ""),
        ];
        let tree = Tree::new("devices", &files);
        assert!(device_present_in(&tree.0, CONSOLE));
        assert!(!device_present_in(&tree.0, SECURITY_MODULE));
        assert!(!device_present_in(Path::new("/nonexistent"), CONSOLE));
    }

    #[test]
    fn ports_are_told_by_their_name() {
        let files = [
            ("class/vport0p1/name", "nsm.00\n"),
            ("class/vport0p2/name", "nsm.0\n"),
            ("class/vport0p3/dev", "245:3\n"),
            ("class/vport0p4/name", "status.0\n"),
            ("dev/vport0p2", ""),
        ];
        let tree = Tree::new("ports", &files);
        let find = |name| find_port_in(&tree.0.join("class"), &tree.0.join("dev"), name).unwrap();
        assert_eq!(find("nsm.0"), Some(tree.0.join("dev/vport0p2")));
        assert_eq!(
            find("status.0"),
            None,
            "named, but without a device node yet"
        );
        assert_eq!(find("other"), None);
    }

    #[test]
    fn a_full_port_is_waited_for_until_the_deadline() {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixStream;

        let (guest, mut host) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        let port = File::from(OwnedFd::from(guest));
        let soon = || Instant::now() + Duration::from_millis(20);
        write_all(&port, b"line", soon()).unwrap();
        let mut line = [0; 4];
        host.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"line");
        let error = write_all(&port, &vec![0; 16 << 20], soon()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn looking_ends_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let error = retry_until(deadline, || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
