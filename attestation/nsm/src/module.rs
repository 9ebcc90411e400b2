//! The security module of one enclave.

use std::time::{SystemTime, UNIX_EPOCH};

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE, MAX_USER_FIELD, PCR_COUNT};
use anchorhold_document::nsm::{
    AttestationRequest, DescribeNsm, ErrorCode, RANDOM_BYTES, Request, Response,
};
use anchorhold_document::{AttestationDocument, DocumentToSign, Pcr, PcrIndex};
use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer;
use rand_core::CryptoRng;
use sha2::{Digest, Sha384};

use crate::bank::PcrBank;
use crate::chain::{Chain, Owner};
use crate::platform::Platform;

/// Major, minor and patch version that `DescribeNSM` reports.
pub const VERSION: (u16, u16, u16) = (1, 0, 0);

/// Bytes of a module's name: AWS's are 39.
const MAX_MODULE_ID: usize = 128;

/// What is known of an enclave when it boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The module's name and the enclave's id: [`Platform::module_id`]. ASCII letters, digits and
    /// dashes, at most 128.
    pub module_id: String,
    /// Kernel, command line, all ramdisks.
    pub pcr0: Pcr,
    /// Kernel, command line, first ramdisk.
    pub pcr1: Pcr,
    /// The other ramdisks.
    pub pcr2: Pcr,
    /// The parent's role, if it has one.
    pub pcr3: Option<Pcr>,
    /// The certificate that signed the image, if one did.
    pub pcr8: Option<Pcr>,
    /// Whether the enclave runs in debug mode: PCR0, 1, 2 and 8 are then zero, whatever they are
    /// here. The others stay real.
    pub debug: bool,
}

/// A security module: 32 registers, randomness, and documents signed under the platform's root.
///
/// Memory and time are bounded whatever the enclave sends: a request is at most 4 KiB, the state
/// is of fixed size, and the dearest request mints four certificates (every two hours) and signs
/// one document.
pub struct SecurityModule {
    platform: Platform,
    module_id: String,
    bank: PcrBank,
    chain: Chain,
}

impl SecurityModule {
    /// The module of an enclave that boots now. Keys and certificates are made with the first
    /// document.
    pub fn new(platform: Platform, boot: Boot) -> Result<Self, BootError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let id = &boot.module_id;
        if id.is_empty() || id.len() > MAX_MODULE_ID || !id.bytes().all(allowed) {
            return Err(BootError::ModuleId {
                got: boot.module_id,
            });
        }
        let bank = PcrBank::booted(&measured(&platform, &boot));
        Ok(Self {
            platform,
            module_id: boot.module_id,
            bank,
            chain: Chain::default(),
        })
    }

    /// Answers one request with 1..=[`MAX_RESPONSE`] bytes. What cannot be done is answered with
    /// an error code; nothing makes it fail or panic.
    pub fn handle(&mut self, request: &[u8], now: SystemTime, rng: &mut impl CryptoRng) -> Vec<u8> {
        let response = self
            .answer(request, now, rng)
            .unwrap_or_else(Response::Error)
            .to_cbor();
        if response.len() > MAX_RESPONSE {
            return Response::Error(ErrorCode::BufferTooSmall).to_cbor();
        }
        response
    }

    /// The module's name, which is the enclave's id.
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// The platform it signs under.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    fn answer(
        &mut self,
        request: &[u8],
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<Response, ErrorCode> {
        if request.len() > MAX_REQUEST {
            return Err(ErrorCode::InputTooLarge);
        }
        match Request::from_cbor(request).map_err(|_| ErrorCode::InvalidOperation)? {
            Request::DescribeNsm => Ok(Response::DescribeNsm(self.describe())),
            Request::GetRandom => Ok(random(rng)),
            Request::DescribePcr { index } => {
                let (data, lock) = self.bank.describe(index)?;
                Ok(Response::DescribePcr { lock, data })
            }
            Request::ExtendPcr { index, data } => self
                .bank
                .extend(index, &data)
                .map(|data| Response::ExtendPcr { data }),
            Request::LockPcr { index } => self.bank.lock(index).map(|()| Response::LockPcr),
            Request::LockPcrs { range } => self.bank.lock_range(range).map(|()| Response::LockPcrs),
            Request::Attestation(wanted) => {
                let document = self.attest(wanted, now, rng)?;
                Ok(Response::Attestation { document })
            }
        }
    }

    fn describe(&self) -> DescribeNsm {
        DescribeNsm {
            version_major: VERSION.0,
            version_minor: VERSION.1,
            version_patch: VERSION.2,
            module_id: self.module_id.clone(),
            max_pcrs: u16::from(PCR_COUNT),
            locked_pcrs: self.bank.locked().clone(),
        }
    }

    fn attest(
        &mut self,
        wanted: AttestationRequest,
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, ErrorCode> {
        check_fields(&wanted)?;
        let internal = ErrorCode::InternalError;
        let (root, instance) = (&self.platform.root, &self.platform.instance);
        let owner = Owner {
            root,
            instance,
            module_id: &self.module_id,
        };
        self.chain.refresh(&owner, now, rng).map_err(|_| internal)?;
        let (leaf, cabundle) = self.chain.leaf_and_bundle(root).ok_or(internal)?;

        let document = DocumentToSign::new(&AttestationDocument {
            module_id: self.module_id.clone(),
            timestamp_ms: milliseconds(now).ok_or(internal)?,
            pcrs: self.bank.locked_values(),
            certificate: leaf.certificate.clone(),
            cabundle,
            public_key: wanted.public_key,
            user_data: wanted.user_data,
            nonce: wanted.nonce,
        })
        .map_err(|_| internal)?;
        let signature: Signature = leaf
            .key
            .try_sign(&document.to_be_signed())
            .map_err(|_| internal)?;
        Ok(document
            .with_signature(signature.to_bytes().into())
            .to_bytes())
    }
}

/// The registers at boot. PCR4 is the instance id, hashed once like the others:
/// SHA-384(48 zero bytes ‖ ASCII).
fn measured(platform: &Platform, boot: &Boot) -> Vec<(PcrIndex, Pcr)> {
    let real = |pcr: Pcr| if boot.debug { Pcr::ZERO } else { pcr };
    let pcr4 = Sha384::new()
        .chain_update(Pcr::ZERO.as_bytes())
        .chain_update(platform.instance.as_str())
        .finalize();
    vec![
        (PcrIndex::PCR0, real(boot.pcr0)),
        (PcrIndex::PCR1, real(boot.pcr1)),
        (PcrIndex::PCR2, real(boot.pcr2)),
        (PcrIndex::PCR3, boot.pcr3.unwrap_or(Pcr::ZERO)),
        (PcrIndex::PCR4, Pcr(pcr4.into())),
        (PcrIndex::PCR8, real(boot.pcr8.unwrap_or(Pcr::ZERO))),
    ]
}

/// Each field at most 1024 bytes; a public key, if there is one, at least one: AWS's document
/// checks refuse an empty one.
fn check_fields(wanted: &AttestationRequest) -> Result<(), ErrorCode> {
    let fields = [&wanted.user_data, &wanted.nonce, &wanted.public_key];
    if fields
        .into_iter()
        .flatten()
        .any(|field| field.len() > MAX_USER_FIELD)
    {
        return Err(ErrorCode::InputTooLarge);
    }
    if wanted.public_key.as_ref().is_some_and(Vec::is_empty) {
        return Err(ErrorCode::InvalidArgument);
    }
    Ok(())
}

fn random(rng: &mut impl CryptoRng) -> Response {
    let mut random = vec![0; RANDOM_BYTES];
    rng.fill_bytes(&mut random);
    Response::GetRandom { random }
}

fn milliseconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Why an enclave gets no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The name cannot stand in a document and a certificate.
    #[error("module id: expected 1 to 128 ASCII letters, digits and dashes, got {got:?}")]
    ModuleId {
        /// The name that came.
        got: String,
    },
}

impl BootError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::ModuleId { .. } => "boot.module-id",
        }
    }
}
