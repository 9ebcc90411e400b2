//! nitro-cli's JSON: what hypervisors tell and what commands print.

use anchorhold_eif::Metadata;
use serde::{Deserialize, Serialize};

/// An enclave as `run-enclave` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunInfo {
    /// Its name, unique among running enclaves.
    pub enclave_name: String,
    /// `<instance>-enc<16 hex digits>`.
    #[serde(rename = "EnclaveID")]
    pub enclave_id: String,
    /// Its hypervisor's process id.
    #[serde(rename = "ProcessID")]
    pub process_id: u32,
    /// Its vsock address.
    #[serde(rename = "EnclaveCID")]
    pub enclave_cid: u32,
    /// Virtual processors.
    #[serde(rename = "NumberOfCPUs")]
    pub number_of_cpus: u32,
    /// The virtual processors' numbers.
    #[serde(rename = "CPUIDs")]
    pub cpu_ids: Vec<u32>,
    /// Guest memory in MiB.
    #[serde(rename = "MemoryMiB")]
    pub memory_mib: u64,
}

/// An enclave as `describe-enclaves` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInfo {
    /// Identity and size.
    #[serde(flatten)]
    pub run: RunInfo,
    /// `EMPTY` while it boots, `RUNNING`, or `TERMINATING`.
    pub state: String,
    /// `DEBUG_MODE` or `NONE`.
    pub flags: String,
    /// The image's measurements.
    pub measurements: Measurements,
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

impl DescribeInfo {
    /// Whether its console can be read.
    pub fn is_debug(&self) -> bool {
        self.flags == "DEBUG_MODE"
    }

    /// Without what `describe-enclaves` shows with `--metadata` only.
    pub fn without_metadata(self) -> Self {
        Self {
            image_name: None,
            image_version: None,
            metadata: None,
            ..self
        }
    }
}

/// Measurements as nitro-cli prints them: lower hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurements {
    /// Always `Sha384 { ... }`.
    #[serde(rename = "HashAlgorithm")]
    pub hash_algorithm: String,
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

/// An enclave that was ended, as `terminate-enclave` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminateInfo {
    /// The name it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enclave_name: Option<String>,
    /// The id it had.
    #[serde(rename = "EnclaveID")]
    pub enclave_id: String,
    /// Whether it is gone.
    pub terminated: bool,
}

/// Why a hypervisor refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// A stable name of the rule that refused.
    pub rule: String,
    /// The reason in words.
    pub message: String,
    /// The last lines of the console, of a boot that failed.
    #[serde(default)]
    pub console: Vec<String>,
}

/// A hypervisor's answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIBED: &str = r#"{"EnclaveName":"hello","EnclaveID":"i-0-enc1","ProcessID":7,
        "EnclaveCID":16,"NumberOfCPUs":2,"CPUIDs":[0,1],"MemoryMiB":256,"State":"RUNNING",
        "Flags":"NONE","Measurements":{"HashAlgorithm":"Sha384 { ... }","PCR0":"00","PCR1":"11",
        "PCR2":"22"},"ImageName":"hello","ImageVersion":"1"}"#;

    #[test]
    fn a_description_has_nitro_clis_fields_in_its_order() {
        let info: DescribeInfo = serde_json::from_str(DESCRIBED).expect("a description");
        assert!(!info.is_debug());
        let shown = serde_json::to_string(&info.without_metadata()).expect("JSON");
        assert_eq!(
            shown,
            "{\"EnclaveName\":\"hello\",\"EnclaveID\":\"i-0-enc1\",\"ProcessID\":7,\
             \"EnclaveCID\":16,\"NumberOfCPUs\":2,\"CPUIDs\":[0,1],\"MemoryMiB\":256,\
             \"State\":\"RUNNING\",\"Flags\":\"NONE\",\"Measurements\":{\
             \"HashAlgorithm\":\"Sha384 { ... }\",\"PCR0\":\"00\",\"PCR1\":\"11\",\"PCR2\":\"22\"}}"
        );
    }

    #[test]
    fn an_ended_enclave_has_nitro_clis_fields() {
        let info = TerminateInfo {
            enclave_name: Some("hello".into()),
            enclave_id: "i-0-enc1".into(),
            terminated: true,
        };
        let shown = serde_json::to_string(&info).expect("JSON");
        assert_eq!(
            shown,
            r#"{"EnclaveName":"hello","EnclaveID":"i-0-enc1","Terminated":true}"#
        );
    }

    #[test]
    fn a_refusal_is_read_with_and_without_a_console() {
        for (text, lines) in [
            (r#"{"error":{"rule":"a.b","message":"m"}}"#, 0),
            (
                r#"{"error":{"rule":"a.b","message":"m","console":["x"]}}"#,
                1,
            ),
        ] {
            let response: Response<RunInfo> = serde_json::from_str(text).expect("a refusal");
            let Response::Error(failure) = response else {
                panic!("not a refusal: {text}");
            };
            assert_eq!(
                (failure.rule.as_str(), failure.console.len()),
                ("a.b", lines)
            );
        }
    }
}
