//! The two ramdisks: what boots, and the application.
//!
//! | ramdisk | path | what |
//! |---|---|---|
//! | 0 | `/init` | PID 1 |
//! | 0 | `/modules/<name>.ko` | kernel modules, decompressed |
//! | 0 | `/modules/order` | their file names, one a line, in the order of loading |
//! | 0 | `/dev/console`, `/dev`, `/proc`, `/sys` | what the kernel and init need before mounts |
//! | 1 | `/rootfs/…` | the application's root directory |
//! | 1 | `/cmd` | the application's command, one argument a line |
//! | 1 | `/env` | its environment, one `NAME=value` a line |

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::elf;
use crate::error::Error;
use crate::hash::Sha256;
use crate::kernel::Module;
use crate::tree::{GuestPath, Tree};

/// Where an application's binary goes, below its root directory.
const BINARY_DIRECTORY: &str = "/bin";

/// Directories that an application's root has in any case, with their modes: places to mount
/// on, and `/tmp`.
const DIRECTORIES: [(&str, u32); 6] = [
    ("/rootfs", 0o755),
    ("/rootfs/dev", 0o755),
    ("/rootfs/proc", 0o755),
    ("/rootfs/run", 0o755),
    ("/rootfs/sys", 0o755),
    ("/rootfs/tmp", 0o1777),
];

/// A file of the host and its place in the application's root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// The file on the host; executable in the guest if it is so here.
    pub host: PathBuf,
    /// Its path below the application's root directory.
    pub guest: GuestPath,
}

/// What an application is made of.
#[derive(Debug, Clone, Default)]
pub struct Application {
    /// A root directory, if any.
    pub rootfs: Option<PathBuf>,
    /// Static executables, which go to `/bin/<file name>`.
    pub binaries: Vec<PathBuf>,
    /// Further files; each replaces what the root directory has at its path.
    pub files: Vec<ExtraFile>,
    /// The command with its arguments; when empty, the first binary without arguments.
    pub command: Vec<String>,
    /// The environment as `NAME=value`.
    pub environment: Vec<String>,
}

/// The ramdisk that boots.
///
/// # Errors
/// [`Error::NotStatic`] when init is not a static x86_64 executable.
pub fn boot(init: &Path, modules: &[Module]) -> Result<Vec<u8>, Error> {
    boot_tree(elf::read_static(init)?, modules)?.to_archive()
}

fn boot_tree(init: Vec<u8>, modules: &[Module]) -> Result<Tree, Error> {
    let mut tree = Tree::new();
    for (directory, mode) in [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555)] {
        tree.directory(&GuestPath::new(directory)?, mode);
    }
    // The kernel opens it for init's stdout before init can mount devtmpfs.
    tree.character(&GuestPath::new("/dev/console")?, 0o600, 5, 1);
    tree.file(&GuestPath::new("/init")?, 0o755, init);
    let mut order = String::new();
    for module in modules {
        let file = format!("{}.ko", module.name);
        tree.file(
            &GuestPath::new(&format!("/modules/{file}"))?,
            0o644,
            module.object.clone(),
        );
        order.push_str(&file);
        order.push('\n');
    }
    tree.file(
        &GuestPath::new("/modules/order")?,
        0o644,
        order.into_bytes(),
    );
    Ok(tree)
}

/// The application's ramdisk.
///
/// # Errors
/// [`Error::NoCommand`], [`Error::Argument`], [`Error::NotStatic`] and what [`Tree`] refuses.
pub fn application(application: &Application) -> Result<Vec<u8>, Error> {
    let mut tree = Tree::new();
    let root = GuestPath::new("/rootfs")?;
    for (directory, mode) in DIRECTORIES {
        tree.directory(&GuestPath::new(directory)?, mode);
    }
    if let Some(rootfs) = &application.rootfs {
        tree.host_directory(&root, rootfs)?;
    }
    for binary in &application.binaries {
        let place = GuestPath::new(&format!("/rootfs{}", binary_path(binary)?))?;
        tree.file(&place, 0o755, elf::read_static(binary)?);
    }
    for file in &application.files {
        let place = GuestPath::new(&format!("/rootfs{}", file.guest.absolute()))?;
        let data = fs::read(&file.host).map_err(Error::read(&file.host))?;
        let metadata = fs::metadata(&file.host).map_err(Error::read(&file.host))?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        tree.file(&place, if executable { 0o755 } else { 0o644 }, data);
    }
    let command = command(application)?;
    tree.file(
        &GuestPath::new("/cmd")?,
        0o644,
        lines("command argument", &command)?,
    );
    for entry in &application.environment {
        check_environment(entry)?;
    }
    let environment = lines("environment entry", &application.environment)?;
    tree.file(&GuestPath::new("/env")?, 0o644, environment);
    tree.to_archive()
}

/// A fingerprint of how ramdisks are laid out and archived, whatever is in them.
///
/// # Errors
/// None in practice: the sample parts are valid.
pub(crate) fn layout() -> Result<Sha256, Error> {
    let module = Module {
        name: "sample",
        object: b"module".to_vec(),
    };
    let mut parts = boot_tree(b"init".to_vec(), &[module])?.to_archive()?;
    let sample = Application {
        command: vec!["/bin/sample".into()],
        ..Application::default()
    };
    parts.extend(application(&sample)?);
    parts.extend(BINARY_DIRECTORY.as_bytes());
    Ok(Sha256::of(&parts))
}

fn command(application: &Application) -> Result<Vec<String>, Error> {
    match application.binaries.first() {
        _ if application
            .command
            .first()
            .is_some_and(|program| !program.is_empty()) =>
        {
            Ok(application.command.clone())
        }
        Some(binary) => Ok(vec![binary_path(binary)?]),
        None => Err(Error::NoCommand),
    }
}

fn binary_path(binary: &Path) -> Result<String, Error> {
    let name = binary
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Error::FileKind {
            path: binary.to_owned(),
            reason: "it has no UTF-8 file name",
        })?;
    Ok(format!("{BINARY_DIRECTORY}/{name}"))
}

fn check_environment(entry: &str) -> Result<(), Error> {
    match entry.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(()),
        _ => Err(Error::Argument {
            what: "environment entry",
            value: entry.into(),
            reason: "it is not NAME=value",
        }),
    }
}

/// One entry a line: the guest reads these files line by line, so no entry can hold a line break.
fn lines(what: &'static str, entries: &[String]) -> Result<Vec<u8>, Error> {
    let mut text = String::new();
    for entry in entries {
        let refuse = |reason| {
            Err(Error::Argument {
                what,
                value: entry.clone(),
                reason,
            })
        };
        if entry.contains(['\n', '\r', '\0']) {
            return refuse("it holds a line break or a NUL");
        }
        text.push_str(entry);
        text.push('\n');
    }
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_would_become_two_are_refused() {
        for bad in ["a\nb", "a\0b", "a\r"] {
            let error = lines("command argument", &[bad.into()]).expect_err("not one line");
            assert_eq!(error.rule(), "guest.argument");
        }
        assert_eq!(
            lines("x", &["a b".into(), "c".into()]).expect("valid"),
            b"a b\nc\n"
        );
    }

    #[test]
    fn an_application_needs_a_command() {
        let empty = Application::default();
        assert_eq!(
            application(&empty).expect_err("no command").rule(),
            "guest.no-command"
        );
        let run = Application {
            command: vec!["/bin/x".into()],
            ..Application::default()
        };
        assert!(application(&run).is_ok());
        for entry in ["NAME", "=value"] {
            let bad = Application {
                environment: vec![entry.into()],
                ..run.clone()
            };
            assert_eq!(
                application(&bad).expect_err("no name").rule(),
                "guest.argument"
            );
        }
    }
}
