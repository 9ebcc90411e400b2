//! What the enclave is for.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anchorhold_enclave_sys::network;
use anchorhold_enclave_sys::process::{self, Outcome};

use crate::failure::Failure;
use crate::files;

/// The measured files of the second ramdisk, as AWS's images have them.
const COMMAND: &str = "/cmd";
const ENVIRONMENT: &str = "/env";

/// Where programs are looked for unless the environment says so: AWS's init's default.
const DEFAULT_PATH: &str = "/sbin:/usr/sbin:/bin:/usr/bin";

/// Where the application's output goes. The host shows it in debug mode only.
const CONSOLE: &str = "/dev/console";

/// `EAFNOSUPPORT`: the kernel has no IPv4, and so no loopback interface to miss.
const NO_IPV4: i32 = 97;

/// The application: program, arguments, environment.
#[derive(Debug)]
pub struct Application {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Application {
    /// Reads what the image says is to be run.
    ///
    /// # Errors
    /// [`Failure::Command`] or [`Failure::Environment`].
    pub fn read() -> Result<Self, Failure> {
        let (program, arguments) = files::lines(Path::new(COMMAND))
            .and_then(files::command)
            .map_err(Failure::Command)?;
        let environment = files::lines_if_any(Path::new(ENVIRONMENT))
            .and_then(|lines| files::environment(&lines))
            .map_err(Failure::Environment)?;
        Ok(Self {
            program,
            arguments,
            environment,
        })
    }

    /// Runs it in the present root directory until it ends, and reaps whatever else ends
    /// meanwhile.
    ///
    /// # Errors
    /// [`Failure::Application`].
    pub fn run(self) -> Result<Outcome, Failure> {
        process::start(&mut self.command())
            .and_then(process::reap_until)
            .map_err(|source| {
                let program = self.program.to_string_lossy().into_owned();
                Failure::Application { program, source }
            })
    }

    /// The environment is the image's and no more, but for a default `PATH`, in which the
    /// program itself is looked for too.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", DEFAULT_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(console(OpenOptions::new().read(true)))
            .stdout(console(OpenOptions::new().write(true)))
            .stderr(console(OpenOptions::new().write(true)));
        command
    }
}

/// Brings up the loopback interface.
///
/// # Errors
/// [`Failure::Loopback`].
pub fn bring_loopback_up() -> Result<(), Failure> {
    match network::loopback_up() {
        Err(error) if error.raw_os_error() == Some(NO_IPV4) => Ok(()),
        outcome => outcome.map_err(Failure::Loopback),
    }
}

/// A machine may have no console; output then goes nowhere.
fn console(how: &OpenOptions) -> Stdio {
    let opened: io::Result<File> = how.open(CONSOLE);
    opened.map_or_else(|_| Stdio::null(), Stdio::from)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn path_of(environment: Vec<(OsString, OsString)>) -> OsString {
        let application = Application {
            program: "app".into(),
            arguments: vec![],
            environment,
        };
        let command = application.command();
        let mut variables = command
            .get_envs()
            .filter(|(name, _)| *name == OsStr::new("PATH"));
        let path = variables.next().unwrap().1.unwrap().to_owned();
        assert!(variables.next().is_none());
        path
    }

    #[test]
    fn the_image_s_path_goes_before_the_default() {
        assert_eq!(path_of(vec![]), DEFAULT_PATH);
        assert_eq!(path_of(vec![("PATH".into(), "/opt".into())]), "/opt");
    }
}
