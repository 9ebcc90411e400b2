//! `build-enclave`, `sign-eif` and `describe-eif`: the image tool's affair.

use std::ffi::OsString;

use super::Outcome;
use crate::args::{BuildArgs, DescribeEifArgs, SignEifArgs};
use crate::error::AgentError;
use crate::tools::IMAGE;

/// Has the image tool make an image; it prints the measurements.
///
/// # Errors
/// [`AgentError::Unsupported`] for nitro-cli's Docker flags, else the tool's.
pub fn build(args: &BuildArgs) -> Outcome {
    IMAGE.run(&build_arguments(&args.arguments)?)
}

/// Has the image tool sign an image; it prints the measurements.
///
/// # Errors
/// The tool's.
pub fn sign(args: &SignEifArgs) -> Outcome {
    let given = args.arguments.iter().cloned();
    let words: Vec<_> = std::iter::once("sign".into()).chain(given).collect();
    IMAGE.run(&words)
}

/// Has the image tool describe an image.
///
/// # Errors
/// The tool's.
pub fn describe(args: &DescribeEifArgs) -> Outcome {
    IMAGE.run(&[
        "describe".into(),
        "--eif-path".into(),
        args.eif_path.clone().into(),
    ])
}

fn build_arguments(given: &[OsString]) -> Result<Vec<OsString>, AgentError> {
    for (flag, instead) in [
        (
            "--docker-uri",
            "export the image's files (docker export) and name their directory with --rootfs",
        ),
        (
            "--docker-dir",
            "name a directory of files with --rootfs, or a static program with --binary",
        ),
    ] {
        if has(given, flag) {
            return Err(AgentError::Unsupported { flag, instead });
        }
    }
    let command = match has(given, "--recipe") {
        true => "build",
        false => "pack",
    };
    let given = given.iter().cloned();
    Ok(std::iter::once(command.into()).chain(given).collect())
}

/// Whether the flag is there, as `--flag value` or as `--flag=value`.
fn has(arguments: &[OsString], flag: &str) -> bool {
    arguments.iter().any(|argument| {
        let bytes = argument.as_encoded_bytes();
        let rest = bytes.strip_prefix(flag.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(line: &str) -> Result<Vec<OsString>, AgentError> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        build_arguments(&words)
    }

    #[test]
    fn docker_is_refused_by_name() {
        for line in ["--docker-uri x", "--docker-uri=x", "--docker-dir x"] {
            let error = built(line).expect_err(line);
            assert_eq!(error.rule(), "flag.unsupported");
            assert!(error.to_string().contains("--rootfs"));
        }
    }

    #[test]
    fn a_recipe_is_built_and_anything_else_packed() {
        let recipe = built("--recipe r --output-file o").expect("recipe");
        assert_eq!(recipe, ["build", "--recipe", "r", "--output-file", "o"]);
        assert_eq!(built("--recipe=r").expect("recipe")[0], "build");
        let binary = built("--binary --recipes").expect("binary");
        assert_eq!(binary, ["pack", "--binary", "--recipes"]);
    }
}
