//! What the hypervisor tells the agent, in nitro-cli's words.

use anchorhold_eif::{HASH_ALGORITHM, Measurements, Metadata};
use serde::Serialize;

use crate::registry::Identity;

/// An enclave as `describe-enclaves` shows it (nitro-cli's `EnclaveDescribeInfo`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Description {
    /// Its name, unique among running enclaves.
    pub enclave_name: String,
    /// `<instance>-enc<16 hex digits>`.
    #[serde(rename = "EnclaveID")]
    pub enclave_id: String,
    /// The hypervisor's process id.
    #[serde(rename = "ProcessID")]
    pub process_id: u32,
    /// Its vsock address.
    #[serde(rename = "EnclaveCID")]
    pub enclave_cid: u32,
    /// Virtual processors.
    #[serde(rename = "NumberOfCPUs")]
    pub number_of_cpus: u32,
    /// The virtual processors' numbers. No host processor is set apart for them.
    #[serde(rename = "CPUIDs")]
    pub cpu_ids: Vec<u32>,
    /// Guest memory in MiB.
    #[serde(rename = "MemoryMiB")]
    pub memory_mib: u64,
    /// `EMPTY` until the heartbeat, then `RUNNING`, then `TERMINATING`.
    pub state: State,
    /// `DEBUG_MODE` or `NONE`.
    pub flags: Flags,
    /// The image's measurements. In debug mode the attestation document shows zeros instead.
    pub measurements: ShownMeasurements,
    /// The image's name, unmeasured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// The image's version, unmeasured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_version: Option<String>,
    /// The image's whole metadata, unmeasured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// How far an enclave is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It boots.
    #[default]
    Empty,
    /// Its heartbeat came.
    Running,
    /// It is being ended.
    Terminating,
}

/// Whether the console can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Flags {
    /// Production: no console, real PCRs.
    #[default]
    None,
    /// The console can be read; PCR0, 1, 2 and 8 are zero.
    DebugMode,
}

/// Measurements as nitro-cli prints them: lower hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ShownMeasurements {
    /// Always `Sha384 { ... }`.
    #[serde(rename = "HashAlgorithm")]
    pub hash_algorithm: &'static str,
    /// The whole image.
    #[serde(rename = "PCR0")]
    pub pcr0: String,
    /// Kernel, command line and boot ramdisk.
    #[serde(rename = "PCR1")]
    pub pcr1: String,
    /// The application.
    #[serde(rename = "PCR2")]
    pub pcr2: String,
    /// The signing certificate, if the image is signed.
    #[serde(rename = "PCR8", skip_serializing_if = "Option::is_none")]
    pub pcr8: Option<String>,
}

impl From<&Measurements> for ShownMeasurements {
    fn from(measured: &Measurements) -> Self {
        Self {
            hash_algorithm: HASH_ALGORITHM,
            pcr0: measured.pcr0.to_string(),
            pcr1: measured.pcr1.to_string(),
            pcr2: measured.pcr2.to_string(),
            pcr8: measured.pcr8.map(|pcr8| pcr8.to_string()),
        }
    }
}

impl Description {
    /// Puts an identity in its places.
    pub fn identify(&mut self, identity: &Identity) {
        self.enclave_name.clone_from(&identity.name);
        self.enclave_id.clone_from(&identity.id);
        self.enclave_cid = identity.cid;
        self.process_id = identity.process;
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A stable name of the rule that refused.
    pub rule: String,
    /// The reason in words, with its causes.
    pub message: String,
    /// The last lines of the console, of a boot that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub console: Vec<String>,
}

impl Failure {
    /// A failure without a console.
    pub fn new(rule: &str, message: String) -> Self {
        Self {
            rule: rule.to_owned(),
            message,
            console: Vec::new(),
        }
    }
}
