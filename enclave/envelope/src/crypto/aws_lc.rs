//! The primitives by AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, Digest, SHA384};
use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyCompressedBin};
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

use super::{
    Aead, CryptoFailure, Hash, KEY_LENGTH, NONCE_LENGTH, POINT_LENGTH, Provider, SHA384_LENGTH,
    Signer, TAG_LENGTH,
};

/// AWS-LC, through `aws-lc-rs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsLc;

impl Provider for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailure> {
        aws_lc_rs::rand::fill(out).map_err(|_| CryptoFailure::of("random generation"))
    }

    fn hkdf_sha512(
        &self,
        secret: &[u8; KEY_LENGTH],
        salt: &[u8],
        info: &[u8],
        out: &mut [u8; KEY_LENGTH],
    ) -> Result<(), CryptoFailure> {
        let failure = |_| CryptoFailure::of("HKDF");
        let info = [info];
        let prk = Salt::new(HKDF_SHA512, salt).extract(secret);
        let okm = prk.expand(&info, KeyLength).map_err(failure)?;
        okm.fill(out).map_err(failure)
    }

    fn aes_256_gcm(&self, key: &[u8; KEY_LENGTH]) -> Result<Box<dyn Aead>, CryptoFailure> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailure::of("AES-GCM"))?;
        Ok(Box::new(Gcm(LessSafeKey::new(key))))
    }

    fn sha384(&self) -> Box<dyn Hash> {
        Box::new(Sha384(Context::new(&SHA384)))
    }

    fn generate_signing_key(&self) -> Result<Box<dyn Signer>, CryptoFailure> {
        let failure = |_| CryptoFailure::of("ECDSA key generation");
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failure)?;
        let public: EcPublicKeyCompressedBin<'_> =
            key.public_key().as_be_bytes().map_err(failure)?;
        let point = <[u8; POINT_LENGTH]>::try_from(public.as_ref())
            .map_err(|_| CryptoFailure::of("ECDSA key generation"))?;
        Ok(Box::new(Ecdsa { key, point }))
    }

    fn verify(
        &self,
        point: &[u8; POINT_LENGTH],
        digest: &[u8; SHA384_LENGTH],
        signature: &[u8],
    ) -> Result<(), CryptoFailure> {
        let failure = CryptoFailure::of("ECDSA verification");
        let key = parse_point(point).ok_or(failure)?;
        let digest = Digest::import_less_safe(digest, &SHA384).map_err(|_| failure)?;
        key.verify_digest_sig(&digest, signature)
            .map_err(|_| failure)
    }

    fn is_point(&self, point: &[u8; POINT_LENGTH]) -> bool {
        parse_point(point).is_some()
    }
}

fn parse_point(point: &[u8; POINT_LENGTH]) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).ok()
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_LENGTH
    }
}

struct Gcm(LessSafeKey);

impl Aead for Gcm {
    fn seal(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoFailure> {
        let failure = CryptoFailure::of("AES-GCM encryption");
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), in_out);
        tag.map_err(|_| failure)?
            .as_ref()
            .try_into()
            .map_err(|_| failure)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoFailure> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, in_out)
            .map(|_| ())
            .map_err(|_| CryptoFailure::of("AES-GCM authentication"))
    }
}

struct Sha384(Context);

impl Hash for Sha384 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> [u8; SHA384_LENGTH] {
        let mut out = [0; SHA384_LENGTH];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

struct Ecdsa {
    key: EcdsaKeyPair,
    point: [u8; POINT_LENGTH],
}

impl Signer for Ecdsa {
    fn public_point(&self) -> [u8; POINT_LENGTH] {
        self.point
    }

    fn sign(&self, digest: &[u8; SHA384_LENGTH]) -> Result<Vec<u8>, CryptoFailure> {
        let failure = |_| CryptoFailure::of("ECDSA signing");
        let digest = Digest::import_less_safe(digest, &SHA384).map_err(failure)?;
        Ok(self
            .key
            .sign_digest(&digest)
            .map_err(failure)?
            .as_ref()
            .to_vec())
    }
}
