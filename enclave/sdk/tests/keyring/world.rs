//! An owner with a KMS, and enclaves of one platform that ask it.

use std::sync::OnceLock;
use std::time::SystemTime;

use anchorhold_document::Pcr;
use anchorhold_enclave::keyring::{AttestedKeyring, KmsKeyring};
use anchorhold_enclave::kms::{Client, Endpoint};
use anchorhold_enclave::nsm::Nsm;
use anchorhold_enclave::recipient::RecipientKey;
use anchorhold_enclave::tls::PinnedTls;
use anchorhold_enclave::transport::Tcp;
use anchorhold_enclave::{Credentials, EncryptionContext};
use anchorhold_kms::instance;
use anchorhold_nsm::{Boot, Platform};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::kms::{HOST, Kms, REGION};
use crate::module::Module;

/// The enclave of the tests.
pub type Attested = AttestedKeyring<Tcp, Module>;

/// What a policy of the tests' asks beside the root.
const IMAGE: &str = "kms:RecipientAttestation:PCR0";
const ROOT: &str = "anchorhold:RecipientAttestation:RootSha256";
pub const USER_DATA: &str = "anchorhold:RecipientAttestation:UserData";
pub const PRIOR: &str = "anchorhold:RecipientAttestation:PriorReleases";

pub struct World {
    kms: Kms,
    platform: Zeroizing<String>,
    root_sha256: String,
}

/// One for all tests here: each has a key of its own.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let platform = platform();
        Self {
            kms: Kms::new(&platform.root_certificate_pem()),
            root_sha256: hex::encode(platform.root_sha256()),
            platform: platform.to_pem().unwrap(),
        }
    }

    fn client(&self, who: &instance::Credentials) -> Client<Tcp> {
        let tls = PinnedTls::from_pem(&self.kms.ca()).unwrap();
        let endpoint = Endpoint::new(HOST, REGION).unwrap();
        let (id, secret) = (&who.access_key_id, &who.secret_access_key);
        let credentials = Credentials::new(id, secret, None).unwrap();
        let address = self.kms.address.to_string();
        Client::new(Tcp::new(address), endpoint, tls, credentials)
    }

    pub fn owner(&self) -> Client<Tcp> {
        self.client(&self.kms.administrator)
    }

    /// The owner's own keyring: it encrypts, and decrypts only what a policy lets it.
    pub fn owner_keyring(&self, key_arn: &str) -> KmsKeyring<Tcp> {
        KmsKeyring::new(self.owner(), key_arn)
    }

    /// A key that is released to image 1 of this platform, if `more` holds as well.
    pub fn key(&self, more: &[(&str, Value)]) -> String {
        let owner = self.owner();
        let policy = self.policy(more).to_string();
        owner.create_key("the test's", Some(&policy)).unwrap().arn
    }

    /// `more`: operators, each with keys and values.
    pub fn policy(&self, more: &[(&str, Value)]) -> Value {
        let mut conditions = json!({"StringEquals": {
            IMAGE: Pcr([1; 48]).to_string(),
            ROOT: self.root_sha256,
        }});
        for (operator, keys) in more {
            for (key, value) in keys.as_object().unwrap() {
                conditions[operator][key] = value.clone();
            }
        }
        json!({"Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": self.kms.administrator.principal_arn},
                "NotAction": ["kms:Decrypt"],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Principal": {"AWS": self.kms.enclave.principal_arn},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": "*",
                "Condition": conditions,
            },
            {
                "Effect": "Allow",
                "Principal": {"AWS": self.kms.enclave.principal_arn},
                "Action": "kms:Encrypt",
                "Resource": "*",
            },
        ]})
    }

    /// An enclave of this platform.
    pub fn enclave(&self, key_arn: &str, image: u8) -> Attested {
        let platform = Platform::from_pem(&self.platform).unwrap();
        self.enclave_of(platform, boot(image, false), key_arn, true)
    }

    pub fn enclave_of(
        &self,
        platform: Platform,
        boot: impl FnOnce(&Platform) -> Boot,
        key_arn: &str,
        kms_nonces: bool,
    ) -> Attested {
        let boot = boot(&platform);
        let nsm = Nsm::new(Module::new(platform, boot));
        let recipient = RecipientKey::generate().unwrap();
        let client = self.client(&self.kms.enclave);
        AttestedKeyring::new(client, key_arn, nsm, recipient, kms_nonces)
    }

    pub fn this_platform(&self) -> Platform {
        Platform::from_pem(&self.platform).unwrap()
    }
}

pub fn platform() -> Platform {
    Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng)).unwrap()
}

pub fn boot(image: u8, debug: bool) -> impl FnOnce(&Platform) -> Boot {
    move |platform| {
        let pcr = |value: u8| Pcr([if debug { 0 } else { value }; 48]);
        Boot {
            module_id: platform.module_id(image.into()),
            pcr0: pcr(image),
            pcr1: pcr(2),
            pcr2: pcr(3),
            pcr3: None,
            pcr8: None,
            debug,
        }
    }
}

pub fn context(object: &str) -> EncryptionContext {
    EncryptionContext::from_pairs([("object", object), ("tenant", "blue")]).unwrap()
}
