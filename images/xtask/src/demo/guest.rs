//! A guest as the host sees it: the processes of its hypervisor, and the memory it has touched.

use std::fs;

use anyhow::{Context, Result};

/// The processes that a process has started.
///
/// # Errors
/// `/proc` cannot be read.
pub fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if field(&status, "PPid:") == Some(parent.into()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Bytes of guest memory that the enclave of a hypervisor has touched so far: the most that it ever
/// had in use, since a guest gives no memory back. It is shared memory of its QEMU (proc(5),
/// `RssShmem`), and what the host could see without this.
///
/// # Errors
/// The hypervisor has no such child.
pub fn touched(hypervisor: u32) -> Result<u64> {
    let resident = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        field(&status, "RssShmem:")
    };
    let most = children(hypervisor)?.into_iter().filter_map(resident).max();
    let most = most.with_context(|| format!("the hypervisor {hypervisor} has no child"))?;
    Ok(most.saturating_mul(1024))
}

/// A number of a process's status; sizes are in KiB.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tqemu\nPPid:\t12\nRssShmem:\t   2048 kB\n";
        assert_eq!(field(status, "PPid:"), Some(12));
        assert_eq!(field(status, "RssShmem:"), Some(2048));
        assert_eq!(field(status, "RssAnon:"), None);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(children(std::process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
