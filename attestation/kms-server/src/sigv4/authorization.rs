//! The `Authorization` header.

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::{ALGORITHM, Scope, SignatureError, TERMINATOR, single};

/// Longest `Authorization` header taken, in bytes. AWS's are below 600.
pub const MAX_AUTHORIZATION: usize = 4096;
/// Most headers that a request may sign. SDKs sign fewer than ten.
pub const MAX_SIGNED_HEADERS: usize = 64;
/// Longest access key id, AWS's bound for the shape `accessKeyIdType`.
const MAX_ACCESS_KEY_ID: usize = 128;

/// A parsed `Authorization` header; its parts are well formed, nothing is proved.
pub struct Authorization {
    access_key_id: String,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: [u8; 32],
}

impl Authorization {
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, SignatureError> {
        let value = single(headers, "authorization")?.ok_or(SignatureError::MissingToken)?;
        Self::parse(value)
    }

    /// Parses `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
    ///
    /// # Errors
    /// Names the parameter that is missing, repeated or malformed.
    pub fn parse(value: &str) -> Result<Self, SignatureError> {
        if value.len() > MAX_AUTHORIZATION {
            return Err(SignatureError::TooLong {
                limit: MAX_AUTHORIZATION,
                got: value.len(),
            });
        }
        let (algorithm, parameters) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(SignatureError::UnsupportedAlgorithm);
        }
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for parameter in parameters.split(',').map(str::trim) {
            let (slot, name, value) = match parameter.split_once('=') {
                Some(("Credential", value)) => (&mut credential, "Credential", value),
                Some(("SignedHeaders", value)) => (&mut signed_headers, "SignedHeaders", value),
                Some(("Signature", value)) => (&mut signature, "Signature", value),
                _ => return Err(SignatureError::UnknownParameter),
            };
            if slot.replace(value).is_some() {
                return Err(SignatureError::RepeatedParameter { name });
            }
        }
        let missing = |name| SignatureError::MissingParameter { name };
        let mut authorization =
            Self::from_credential(credential.ok_or_else(|| missing("Credential"))?)?;
        authorization.signed_headers =
            parse_signed_headers(signed_headers.ok_or_else(|| missing("SignedHeaders"))?)?;
        authorization.signature = parse_signature(signature.ok_or_else(|| missing("Signature"))?)?;
        Ok(authorization)
    }

    /// `<access key id>/<date>/<region>/<service>/aws4_request`.
    fn from_credential(credential: &str) -> Result<Self, SignatureError> {
        let mut parts = credential.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (Some(key), Some(date), Some(region), Some(service), Some(terminator), None) =
            (next(), next(), next(), next(), next(), next())
        else {
            return Err(SignatureError::MalformedCredential);
        };
        // AWS's pattern for the shape `accessKeyIdType` is [\w]+.
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if credential.ends_with('/') || key.len() > MAX_ACCESS_KEY_ID || !key.bytes().all(word) {
            return Err(SignatureError::MalformedCredential);
        }
        if terminator != TERMINATOR {
            return Err(SignatureError::WrongTerminator);
        }
        Ok(Self {
            access_key_id: key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: Vec::new(),
            signature: [0; 32],
        })
    }

    pub(super) fn check_scope(
        &self,
        expected: Scope<'_>,
        date: &str,
    ) -> Result<(), SignatureError> {
        if self.region != expected.region {
            return Err(SignatureError::WrongRegion {
                expected: expected.region.to_owned(),
            });
        }
        if self.service != expected.service {
            return Err(SignatureError::WrongService {
                expected: expected.service.to_owned(),
            });
        }
        // `date` has passed parse_date: its first eight characters are the day.
        let day = date.get(..8).unwrap_or_default();
        if self.date != day {
            return Err(SignatureError::WrongDay {
                expected: day.to_owned(),
            });
        }
        Ok(())
    }

    /// The host and every `x-amz-*` header have to be signed: an unsigned
    /// `X-Amz-Target` would let a middleman turn one operation into another.
    pub(super) fn check_coverage(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        let signed = |name: &str| self.signed_headers.iter().any(|have| have == name);
        if !signed("host") {
            return Err(SignatureError::UnsignedHeader {
                name: "host".to_owned(),
            });
        }
        let unsigned = headers
            .keys()
            .map(http::HeaderName::as_str)
            .find(|name| name.starts_with("x-amz-") && !signed(name));
        match unsigned {
            Some(name) => Err(SignatureError::UnsignedHeader {
                name: name.to_owned(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn string_to_sign(&self, date: &str, canonical_request: &str) -> String {
        let Self {
            date: day,
            region,
            service,
            ..
        } = self;
        let digest = hex::encode(Sha256::digest(canonical_request.as_bytes()));
        format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/{TERMINATOR}\n{digest}")
    }

    /// Who claims to have signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The names of the signed headers: lower case, sorted, each once.
    pub fn signed_headers(&self) -> &[String] {
        &self.signed_headers
    }

    pub(super) fn signature(&self) -> &[u8; 32] {
        &self.signature
    }

    /// Day, region and service of the signing key.
    pub(super) fn scope(&self) -> [&str; 3] {
        [&self.date, &self.region, &self.service]
    }

    pub(super) fn into_access_key_id(self) -> String {
        self.access_key_id
    }
}

fn parse_signed_headers(list: &str) -> Result<Vec<String>, SignatureError> {
    let names: Vec<String> = list
        .split(';')
        .take(MAX_SIGNED_HEADERS + 1)
        .map(str::to_owned)
        .collect();
    let token = |c: u8| c.is_ascii_graphic() && !c.is_ascii_uppercase() && c != b':' && c != b',';
    let sound = names.len() <= MAX_SIGNED_HEADERS
        && names.is_sorted_by(|a, b| a < b)
        && names.iter().all(|n| !n.is_empty() && n.bytes().all(token));
    if sound {
        Ok(names)
    } else {
        Err(SignatureError::MalformedSignedHeaders)
    }
}

fn parse_signature(text: &str) -> Result<[u8; 32], SignatureError> {
    let mut signature = [0; 32];
    // AWS writes lower case; an upper-case spelling would be a second valid form of one signature.
    if text.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err(SignatureError::MalformedSignature);
    }
    hex::decode_to_slice(text, &mut signature).map_err(|_| SignatureError::MalformedSignature)?;
    Ok(signature)
}
