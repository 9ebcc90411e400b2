//! Everything that moves an image's measurement, each with a name, so that a difference can be
//! named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::Recipe;
use super::build::{CARGO, RUST_FLAGS, TARGET, Workspace, manifest, profile_settings};
use crate::error::Error;
use crate::hash::{Sha256, sha256_file};
use crate::kernel::Kernel;
use crate::ramdisk::{self, Application};
use crate::tool::Tool;

const RUSTC: Tool = Tool {
    name: "rustc",
    purpose: CARGO.purpose,
};
const CC: Tool = Tool {
    name: "cc",
    purpose: "it compiles the C parts of what runs in the enclave; on Debian: apt-get install gcc",
};
const LD: Tool = Tool {
    name: "ld",
    purpose: "it links what runs in the enclave; on Debian: apt-get install binutils",
};
const DPKG_QUERY: Tool = Tool {
    name: "dpkg-query",
    purpose: "it tells versions of packages",
};

/// Libraries that get linked into static executables, and where they come from.
const LIBRARIES: [(&str, &str); 3] = [
    ("libc6-dev", "libc.a"),
    ("libgcc", "libgcc.a"),
    ("libgcc_eh", "libgcc_eh.a"),
];

/// Inputs that the host brings: no commit can keep them the same everywhere.
const HOST: [&str; 8] = [
    "binutils",
    "gcc",
    "kernel",
    "kernel modules",
    "libc6-dev",
    "libgcc",
    "libgcc_eh",
    "rustc",
];

/// Inputs by name: the kernel, each tool, each local crate, each file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(pub BTreeMap<String, String>);

impl Inputs {
    pub(super) fn collect(
        workspace: &Workspace,
        recipe: &Recipe,
        kernel: &Kernel,
        application: &Application,
    ) -> Result<Self, Error> {
        let mut inputs = Self::default();
        let lock = kernel.lock();
        inputs.add(
            "kernel",
            format!("{} {} {}", lock.package, lock.version, lock.bzimage_sha256),
        );
        inputs.add("kernel modules", hash_of(&format!("{:?}", lock.modules)));
        inputs.add("kernel command line", recipe.cmdline.clone());
        inputs.add_toolchain(workspace)?;
        inputs.add("build flags", hash_of(&format!("{TARGET} {RUST_FLAGS:?}")));
        inputs.add(
            "build profile",
            hash_of(&profile_settings(&workspace.root)?.join(" ")),
        );
        inputs.add_manifest(workspace)?;
        inputs.add("image layout", ramdisk::layout()?.to_string());
        let start = (&application.command, &application.environment);
        inputs.add("command and environment", hash_of(&format!("{start:?}")));
        for file in &application.files {
            let name = format!("file {}", file.guest.absolute());
            inputs.add(&name, sha256_file(&file.host)?.to_string());
        }
        inputs.add_packages(workspace, recipe)?;
        Ok(inputs)
    }

    /// Those that the host brings, and the others.
    pub fn split(&self) -> (Self, Self) {
        let all = self.0.clone().into_iter();
        let (host, own) = all.partition(|(name, _)| HOST.contains(&name.as_str()));
        (Self(host), Self(own))
    }

    /// Names of inputs that differ, with both values.
    pub fn differences(&self, recorded: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(recorded.0.keys()).collect();
        let value = |inputs: &Self, name: &String| {
            inputs.0.get(name).cloned().unwrap_or_else(|| "none".into())
        };
        let differs = names
            .into_iter()
            .filter(|name| self.0.get(*name) != recorded.0.get(*name));
        differs
            .map(|name| {
                format!(
                    "{name}: recorded {}, here {}",
                    value(recorded, name),
                    value(self, name)
                )
            })
            .collect()
    }

    fn add(&mut self, name: &str, value: String) {
        self.0.insert(name.into(), value);
    }

    fn add_toolchain(&mut self, workspace: &Workspace) -> Result<(), Error> {
        let mut command = RUSTC.command();
        let version = RUSTC.run(command.current_dir(&workspace.root).arg("-vV"))?;
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or("unknown").to_owned()
        };
        self.add(
            "rustc",
            format!("{} {}", field("release:"), field("commit-hash:")),
        );
        self.add("gcc", first_line(&CC.run(CC.command().arg("--version"))?));
        let binutils = first_line(&LD.run(LD.command().arg("--version"))?);
        self.add("binutils", with_package_version("binutils", binutils));
        for (name, library) in LIBRARIES {
            let path = CC.run(CC.command().arg(format!("-print-file-name={library}")))?;
            let hash = sha256_file(Path::new(path.trim()))?.to_string();
            let from_package = name.ends_with("-dev");
            let value = if from_package {
                with_package_version(name, hash)
            } else {
                hash
            };
            self.add(name, value);
        }
        Ok(())
    }

    /// What crates take from the workspace's manifest, and the toolchain's file.
    fn add_manifest(&mut self, workspace: &Workspace) -> Result<(), Error> {
        let manifest = manifest(&workspace.root)?;
        let mut hash_at = |name: &str, path: &[&str]| {
            let table = path
                .iter()
                .try_fold(&manifest, |table, key| table.get(*key)?.as_table());
            if let Some(table) = table {
                self.add(name, hash_of(&table.to_string()));
            }
        };
        hash_at("workspace package", &["workspace", "package"]);
        hash_at("manifest profile release", &["profile", "release"]);
        hash_at("manifest profile measured", &["profile", "measured"]);
        for name in ["rust-toolchain.toml", "rust-toolchain"] {
            let path = workspace.root.join(name);
            if path.is_file() {
                self.add(name, sha256_file(&path)?.to_string());
            }
        }
        Ok(())
    }

    /// One input for each local crate that gets into the image, one for all others together.
    fn add_packages(&mut self, workspace: &Workspace, recipe: &Recipe) -> Result<(), Error> {
        let mut command = workspace.cargo("metadata");
        command.args(["--format-version", "1", "--filter-platform", TARGET]);
        let metadata = CARGO.run(&mut command)?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).map_err(|error| Error::ToolOutput {
                tool: CARGO.name,
                expected: "a workspace's metadata",
                got: error.to_string(),
            })?;
        let roots = recipe
            .binaries
            .iter()
            .chain([&recipe.init])
            .map(|b| b.package.as_str());
        let used = metadata.reachable(roots);
        let mut registry = String::new();
        for node in metadata
            .resolve
            .nodes
            .iter()
            .filter(|node| used.contains(node.id.as_str()))
        {
            let package = metadata
                .packages
                .iter()
                .find(|package| package.id == node.id);
            match package {
                Some(package) if package.source.is_none() => {
                    let hash = crate_hash(&package.manifest_path)?;
                    let features = node.features.join(",");
                    self.add(
                        &format!("crate {}", package.name),
                        format!("{hash} {features}"),
                    );
                }
                _ => registry.push_str(&format!("{} {}\n", node.id, node.features.join(","))),
            }
        }
        self.add("crates from registries", hash_of(&registry));
        Ok(())
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    /// Packages that these reach without dev-dependencies.
    fn reachable<'a>(&'a self, roots: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let roots: BTreeSet<_> = roots.collect();
        let local = |package: &&Package| package.source.is_none();
        let mut open: Vec<&str> = (self.packages.iter().filter(local))
            .filter(|package| roots.contains(package.name.as_str()))
            .map(|package| package.id.as_str())
            .collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !reached.insert(id) {
                continue;
            }
            let Some(node) = self.resolve.nodes.iter().find(|node| node.id == id) else {
                continue;
            };
            let kept = node.deps.iter().filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind.as_deref() != Some("dev"))
            });
            open.extend(kept.map(|dependency| dependency.pkg.as_str()));
        }
        reached
    }
}

/// Hash of a local crate's manifest, build script and `src`, names included.
fn crate_hash(manifest: &Path) -> Result<Sha256, Error> {
    let root = manifest.parent().unwrap_or(Path::new("/"));
    let mut files = vec![manifest.to_owned()];
    let build_script = root.join("build.rs");
    if build_script.exists() {
        files.push(build_script);
    }
    collect_files(&root.join("src"), &mut files)?;
    files.sort();
    let mut hasher = sha2::Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy();
        hasher.update(format!("{name}\0{}\n", sha256_file(&file)?));
    }
    Ok(Sha256(hasher.finalize().into()))
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::read(directory))? {
        let path = entry.map_err(Error::read(directory))?.path();
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The version of the Debian package, where there is one, before what the tool itself says.
fn with_package_version(package: &str, value: String) -> String {
    let mut command = DPKG_QUERY.command();
    command.args(["--show", "--showformat", "${Version}", package]);
    match DPKG_QUERY.run(&mut command) {
        Ok(version) if !version.is_empty() => format!("{version} {value}"),
        _ => value,
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn hash_of(text: &str) -> String {
    Sha256::of(text.as_bytes()).to_string()
}
