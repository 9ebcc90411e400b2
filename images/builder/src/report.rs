//! nitro-cli's JSON.

use std::time::SystemTime;

use anchorhold_eif::{Eif, HASH_ALGORITHM, Measurements, Metadata};
use anchorhold_eif_signature::SignerCertificate;
use serde::Serialize;

use crate::error::Error;

/// What `build-enclave` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// The image's PCRs.
    #[serde(rename = "Measurements")]
    pub measurements: MeasurementsReport,
}

impl From<&Measurements> for BuildReport {
    fn from(measurements: &Measurements) -> Self {
        Self {
            measurements: measurements.into(),
        }
    }
}

/// PCRs as hex, with the hash's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasurementsReport {
    /// Always `Sha384 { ... }`.
    #[serde(rename = "HashAlgorithm")]
    pub hash_algorithm: &'static str,
    /// Kernel, command line and all ramdisks.
    #[serde(rename = "PCR0")]
    pub pcr0: String,
    /// Kernel, command line and the first ramdisk.
    #[serde(rename = "PCR1")]
    pub pcr1: String,
    /// The other ramdisks.
    #[serde(rename = "PCR2")]
    pub pcr2: String,
    /// The signing certificate, if the image is signed.
    #[serde(rename = "PCR8", skip_serializing_if = "Option::is_none")]
    pub pcr8: Option<String>,
}

impl From<&Measurements> for MeasurementsReport {
    fn from(measurements: &Measurements) -> Self {
        Self {
            hash_algorithm: HASH_ALGORITHM,
            pcr0: measurements.pcr0.to_string(),
            pcr1: measurements.pcr1.to_string(),
            pcr2: measurements.pcr2.to_string(),
            pcr8: measurements.pcr8.map(|pcr8| pcr8.to_string()),
        }
    }
}

/// What `describe-eif` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Version of the format.
    #[serde(rename = "EifVersion")]
    pub eif_version: u16,
    /// The image's PCRs.
    #[serde(rename = "Measurements")]
    pub measurements: MeasurementsReport,
    /// Whether the image has a signature section.
    #[serde(rename = "IsSigned")]
    pub is_signed: bool,
    /// The certificate in the signature section.
    #[serde(rename = "SigningCertificate", skip_serializing_if = "Option::is_none")]
    pub signing_certificate: Option<SignerCertificate>,
    /// Whether the checksum matches. Always true: a damaged file is refused instead.
    #[serde(rename = "CheckCRC")]
    pub check_crc: bool,
    /// Whether the signature holds now, for this image's PCR0.
    #[serde(rename = "SignatureCheck", skip_serializing_if = "Option::is_none")]
    pub signature_check: Option<bool>,
    /// Name in the metadata, which is not measured.
    #[serde(rename = "ImageName", skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// Version in the metadata, which is not measured.
    #[serde(rename = "ImageVersion", skip_serializing_if = "Option::is_none")]
    pub image_version: Option<String>,
    /// The rest of the metadata, which is not measured.
    #[serde(rename = "Metadata", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataReport>,
}

/// Metadata without name and version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetadataReport {
    #[serde(rename = "BuildMetadata")]
    build: anchorhold_eif::BuildMetadata,
    #[serde(rename = "DockerInfo")]
    docker_info: serde_json::Value,
    #[serde(rename = "CustomMetadata")]
    custom: serde_json::Value,
}

impl From<&Metadata> for MetadataReport {
    fn from(metadata: &Metadata) -> Self {
        Self {
            build: metadata.build.clone(),
            docker_info: metadata.docker_info.clone(),
            custom: metadata.custom.clone(),
        }
    }
}

/// Describes an image file. A signature that does not hold is described, not refused.
///
/// # Errors
/// What the format refuses, and a signing certificate that cannot be read.
pub fn describe(file: &[u8], at: SystemTime) -> Result<(Description, Option<Error>), Error> {
    let image = Eif::parse(file)?;
    let checked = anchorhold_eif_signature::verify(&image, at);
    let signing_certificate = anchorhold_eif_signature::certificate(&image)?;
    let description = Description {
        eif_version: image.header().version.number(),
        measurements: (&image.measure()).into(),
        is_signed: image.signature().is_some(),
        signing_certificate,
        check_crc: true,
        signature_check: image.signature().map(|_| checked.is_ok()),
        image_name: image.metadata().map(|metadata| metadata.image_name.clone()),
        image_version: image
            .metadata()
            .map(|metadata| metadata.image_version.clone()),
        metadata: image.metadata().map(MetadataReport::from),
    };
    Ok((description, checked.err().map(Error::from)))
}
