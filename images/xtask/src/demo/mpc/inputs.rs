//! The owners' files, checked before anything is built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::paths;

/// The owners of the shipped samples, which stand in `data/joint`.
const SAMPLES: [&str; 3] = ["clinic", "insurer", "registry"];

/// An owner's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The owner.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Whether it has the column to sum up.
    pub sums: bool,
}

/// All owners' files.
#[derive(Debug)]
pub(super) struct Inputs(Vec<Input>);

/// Reads NAME=FILE.
pub(super) fn named(text: &str) -> Result<Input, String> {
    let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=32).contains(&name.len()) || !name.bytes().all(inside) {
        return Err(format!("a name is 1 to 32 of [a-z0-9-], got {name:?}"));
    }
    Ok(Input {
        name: name.to_owned(),
        file: file.into(),
        sums: false,
    })
}

impl Inputs {
    /// Looks into every file's header. The owners stand in the order of their names, as in the
    /// contract. One of them must have the column of values, where `values` are used.
    pub(super) fn check(given: &[Input], join_on: &str, sum: &str, values: bool) -> Result<Self> {
        let data = paths::root().join("images/xtask/data/joint");
        let here = std::env::current_dir().context("the present folder is gone")?;
        let sample = |name: &str| Input {
            name: name.to_owned(),
            file: data.join(format!("{name}.csv")),
            sums: false,
        };
        let mut inputs = match given {
            [] => SAMPLES.map(sample).to_vec(),
            given => given.to_vec(),
        };
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some([one, _]) = inputs.array_windows().find(|[a, b]| a.name == b.name) {
            bail!("--input names {} twice", one.name);
        }
        if !(2..=16).contains(&inputs.len()) {
            bail!("2 to 16 owners can join their files, got {}", inputs.len());
        }
        for input in &mut inputs {
            input.file = here.join(&input.file);
            let header = header(&input.file)?;
            if header.iter().filter(|column| *column == join_on).count() != 1 {
                let file = input.file.display();
                bail!("{file} must have the column {join_on:?} once, its header is {header:?}");
            }
            input.sums = header.iter().any(|column| column == sum);
        }
        if values && !inputs.iter().any(|input| input.sums) {
            bail!("no file has the column {sum:?}: give --sum COLUMN");
        }
        Ok(Self(inputs))
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &Input> {
        self.0.iter()
    }
}

fn header(file: &Path) -> Result<Vec<String>> {
    let mut reader = csv::Reader::from_path(file)
        .with_context(|| format!("cannot read the file {}", file.display()))?;
    let header = reader.headers();
    let header = header.with_context(|| format!("{} has no header", file.display()))?;
    Ok(header.iter().map(|c| c.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_input() {
        for text in ["a", "=f", "A=f", "a b=f", "a/b=f"] {
            assert!(named(text).is_err(), "{text}");
        }
        let input = named("a=x=y.csv").unwrap();
        assert_eq!((input.name.as_str(), input.file), ("a", "x=y.csv".into()));
    }

    #[test]
    fn files_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            named(&format!("{name}={}", path.display())).unwrap()
        };
        let (a, b) = (file("a", "k,v\n1,2\n"), file("b", "v2,\"k\"\n1,2\n"));
        let refused = |inputs: &[Input], join: &str, sum: &str| {
            Inputs::check(inputs, join, sum, true)
                .unwrap_err()
                .to_string()
        };
        let both = [b.clone(), a.clone()];
        assert!(refused(&both, "x", "v").contains("\"x\" once"));
        assert!(refused(&both, "k", "x").contains("--sum"));
        assert!(refused(&[a.clone(), a.clone()], "k", "v").contains("twice"));
        assert!(refused(std::slice::from_ref(&a), "k", "v").contains("2 to 16"));
        assert!(refused(&[a, named("n=/nowhere").unwrap()], "k", "v").contains("cannot read"));
        assert!(Inputs::check(&both, "k", "x", false).is_ok());
        let inputs = Inputs::check(&both, "k", "v", true).unwrap();
        let found: Vec<_> = inputs.owners().map(|i| (i.name.as_str(), i.sums)).collect();
        assert_eq!(found, [("a", true), ("b", false)]);
        assert_eq!(
            Inputs::check(&[], "email", "amount", true).unwrap().0.len(),
            3
        );
    }
}
