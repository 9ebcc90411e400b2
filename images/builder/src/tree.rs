//! A directory tree as an initramfs: the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::error::Error;

/// Longest path in the guest in bytes: Linux' `PATH_MAX` is 4096 with the final NUL.
const MAX_PATH: usize = 4095;

/// Archives are padded with zeros to a multiple of this. The kernel finds the next ramdisk's
/// archive at a multiple of 4 only; 512 is what cpio tools write.
const BLOCK: usize = 512;

/// A path in the guest: absolute, without `.`, `..`, empty components or a final slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestPath(String);

impl GuestPath {
    /// Takes a path that starts with `/`.
    ///
    /// # Errors
    /// [`Error::GuestPath`] saying what is wrong with it.
    pub fn new(path: &str) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::GuestPath {
                path: path.into(),
                reason,
            })
        };
        let Some(relative) = path.strip_prefix('/') else {
            return refuse("it does not start with a slash");
        };
        if relative.is_empty() || relative.ends_with('/') {
            return refuse("it names a directory, not a file");
        }
        if relative
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
        {
            return refuse("it has an empty, . or .. component");
        }
        if relative.contains('\0') || path.len() > MAX_PATH {
            return refuse("it has a NUL or more than 4095 bytes");
        }
        Ok(Self(relative.into()))
    }

    /// The path with its leading slash.
    pub fn absolute(&self) -> String {
        format!("/{}", self.0)
    }

    /// The path below the root, without a leading slash.
    fn relative(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, data: Vec<u8> },
    Symlink { target: String },
    Character { mode: u32, major: u32, minor: u32 },
}

/// Directories, files, symbolic links and character devices, all owned by root and dated at the
/// epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory, or sets the mode of one that is there.
    pub fn directory(&mut self, path: &GuestPath, mode: u32) {
        self.parents(path.relative());
        self.nodes
            .insert(path.relative().into(), Node::Directory { mode });
    }

    /// Adds a file and the directories above it; a file that is there is replaced.
    pub fn file(&mut self, path: &GuestPath, mode: u32, data: Vec<u8>) {
        self.parents(path.relative());
        self.nodes
            .insert(path.relative().into(), Node::File { mode, data });
    }

    /// Adds a character device.
    pub fn character(&mut self, path: &GuestPath, mode: u32, major: u32, minor: u32) {
        self.parents(path.relative());
        self.nodes.insert(
            path.relative().into(),
            Node::Character { mode, major, minor },
        );
    }

    /// Adds a host directory's content below `at`, with its modes and symbolic links; owners and
    /// times are dropped, a file with several names becomes several files.
    ///
    /// # Errors
    /// [`Error::FileKind`] for a device, FIFO or socket and for a name that is not UTF-8,
    /// [`Error::Read`] for what cannot be read.
    pub fn host_directory(&mut self, at: &GuestPath, directory: &Path) -> Result<(), Error> {
        for entry in fs::read_dir(directory).map_err(Error::read(directory))? {
            let entry = entry.map_err(Error::read(directory))?;
            let path = entry.path();
            let refuse = |reason| Error::FileKind {
                path: path.clone(),
                reason,
            };
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| refuse("its name is not UTF-8"))?;
            let guest = GuestPath::new(&format!("{}/{name}", at.absolute()))?;
            let metadata = entry.metadata().map_err(Error::read(&path))?;
            let mode = metadata.permissions().mode() & 0o7777;
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.directory(&guest, mode);
                self.host_directory(&guest, &path)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(Error::read(&path))?;
                let target = target
                    .to_str()
                    .ok_or_else(|| refuse("its target is not UTF-8"))?
                    .into();
                self.parents(guest.relative());
                self.nodes
                    .insert(guest.relative().into(), Node::Symlink { target });
            } else if kind.is_file() {
                let data = fs::read(&path).map_err(Error::read(&path))?;
                self.file(&guest, mode, data);
            } else {
                return Err(refuse(special(kind)));
            }
        }
        Ok(())
    }

    /// Whether a file, link or device stands at this path.
    pub fn has_file(&self, path: &GuestPath) -> bool {
        let node = self.nodes.get(path.relative());
        node.is_some_and(|node| !matches!(node, Node::Directory { .. }))
    }

    /// The tree as a newc archive: entries in the order of their paths, numbered in that order.
    ///
    /// # Errors
    /// [`Error::FileKind`] for a file of 4 GiB or more, which the format cannot hold.
    pub fn to_archive(&self) -> Result<Vec<u8>, Error> {
        let mut archive = Vec::new();
        for (index, (path, node)) in self.nodes.iter().enumerate() {
            append(&mut archive, index, path, node).map_err(|_| Error::FileKind {
                path: format!("/{path}").into(),
                reason: "an initramfs holds files of less than 4 GiB",
            })?;
        }
        let mut archive = trailer(archive).map_err(Error::write(Path::new("an initramfs")))?;
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        Ok(archive)
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = self.nodes.entry(path[..at].into());
            parent.or_insert(Node::Directory { mode: 0o755 });
        }
    }
}

fn special(kind: fs::FileType) -> &'static str {
    if kind.is_fifo() {
        "it is a FIFO"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        "it is a device"
    }
}

fn append(archive: &mut Vec<u8>, index: usize, path: &str, node: &Node) -> io::Result<()> {
    let number = u32::try_from(index + 1).map_err(io::Error::other)?;
    let entry = Builder::new(path).ino(number);
    let (entry, data): (_, &[u8]) = match node {
        Node::Directory { mode } => (
            entry
                .mode(*mode)
                .nlink(2)
                .set_mode_file_type(ModeFileType::Directory),
            &[],
        ),
        Node::File { mode, data } => (
            entry.mode(*mode).set_mode_file_type(ModeFileType::Regular),
            data,
        ),
        Node::Symlink { target } => (
            entry.mode(0o777).set_mode_file_type(ModeFileType::Symlink),
            target.as_bytes(),
        ),
        Node::Character { mode, major, minor } => {
            let entry = entry.mode(*mode).set_mode_file_type(ModeFileType::Char);
            (entry.rdev_major(*major).rdev_minor(*minor), &[])
        }
    };
    let size = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut writer = entry.write(archive, size);
    writer.write_all(data)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> GuestPath {
        GuestPath::new(path).expect("a valid path")
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for bad in [
            "", "/", "etc/x", "/etc/", "/a//b", "/a/../b", "/./a", "/a\0b",
        ] {
            let error = GuestPath::new(bad).expect_err(bad);
            assert_eq!(error.rule(), "guest.path");
        }
        assert!(GuestPath::new(&format!("/{}", "a".repeat(MAX_PATH))).is_err());
    }

    #[test]
    fn the_archive_depends_on_content_only() {
        let mut one = Tree::new();
        one.file(&path("/etc/b"), 0o644, b"2".to_vec());
        one.file(&path("/etc/a"), 0o644, b"1".to_vec());
        one.character(&path("/dev/console"), 0o600, 5, 1);
        let mut other = Tree::new();
        other.character(&path("/dev/console"), 0o600, 5, 1);
        other.directory(&path("/etc"), 0o755);
        other.file(&path("/etc/a"), 0o644, b"1".to_vec());
        other.file(&path("/etc/b"), 0o644, b"other".to_vec());
        other.file(&path("/etc/b"), 0o644, b"2".to_vec());
        let archive = one.to_archive().expect("small");
        assert_eq!(archive, other.to_archive().expect("small"));
        assert_eq!(archive.len() % BLOCK, 0);
        assert!(archive.starts_with(b"070701"));
    }

    #[test]
    fn parents_come_before_their_children() {
        let mut tree = Tree::new();
        tree.file(&path("/a/b/c"), 0o644, Vec::new());
        tree.file(&path("/a-b"), 0o644, Vec::new());
        let names: Vec<_> = tree.nodes.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a-b", "a/b", "a/b/c"]);
    }

    #[test]
    fn host_directories_keep_modes_and_links() {
        let host = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(host.path().join("bin")).expect("created");
        fs::write(host.path().join("bin/tool"), "x").expect("written");
        fs::set_permissions(
            host.path().join("bin/tool"),
            PermissionsExt::from_mode(0o4755),
        )
        .expect("set");
        std::os::unix::fs::symlink("tool", host.path().join("bin/link")).expect("linked");
        let mut tree = Tree::new();
        tree.host_directory(&path("/rootfs"), host.path())
            .expect("read");
        assert_eq!(
            tree.nodes.get("rootfs/bin/tool"),
            Some(&Node::File {
                mode: 0o4755,
                data: b"x".to_vec()
            })
        );
        let link = Node::Symlink {
            target: "tool".into(),
        };
        assert_eq!(tree.nodes.get("rootfs/bin/link"), Some(&link));
    }

    #[test]
    fn sockets_are_refused() {
        let host = tempfile::tempdir().expect("a temporary directory");
        let _socket = std::os::unix::net::UnixListener::bind(host.path().join("socket"));
        let error = Tree::new().host_directory(&path("/rootfs"), host.path());
        assert_eq!(error.expect_err("a socket").rule(), "guest.file-kind");
    }
}
