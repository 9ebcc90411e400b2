//! A writer of unframed messages. The crate has none on purpose: the specification has sealers write
//! framed bodies only (client-apis/encrypt.md, "V2 Header": the content type MUST be 02).

use std::collections::BTreeMap;

use anchorhold_envelope::crypto::Provider;
use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext, PUBLIC_KEY_FIELD, Suite};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Seals `plaintext` as one unframed body.
pub fn seal_unframed(
    provider: &dyn Provider,
    suite: Suite,
    context: &EncryptionContext,
    (data_key, data_keys): (&DataKey, &[EncryptedDataKey]),
    plaintext: &[u8],
) -> Vec<u8> {
    let mut id = [0; 32];
    provider.fill_random(&mut id).unwrap();
    let signer = suite
        .is_signed()
        .then(|| provider.generate_signing_key().unwrap());
    let mut pairs = context.as_map().clone();
    if let Some(signer) = &signer {
        let point = STANDARD.encode(signer.public_point());
        pairs.insert(PUBLIC_KEY_FIELD.to_owned(), point);
    }
    let derive = |info: &[u8]| {
        let mut key = [0; 32];
        let secret = data_key.expose();
        provider.hkdf_sha512(secret, &id, info, &mut key).unwrap();
        key
    };
    let aead = provider
        .aes_256_gcm(&derive(
            &[&suite.id().to_be_bytes()[..], b"DERIVEKEY"].concat(),
        ))
        .unwrap();

    let mut message = vec![2];
    message.extend_from_slice(&suite.id().to_be_bytes());
    message.extend_from_slice(&id);
    message.extend_from_slice(&field(&serialized(&pairs)));
    message.extend_from_slice(&count(data_keys.len()));
    for key in data_keys {
        let (provider_id, info) = (key.provider_id().as_bytes(), key.provider_info());
        for part in [provider_id, info, key.ciphertext()] {
            message.extend_from_slice(&field(part));
        }
    }
    // Content type 01 has no frame length.
    message.extend_from_slice(&[1, 0, 0, 0, 0]);
    message.extend_from_slice(&derive(b"COMMITKEY"));
    let tag = aead.seal(&[0; 12], &message, &mut []).unwrap();
    message.extend_from_slice(&tag);

    let length = (plaintext.len() as u64).to_be_bytes();
    let mut nonce = [0; 12];
    nonce[11] = 1;
    let text = b"AWSKMSEncryptionClient Single Block";
    let aad = [&id[..], text, &1u32.to_be_bytes(), &length].concat();
    let mut content = plaintext.to_vec();
    let tag = aead.seal(&nonce, &aad, &mut content).unwrap();
    for part in [&nonce[..], &length, &content, &tag] {
        message.extend_from_slice(part);
    }

    if let Some(signer) = signer {
        let mut hash = provider.sha384();
        hash.update(&message);
        let signature = signer.sign(&hash.finish()).unwrap();
        message.extend_from_slice(&field(&signature));
    }
    message
}

/// The pairs behind their count; an empty context has no bytes.
fn serialized(pairs: &BTreeMap<String, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !pairs.is_empty() {
        bytes.extend_from_slice(&count(pairs.len()));
    }
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(&field(text.as_bytes()));
    }
    bytes
}

/// Bytes behind their length.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&count(bytes.len())[..], bytes].concat()
}

fn count(of: usize) -> [u8; 2] {
    u16::try_from(of).unwrap().to_be_bytes()
}
