//! Participants in one process: real security modules, channels and ceremonies, over socket pairs.
#![allow(dead_code)] // Each test file uses a part.

pub mod keys;
pub mod net;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_enclave::AccessKey;
use anchorhold_enclave::nsm::{Nsm, NsmDevice, NsmError};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_threshold::Participant;
use anchorhold_threshold_app::agreement::{self, Kms};
use anchorhold_threshold_app::server::Enclave;
use anchorhold_threshold_app::vault::KeyService;
use anchorhold_threshold_app::wire::Command;
use anchorhold_threshold_app::world::{Link, Surroundings};
use anchorhold_threshold_app::{Refusal, approval};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde_json::{Value, json};

use keys::OwnersKey;
use net::Net;

/// The image that everybody reviewed: PCR0, PCR1, PCR2.
pub const IMAGE: [Pcr; 3] = [Pcr([0xa0; 48]), Pcr([0xa1; 48]), Pcr([0xa2; 48])];
/// How long a ceremony may take that fails by nothing but its time, in seconds.
pub const SOON: u64 = 2;
/// How long every other ceremony may take: more than a busy machine needs for it.
pub const AMPLE: u64 = 60;
/// The parent's vsock ports that lead to the peers: this and the peer's number.
pub const PORTS: u32 = 7000;

pub fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub fn who(number: u16) -> Participant {
    Participant::new(number).unwrap()
}

/// An owner: its platform, its KMS key, its approval key.
pub struct Owner {
    pub platform_pem: String,
    pub root_pem: String,
    pub key: Arc<OwnersKey>,
    pub approval: Ed25519KeyPair,
    pub name: &'static str,
}

impl Owner {
    pub fn new(name: &'static str) -> Self {
        let platform = Platform::generate(SystemTime::now(), &mut random()).unwrap();
        Self {
            platform_pem: platform.to_pem().unwrap().to_string(),
            root_pem: platform.root_certificate_pem().to_owned(),
            key: Arc::new(OwnersKey::new(name)),
            approval: Ed25519KeyPair::generate().unwrap(),
            name,
        }
    }

    fn member(&self) -> Value {
        json!({
            "name": self.name,
            "platform_root_pem": self.root_pem,
            "kms": {
                "host": "kms.anchorhold.internal", "ca_pem": "", "key_arn": self.key.arn,
                "gives_nonces": true,
            },
            "approval_key": hex::encode(self.approval.public_key().as_ref()),
        })
    }
}

/// Three owners and the way between them.
pub struct Owners {
    pub owners: Vec<Owner>,
    pub net: Arc<Net>,
    pub document: Value,
}

impl Owners {
    pub fn new() -> Self {
        let owners: Vec<_> = ["ada", "ben", "cyd"].map(Owner::new).into();
        let members: Vec<_> = owners.iter().map(Owner::member).collect();
        let document =
            json!({ "version": 1, "purpose": "test", "threshold": 2, "members": members });
        let made = Self {
            owners,
            net: Arc::new(Net::default()),
            document,
        };
        made.set_epoch(0);
        made
    }

    /// The agreement's text.
    pub fn agreement(&self) -> String {
        self.document.to_string()
    }

    pub fn owner(&self, number: u16) -> &Owner {
        &self.owners[usize::from(number) - 1]
    }

    /// Has all owners' KMSs name the agreement and an epoch.
    pub fn set_epoch(&self, epoch: u64) {
        let group = hex::encode(agreement::hash(self.agreement().as_bytes()));
        for owner in &self.owners {
            owner.key.set(&group, epoch, None);
        }
    }

    /// Boots an enclave that nobody told anything.
    pub fn boot(&self, number: u16, change: impl FnOnce(&mut Boot)) -> Enclave {
        Enclave::new(Box::new(self.world(number, change))).unwrap()
    }

    pub fn world(&self, number: u16, change: impl FnOnce(&mut Boot)) -> World {
        let owner = self.owner(number);
        let platform = Platform::from_pem(&owner.platform_pem).unwrap();
        let mut boot = Boot {
            module_id: platform.module_id(rand_number()),
            pcr0: IMAGE[0],
            pcr1: IMAGE[1],
            pcr2: IMAGE[2],
            pcr3: None,
            pcr8: None,
            debug: false,
        };
        change(&mut boot);
        let module = SecurityModule::new(platform, boot).unwrap();
        World {
            nsm: Nsm::new(Module(Mutex::new(module))),
            me: number,
            net: Arc::clone(&self.net),
            key: Arc::clone(&owner.key),
        }
    }

    /// The command that tells an enclave what it is part of.
    pub fn configure(&self, number: u16, agreement: &str) -> Value {
        let peers: serde_json::Map<_, _> = (1..=3_u16)
            .filter(|peer| *peer != number)
            .map(|peer| (peer.to_string(), json!(PORTS + u32::from(peer))))
            .collect();
        json!({
            "op": "configure", "agreement": agreement, "participant": number, "peers": peers,
            "credentials": {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "none"},
        })
    }

    /// Boots the reviewed image, and tells it the agreement.
    pub fn join(&self, number: u16) -> Enclave {
        let mut enclave = self.boot(number, |_| {});
        let command = self.configure(number, &self.agreement());
        run(&mut enclave, &command).unwrap();
        enclave
    }

    pub fn all(&self) -> Vec<Enclave> {
        (1..=3).map(|number| self.join(number)).collect()
    }

    /// Three enclaves after key generation, the KMSs at epoch 1, and the group key.
    pub fn with_key(&self) -> (Vec<Enclave>, String) {
        let mut enclaves = self.all();
        let done = all_do(&mut enclaves, &[json!({ "op": "dkg" })]);
        self.set_epoch(1);
        let key = done[0]["key"].as_str().unwrap().to_owned();
        (enclaves, key)
    }

    /// An owner's approval of a message.
    pub fn approve(&self, number: u16, key: &str, message: &[u8]) -> String {
        let agreement = agreement::Agreement::parse(self.agreement().as_bytes()).unwrap();
        let key = anchorhold_threshold::GroupKey(bytes(key).try_into().unwrap());
        let signed = approval::to_be_signed(&agreement.group(), &key, message);
        hex::encode(self.owner(number).approval.sign(&signed))
    }

    /// An enclave's command to sign, with its owner's approval.
    pub fn signing(
        &self,
        number: u16,
        key: &str,
        message: &[u8],
        signers: &[u16],
        patience: u64,
    ) -> Value {
        json!({
            "op": "sign", "message": STANDARD.encode(message), "signers": signers,
            "approval": self.approve(number, key, message), "patience": patience,
        })
    }
}

fn rand_number() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

pub fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// Has an enclave carry a command out, as a parent writes it.
pub fn run(enclave: &mut Enclave, command: &Value) -> Result<Value, Refusal> {
    let command: Command = serde_json::from_value(command.clone()).expect("a command");
    enclave.run(command)
}

pub fn rule(result: &Result<Value, Refusal>) -> &str {
    match result {
        Ok(done) => panic!("it is done: {done}"),
        Err(refusal) => &refusal.rule,
    }
}

/// Whether a ceremony ended with a peer's stream: in time, or because the peer gave up first, which
/// resets the stream where it left bytes unread.
pub fn stopped(result: &Result<Value, Refusal>) -> bool {
    matches!(
        rule(result),
        "stream.deadline" | "stream.truncated" | "stream.transport" | "peer.missing"
    )
}

/// The answers of a ceremony that the one `at` this place refuses by the `expected` rule. Somebody in
/// it waits until its time is over, so it has little time, and more only where that was too little to
/// come to the rule.
pub fn refused(
    at: usize,
    expected: &str,
    mut ceremony: impl FnMut(u64) -> Vec<Result<Value, Refusal>>,
) -> Vec<Result<Value, Refusal>> {
    let mut answers = ceremony(SOON);
    for patience in [10, AMPLE] {
        if stopped(&answers[at]) {
            answers = ceremony(patience);
        }
    }
    assert_eq!(rule(&answers[at]), expected);
    answers
}

/// Has enclaves carry out commands at once: one for all, or one for each.
pub fn together(enclaves: &mut [Enclave], commands: &[Value]) -> Vec<Result<Value, Refusal>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = enclaves
            .iter_mut()
            .zip(commands.iter().cycle())
            .map(|(enclave, command)| scope.spawn(move || run(enclave, command)))
            .collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

pub fn all_do(enclaves: &mut [Enclave], commands: &[Value]) -> Vec<Value> {
    let answers = together(enclaves, commands).into_iter();
    answers.map(|answer| answer.expect("done")).collect()
}

/// The signature that one of the answers holds; an ordinary verifier takes it.
pub fn signed(key: &str, message: &[u8], answers: &[Value]) -> bool {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let mut found = answers.iter().filter_map(|done| done["signature"].as_str());
    let signature = bytes(found.next().expect("a signature"));
    let key = UnparsedPublicKey::new(&ED25519, bytes(key));
    found.next().is_none() && key.verify(message, &signature).is_ok()
}

/// A security module in this process.
pub struct Module(Mutex<SecurityModule>);

impl NsmDevice for Module {
    type Error = Infallible;

    fn request(&self, request: &[u8]) -> Result<Vec<u8>, Infallible> {
        let mut module = self.0.lock().unwrap();
        Ok(module.handle(request, SystemTime::now(), &mut random()))
    }
}

/// What a participant of a test stands on.
pub struct World {
    pub nsm: Nsm<Module>,
    pub me: u16,
    pub net: Arc<Net>,
    pub key: Arc<OwnersKey>,
}

impl Surroundings for World {
    fn attest(
        &self,
        public_key: Option<&[u8]>,
        user_data: Option<&[u8]>,
        nonce: Option<&[u8]>,
    ) -> Result<Vec<u8>, NsmError> {
        self.nsm.attest(public_key, user_data, nonce)
    }

    fn register(&self, index: PcrIndex) -> Result<Pcr, NsmError> {
        self.nsm.describe_pcr(index).map(|(pcr, _)| pcr)
    }

    fn call(&self, port: u32, _: Duration) -> io::Result<Link> {
        let peer = u16::try_from(port - PORTS).unwrap();
        self.net.call(self.me, peer)
    }

    fn answer(&self) -> io::Result<Option<Link>> {
        Ok(self.net.answer(self.me))
    }

    fn keys(&self, _: &Kms, _: &AccessKey) -> Result<Box<dyn KeyService>, Refusal> {
        Ok(Box::new(keys::Served(Arc::clone(&self.key))))
    }
}
