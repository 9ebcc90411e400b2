//! The measured text files that say what to load and what to run: lists, one entry to a
//! line, in the format of AWS's images.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Longest file in bytes: the longest argument or variable that `execve` takes
/// (`MAX_ARG_STRLEN`, 32 pages).
const FILE_LIMIT: u64 = 128 * 1024;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is too long.
    #[error("at most {FILE_LIMIT} bytes expected, more came")]
    Long,
    /// It holds a byte that no argument can hold.
    #[error("line {line}: text expected, a zero byte came")]
    Zero {
        /// Counted from 1.
        line: usize,
    },
    /// There is no program to run.
    #[error("line 1: a program expected, nothing came")]
    NoProgram,
    /// A line is no variable.
    #[error("line {line}: NAME=value expected, something else came")]
    Variable {
        /// Counted from 1.
        line: usize,
    },
    /// A line is no module's file name.
    #[error("line {line}: name.ko expected, something else came")]
    Module {
        /// Counted from 1.
        line: usize,
    },
}

/// The lines of a file. The last one may end with a line end or not.
///
/// # Errors
/// [`FileError`].
pub fn lines(path: &Path) -> Result<Vec<OsString>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(FileError::Read)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(FileError::Long);
    }
    split(&bytes)
}

/// As [`lines`], where a missing file has none.
///
/// # Errors
/// [`FileError`].
pub fn lines_if_any(path: &Path) -> Result<Vec<OsString>, FileError> {
    match lines(path) {
        Err(FileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Program and arguments; empty arguments are arguments.
///
/// # Errors
/// [`FileError::NoProgram`].
pub fn command(lines: Vec<OsString>) -> Result<(OsString, Vec<OsString>), FileError> {
    let mut lines = lines.into_iter();
    match lines.next() {
        Some(program) if !program.is_empty() => Ok((program, lines.collect())),
        _ => Err(FileError::NoProgram),
    }
}

/// Names and values of variables. Of two with one name the first counts, as it does for
/// `getenv`; empty lines count for nothing.
///
/// # Errors
/// [`FileError::Variable`].
pub fn environment(lines: &[OsString]) -> Result<Vec<(OsString, OsString)>, FileError> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (index, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
    {
        let (name, value) = variable(line).ok_or(FileError::Variable { line: index + 1 })?;
        if variables.iter().all(|(known, _)| known != name) {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(variables)
}

/// Module file names, each `<name>.ko` in the directory of the list.
///
/// # Errors
/// [`FileError::Module`].
pub fn module_names(lines: &[OsString]) -> Result<Vec<String>, FileError> {
    let name = |(index, line): (usize, &OsString)| {
        let name = line.to_str().filter(|name| {
            name.strip_suffix(".ko").is_some_and(|stem| {
                !stem.is_empty()
                    && stem
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            })
        });
        name.map(str::to_owned)
            .ok_or(FileError::Module { line: index + 1 })
    };
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(name)
        .collect()
}

fn split(bytes: &[u8]) -> Result<Vec<OsString>, FileError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let line = |(index, line): (usize, &[u8])| match line.contains(&0) {
        true => Err(FileError::Zero { line: index + 1 }),
        false => Ok(OsString::from_vec(line.to_vec())),
    };
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(line)
        .collect()
}

fn variable(line: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = line.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (bytes.get(..equals)?, bytes.get(equals + 1..)?);
    (!name.is_empty()).then(|| (OsStr::from_bytes(name), OsStr::from_bytes(value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(error: FileError) -> String {
        error.to_string()
    }

    #[test]
    fn commands_without_a_program_are_refused() {
        for bytes in [&b""[..], b"\n", b"\nargument\n"] {
            let error = command(split(bytes).unwrap()).unwrap_err();
            assert_eq!(text(error), "line 1: a program expected, nothing came");
        }
        assert_eq!(
            text(split(b"/app\na\0b").unwrap_err()),
            "line 2: text expected, a zero byte came"
        );
    }

    #[test]
    fn variables_without_a_name_are_refused() {
        for bytes in [&b"A=1\n=2"[..], b"A=1\nB"] {
            let error = environment(&split(bytes).unwrap()).unwrap_err();
            assert_eq!(
                text(error),
                "line 2: NAME=value expected, something else came"
            );
        }
    }

    #[test]
    fn modules_elsewhere_are_refused() {
        for name in ["../nsm.ko", "/nsm.ko", "nsm", ".ko", "nsm.ko.xz", "n m.ko"] {
            let error = module_names(&[name.into()]).unwrap_err();
            assert_eq!(text(error), "line 1: name.ko expected, something else came");
        }
    }

    #[test]
    fn files_that_are_missing_or_too_long_are_refused() {
        let missing = Path::new("/nonexistent/cmd");
        assert!(matches!(lines(missing), Err(FileError::Read(_))));
        assert!(lines_if_any(missing).unwrap().is_empty());
        assert!(matches!(
            lines_if_any(Path::new("/dev/zero")),
            Err(FileError::Long)
        ));
    }

    #[test]
    fn a_command_keeps_its_arguments_as_they_are() {
        let (program, arguments) = command(split(b"/app\n\n two words \n").unwrap()).unwrap();
        assert_eq!(
            (program, arguments),
            ("/app".into(), vec!["".into(), " two words ".into()])
        );
    }

    #[test]
    fn an_environment_keeps_the_first_of_each_name() {
        let variables = environment(&split(b"A=1=2\n\nB=\nA=3\n").unwrap()).unwrap();
        assert_eq!(
            variables,
            [("A".into(), "1=2".into()), ("B".into(), "".into())]
        );
    }

    #[test]
    fn modules_keep_their_order() {
        let names = module_names(&split(b"virtio_mmio.ko\nvsock.ko\n").unwrap()).unwrap();
        assert_eq!(names, ["virtio_mmio.ko", "vsock.ko"]);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(lines) = split(&bytes) {
                let _ = environment(&lines);
                let _ = module_names(&lines);
                let _ = command(lines);
            }
        }

        #[test]
        fn lines_are_read_back(entries in proptest::collection::vec("[^\n\0]+", 1..8)) {
            let joined = entries.join("\n");
            for bytes in [joined.clone(), joined + "\n"] {
                let expected: Vec<OsString> = entries.iter().map(OsString::from).collect();
                prop_assert_eq!(split(bytes.as_bytes()).unwrap(), expected);
            }
        }
    }
}
