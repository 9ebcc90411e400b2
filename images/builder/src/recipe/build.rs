//! Building a recipe's executables with cargo, and the image from them.
//!
//! What runs in an enclave must come out the same on every machine that has the same toolchain.
//! So cargo runs with an environment of its own, in which no flag of the user's survives, one
//! package at a time, since features of packages that are built together are unified. Paths of
//! the checkout, of cargo's home and of the build directory are mapped away, in Rust by
//! `--remap-path-prefix` and in C by `-ffile-prefix-map`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Binary, Inputs, Recipe};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::pack::{self, Packed, Parts};
use crate::ramdisk::{Application, ExtraFile};
use crate::tool::Tool;

pub(super) const CARGO: Tool = Tool {
    name: "cargo",
    purpose: "it builds what runs in the enclave; install Rust from https://rustup.rs",
};

/// The target is always named: only then do flags for the guest's executables stay away from
/// build scripts and procedural macros, which must not be static.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "measured";

/// Directory of its own for measured executables, below the usual build directory.
const TARGET_DIRECTORY: &str = "measured-images";

/// What cargo's release profile has where the manifest says nothing: a number or `false`.
const PROFILE_DEFAULTS: [(&str, Option<i64>); 6] = [
    ("opt-level", Some(3)),
    ("debug", None),
    ("debug-assertions", None),
    ("overflow-checks", None),
    ("incremental", None),
    ("rpath", None),
];

/// Rust flags beside the path mappings.
pub(super) const RUST_FLAGS: [&str; 1] = ["-Ctarget-feature=+crt-static"];

/// Variables of the user's that cargo and rustup need to find toolchain and packages. Everything
/// else stays out: flags, wrappers, linkers, profiles.
const PASSED: [&str; 26] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "TERM",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_UPDATE_ROOT",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "GIT_SSL_CAINFO",
    "CARGO_BUILD_JOBS",
    "CARGO_TERM_COLOR",
    "CARGO_TERM_QUIET",
    "CARGO_TERM_PROGRESS_WHEN",
];
const PASSED_PREFIXES: [&str; 4] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
];

/// What to build, and where.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The kernel to boot.
    pub kernel: &'a Kernel,
    /// Files beside the recipe's.
    pub files: Vec<ExtraFile>,
    /// Cargo's home, if not the user's.
    pub cargo_home: Option<PathBuf>,
    /// Where cargo builds, if not below `CARGO_TARGET_DIR` or the workspace's `target`.
    pub target_dir: Option<PathBuf>,
    /// Whether cargo has to do without the network.
    pub offline: bool,
}

/// An image that was built, and everything that went into it.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image.
    pub packed: Packed,
    /// What moves its measurement.
    pub inputs: Inputs,
}

impl<'a> Build<'a> {
    /// A build as the user's own cargo does it, with the recipe's files.
    pub fn new(recipe: &'a Recipe, kernel: &'a Kernel) -> Self {
        Self {
            recipe,
            kernel,
            files: Vec::new(),
            cargo_home: None,
            target_dir: None,
            offline: false,
        }
    }

    /// Builds every executable and packs the image.
    ///
    /// # Errors
    /// [`Error::ToolFailed`] when cargo fails, and what packing refuses.
    pub fn run(&self) -> Result<Built, Error> {
        let workspace = self.workspace()?;
        let init = workspace.build(&self.recipe.init)?;
        let mut binaries = Vec::new();
        for binary in &self.recipe.binaries {
            binaries.push(workspace.build(binary)?);
        }
        let application = Application {
            rootfs: None,
            binaries,
            files: self.recipe.files(&self.files)?,
            command: self.recipe.command.clone(),
            environment: self.recipe.environment.clone(),
        };
        let inputs = Inputs::collect(&workspace, self.recipe, self.kernel, &application)?;
        let packed = pack::pack(&Parts {
            name: self.recipe.name.clone(),
            version: self.recipe.version.clone(),
            kernel: self.kernel,
            cmdline: self.recipe.cmdline.clone(),
            init,
            application,
        })?;
        Ok(Built { packed, inputs })
    }

    fn workspace(&self) -> Result<Workspace, Error> {
        let directory = self.recipe.directory();
        let directory = directory.canonicalize().map_err(Error::read(directory))?;
        let root = workspace_root(&directory, self.cargo_home.as_deref())?;
        let target_dir = match &self.target_dir {
            Some(directory) => directory.clone(),
            None => env::var_os("CARGO_TARGET_DIR")
                .filter(|directory| !directory.is_empty())
                .map_or_else(|| root.join("target"), PathBuf::from)
                .join(TARGET_DIRECTORY),
        };
        let target_dir = std::path::absolute(&target_dir).map_err(Error::write(&target_dir))?;
        let cargo_home = match &self.cargo_home {
            Some(home) => home.clone(),
            None => cargo_home()?,
        };
        Ok(Workspace {
            root,
            target_dir,
            cargo_home,
            offline: self.offline,
        })
    }
}

/// A cargo workspace and where its measured executables are built.
#[derive(Debug)]
pub(super) struct Workspace {
    pub root: PathBuf,
    target_dir: PathBuf,
    cargo_home: PathBuf,
    offline: bool,
}

impl Workspace {
    /// Builds one executable and gives its path.
    fn build(&self, binary: &Binary) -> Result<PathBuf, Error> {
        let mut command = self.cargo("build");
        command.args(["--profile", PROFILE, "--target", TARGET, "--target-dir"]);
        command.arg(&self.target_dir);
        command.args(["--package", &binary.package, "--bin", binary.name()]);
        for setting in profile_settings(&self.root)? {
            command.args(["--config", &setting]);
        }
        CARGO.run_shown(&mut command)?;
        Ok(self
            .target_dir
            .join(TARGET)
            .join(PROFILE)
            .join(binary.name()))
    }

    /// A cargo command in the workspace, in which nothing is left to the user's settings.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = CARGO.command();
        clean(&mut command, Some(&self.cargo_home));
        command
            .current_dir(&self.root)
            .arg(subcommand)
            .arg("--locked");
        if self.offline {
            command.arg("--offline");
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags());
        let c_flags = self.c_flags();
        command.env("CFLAGS_x86_64_unknown_linux_gnu", &c_flags);
        command.env("CXXFLAGS_x86_64_unknown_linux_gnu", &c_flags);
        command
    }

    /// Directories whose names must not get into an executable, and what stands there instead;
    /// later ones win, so that a build directory inside of the workspace is mapped as itself.
    fn mapped(&self) -> [(&Path, &'static str); 3] {
        [
            (&self.cargo_home, "/cargo"),
            (&self.root, "/workspace"),
            (&self.target_dir, "/target"),
        ]
    }

    fn rust_flags(&self) -> OsString {
        let mut flags = RUST_FLAGS.map(OsString::from).to_vec();
        for (from, to) in self.mapped() {
            flags.push(mapping("--remap-path-prefix=", from, to));
        }
        flags.join(OsStr::new("\u{1f}"))
    }

    fn c_flags(&self) -> OsString {
        // GCC lets the last matching map win, as rustc does.
        let maps = self
            .mapped()
            .map(|(from, to)| mapping("-ffile-prefix-map=", from, to));
        maps.join(OsStr::new(" "))
    }
}

/// The root of the cargo workspace around this directory.
pub(super) fn workspace_root(
    directory: &Path,
    cargo_home: Option<&Path>,
) -> Result<PathBuf, Error> {
    let mut command = CARGO.command();
    clean(&mut command, cargo_home);
    command.args(["locate-project", "--workspace", "--message-format", "plain"]);
    let manifest = CARGO.run(command.current_dir(directory))?;
    let manifest = Path::new(manifest.trim_end_matches('\n'));
    Ok(manifest.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The profile as the workspace's manifest has it, as settings for cargo's command line, where
/// they win over profiles in configuration files of the user's.
pub(super) fn profile_settings(root: &Path) -> Result<Vec<String>, Error> {
    let manifest = manifest(root)?;
    let profile = |name| {
        manifest
            .get("profile")
            .and_then(|profiles| profiles.get(name))
    };
    let mut settings: BTreeMap<String, toml::Value> = PROFILE_DEFAULTS
        .into_iter()
        .map(|(key, value)| (key.into(), value.map_or(false.into(), toml::Value::from)))
        .collect();
    for table in [profile("release"), profile(PROFILE)].into_iter().flatten() {
        let values = table.as_table().into_iter().flatten();
        let values = values.filter(|(key, value)| !value.is_table() && *key != "inherits");
        settings.extend(values.map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(settings
        .iter()
        .map(|(key, value)| format!("profile.{PROFILE}.{key}={value}"))
        .collect())
}

/// The workspace's manifest.
pub(super) fn manifest(root: &Path) -> Result<toml::Table, Error> {
    let path = root.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
    toml::from_str(&text).map_err(|error| Error::Toml {
        path,
        what: "cargo manifest",
        reason: error.message().to_owned(),
    })
}

fn mapping(option: &str, from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from(option);
    flag.push(from);
    flag.push("=");
    flag.push(to);
    flag
}

/// Leaves only what finds toolchain and packages, and fixes what a configuration file of the
/// user's could set otherwise: the environment wins over those.
fn clean(command: &mut Command, cargo_home: Option<&Path>) {
    command.env_clear();
    for (name, value) in env::vars_os() {
        let passed = name.to_str().is_some_and(|name| {
            PASSED.contains(&name)
                || PASSED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        });
        if passed {
            command.env(name, value);
        }
    }
    if let Some(home) = cargo_home {
        command.env("CARGO_HOME", home);
    }
    command.env("LC_ALL", "C");
    command.env("TZ", "UTC");
    command.env("SOURCE_DATE_EPOCH", "0");
    command.env("ZERO_AR_DATE", "1");
    command.env("CARGO_INCREMENTAL", "0");
    command.env("RUSTC_WRAPPER", "");
    command.env("RUSTC_WORKSPACE_WRAPPER", "");
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "cc");
}

pub(super) fn cargo_home() -> Result<PathBuf, Error> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = absolute("CARGO_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cargo")));
    home.ok_or(Error::NoCache)
}
