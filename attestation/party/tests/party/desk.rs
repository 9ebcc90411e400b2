//! Two parties with keys of their own, a contract between them, and an enclave's answers to it.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::SystemTime;

use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_joint::contract::{
    Cohorts, Column, Computation, Contract, FORMAT, Image, Output, Party, Role, Terms,
};
use anchorhold_joint::outputs::{self, PartyOutput};
use anchorhold_joint::statement::Statement;
use anchorhold_joint::table::RowReport;
use anchorhold_joint_enclave::answer::{seal, statement_to_json};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_party::keys::Keys;
use anchorhold_party::offer::{Demands, Offer};
use anchorhold_verifier::TrustRoots;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use sha2::{Digest, Sha384};
use tempfile::TempDir;

const CA: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
pub const NAMES: [&str; 2] = ["ann", "bob"];
pub const CHALLENGES: [[u8; 32]; 2] = [[7; 32], [8; 32]];
/// Of the headers of both parties' sealed files.
pub const INPUTS: [[u8; 48]; 2] = [[0xA1; 48], [0xB1; 48]];

/// The files of both parties' keys: making them takes seconds, so that each test makes them once.
static KEYS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in NAMES {
        let keys = format!("keys-{name}");
        Keys::generate(&dir.path().join(&keys)).unwrap();
        for entry in fs::read_dir(dir.path().join(&keys)).unwrap().flatten() {
            let file = format!("{keys}/{}", entry.file_name().to_str().unwrap());
            files.push((file, fs::read(entry.path()).unwrap()));
        }
    }
    files
});

/// A folder with `keys-NAME` of both, and the answers in `answers`.
pub struct Desk {
    pub dir: TempDir,
    pub contract: Contract,
    pub roots: TrustRoots,
    module: SecurityModule,
}

/// What an enclave says, before it is signed.
pub struct Said {
    pub statement: Statement,
    pub nonce: Vec<u8>,
    pub answers: Vec<Vec<u8>>,
}

impl Desk {
    /// An enclave that measures `pcr0` where the contract says 01.
    pub fn new(pcr0: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let platform = Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng)).unwrap();
        let roots = TrustRoots::from_pem(platform.root_certificate_pem()).unwrap();
        let root = roots.iter().next().unwrap();
        fs::write(dir.path().join("root.pem"), platform.root_certificate_pem()).unwrap();
        let boot = Boot {
            module_id: platform.module_id(1),
            pcr0: Pcr([pcr0; 48]),
            pcr1: Pcr([2; 48]),
            pcr2: Pcr([3; 48]),
            pcr3: None,
            pcr8: None,
            debug: false,
        };
        let module = SecurityModule::new(platform, boot).unwrap();
        for name in NAMES {
            fs::create_dir(dir.path().join(format!("keys-{name}"))).unwrap();
        }
        for (file, bytes) in KEYS.iter() {
            fs::write(dir.path().join(file), bytes).unwrap();
        }
        let party = |name: &str| {
            let keys = Keys::at(dir.path().join(format!("keys-{name}")));
            let public = keys.public().unwrap();
            let column = |name: &str, role| Column {
                name: name.to_owned(),
                role,
            };
            Party {
                answer_key: public.answer_key,
                approval_key: public.approval_key,
                columns: vec![column("email", Role::Key), column("amount", Role::Value)],
                kms_ca: CA.to_owned(),
                kms_endpoint: format!("kms.{name}.example"),
                kms_key: format!("arn:aws:kms:eu-central-1:000000000001:key/{name}"),
                name: name.to_owned(),
                outputs: vec![Output::IntersectionSize, Output::OwnSums],
                platform_root: hex::encode(root.0),
                runs: 3,
            }
        };
        let terms = Terms {
            cohorts: Cohorts {
                minimum: 2,
                withhold_complements: false,
            },
            computation: Computation::Intersection {},
            expires: "2130-01-31T00:00:00Z".to_owned(),
            format: FORMAT.to_owned(),
            image: Image {
                pcr0: "01".repeat(48),
                pcr1: "02".repeat(48),
                pcr2: "03".repeat(48),
                pcr8: None,
            },
            nonce: "0f".repeat(32),
            parties: NAMES.map(party).to_vec(),
            privacy: None,
        };
        let contract = Contract::from_terms(terms).unwrap();
        fs::write(dir.path().join("contract.json"), contract.canonical()).unwrap();
        Self {
            dir,
            contract,
            roots,
            module,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a party offered, with demands that the contract just meets.
    pub fn offer(&self, party: &str) -> Offer {
        let (_, terms) = self.contract.party(party).unwrap();
        let demands = Demands {
            computation: Computation::Intersection {},
            longest: 86_400,
            minimum: 2,
            privacy: None,
            withhold_complements: false,
        };
        Offer::of(terms.clone(), demands)
    }

    /// What one party is told.
    pub fn output(&self, party: &str) -> PartyOutput {
        let empty = serde_json::json!({
            "contract_sha384": self.contract.hash().to_string(),
            "format": outputs::FORMAT,
            "party": party,
            "rows": RowReport::default(),
            "intersection_size": 12,
        });
        PartyOutput::parse(empty.to_string().as_bytes()).unwrap()
    }

    /// What an honest enclave says.
    pub fn said(&self) -> Said {
        let sealed = |name: &&str| {
            let output = self.output(name).to_bytes().unwrap();
            seal(&self.contract, name, &output).unwrap()
        };
        let answers: Vec<_> = NAMES.iter().map(sealed).collect();
        let hashes = NAMES.iter().zip(&answers);
        let hashes = hashes.map(|(name, a)| ((*name).to_owned(), Sha384::digest(a).into()));
        let inputs = NAMES.iter().zip(INPUTS);
        let inputs = inputs.map(|(name, header)| ((*name).to_owned(), header));
        Said {
            statement: Statement {
                contract: self.contract.hash(),
                challenge: CHALLENGES.concat(),
                inputs: inputs.collect(),
                answers: hashes.collect(),
            },
            nonce: vec![0x0F; 32],
            answers,
        }
    }

    /// Has the enclave's platform sign a document, now.
    pub fn document(&mut self, request: AttestationRequest) -> Vec<u8> {
        let request = Request::Attestation(request);
        let rng = &mut UnwrapErr(SysRng);
        let answer = self
            .module
            .handle(&request.to_cbor(), SystemTime::now(), rng);
        let Response::Attestation { document } = Response::from_cbor(&answer).unwrap() else {
            panic!("no document");
        };
        document
    }

    /// Has the platform sign it and lays it out as the host does.
    pub fn lay_out(&mut self, said: &Said) {
        let document = self.document(AttestationRequest {
            user_data: Some(said.statement.user_data().to_vec()),
            nonce: Some(said.nonce.clone()),
            public_key: None,
        });
        let dir = self.path("answers");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("document.cose"), document).unwrap();
        let statement = statement_to_json(&said.statement).unwrap();
        fs::write(dir.join("statement.json"), statement).unwrap();
        for (name, sealed) in NAMES.iter().zip(&said.answers) {
            fs::write(dir.join(format!("{name}.esdk")), sealed).unwrap();
        }
    }
}
