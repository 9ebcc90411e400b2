//! What demo and test need from the machine: fetched or installed, and announced before.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use sha2::{Digest, Sha256};

use crate::commands::{capture, cargo, command, output, run, runs};
use crate::paths;
use crate::stage::{self, Profile};

/// What the machine is to be made ready for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Building images and booting them.
    Boot,
    /// The demos, whose parent asks the KMS with boto3.
    Demo,
    /// The tests, with their clients and independent judges.
    Test,
}

/// A Debian package and what needs it.
struct Package {
    name: &'static str,
    why: &'static str,
    /// The least that needs it.
    from: Purpose,
}

/// The version of nextest that the pinned compiler builds.
const NEXTEST: &str = "0.9.143";

const PACKAGES: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        why: "boots the microVMs",
        from: Purpose::Boot,
    },
    Package {
        name: "gcc",
        why: "links Rust programs and builds aws-lc and SQLite",
        from: Purpose::Boot,
    },
    Package {
        name: "g++",
        why: "builds libFuzzer",
        from: Purpose::Test,
    },
    Package {
        name: "libc6-dev",
        why: "links static enclave binaries",
        from: Purpose::Boot,
    },
    Package {
        name: "binutils",
        why: "links static enclave binaries",
        from: Purpose::Boot,
    },
    Package {
        name: "python3-venv",
        why: "holds the Python clients that tests run",
        from: Purpose::Demo,
    },
    Package {
        name: "openssl",
        why: "makes signers of images, and opens the KMS's CMS answers in tests",
        from: Purpose::Demo,
    },
    Package {
        name: "libssl-dev",
        why: "AWS's image crate, a judge of ours in tests, links it",
        from: Purpose::Test,
    },
    Package {
        name: "pkg-config",
        why: "finds libssl",
        from: Purpose::Test,
    },
    Package {
        name: "util-linux",
        why: "ends the demo's servers with the demo",
        from: Purpose::Boot,
    },
];

/// What `setup` may do.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct SetupOptions {
    /// Install nothing on the system; name what is missing instead.
    #[arg(long)]
    pub no_install: bool,
}

/// `cargo xtask setup`: makes the machine ready for everything, the kernel included.
///
/// # Errors
/// As [`setup`]; or the programs do not build, or the kernel cannot be fetched.
pub fn prepare(options: SetupOptions) -> Result<()> {
    setup(options, Purpose::Test)?;
    eprintln!("set-up: building the programs");
    let bins = stage::build_programs(Profile::Debug)?;
    let kernel = stage::fetch_kernel(&bins)?;
    eprintln!("set-up: the kernel is {}", kernel.bzimage.display());
    eprintln!("set-up: done");
    Ok(())
}

/// Makes the machine ready for a purpose. Two at once take turns.
///
/// # Errors
/// Something is missing and may not, or cannot, be installed; the error names it.
pub fn setup(options: SetupOptions, purpose: Purpose) -> Result<()> {
    let _turn = turn()?;
    packages(options, purpose)?;
    if purpose >= Purpose::Demo {
        python_tools(options)?;
    }
    if purpose >= Purpose::Test {
        nextest(options)?;
    }
    Ok(())
}

/// The lock that set-ups hold; another's is waited for.
fn turn() -> Result<fs::File> {
    let cache = paths::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let path = cache.join("setup.lock");
    let lock =
        fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("set-up: waiting for another one");
        lock.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(lock)
}

fn packages(options: SetupOptions, purpose: Purpose) -> Result<()> {
    let needed = || PACKAGES.iter().filter(|package| package.from <= purpose);
    if !runs("dpkg-query", "--version") {
        eprintln!(
            "set-up: this is no Debian; these programs must be there: {}",
            names(needed())
        );
        return Ok(());
    }
    let missing: Vec<_> = needed().filter(|p| !is_installed(p.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("set-up: {} is missing; it {}", package.name, package.why);
    }
    let list = names(missing.iter().copied());
    if options.no_install {
        bail!("these packages are missing: {list}\ninstall them: apt-get install {list}");
    }
    let Some(apt) = privileged() else {
        bail!("installing packages needs root; as root, run: apt-get install {list}");
    };
    eprintln!("set-up: installing with apt-get: {list}");
    let mut update = apt.command(&["apt-get", "update", "--quiet=2"]);
    run(&mut update).context("the package lists cannot be fetched")?;
    let install = |more: &[&str]| {
        let words = [&["apt-get", "install", "--no-install-recommends"], more].concat();
        let mut install = apt.command(&words);
        install
            .args(missing.iter().map(|p| p.name))
            .env("DEBIAN_FRONTEND", "noninteractive");
        install
    };
    let plan = output(&mut install(&["--simulate"]))?;
    let removed = removals(&plan);
    if !removed.is_empty() {
        eprintln!(
            "set-up: apt-get removes what does not go with them: {}",
            removed.join(" ")
        );
    }
    run(&mut install(&[
        "--yes",
        "--quiet=2",
        "-o",
        "Dpkg::Use-Pty=0",
    ]))
}

/// The packages that a simulated installation removes, by name: its lines `Remv NAME [VERSION]`.
fn removals(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Remv "))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect()
}

fn names<'a>(packages: impl IntoIterator<Item = &'a Package>) -> String {
    packages
        .into_iter()
        .map(|p| p.name)
        .collect::<Vec<_>>()
        .join(" ")
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    capture(&mut query).is_ok_and(|output| output.stdout == b"installed")
}

/// The words in front of a command that needs root.
struct Privileged(Vec<&'static str>);

impl Privileged {
    fn command(&self, words: &[&str]) -> Command {
        let mut words = self.0.iter().chain(words);
        let mut command = command(words.next().copied().unwrap_or("apt-get"));
        command.args(words);
        command
    }
}

fn privileged() -> Option<Privileged> {
    if Uid::effective().is_root() {
        return Some(Privileged(vec![]));
    }
    let mut sudo = Command::new("sudo");
    let allowed = capture(sudo.args(["-n", "true"])).is_ok_and(|o| o.status.success());
    allowed.then(|| Privileged(vec!["sudo", "-n"]))
}

/// boto3, the aws CLI, the AWS Encryption SDK and the oracles' libraries, in a venv of our own.
fn python_tools(options: SetupOptions) -> Result<()> {
    let requirements = paths::root().join("images/xtask/requirements.txt");
    let text = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let wanted = hex::encode(Sha256::digest(&text));
    let venv = paths::cache()?.join("venv");
    let stamp = venv.join("requirements.sha256");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    if options.no_install {
        bail!(
            "the Python clients are missing; install them: python3 -m venv {0} && \
             {0}/bin/pip install --requirement {1} && \
             sha256sum {1} | head -c 64 > {2}",
            venv.display(),
            requirements.display(),
            stamp.display()
        );
    }
    eprintln!(
        "set-up: installing the Python clients into {}",
        venv.display()
    );
    run(command("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    run(command(venv.join("bin/python"))
        .args(pip)
        .arg(&requirements))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn nextest(options: SetupOptions) -> Result<()> {
    if runs_nextest() {
        return Ok(());
    }
    if options.no_install {
        bail!(
            "cargo-nextest is missing; install it: \
             cargo install --locked cargo-nextest@{NEXTEST}"
        );
    }
    eprintln!("set-up: installing cargo-nextest from crates.io (some minutes)");
    let nextest = format!("cargo-nextest@{NEXTEST}");
    run(cargo().args(["install", "--locked", &nextest]))?;
    if runs_nextest() {
        return Ok(());
    }
    bail!("cargo-nextest was installed, but cargo does not find it: is cargo's bin folder in PATH?")
}

fn runs_nextest() -> bool {
    output(cargo().args(["nextest", "--version"])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_says_why() {
        assert!(PACKAGES.iter().all(|p| !p.why.is_empty()));
        assert!(!is_installed("no-such-package-as-this"));
        assert!(is_installed("gcc") || !runs("dpkg-query", "--version"));
    }

    #[test]
    fn packages_that_are_removed_are_named() {
        let plan = "Reading package lists...\n\
                    Remv qemu-utils [1:10.0.2+ds-2]\n\
                    Inst seabios (1.16.2-1 Debian:12.12/oldstable [all])\n\
                    Conf seabios (1.16.2-1 Debian:12.12/oldstable [all])\n";
        assert_eq!(removals(plan), ["qemu-utils"]);
        assert!(removals("Inst seabios (1.16.2-1)\n").is_empty());
    }

    #[test]
    fn sudo_stands_in_front() {
        let words = Privileged(vec!["sudo", "-n"]).command(&["apt-get", "update"]);
        assert_eq!(crate::commands::describe(&words), "sudo -n apt-get update");
        let words = Privileged(vec![]).command(&["apt-get", "update"]);
        assert_eq!(crate::commands::describe(&words), "apt-get update");
    }
}
