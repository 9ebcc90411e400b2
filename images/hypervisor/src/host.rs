//! What this host has to give.

use std::fs;
use std::thread;

/// A size or a number of processors that this host does not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// More memory than the host has.
    #[error("memory: expected at most the {host_mib} MiB of this host, got {got_mib} MiB")]
    Memory {
        /// The host's memory in MiB.
        host_mib: u64,
        /// What was asked for, in MiB.
        got_mib: u64,
    },
    /// No processor, or more than the host has.
    #[error("processors: expected 1 to the {host} of this host, got {got}")]
    Processors {
        /// The host's processors.
        host: u32,
        /// What was asked for.
        got: u32,
    },
}

impl HostError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory.host",
            Self::Processors { .. } => "cpus.host",
        }
    }
}

/// Processors that this process may run on.
pub fn processors() -> u32 {
    let count = thread::available_parallelism().map_or(1, |count| count.get());
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The host's memory in MiB; no bound when the kernel does not tell.
pub fn memory_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    total_kib(&text).map_or(u64::MAX, |kib| kib / 1024)
}

/// Refuses what the host does not have.
///
/// # Errors
/// [`HostError`].
pub fn check(memory_mib: u64, cpus: u32) -> Result<(), HostError> {
    within(memory_mib, self::memory_mib(), cpus, processors())
}

fn within(got_mib: u64, host_mib: u64, got: u32, host: u32) -> Result<(), HostError> {
    if got_mib > host_mib {
        return Err(HostError::Memory { host_mib, got_mib });
    }
    if got == 0 || got > host {
        return Err(HostError::Processors { host, got });
    }
    Ok(())
}

fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_refused_with_numbers() {
        let error = within(2048, 1024, 1, 2).expect_err("memory");
        assert_eq!(error.rule(), "memory.host");
        assert!(error.to_string().contains("1024") && error.to_string().contains("2048"));
        for got in [0, 3] {
            assert_eq!(within(1, 1, got, 2).expect_err("cpus").rule(), "cpus.host");
        }
        within(1024, 1024, 2, 2).expect("all of it");
    }

    #[test]
    fn the_kernels_figures_are_read() {
        assert_eq!(
            total_kib("MemTotal:       24685000 kB\nx"),
            Some(24_685_000)
        );
        assert_eq!(total_kib("nothing"), None);
        assert!(memory_mib() > 64 && memory_mib() < u64::MAX);
        assert!(processors() >= 1);
    }
}
