//! Three parties, their KMSs, and a host that frames what they give.

#![allow(dead_code, reason = "not every test file uses all of it")]

mod host;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use anchorhold_document::Pcr;
use anchorhold_enclave::Refusal;
use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_joint::approval::Approval;
use anchorhold_joint::contexts;
use anchorhold_joint::contract::{
    Cohorts, Column, Computation, Contract, FORMAT, Image, Output, Party, Role, Terms,
};
use anchorhold_joint_enclave::session::{Done, KeyRequest, Services, serve};
use anchorhold_joint_enclave::submission::Measured;
use anchorhold_joint_enclave::wire;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use host::{Change, Host};

pub const NAMES: [&str; 3] = ["ann", "bob", "cyd"];
pub const FILES: [&str; 3] = [
    "email,amount\na@x,10\nA@X ,20.5\nb@x,0\n,7\nc@x,1\n",
    "email,amount\na@x,1\nb@x,2\nd@x,3\n",
    "email,amount\nb@x,-1\na@x,0.25\ne@x,3\n",
];
const CA: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

/// A party's key pairs.
pub struct Keys {
    approval_private: Vec<u8>,
    approval: String,
    pub answer_private: Vec<u8>,
    answer: String,
}

static KEYS: LazyLock<Vec<Keys>> = LazyLock::new(|| {
    let keys = |_| {
        let ec = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ec_public = AsDer::<PublicKeyX509Der<'_>>::as_der(ec.public_key()).unwrap();
        let rsa = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&rsa.public_key()).unwrap();
        Keys {
            approval: STANDARD.encode(ec_public.as_ref()),
            approval_private: ec.to_pkcs8v1().unwrap().as_ref().to_vec(),
            answer: STANDARD.encode(public.as_ref()),
            answer_private: private.as_ref().to_vec(),
        }
    };
    (0..3).map(keys).collect()
});

pub fn keys() -> &'static [Keys] {
    &KEYS
}

pub fn arn(place: usize) -> String {
    format!("arn:aws:kms:eu-central-1:00000000000{place}:key/1-{place}")
}

pub fn contract(change: impl FnOnce(&mut Terms)) -> Contract {
    let column = |name: &str, role| Column {
        name: name.to_owned(),
        role,
    };
    let party = |place: usize| Party {
        answer_key: KEYS[place].answer.clone(),
        approval_key: KEYS[place].approval.clone(),
        columns: vec![column("email", Role::Key), column("amount", Role::Value)],
        kms_ca: CA.to_owned(),
        kms_endpoint: format!("kms.{}.example:8443", NAMES[place]),
        kms_key: arn(place),
        name: NAMES[place].to_owned(),
        outputs: vec![Output::IntersectionSize, Output::Sums],
        platform_root: "ab".repeat(32),
        runs: 1,
    };
    let mut terms = Terms {
        cohorts: Cohorts {
            minimum: 2,
            withhold_complements: false,
        },
        computation: Computation::Intersection {},
        expires: "2030-01-31T00:00:00Z".to_owned(),
        format: FORMAT.to_owned(),
        image: Image {
            pcr0: "01".repeat(48),
            pcr1: "02".repeat(48),
            pcr2: "03".repeat(48),
            pcr8: None,
        },
        nonce: "0f".repeat(32),
        parties: (0..3).map(party).collect(),
        privacy: None,
    };
    change(&mut terms);
    Contract::from_terms(terms).unwrap()
}

/// The world around the enclave: KMSs that release data keys only under their own context and ARN,
/// registers, a clock.
pub struct World {
    keys: BTreeMap<Vec<u8>, (String, EncryptionContext, DataKey)>,
    pub now: OffsetDateTime,
    pub measured: Measured,
    pub memory: usize,
    pub disabled: Option<&'static str>,
    pub asked: Vec<String>,
    pub attested: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Services for World {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn measured(&mut self) -> Result<Measured, Refusal> {
        Ok(self.measured.clone())
    }

    fn memory(&self) -> usize {
        self.memory
    }

    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.asked.push(request.party.to_owned());
        assert_eq!(request.credentials, request.party.as_bytes());
        if self.disabled == Some(request.party) {
            return Err(Refusal::new("kms.DisabledException", "disabled"));
        }
        let (_, terms) = request.contract.party(request.party).unwrap();
        let entry = self.keys.get(&request.key.wrapped);
        entry
            .filter(|(arn, context, _)| *arn == terms.kms_key && *context == request.key.context)
            .map(|(_, _, key)| Zeroizing::new(key.expose().to_vec()))
            .ok_or_else(|| Refusal::new("kms.InvalidCiphertextException", "refused"))
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.attested.push((user_data.to_vec(), nonce.to_vec()));
        Ok(b"document".to_vec())
    }
}

/// What a party gives to the host.
#[derive(Clone)]
pub struct Part {
    pub approval: Vec<u8>,
    pub challenge: Vec<u8>,
    credentials: Vec<u8>,
    pub message: Vec<u8>,
}

/// A frame's type and payload.
pub type Frame = (u8, Vec<u8>);

/// A submission.
pub struct Case {
    pub world: World,
    pub contract: Vec<u8>,
    pub parts: Vec<Part>,
    /// How many frames the host sends.
    pub keep: usize,
    /// What the host does to the pages that it keeps.
    pub pages: Option<Change>,
    agreed: Contract,
}

impl Case {
    pub fn new() -> Self {
        Self::of(contract(|_| {}))
    }

    pub fn of(agreed: Contract) -> Self {
        let pcr = |byte: u8| Pcr([byte; 48]);
        let world = World {
            keys: BTreeMap::new(),
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
            measured: Measured {
                pcrs: [pcr(1), pcr(2), pcr(3)],
                pcr8: pcr(0),
            },
            memory: 1 << 20,
            disabled: None,
            asked: Vec::new(),
            attested: Vec::new(),
        };
        let mut case = Self {
            world,
            contract: agreed.canonical().to_vec(),
            parts: Vec::new(),
            keep: usize::MAX,
            pages: None,
            agreed,
        };
        for (place, file) in FILES.iter().enumerate() {
            let message = case.seal(place, &arn(place), file);
            case.parts.push(Part {
                approval: Vec::new(),
                challenge: vec![place as u8; 32],
                credentials: NAMES[place].as_bytes().to_vec(),
                message,
            });
            case.sign(place);
        }
        case
    }

    /// The contract that all parties agreed on.
    pub fn agreed(&self) -> &Contract {
        &self.agreed
    }

    /// Seals a file of a party, small enough frames that there are several.
    pub fn seal(&mut self, place: usize, arn: &str, file: &str) -> Vec<u8> {
        let context = contexts::input(&self.agreed, NAMES[place]).unwrap();
        let plan = SealPlan::new(Suite::CommittedSigned, context).unwrap();
        let plan = plan.with_frame_length(16).unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = format!("wrapped {}", self.world.keys.len()).into_bytes();
        let context = plan.encryption_context().clone();
        let entry = (arn.to_owned(), context, key.clone());
        self.world.keys.insert(wrapped.clone(), entry);
        let edk = EncryptedDataKey::aws_kms(arn, wrapped).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![edk]).unwrap();
        sealer.write_all(file.as_bytes()).unwrap();
        sealer.finish().unwrap().0
    }

    /// Has a party approve the contract and its message as it stands.
    pub fn sign(&mut self, place: usize) {
        let part = &mut self.parts[place];
        let message = UnverifiedMessage::begin(part.message.as_slice()).unwrap();
        let header = message.header_sha384();
        let key = &KEYS[place].approval_private;
        let approval = Approval::sign(&self.agreed, NAMES[place], &header, key).unwrap();
        part.approval = approval.to_bytes().unwrap();
    }

    /// Another file of a party, sealed and approved as it must be.
    pub fn replace(&mut self, place: usize, file: &str) {
        self.parts[place].message = self.seal(place, &arn(place), file);
        self.sign(place);
    }

    /// What the host sends. A beginning is cut shortly behind the header, so that files go on.
    pub fn frames(&self) -> Vec<Frame> {
        let start = |message: &[u8]| message[..message.len().min(1200)].to_vec();
        let mut frames = vec![(wire::CONTRACT, self.contract.clone())];
        for part in &self.parts {
            frames.push((wire::APPROVAL, part.approval.clone()));
            frames.push((wire::CHALLENGE, part.challenge.clone()));
            frames.push((wire::CREDENTIALS, part.credentials.clone()));
            frames.push((wire::START, start(&part.message)));
        }
        frames.push((wire::READY, Vec::new()));
        for part in &self.parts {
            let rest = part.message.get(1200..).unwrap_or_default();
            for piece in rest.chunks(100) {
                frames.push((wire::RECORDS, piece.to_vec()));
            }
            frames.push((wire::END, Vec::new()));
        }
        frames.truncate(self.keep);
        frames
    }

    pub fn run(&mut self) -> (Result<Done, Refusal>, Vec<Frame>) {
        let host = Host::new(&self.frames(), self.pages.take());
        let result = serve(&host, &mut &host, &mut self.world);
        (result, host.heard())
    }

    /// The rule that refuses; nothing else may have left.
    pub fn refused(mut self) -> (String, World) {
        let (result, got) = self.run();
        let rule = result.unwrap_err().rule;
        let kinds: Vec<u8> = got.iter().map(|(frame, _)| *frame).collect();
        assert_eq!(kinds, [wire::REFUSED], "left despite {rule}");
        let said: Refusal = serde_json::from_slice(&got[0].1).unwrap();
        assert_eq!(said.rule, rule);
        assert!(!said.message.contains("@x"), "{}", said.message);
        (rule, self.world)
    }
}
