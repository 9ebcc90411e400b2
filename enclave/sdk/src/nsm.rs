//! The security module as the application sees it.

use std::error::Error as StdError;

use anchorhold_document::nsm::{AttestationRequest, DescribeNsm, ErrorCode, Request, Response};
use anchorhold_document::{DocumentError, Pcr, PcrIndex};
use thiserror::Error;
use zeroize::Zeroizing;

/// A device that answers one CBOR request with one CBOR response: `/dev/nsm`, or in tests a security
/// module in the same process.
pub trait NsmDevice {
    /// Why the device could not be asked.
    type Error: StdError + Send + Sync + 'static;

    /// Sends a request of at most 4096 bytes and gives the response, at most 12,288 bytes.
    ///
    /// # Errors
    /// The device could not be asked. An error that the module answers is a response.
    fn request(&self, request: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

impl NsmDevice for anchorhold_enclave_sys::nsm::NsmDevice {
    type Error = anchorhold_enclave_sys::nsm::NsmError;

    fn request(&self, request: &[u8]) -> Result<Vec<u8>, Self::Error> {
        Self::request(self, request)
    }
}

/// A client of the security module.
///
/// What it answers is taken as it is: the module is part of the platform that measures the enclave.
/// Its documents are for others to verify.
pub struct Nsm<D = anchorhold_enclave_sys::nsm::NsmDevice> {
    device: D,
}

impl Nsm {
    /// Opens `/dev/nsm`.
    ///
    /// # Errors
    /// [`NsmError::Device`]: the device is missing, or may not be opened.
    pub fn open() -> Result<Self, NsmError> {
        let device = anchorhold_enclave_sys::nsm::NsmDevice::open();
        Ok(Self {
            device: device.map_err(|error| NsmError::Device(Box::new(error)))?,
        })
    }
}

impl<D: NsmDevice> Nsm<D> {
    /// Uses another device.
    pub const fn new(device: D) -> Self {
        Self { device }
    }

    /// Gets an attestation document over these fields, each at most 1024 bytes.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn attest(
        &self,
        public_key: Option<&[u8]>,
        user_data: Option<&[u8]>,
        nonce: Option<&[u8]>,
    ) -> Result<Vec<u8>, NsmError> {
        let request = Request::Attestation(AttestationRequest {
            public_key: public_key.map(<[u8]>::to_vec),
            user_data: user_data.map(<[u8]>::to_vec),
            nonce: nonce.map(<[u8]>::to_vec),
        });
        match self.ask(&request)? {
            Response::Attestation { document } => Ok(document),
            other => Err(unexpected("Attestation", &other)),
        }
    }

    /// Gets random bytes of the module: 256 of them.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn random(&self) -> Result<Zeroizing<Vec<u8>>, NsmError> {
        match self.ask(&Request::GetRandom)? {
            Response::GetRandom { random } => Ok(Zeroizing::new(random)),
            other => Err(unexpected("GetRandom", &other)),
        }
    }

    /// Gets the module's version, id and locked registers.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn describe(&self) -> Result<DescribeNsm, NsmError> {
        match self.ask(&Request::DescribeNsm)? {
            Response::DescribeNsm(description) => Ok(description),
            other => Err(unexpected("DescribeNSM", &other)),
        }
    }

    /// Gets a register's value, and whether it is locked.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn describe_pcr(&self, index: PcrIndex) -> Result<(Pcr, bool), NsmError> {
        let index = index.value().into();
        match self.ask(&Request::DescribePcr { index })? {
            Response::DescribePcr { lock, data } => Ok((data, lock)),
            other => Err(unexpected("DescribePCR", &other)),
        }
    }

    /// Extends a register of the application's (16 to 31) with data and gives its new value.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn extend_pcr(&self, index: PcrIndex, data: &[u8]) -> Result<Pcr, NsmError> {
        let request = Request::ExtendPcr {
            index: index.value().into(),
            data: data.to_vec(),
        };
        match self.ask(&request)? {
            Response::ExtendPcr { data } => Ok(data),
            other => Err(unexpected("ExtendPCR", &other)),
        }
    }

    /// Locks a register for as long as the enclave lives.
    ///
    /// # Errors
    /// [`NsmError`].
    pub fn lock_pcr(&self, index: PcrIndex) -> Result<(), NsmError> {
        match self.ask(&Request::LockPcr {
            index: index.value().into(),
        })? {
            Response::LockPcr => Ok(()),
            other => Err(unexpected("LockPCR", &other)),
        }
    }

    fn ask(&self, request: &Request) -> Result<Response, NsmError> {
        let request = Zeroizing::new(request.to_cbor());
        let response = self
            .device
            .request(&request)
            .map_err(|error| NsmError::Device(Box::new(error)))?;
        Ok(Response::from_cbor(&Zeroizing::new(response))?)
    }
}

fn unexpected(request: &'static str, response: &Response) -> NsmError {
    match response {
        Response::Error(code) => NsmError::Refused {
            request,
            code: *code,
        },
        _ => NsmError::Unexpected { request },
    }
}

/// Why the security module did not give what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NsmError {
    /// The device could not be asked.
    #[error("the security module could not be asked")]
    Device(#[source] Box<dyn StdError + Send + Sync>),
    /// The module refused.
    #[error("the security module refused {request}: {}", code.name())]
    Refused {
        /// The request.
        request: &'static str,
        /// The module's code.
        code: ErrorCode,
    },
    /// The module answered another request.
    #[error("the security module's answer does not belong to {request}")]
    Unexpected {
        /// The request.
        request: &'static str,
    },
    /// The answer cannot be decoded.
    #[error("the security module's answer cannot be decoded")]
    Decode(#[from] DocumentError),
}

impl NsmError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Device(_) => "nsm.device",
            Self::Refused { .. } => "nsm.refused",
            Self::Unexpected { .. } => "nsm.unexpected",
            Self::Decode(_) => "nsm.decode",
        }
    }
}
