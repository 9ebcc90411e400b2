//! What these tests share: a client, an honest KMS, and what no error may say.

use std::error::Error as StdError;
use std::sync::OnceLock;
use std::time::Duration;

use anchorhold_document::{AttestationDocument, SignedDocument};
use anchorhold_enclave::kms::{Attester, Client, Endpoint, KmsError, NonceSource, Timeouts};
use anchorhold_enclave::recipient::RecipientKey;
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Tcp;
use anchorhold_enclave::{Credentials, EncryptionContext};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::cms::Envelope;
use crate::module;
use crate::server::{Authority, Reply, Seen, Server};

pub const HOST: &str = "kms.anchorhold.internal";
pub const ARN: &str =
    "arn:aws:kms:eu-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
pub const OTHER_ARN: &str =
    "arn:aws:kms:eu-north-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab";
pub const SECRET_KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
pub const PLAINTEXT: &[u8] = b"top secret data key, 32 bytes ..";

pub fn client(authority: &Authority, server: &Server) -> Client<Tcp> {
    let tls = PinnedTls::from_pem(authority.pem().as_bytes()).unwrap();
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET_KEY, Some("session-token")).unwrap();
    let endpoint = Endpoint::new(HOST, "eu-north-1").unwrap();
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        exchange: Duration::from_secs(10),
    };
    Client::new(Tcp::new(server.address()), endpoint, tls, credentials).with_timeouts(timeouts)
}

pub fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("purpose", "records")]).unwrap()
}

/// The public key that a request's document names, and the document's nonce.
pub fn recipient_of(seen: &Seen) -> (Vec<u8>, Option<Vec<u8>>) {
    let recipient = &seen.body["Recipient"];
    assert_eq!(recipient["KeyEncryptionAlgorithm"], "RSAES_OAEP_SHA_256");
    let document = STANDARD
        .decode(recipient["AttestationDocument"].as_str().unwrap())
        .unwrap();
    let signed = SignedDocument::from_bytes(&document).unwrap();
    let payload = AttestationDocument::from_payload(signed.payload()).unwrap();
    assert_eq!(payload.user_data, None);
    (payload.public_key.unwrap(), payload.nonce)
}

pub fn envelope_for(seen: &Seen, plaintext: &[u8]) -> String {
    STANDARD.encode(Envelope::new(&recipient_of(seen).0, plaintext).write())
}

/// What an honest KMS answers.
pub fn honest(seen: &Seen) -> Reply {
    let blob = STANDARD.encode(b"ciphertext blob");
    let plaintext = STANDARD.encode(PLAINTEXT);
    let body = match seen.target() {
        "AnchorholdService.GetAttestationNonce" => {
            json!({"Nonce": STANDARD.encode([9; 32]), "ValidUntil": 1.5})
        }
        "TrentService.GenerateRandom" => {
            let count = seen.body["NumberOfBytes"].as_u64().unwrap() as usize;
            json!({"CiphertextForRecipient": envelope_for(seen, &vec![5; count])})
        }
        "TrentService.Decrypt" if seen.body["Recipient"].is_object() => json!({
            "KeyId": ARN,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "CiphertextForRecipient": envelope_for(seen, PLAINTEXT),
        }),
        "TrentService.GenerateDataKey" if seen.body["Recipient"].is_object() => json!({
            "KeyId": ARN,
            "CiphertextBlob": blob,
            "CiphertextForRecipient": envelope_for(seen, PLAINTEXT),
        }),
        "TrentService.Decrypt" => json!({"KeyId": ARN, "Plaintext": plaintext}),
        "TrentService.GenerateDataKey" => {
            json!({"KeyId": ARN, "Plaintext": plaintext, "CiphertextBlob": blob})
        }
        "TrentService.Encrypt" => json!({"KeyId": ARN, "CiphertextBlob": blob}),
        "TrentService.CreateKey" | "TrentService.DescribeKey" => json!({
            "KeyMetadata": {"KeyId": "1234", "Arn": ARN, "KeyState": "Enabled", "Enabled": true},
            "Warnings": ["policy: the root is not pinned"],
        }),
        "TrentService.PutKeyPolicy" => {
            return Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
        }
        "TrentService.GetKeyPolicy" => json!({"Policy": "{}"}),
        other => panic!("{other} was not expected"),
    };
    Reply::Json(200, body)
}

/// All that an error says, its sources and its `Debug` included.
pub fn everything(error: &KmsError) -> String {
    let mut all = format!("{error:?}");
    let mut next: Option<&dyn StdError> = Some(error);
    while let Some(error) = next {
        all.push_str(&format!("\n{error}"));
        next = error.source();
    }
    all
}

pub fn assert_safe_to_log(error: &KmsError) {
    let all = everything(error);
    let secrets = [
        PLAINTEXT.to_vec(),
        SECRET_KEY.into(),
        b"session-token".to_vec(),
    ];
    for secret in secrets {
        for form in [
            String::from_utf8_lossy(&secret).into_owned(),
            STANDARD.encode(&secret),
            hex::encode(&secret),
            format!("{secret:?}"),
        ] {
            assert!(!all.contains(&form), "{all}");
        }
    }
}

/// A key for calls whose answers need not be told apart by it: making one takes its time.
pub fn recipient() -> &'static RecipientKey {
    static KEY: OnceLock<RecipientKey> = OnceLock::new();
    KEY.get_or_init(|| RecipientKey::generate().unwrap())
}

/// Decrypts with a document against a server that answers so.
pub fn decrypt_attested(
    answer: impl FnMut(&Seen) -> Reply + Send + 'static,
) -> Result<Vec<u8>, KmsError> {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, answer);
    let kms = client(&authority, &server);
    let nsm = module::nsm();
    let opened = kms.decrypt_attested(
        b"blob",
        &context(),
        ARN,
        &Attester::new(&nsm, recipient(), NonceSource::None),
    );
    if let Err(error) = &opened {
        assert_safe_to_log(error);
    }
    opened.map(|plaintext| plaintext.to_vec())
}

/// Decrypts without a document, which takes no time for a key, against a server that answers so.
pub fn decrypt(answer: impl FnMut(&Seen) -> Reply + Send + 'static) -> Result<Vec<u8>, KmsError> {
    let authority = Authority::new("pinned");
    let server = Server::start(&authority, HOST, answer);
    let opened = client(&authority, &server).decrypt(b"blob", &context(), ARN);
    if let Err(error) = &opened {
        assert_safe_to_log(error);
    }
    opened.map(|plaintext| plaintext.to_vec())
}
