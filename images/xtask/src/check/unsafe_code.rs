//! `unsafe` stands only where it is quarantined.

use cargo_metadata::Metadata;

/// Crates that may hold `unsafe`, each block argued: system calls of the measured zone, and device
/// code of the hypervisor.
const MAY: &[&str] = &[
    "anchorhold-enclave-sys",
    "anchorhold-switch",
    "anchorhold-hypervisor",
];

/// Every workspace target that neither forbids `unsafe` nor may hold it.
pub fn violations(metadata: &Metadata) -> Vec<String> {
    let own = metadata.workspace_packages();
    let mut found = Vec::new();
    for package in own.into_iter().filter(|p| !MAY.contains(&p.name.as_str())) {
        // A program beside a library of its own package is thin, but counts as well.
        for target in package.targets.iter().filter(|t| t.is_lib() || t.is_bin()) {
            let text = std::fs::read_to_string(&target.src_path).unwrap_or_default();
            if !text.contains("#![forbid(unsafe_code)]") {
                found.push(format!("{} does not forbid unsafe code", target.src_path));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_forbidden_elsewhere() {
        let metadata = crate::check::metadata().unwrap();
        let names: Vec<_> = metadata
            .workspace_packages()
            .iter()
            .map(|p| p.name.clone())
            .collect();
        assert!(
            MAY.iter().all(|may| names.iter().any(|name| name == may)),
            "{names:?}"
        );
        assert_eq!(violations(&metadata), Vec::<String>::new());
    }
}
