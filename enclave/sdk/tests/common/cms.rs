//! Envelopes of every shape, written without the code that parses them.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};

pub const IV: [u8; 16] = *b"sixteen bytes IV";
pub const CONTENT_KEY: [u8; 32] = *b"a content key of thirty-two byte";

/// An envelope in parts, each of which a test may change before it is written.
#[derive(Clone)]
pub struct Envelope {
    pub version: u8,
    pub recipients: Vec<Vec<u8>>,
    pub content_type: Vec<u8>,
    pub inner_type: Vec<u8>,
    pub cipher: Vec<u8>,
    pub content: Vec<u8>,
    /// Whether the four outer levels are of indefinite length, outermost first.
    pub indefinite: [bool; 4],
}

/// Hexadecimal digits to bytes.
pub fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

pub fn oaep() -> Vec<u8> {
    bytes(
        "303c 06092a864886f70d010107 302f a00f300d0609608648016503040201 0500 \
         a11c301a06092a864886f70d010108 300d0609608648016503040201 0500",
    )
}

impl Envelope {
    /// What KMS makes: `plaintext` for the key with this SubjectPublicKeyInfo, in form A.
    pub fn new(spki: &[u8], plaintext: &[u8]) -> Self {
        let info = [
            bytes("020102"),
            definite(0x80, digest(&SHA256, spki).as_ref()),
            oaep(),
            definite(0x04, &wrap(spki, &CONTENT_KEY)),
        ];
        Self {
            version: 2,
            recipients: vec![definite(0x30, &info.concat())],
            content_type: bytes("06092a864886f70d010703"),
            inner_type: bytes("06092a864886f70d010701"),
            cipher: definite(
                0x30,
                &[bytes("060960864801650304012a"), definite(0x04, &IV)].concat(),
            ),
            content: chunks(&[&encrypt(&CONTENT_KEY, plaintext)]),
            indefinite: [true; 4],
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let content_info = [&self.inner_type[..], &self.cipher, &self.content].concat();
        let data = [
            definite(0x02, &[self.version]),
            definite(0x31, &self.recipients.concat()),
            element(0x30, &content_info, self.indefinite[3]),
        ];
        let data = element(0x30, &data.concat(), self.indefinite[2]);
        let content = element(0xa0, &data, self.indefinite[1]);
        element(
            0x30,
            &[&self.content_type[..], &content].concat(),
            self.indefinite[0],
        )
    }
}

/// Form A: an OCTET STRING for each chunk.
pub fn chunks(chunks: &[&[u8]]) -> Vec<u8> {
    let chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| definite(0x04, chunk)).collect();
    element(0xa0, &chunks.concat(), true)
}

/// Form B: one primitive element.
pub fn one_piece(ciphertext: &[u8]) -> Vec<u8> {
    definite(0x80, ciphertext)
}

pub fn wrap(spki: &[u8], key: &[u8]) -> Vec<u8> {
    let public =
        OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(spki).unwrap()).unwrap();
    let mut out = vec![0; public.ciphertext_size()];
    public
        .encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut out, None)
        .unwrap()
        .to_vec()
}

pub fn encrypt(key: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
    let key = UnboundCipherKey::new(&AES_256, key).unwrap();
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
    let mut content = plaintext.to_vec();
    let context = EncryptionContext::Iv128(FixedLength::from(&IV));
    key.less_safe_encrypt(&mut content, context).unwrap();
    content
}

pub fn element(tag: u8, content: &[u8], indefinite: bool) -> Vec<u8> {
    if indefinite {
        [&[tag, 0x80], content, &[0, 0]].concat()
    } else {
        definite(tag, content)
    }
}

pub fn definite(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}
