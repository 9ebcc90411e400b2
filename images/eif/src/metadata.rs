//! The metadata section: JSON about the image, which nobody measures.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::EifError;
use crate::rules::MAX_CUSTOM_METADATA_SIZE;

/// What the image's builder says about it. Field names in the file are nitro-cli's.
///
/// Nothing here is measured: a parent instance can change it without changing a PCR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the image.
    #[serde(rename = "ImageName")]
    pub image_name: String,
    /// Version of the image.
    #[serde(rename = "ImageVersion")]
    pub image_version: String,
    /// How it was built.
    #[serde(rename = "BuildMetadata")]
    pub build: BuildMetadata,
    /// What `docker inspect` said, for images made from a container; else an empty object.
    #[serde(rename = "DockerInfo", default = "empty_object")]
    pub docker_info: Value,
    /// The owner's own JSON, at most 4096 bytes; else an empty object.
    #[serde(rename = "CustomMetadata", default = "empty_object")]
    pub custom: Value,
}

/// How an image was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildMetadata {
    /// RFC 3339. A reproducible build gives a fixed time.
    #[serde(rename = "BuildTime")]
    pub build_time: String,
    /// Name of the tool.
    #[serde(rename = "BuildTool")]
    pub build_tool: String,
    /// Version of the tool.
    #[serde(rename = "BuildToolVersion")]
    pub build_tool_version: String,
    /// Operating system of the kernel.
    #[serde(rename = "OperatingSystem")]
    pub operating_system: String,
    /// Version of the kernel.
    #[serde(rename = "KernelVersion")]
    pub kernel_version: String,
}

impl Default for Metadata {
    /// An image without a name, built by this crate at the epoch.
    fn default() -> Self {
        Self {
            image_name: String::new(),
            image_version: String::new(),
            build: BuildMetadata::default(),
            docker_info: empty_object(),
            custom: empty_object(),
        }
    }
}

impl Default for BuildMetadata {
    /// Built by this crate at the epoch: no clock is read, so that the same input gives the same
    /// file.
    fn default() -> Self {
        Self {
            build_time: "1970-01-01T00:00:00+00:00".into(),
            build_tool: env!("CARGO_PKG_NAME").into(),
            build_tool_version: env!("CARGO_PKG_VERSION").into(),
            operating_system: "Linux".into(),
            kernel_version: String::new(),
        }
    }
}

impl Metadata {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, EifError> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| EifError::Metadata {
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        })?;
        metadata.check()?;
        Ok(metadata)
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, EifError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| EifError::Metadata {
            line: 0,
            column: 0,
            reason: reason(&error),
        })
    }

    fn check(&self) -> Result<(), EifError> {
        let got = self.custom.to_string().len();
        if got > MAX_CUSTOM_METADATA_SIZE {
            let (limit, got) = (MAX_CUSTOM_METADATA_SIZE as u64, got as u64);
            return Err(EifError::CustomMetadataTooLarge { limit, got });
        }
        Ok(())
    }
}

/// What the JSON reader says, without the place, which the error names by itself.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
