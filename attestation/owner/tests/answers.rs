//! Answers as the owner gets them from a hostile parent: each believed only whole, fresh, and from
//! the agreed image under the agreed root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_enclave::frame;
use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_owner::answer::{Expected, VerifiedAnswer};
use anchorhold_owner::receipt::Receipt;
use anchorhold_owner::seal;
use anchorhold_pii::answer::{PartWriter, Release};
use anchorhold_pii::contexts;
use anchorhold_pii::job::Job;
use anchorhold_pii::session::{KeyRequest, Refusal, Services, serve};
use anchorhold_pii::wire;
use anchorhold_verifier::{AppraisalPolicy, Timestamp, TrustRoots};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use zeroize::Zeroizing;

const ARN: &str = "arn:aws:kms:eu-test-1:111122223333:key/0a1b";
const JOB: &[u8] = br#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
    "columns":[{"name":"email","type":"email"}],"pass_through":["country"]}"#;
const CHALLENGE: [u8; 32] = [7; 32];

/// A security module and a KMS that releases the two keys of this test.
struct Machine {
    module: SecurityModule,
    now: SystemTime,
    keys: BTreeMap<Vec<u8>, DataKey>,
}

impl Services for Machine {
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let key = self.keys.get(request.ciphertext).unwrap();
        Ok(Zeroizing::new(key.expose().to_vec()))
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        let request = Request::Attestation(AttestationRequest {
            user_data: Some(user_data.to_vec()),
            nonce: Some(nonce.to_vec()),
            public_key: None,
        });
        let answer = self
            .module
            .handle(&request.to_cbor(), self.now, &mut UnwrapErr(SysRng));
        match Response::from_cbor(&answer).unwrap() {
            Response::Attestation { document } => Ok(document),
            other => panic!("{other:?}"),
        }
    }
}

/// An answer in a directory, and what its owner expects.
struct Case {
    dir: tempfile::TempDir,
    job: Job,
    receipt: Receipt,
    roots: TrustRoots,
    appraisal: AppraisalPolicy,
}

impl Case {
    fn new() -> Self {
        Self::on(false, SystemTime::now())
    }

    fn on(debug: bool, signed: SystemTime) -> Self {
        Self::of("ann@example.org,DE", debug, signed)
    }

    fn of(record: &str, debug: bool, signed: SystemTime) -> Self {
        let platform = Platform::generate(signed, &mut UnwrapErr(SysRng)).unwrap();
        let roots = TrustRoots::from_pem(platform.root_certificate_pem()).unwrap();
        let boot = Boot {
            module_id: platform.module_id(1),
            pcr0: Pcr([1; 48]),
            pcr1: Pcr([2; 48]),
            pcr2: Pcr([3; 48]),
            pcr3: None,
            pcr8: None,
            debug,
        };
        let module = SecurityModule::new(platform, boot).unwrap();
        let mut machine = Machine {
            module,
            now: signed,
            keys: BTreeMap::new(),
        };
        let dir = tempfile::tempdir().unwrap();
        let (job, receipt) = run(&mut machine, record, dir.path());
        let now = Timestamp::try_from(SystemTime::now()).unwrap();
        let mut appraisal = AppraisalPolicy::fresh(now, Duration::from_secs(300));
        appraisal.nonce = Some(CHALLENGE.to_vec());
        appraisal.pcrs = (0..3)
            .map(|i| (PcrIndex::new(i).unwrap(), Pcr([i + 1; 48])))
            .collect();
        Self {
            dir,
            job,
            receipt,
            roots,
            appraisal,
        }
    }

    fn part(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self) -> Result<VerifiedAnswer, String> {
        let expected = Expected {
            job: &self.job,
            receipt: &self.receipt,
            roots: &self.roots,
            appraisal: self.appraisal.clone(),
            private_key: None,
        };
        let output = self.part("rows.csv");
        let opened = expected.open(self.dir.path(), &output);
        assert_eq!(
            output.exists(),
            opened.is_ok(),
            "rows stand exactly where they verified"
        );
        opened.map_err(|error| error.rule().to_owned())
    }
}

/// Seals two records, has them processed, and leaves the answer's parts in `dir`.
fn run(machine: &mut Machine, record: &str, dir: &Path) -> (Job, Receipt) {
    let seal = |wrapped: Vec<u8>, context: EncryptionContext, text: &[u8]| {
        let plan = SealPlan::new(Suite::CommittedSigned, context).unwrap();
        let key = DataKey::generate().unwrap();
        let edk = EncryptedDataKey::aws_kms(ARN, wrapped).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![edk]).unwrap();
        sealer.write_all(text).unwrap();
        let (message, sealed) = sealer.finish().unwrap();
        (message, sealed, key)
    };
    let records = format!("email,country\n{record}\nbob@example.org,FR\n");
    // One token key for all answers, so that all are to the same job.
    static TOKENS: OnceLock<(Vec<u8>, DataKey)> = OnceLock::new();
    let (tokens, token_data_key) = TOKENS.get_or_init(|| {
        let sealed = seal(vec![0], contexts::token_key("d").unwrap(), &[9; 32]);
        (sealed.0, sealed.2)
    });
    let named = UnverifiedMessage::begin(tokens.as_slice()).unwrap();
    let job = Job::from_draft(JOB, &named.header_sha384()).unwrap();
    let context = contexts::records(&job).unwrap();
    let (records, sealed, records_data_key) = seal(vec![1], context, records.as_bytes());
    machine.keys.insert(vec![0], token_data_key.clone());
    machine.keys.insert(vec![1], records_data_key);
    let mut sent = Vec::new();
    for (frame, payload) in [
        (wire::JOB, job.canonical()),
        (wire::CHALLENGE, &CHALLENGE),
        (wire::CREDENTIALS, b"{}"),
        (wire::TOKEN_KEY, tokens),
        (wire::RECORDS, &records),
        (wire::END, b""),
    ] {
        frame::write(&mut sent, frame, payload).unwrap();
    }
    let mut got = Vec::new();
    serve(sent.as_slice(), &mut got, machine).unwrap();
    let mut parts: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let (mut got, mut payload) = (got.as_slice(), Vec::new());
    while !got.is_empty() {
        let frame = frame::read(&mut got, &mut payload, frame::MAX_PAYLOAD).unwrap();
        parts.entry(frame).or_default().extend_from_slice(&payload);
    }
    for (frame, name) in [
        (wire::ROWS, "rows.esdk"),
        (wire::REPORT, "report.esdk"),
        (wire::RELEASE, "release.json"),
        (wire::DOCUMENT, "document.cose"),
    ] {
        fs::write(dir.join(name), &parts[&frame]).unwrap();
    }
    let receipt = Receipt::of(&sealed, &job.sha384());
    (job, receipt)
}

#[test]
fn answers_that_are_not_believed() {
    type Change = fn(&mut Case);
    let cases: [(&str, Change); 12] = [
        ("nonce.mismatch", |c| c.appraisal.nonce = Some(vec![8; 32])),
        ("pcr.mismatch", |c| {
            c.appraisal
                .pcrs
                .insert(PcrIndex::new(0).unwrap(), Pcr([9; 48]));
        }),
        ("root.untrusted", |c| {
            c.roots = Case::new().roots;
        }),
        // Another answer's rows, opened by its own key: the document is not over them.
        ("user-data.mismatch", |c| {
            let other = Case::of("cat@example.org,DE", false, SystemTime::now());
            for part in ["rows.esdk", "report.esdk", "release.json"] {
                fs::copy(other.part(part), c.part(part)).unwrap();
            }
            let job = [&other.job, &c.job].map(Job::sha384);
            assert_eq!(job[0], job[1]);
        }),
        // Records of its own, sealed before: the answer is not to what the owner sealed.
        ("user-data.mismatch", |c| c.receipt = Case::new().receipt),
        ("receipt.job", |c| {
            let other = String::from_utf8(c.job.canonical().to_vec()).unwrap();
            let other = other.replace("\"k\":5", "\"k\":2");
            c.job = Job::parse_canonical(other.as_bytes()).unwrap();
        }),
        ("answer.open", |c| {
            fs::copy(c.part("report.esdk"), c.part("rows.esdk")).unwrap();
        }),
        ("answer.open", |c| {
            let rows = fs::read(c.part("rows.esdk")).unwrap();
            fs::write(c.part("rows.esdk"), &rows[..rows.len() - 1]).unwrap();
        }),
        ("answer.open", |c| {
            let mut rows = fs::read(c.part("rows.esdk")).unwrap();
            let at = rows.len() - 20;
            rows[at] ^= 1;
            fs::write(c.part("rows.esdk"), rows).unwrap();
        }),
        ("answer.release", |c| {
            fs::write(c.part("release.json"), "{}").unwrap()
        }),
        ("document.signature", |c| {
            let mut document = fs::read(c.part("document.cose")).unwrap();
            let at = document.len() - 1;
            document[at] ^= 1;
            fs::write(c.part("document.cose"), document).unwrap();
        }),
        ("answer.file", |c| {
            fs::remove_file(c.part("document.cose")).unwrap()
        }),
    ];
    for (rule, change) in cases {
        let mut case = Case::new();
        change(&mut case);
        assert_eq!(case.open().unwrap_err(), rule);
    }
}

/// The parent has the key of an answer that is for anyone, and can seal what it likes.
#[test]
fn what_the_parent_sealed_is_not_opened_before_the_document_is_believed_nor_beyond_bounds() {
    let mut case = Case::new();
    let release = fs::read(case.part("release.json")).unwrap();
    let key = Release::parse(&release).unwrap().key(None).unwrap();
    let file = std::io::BufWriter::new(fs::File::create(case.part("report.esdk")).unwrap());
    let mut report = PartWriter::new(file, &key, &case.job, contexts::ANSWER_REPORT).unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..129 {
        report.write_all(&piece).unwrap();
    }
    report.finish().unwrap();
    assert_eq!(case.open().unwrap_err(), "answer.size");
    let image = case.appraisal.pcrs.clone();
    case.appraisal
        .pcrs
        .insert(PcrIndex::new(0).unwrap(), Pcr([9; 48]));
    assert_eq!(case.open().unwrap_err(), "pcr.mismatch");
    fs::write(case.part("release.json"), vec![b' '; 300 * 1024]).unwrap();
    assert_eq!(case.open().unwrap_err(), "pcr.mismatch");
    case.appraisal.pcrs = image;
    assert_eq!(case.open().unwrap_err(), "answer.size");
}

#[test]
fn debug_and_stale_answers_are_not_believed() {
    let mut debug = Case::on(true, SystemTime::now());
    debug.appraisal.pcrs.clear();
    assert_eq!(debug.open().unwrap_err(), "debug.refused");
    let stale = Case::on(false, SystemTime::now() - Duration::from_secs(600));
    assert_eq!(stale.open().unwrap_err(), "freshness.too-old");
}

#[test]
fn an_answer_that_is_believed() {
    let case = Case::new();
    let opened = case.open().unwrap();
    assert_eq!(opened.report.rows.written, 2);
    assert!(opened.document.verified);
    let rows = fs::read_to_string(case.part("rows.csv")).unwrap();
    assert!(rows.starts_with("email,country\ntok_") && !rows.contains("example.org"));
}

#[test]
fn a_job_is_made_for_a_token_key_of_its_own_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token-key.esdk");
    let sealed = |context: EncryptionContext| {
        let plan = SealPlan::new(Suite::CommittedSigned, context).unwrap();
        let edk = EncryptedDataKey::aws_kms(ARN, vec![1]).unwrap();
        let key = DataKey::generate().unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![edk]).unwrap();
        sealer.write_all(&[9; 32]).unwrap();
        sealer.finish().unwrap()
    };
    let refused = || seal::job(JOB, &path, Vec::new()).unwrap_err().rule();
    assert_eq!(refused(), "seal.file");
    fs::write(&path, "no message").unwrap();
    assert_eq!(refused(), "seal.token-key");
    for context in [
        contexts::token_key("other").unwrap(),
        EncryptionContext::from_pairs([(contexts::DATA_SET, "d")]).unwrap(),
    ] {
        fs::write(&path, sealed(context).0).unwrap();
        assert_eq!(refused(), "seal.token-key");
    }
    let (message, named) = sealed(contexts::token_key("d").unwrap());
    fs::write(&path, message).unwrap();
    let job = seal::job(JOB, &path, Vec::new()).unwrap();
    assert_eq!(&job.token_key_sha384(), named.header_sha384());
    assert_eq!(
        seal::job(b"{}", &path, Vec::new()).unwrap_err().rule(),
        "job.json",
        "a draft that is none"
    );
}
