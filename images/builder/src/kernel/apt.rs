//! Debian's package client: what kernels are on offer, and fetching one.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tool::Tool;

const APT_GET: Tool = Tool {
    name: "apt-get",
    purpose: "it fetches the kernel package on Debian and its derivatives; elsewhere download the \
              package named in the lock file and pass it with --package-file",
};
const APT_CACHE: Tool = Tool {
    name: "apt-cache",
    purpose: APT_GET.purpose,
};

/// The kernel series: Debian's cloud kernel with the driver of the security module (since 6.8).
const PREFIX: &str = "linux-image-6.12.";
const SUFFIX: &str = "+deb12-cloud-amd64";
const PATTERN: &str = r"^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64$";

/// Downloads a package into `directory` and gives the file's path. The client checks the
/// repository's signature.
pub(super) fn download(
    package: &str,
    version: Option<&str>,
    directory: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    if !offers(package, version)? {
        let updated = update(progress)?;
        if !offers(package, version)? {
            return Err(gone(package, version, updated)?);
        }
    }
    let wanted = match version {
        Some(version) => format!("{package}={version}"),
        None => package.to_owned(),
    };
    let mut command = APT_GET.command();
    command.args(["-q", "-o", "APT::Sandbox::User=root", "download", &wanted]);
    APT_GET.run(command.current_dir(directory))?;
    let files = std::fs::read_dir(directory).map_err(Error::read(directory))?;
    let mut packages = files.flatten().map(|file| file.path());
    let package = packages.find(|path| path.extension().is_some_and(|e| e == "deb"));
    package.ok_or_else(|| Error::ToolOutput {
        tool: APT_GET.name,
        expected: "a .deb file",
        got: "none".into(),
    })
}

/// The newest package of the series.
pub(super) fn newest(progress: &mut dyn FnMut(&str)) -> Result<String, Error> {
    if let Some(package) = search()? {
        return Ok(package);
    }
    let updated = update(progress)?;
    search()?.ok_or(Error::KernelUnknown {
        advice: advice(updated),
    })
}

fn search() -> Result<Option<String>, Error> {
    let listed = APT_CACHE.run(
        APT_CACHE
            .command()
            .args(["search", "--names-only", PATTERN]),
    )?;
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names
        .filter(|name| number(name).is_some())
        .max_by(|a, b| order(a, b))
        .map(str::to_owned))
}

fn order(a: &str, b: &str) -> Ordering {
    number(a).cmp(&number(b))
}

/// The part of a package's name that counts up: 117 in `linux-image-6.12.117+deb12-cloud-amd64`.
fn number(package: &str) -> Option<u32> {
    package
        .strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()
}

/// Whether the package lists know this package, and in this version.
fn offers(package: &str, version: Option<&str>) -> Result<bool, Error> {
    let listed = APT_CACHE.run(APT_CACHE.command().args(["madison", package]))?;
    let mut versions = listed
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    Ok(match version {
        Some(wanted) => versions.any(|version| version == wanted),
        None => versions.next().is_some(),
    })
}

/// Refreshes the package lists, which only root may do; says whether it did.
fn update(progress: &mut dyn FnMut(&str)) -> Result<bool, Error> {
    if !is_root() {
        return Ok(false);
    }
    progress("refreshing the package lists (apt-get update)");
    let mut command = APT_GET.command();
    let output = APT_GET.output(command.args(["-q", "update"]))?;
    if output.status.success() {
        Ok(true)
    } else {
        Err(APT_GET.failed(&command, &output))
    }
}

fn gone(package: &str, version: Option<&str>, updated: bool) -> Result<Error, Error> {
    let Some(newest) = search()? else {
        return Ok(Error::KernelUnknown {
            advice: advice(updated),
        });
    };
    Ok(Error::KernelGone {
        package: package.into(),
        version: version.unwrap_or("(any version)").into(),
        newest,
        advice: if updated {
            "Run with --update-lock to lock the newest; images then measure differently."
        } else {
            "Run `sudo apt-get update` and try again; if it is still gone, run with --update-lock \
             to lock the newest, and images then measure differently."
        },
    })
}

fn advice(updated: bool) -> &'static str {
    if updated {
        "Add the `bookworm-security` suite of Debian, component main, to them."
    } else {
        "Run `sudo apt-get update` and try again."
    }
}

/// Whether this process is root, read from the owner of its own entry in /proc.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_the_newest() {
        let name = |n| format!("{PREFIX}{n}{SUFFIX}");
        assert_eq!(order(&name(9), &name(117)), Ordering::Less);
        assert_eq!(number(&name(117)), Some(117));
    }

    #[test]
    fn other_packages_are_not_of_the_series() {
        for name in [
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-dbg",
            "linux-image-6.12.117+deb12-amd64",
            "linux-image-6.1.0-32-cloud-amd64",
            "linux-image-6.12.+deb12-cloud-amd64",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
