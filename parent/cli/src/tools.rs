//! The programs that the agent starts: the hypervisor and the image tool.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::AgentError;

/// A program of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its file name.
    pub program: &'static str,
    /// The variable that names it, over every search.
    pub variable: &'static str,
}

/// Runs one enclave.
pub const HYPERVISOR: Tool = Tool {
    program: "anchorhold-hypervisor",
    variable: "ANCHORHOLD_HYPERVISOR",
};

/// Makes and describes enclave images.
pub const IMAGE: Tool = Tool {
    program: "anchorhold-image",
    variable: "ANCHORHOLD_IMAGE",
};

impl Tool {
    /// Where the program is: in its variable, else beside the agent's own executable, else in
    /// `PATH`.
    ///
    /// # Errors
    /// [`AgentError::ToolMissing`].
    pub fn locate(self) -> Result<PathBuf, AgentError> {
        let own = env::current_exe().ok();
        self.among(
            env::var_os(self.variable),
            own.as_deref().and_then(Path::parent),
            env::var_os("PATH").unwrap_or_default(),
        )
        .ok_or(AgentError::ToolMissing {
            program: self.program,
            variable: self.variable,
        })
    }

    /// Runs the program with the agent's own standard streams to its end.
    ///
    /// # Errors
    /// [`AgentError::ToolMissing`], [`AgentError::ToolStart`], [`AgentError::ToolFailed`].
    pub fn run(self, arguments: &[OsString]) -> Result<(), AgentError> {
        let program = self.locate()?;
        let status = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .status()
            .map_err(|source| AgentError::ToolStart { program, source })?;
        match status.success() {
            true => Ok(()),
            false => Err(AgentError::ToolFailed {
                program: self.program,
                status,
            }),
        }
    }

    fn among(
        self,
        named: Option<OsString>,
        beside: Option<&Path>,
        path: OsString,
    ) -> Option<PathBuf> {
        if let Some(named) = named.filter(|name| !name.is_empty()) {
            return Some(PathBuf::from(named)).filter(|program| program.is_file());
        }
        let directories = beside.map(Path::to_owned).into_iter();
        directories
            .chain(env::split_paths(&path))
            .map(|directory| directory.join(self.program))
            .find(|candidate| candidate.is_file())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_variable_goes_first_and_is_not_replaced_when_it_is_wrong() {
        let root = tempfile::tempdir().expect("temporary directory");
        let there = root.path().join("anchorhold-image");
        fs::write(&there, b"").expect("file");
        let wrong = Some(root.path().join("other").into_os_string());
        assert_eq!(IMAGE.among(wrong, Some(root.path()), OsString::new()), None);
        let named = Some(there.clone().into_os_string());
        assert_eq!(IMAGE.among(named, None, OsString::new()), Some(there));
    }

    #[test]
    fn beside_the_agent_goes_before_the_path() {
        let root = tempfile::tempdir().expect("temporary directory");
        let (beside, path) = (root.path().join("a"), root.path().join("b"));
        for directory in [&beside, &path] {
            fs::create_dir(directory).expect("directory");
            fs::write(directory.join(IMAGE.program), b"").expect("file");
        }
        let search = || path.clone().into_os_string();
        let found = IMAGE.among(None, Some(&beside), search());
        assert_eq!(found, Some(beside.join(IMAGE.program)));
        let empty = Some(OsString::new());
        let found = IMAGE.among(empty, None, search());
        assert_eq!(found, Some(path.join(IMAGE.program)));
        assert_eq!(HYPERVISOR.among(None, Some(&beside), search()), None);
    }
}
