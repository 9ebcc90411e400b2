//! The dependency rules between the four trust zones.
//!
//! Normal and build edges count, transitively; dev-dependencies do not: signer and checker meet in
//! tests.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};

/// Packages that must not be reached from a zone or package.
struct Rule {
    /// A package's folder, or a zone's with a slash behind it.
    from: &'static str,
    /// Packages by name, or zones by folder with a slash behind it.
    never: &'static [&'static str],
    why: &'static str,
}

/// Signer and checker, and all of the workspace that both may reach: the codec between them.
const APART: (&str, &str, &[&str]) = (
    "attestation/nsm",
    "attestation/verifier",
    &["attestation/document"],
);

const RULES: &[Rule] = &[
    Rule {
        from: "parent/",
        never: &[
            "anchorhold-verifier",
            "anchorhold-kms-core",
            "anchorhold-kms",
            "anchorhold-nsm",
            "enclave/",
            "aes",
            "aes-gcm",
            "aws-lc-rs",
            "p384",
            "ring",
        ],
        why: "the parent is untrusted: it carries ciphertext and decides nothing",
    },
    Rule {
        from: "enclave/",
        never: &["anchorhold-nsm", "anchorhold-hypervisor"],
        why: "the enclave cannot sign for itself",
    },
    Rule {
        from: "attestation/verifier",
        never: &["anchorhold-nsm", "anchorhold-hypervisor"],
        why: "signer and checker stay independent",
    },
    Rule {
        from: "attestation/kms",
        never: &["anchorhold-nsm", "anchorhold-hypervisor"],
        why: "signer and checker stay independent",
    },
    Rule {
        from: "attestation/kms-server",
        never: &["anchorhold-nsm", "anchorhold-hypervisor"],
        why: "signer and checker stay independent",
    },
    Rule {
        from: "attestation/nsm",
        never: &["anchorhold-verifier"],
        why: "signer and checker stay independent",
    },
    Rule {
        from: "attestation/document",
        never: &["attestation/", "enclave/", "parent/", "images/"],
        why: "the codec stands under everything",
    },
];

/// A workspace as these rules see it.
struct Graph {
    /// Package name by id.
    names: BTreeMap<String, String>,
    /// Folder below the root by id, for the workspace's own packages.
    folders: BTreeMap<String, String>,
    /// Ids that an id depends on.
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Every path that breaks a rule, in words.
pub fn violations(metadata: &Metadata) -> Vec<String> {
    check(&graph(metadata))
}

fn check(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES {
        let from = graph
            .folders
            .iter()
            .filter(|(_, folder)| covers(rule.from, folder));
        for (start, folder) in from {
            for path in reach(graph, start) {
                let Some(end) = path.last().filter(|end| *end != start) else {
                    continue;
                };
                let name = graph.names.get(end).map_or("", String::as_str);
                let end_folder = graph.folders.get(end).map_or("", String::as_str);
                let broken = rule
                    .never
                    .iter()
                    .any(|never| *never == name || covers(never, end_folder));
                // A package of the zone itself is where the zone's rule starts, not where it ends.
                if broken && !covers(rule.from, end_folder) {
                    let steps: Vec<_> = path
                        .iter()
                        .filter_map(|id| graph.names.get(id))
                        .cloned()
                        .collect();
                    found.push(format!(
                        "{folder} reaches {}: {}",
                        steps.join(" → "),
                        rule.why
                    ));
                }
            }
        }
    }
    found.extend(shared(graph));
    found
}

/// Folders of the workspace that both [`APART`] reach, and may not.
fn shared(graph: &Graph) -> Vec<String> {
    let (signer, checker, codec) = APART;
    let reached = |from: &str| -> BTreeSet<&str> {
        let start = graph.folders.iter().find(|(_, folder)| *folder == from);
        let paths = start.map_or_else(Vec::new, |(id, _)| reach(graph, id));
        let ends = paths.iter().filter_map(|path| path.last());
        let folders = ends.filter_map(|id| graph.folders.get(id));
        folders.map(String::as_str).collect()
    };
    let (signs, checks) = (reached(signer), reached(checker));
    let both = signs.intersection(&checks).filter(|f| !codec.contains(f));
    both.map(|folder| format!("{signer} and {checker} share {folder}: expected the codec alone"))
        .collect()
}

fn covers(pattern: &str, folder: &str) -> bool {
    !folder.is_empty()
        && (folder == pattern || (pattern.ends_with('/') && folder.starts_with(pattern)))
}

/// The shortest path from `start` to every package it reaches.
fn reach(graph: &Graph, start: &str) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut paths = vec![vec![start.to_owned()]];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        let next = path.last().and_then(|id| graph.edges.get(id));
        for id in next.into_iter().flatten() {
            if seen.insert(id.clone()) {
                let mut longer = path.clone();
                longer.push(id.clone());
                paths.push(longer);
            }
        }
    }
    paths
}

fn graph(metadata: &Metadata) -> Graph {
    let root = metadata.workspace_root.as_path();
    let mut graph = Graph {
        names: BTreeMap::new(),
        folders: BTreeMap::new(),
        edges: BTreeMap::new(),
    };
    for package in &metadata.packages {
        let id = package.id.repr.clone();
        graph.names.insert(id.clone(), package.name.to_string());
        let folder = package
            .manifest_path
            .parent()
            .and_then(|p| p.strip_prefix(root).ok());
        if let Some(folder) = folder.filter(|_| metadata.workspace_members.contains(&package.id)) {
            graph.folders.insert(id, folder.to_string());
        }
    }
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let used = node.deps.iter().filter(|dep| {
            dep.dep_kinds
                .iter()
                .any(|kind| kind.kind != DependencyKind::Development)
        });
        graph.edges.insert(
            node.id.repr.clone(),
            used.map(|d| d.pkg.repr.clone()).collect(),
        );
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_the_rules() {
        let metadata = crate::check::metadata().unwrap();
        let graph = graph(&metadata);
        assert!(
            graph.folders.values().any(|f| f == "parent/cli"),
            "{:?}",
            graph.folders
        );
        assert!(graph.edges.values().any(|e| !e.is_empty()));
        assert_eq!(check(&graph), Vec::<String>::new());
    }

    #[test]
    fn a_rule_that_names_nothing_checks_nothing() {
        let graph = graph(&crate::check::metadata().unwrap());
        let (signer, checker, codec) = APART;
        for folder in [&[signer, checker], codec].concat() {
            assert!(graph.folders.values().any(|f| f == folder), "{folder}");
        }
        for rule in RULES {
            assert!(
                graph.folders.values().any(|f| covers(rule.from, f)),
                "{}",
                rule.from
            );
            for never in rule.never {
                let known = graph.names.values().any(|n| n == never)
                    || graph.folders.values().any(|f| covers(never, f));
                assert!(known, "{never}");
            }
        }
    }

    fn example(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph {
            names: BTreeMap::new(),
            folders: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        for (folder, name) in [
            ("parent/cli", "anchorhold"),
            ("parent/proxy", "anchorhold-proxy"),
            ("enclave/sdk", "anchorhold-enclave"),
            ("attestation/nsm", "anchorhold-nsm"),
            ("attestation/verifier", "anchorhold-verifier"),
            ("images/eif", "anchorhold-eif"),
            ("attestation/document", "anchorhold-document"),
        ] {
            graph.folders.insert(name.to_owned(), folder.to_owned());
            graph.names.insert(name.to_owned(), name.to_owned());
        }
        graph.names.insert("p384".to_owned(), "p384".to_owned());
        for (from, to) in edges {
            graph
                .edges
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn edges_that_are_refused() {
        for edges in [
            vec![("anchorhold", "anchorhold-enclave")],
            vec![
                ("anchorhold", "anchorhold-proxy"),
                ("anchorhold-proxy", "p384"),
            ],
            vec![("anchorhold-enclave", "anchorhold-nsm")],
            vec![("anchorhold-document", "anchorhold-proxy")],
            vec![
                ("anchorhold-nsm", "anchorhold-eif"),
                ("anchorhold-verifier", "anchorhold-eif"),
            ],
        ] {
            assert!(!check(&example(&edges)).is_empty(), "{edges:?}");
        }
        let kept = [
            ("anchorhold", "anchorhold-proxy"),
            ("anchorhold-nsm", "anchorhold-document"),
            ("anchorhold-verifier", "anchorhold-document"),
            ("anchorhold-nsm", "p384"),
            ("anchorhold-enclave", "anchorhold-document"),
        ];
        assert_eq!(check(&example(&kept)), Vec::<String>::new());
    }
}
