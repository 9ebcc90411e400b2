//! The command line of `anchorhold-image`.
//!
//! Results are JSON on stdout, progress and errors go to stderr. Exit status 0: done; 1: refused
//! or failed; 2: misused.

mod recipe;
mod sign;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use std::{env, fs, io};

use anchorhold_eif::{EifError, MAX_FILE_SIZE};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::error::Error;
use crate::kernel::{Fetch, Kernel};
use crate::output::write_atomically;
use crate::pack::{self, CMDLINE, Parts};
use crate::ramdisk::{Application, ExtraFile};
use crate::recipe::Recipe;
use crate::report::{self, BuildReport};
use crate::tree::GuestPath;

/// Makes, measures and describes enclave images. The same inputs give the same bytes.
#[derive(Debug, Parser)]
#[command(name = "anchorhold-image", version, max_term_width = 100)]
#[command(after_help = "Example:\n  \
    anchorhold-image pack --init target/anchorhold-init --binary target/hello \\\n      \
        --output-file hello.eif\n  \
    anchorhold-image describe --eif-path hello.eif")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(recipe::BuildCommand),
    Pack(PackCommand),
    Sign(sign::SignCommand),
    Describe(DescribeCommand),
    Kernel(KernelCommand),
    Expect(recipe::ExpectCommand),
    Reproduce(recipe::ReproduceCommand),
}

/// Fetch the kernel that images boot into the cache and print where it is.
///
/// The package client downloads the locked package; it is unpacked, not installed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold-image kernel --lock images/recipes/kernel.lock")]
struct KernelCommand {
    #[command(flatten)]
    kernel: KernelOptions,
}

#[derive(Debug, Args)]
struct KernelOptions {
    /// Lock file that names the kernel exactly [default: kernel.lock beside the recipes, else the
    /// lock that this tool was built with]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Lock the newest kernel that the package sources offer; images then measure differently
    #[arg(long)]
    update_lock: bool,
    /// Second lock file, for when the package sources no longer offer the locked kernel; written
    /// for the newest one when that is of no use either
    #[arg(long, value_name = "FILE")]
    fallback_lock: Option<PathBuf>,
    /// Directory to keep kernels in [default: $XDG_CACHE_HOME or ~/.cache, + /anchorhold]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Kernel package that was downloaded already, instead of calling the package client
    #[arg(long, value_name = "FILE")]
    package_file: Option<PathBuf>,
}

/// Make an image from a static executable or a root directory, and print its measurements.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    anchorhold-image pack --init target/anchorhold-init --binary target/hello \\\n      \
        --env LOG=info --file ca.pem=/etc/ca.pem --output-file hello.eif")]
struct PackCommand {
    /// Static executable of the application; goes to /bin/ in the guest
    #[arg(long, value_name = "FILE", required_unless_present = "rootfs")]
    binary: Option<PathBuf>,
    /// Directory that becomes the application's root
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// One word of the command to run; repeat for arguments [default: the binary]
    #[arg(long = "cmd", value_name = "ARG", allow_hyphen_values = true)]
    command: Vec<String>,
    /// Environment of the application; repeatable
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// File of the host to put below the application's root; repeatable
    #[arg(long = "file", value_name = "HOST=GUEST", value_parser = extra_file)]
    files: Vec<ExtraFile>,
    /// Static executable that runs as PID 1 [default: anchorhold-init beside this tool]
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Where to write the image
    #[arg(long, value_name = "FILE")]
    output_file: PathBuf,
    /// Name in the image's metadata, which is not measured [default: the output file's]
    #[arg(long)]
    name: Option<String>,
    /// Version in the image's metadata, which is not measured
    #[arg(
        long = "version",
        value_name = "VERSION",
        default_value = "",
        hide_default_value = true
    )]
    image_version: String,
    /// The kernel's command line, which is measured
    #[arg(long, default_value = CMDLINE, hide_default_value = true)]
    cmdline: String,
    #[command(flatten)]
    signing: sign::SigningOptions,
    #[command(flatten)]
    kernel: KernelOptions,
}

/// Print what an image holds and measures to.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  anchorhold-image describe --eif-path hello.eif")]
struct DescribeCommand {
    /// The image
    #[arg(long, value_name = "FILE")]
    eif_path: PathBuf,
}

/// Runs the tool with this process's arguments.
pub fn main() -> ExitCode {
    run(env::args_os())
}

/// Runs the tool with these arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Build(command) => command.run(),
        Command::Expect(command) => command.run(),
        Command::Reproduce(command) => command.run(),
        Command::Kernel(command) => command.run(),
        Command::Pack(command) => command.run(),
        Command::Sign(command) => command.run(),
        Command::Describe(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error[{}]: {}", error.rule(), chain(&error)));
            ExitCode::FAILURE
        }
    }
}

impl KernelCommand {
    fn run(&self) -> Result<(), Error> {
        print(&self.kernel.fetch()?)
    }
}

impl KernelOptions {
    fn fetch(&self) -> Result<Kernel, Error> {
        self.fetch_with(self.lock.clone().or_else(recipes_lock))
    }

    /// Without `--lock`, a recipe's kernel is the one locked beside the recipes' directories.
    fn fetch_for(&self, recipe: &Recipe) -> Result<Kernel, Error> {
        let beside = recipe.directory().join("../kernel.lock");
        self.fetch_with(
            self.lock
                .clone()
                .or_else(|| beside.is_file().then_some(beside)),
        )
    }

    fn cache(&self) -> Result<PathBuf, Error> {
        match &self.cache {
            Some(cache) => std::path::absolute(cache).map_err(Error::write(cache)),
            None => default_cache(),
        }
    }

    fn fetch_with(&self, lock: Option<PathBuf>) -> Result<Kernel, Error> {
        let fetch = Fetch {
            lock,
            update_lock: self.update_lock,
            cache: self.cache()?,
            package_file: self.package_file.clone(),
        };
        match &self.fallback_lock {
            Some(fallback) => fetch.run_or_fall_back(fallback, &mut progress),
            None => fetch.run(&mut progress),
        }
    }
}

impl PackCommand {
    fn run(self) -> Result<(), Error> {
        let identity = self.signing.identity()?;
        let kernel = self.kernel.fetch()?;
        let packed = pack::pack(&Parts {
            name: self.name.unwrap_or_else(|| stem(&self.output_file)),
            version: self.image_version,
            kernel: &kernel,
            cmdline: self.cmdline,
            init: self.init.map_or_else(default_init, Ok)?,
            application: Application {
                rootfs: self.rootfs,
                binaries: self.binary.into_iter().collect(),
                files: self.files,
                command: self.command,
                environment: self.environment,
            },
        })?;
        let packed = sign::finish(packed, identity.as_ref())?;
        write_atomically(&self.output_file, &packed.bytes)?;
        print(&BuildReport::from(&packed.measurements))
    }
}

impl DescribeCommand {
    fn run(&self) -> Result<(), Error> {
        let file = read_image(&self.eif_path)?;
        let (description, refusal) = report::describe(&file, SystemTime::now())?;
        if let Some(refusal) = refusal {
            progress(&format!("warning[{}]: {}", refusal.rule(), chain(&refusal)));
        }
        print(&description)
    }
}

/// Reads a file unless it is too large for an image, of which reading tells nothing more.
fn read_image(path: &Path) -> Result<Vec<u8>, Error> {
    let within = |got| match got > MAX_FILE_SIZE {
        true => Err(EifError::FileTooLarge {
            limit: MAX_FILE_SIZE,
            got,
        }),
        false => Ok(()),
    };
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(Error::read(path))?;
    if !metadata.is_file() {
        return Err(Error::read(path)(io::Error::other("it is not a file")));
    }
    within(metadata.len())?;
    let file = File::open(path).map_err(Error::read(path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    within(bytes.len() as u64)?;
    Ok(bytes)
}

/// `HOST=GUEST`, split at the last `=`, so that host paths may hold one.
fn extra_file(argument: &str) -> Result<ExtraFile, String> {
    let (host, guest) = argument.rsplit_once('=').ok_or("expected HOST=GUEST")?;
    if host.is_empty() {
        return Err("the host's path is empty".into());
    }
    let guest = GuestPath::new(guest).map_err(|error| error.to_string())?;
    Ok(ExtraFile {
        host: host.into(),
        guest,
    })
}

/// `images/recipes/kernel.lock` in the working directory or above it.
fn recipes_lock() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let mut places = here
        .ancestors()
        .map(|directory| directory.join("images/recipes/kernel.lock"));
    places.find(|lock| lock.is_file())
}

fn default_cache() -> Result<PathBuf, Error> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or(Error::NoCache)?;
    Ok(base.join("anchorhold"))
}

fn default_init() -> Result<PathBuf, Error> {
    let own = env::current_exe().map_err(Error::read(Path::new("/proc/self/exe")))?;
    Ok(own.with_file_name("anchorhold-init"))
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn print(result: &impl Serialize) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut stdout, result)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(stdout));
    written.map_err(Error::write(Path::new("standard output")))
}

fn progress(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}
