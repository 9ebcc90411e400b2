//! Submissions as an honest and as a hostile parent makes them, with a KMS that keeps to contexts.

use std::collections::BTreeMap;
use std::io::Write;

use anchorhold_enclave::frame;
use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_pii::answer::{Release, open_part};
use anchorhold_pii::contexts;
use anchorhold_pii::job::Job;
use anchorhold_pii::report::Report;
use anchorhold_pii::session::{KeyRequest, Refusal, Services, serve};
use anchorhold_pii::statement::Statement;
use anchorhold_pii::wire;
use zeroize::Zeroizing;

const ARN: &str = "arn:aws:kms:eu-test-1:111122223333:key/0a1b";
const JOB: &str = r#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
    "columns":[{"name":"email","type":"email"}],"pass_through":["country"]}"#;
const RECORDS: &str = "email,country\nann@example.org,DE\nbob@example.org,FR\n";

/// Keeps data keys by their wrapped form, and releases them only under their own context and ARN.
#[derive(Default)]
struct Kms {
    keys: BTreeMap<Vec<u8>, (String, EncryptionContext, DataKey)>,
    asked: usize,
    attested: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Services for Kms {
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.asked += 1;
        assert_eq!(request.credentials, b"{}");
        let entry = self
            .keys
            .get(request.ciphertext)
            .filter(|(arn, context, _)| arn == request.key_arn && context == request.context);
        entry
            .map(|(_, _, key)| Zeroizing::new(key.expose().to_vec()))
            .ok_or_else(|| Refusal::new("kms.InvalidCiphertextException", "refused"))
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.attested.push((user_data.to_vec(), nonce.to_vec()));
        Ok(b"document".to_vec())
    }
}

impl Kms {
    fn seal(
        &mut self,
        arn: &str,
        context: EncryptionContext,
        suite: Suite,
        text: &[u8],
    ) -> Vec<u8> {
        let plan = SealPlan::new(suite, context)
            .unwrap()
            .with_frame_length(16)
            .unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = format!("wrapped {}", self.keys.len()).into_bytes();
        let entry = (
            arn.to_owned(),
            plan.encryption_context().clone(),
            key.clone(),
        );
        self.keys.insert(wrapped.clone(), entry);
        let edk = EncryptedDataKey::aws_kms(arn, wrapped).unwrap();
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![edk]).unwrap();
        sealer.write_all(text).unwrap();
        sealer.finish().unwrap().0
    }
}

/// A frame's type and payload.
type Frame = (u8, Vec<u8>);

struct Case {
    kms: Kms,
    job: Job,
    frames: Vec<Frame>,
}

const AT_JOB: usize = 0;
const AT_CHALLENGE: usize = 1;
const AT_TOKEN_KEY: usize = 3;
const AT_RECORDS: usize = 4;

impl Case {
    fn new(suite: Suite) -> Self {
        let mut kms = Kms::default();
        let tokens = kms.seal(ARN, contexts::token_key("d").unwrap(), suite, &[3; 32]);
        let job = Job::from_draft(JOB.as_bytes(), &header_sha384(&tokens)).unwrap();
        let records = kms.seal(
            ARN,
            contexts::records(&job).unwrap(),
            suite,
            RECORDS.as_bytes(),
        );
        let frames = vec![
            (wire::JOB, job.canonical().to_vec()),
            (wire::CHALLENGE, vec![7; 32]),
            (wire::CREDENTIALS, b"{}".to_vec()),
            (wire::TOKEN_KEY, tokens),
            (wire::RECORDS, records),
            (wire::END, vec![]),
        ];
        Self { kms, job, frames }
    }

    /// Another token key, and a job that means it.
    fn hand_over(&mut self, token_key: Vec<u8>) {
        self.job = Job::from_draft(JOB.as_bytes(), &header_sha384(&token_key)).unwrap();
        let context = contexts::records(&self.job).unwrap();
        let text = RECORDS.as_bytes();
        self.frames[AT_RECORDS].1 = self.kms.seal(ARN, context, Suite::Committed, text);
        self.frames[AT_JOB].1 = self.job.canonical().to_vec();
        self.frames[AT_TOKEN_KEY].1 = token_key;
    }

    fn run(&mut self) -> (Result<(), Refusal>, Vec<Frame>) {
        let mut sent = Vec::new();
        for (frame, payload) in &self.frames {
            frame::write(&mut sent, *frame, payload).unwrap();
        }
        let mut out = Vec::new();
        let result = serve(sent.as_slice(), &mut out, &mut self.kms).map(|_| ());
        let mut out = out.as_slice();
        let mut got = Vec::new();
        while !out.is_empty() {
            let mut payload = Vec::new();
            let frame = frame::read(&mut out, &mut payload, frame::MAX_PAYLOAD).unwrap();
            got.push((frame, payload));
        }
        (result, got)
    }

    /// The rule that refuses; nothing that would make the rows readable may have left.
    fn refused(mut self) -> (String, Kms) {
        let (result, got) = self.run();
        let rule = result.unwrap_err().rule;
        let kinds: Vec<u8> = got.iter().map(|(frame, _)| *frame).collect();
        for never in [wire::RELEASE, wire::DOCUMENT, wire::REPORT, wire::DONE] {
            assert!(!kinds.contains(&never), "{never:#04x} left despite {rule}");
        }
        assert_eq!(kinds.last(), Some(&wire::REFUSED));
        let said: Refusal = serde_json::from_slice(&got.last().unwrap().1).unwrap();
        assert_eq!(said.rule, rule);
        assert!(!said.message.contains("example.org"), "{}", said.message);
        assert!(self.kms.attested.is_empty());
        (rule, self.kms)
    }
}

#[test]
fn what_the_parent_cannot_do() {
    type Change = fn(&mut Case);
    let cases: [(&str, Change); 15] = [
        ("job.canonical", |c| c.frames[AT_JOB].1.push(b' ')),
        ("records.context.mismatch", |c| {
            let wider = JOB.replace("\"type\":\"email\"", "\"type\":\"withhold\"");
            c.frames[AT_JOB].1 = Job::from_draft(wider.as_bytes(), &c.job.token_key_sha384())
                .unwrap()
                .canonical()
                .to_vec();
        }),
        ("challenge.length", |c| {
            c.frames[AT_CHALLENGE].1.truncate(15)
        }),
        ("wire.size", |c| c.frames[AT_CHALLENGE].1.resize(65, 0)),
        ("wire.order", |c| c.frames.swap(0, 1)),
        ("wire.order", |c| {
            c.frames.insert(AT_RECORDS, (wire::RECORDS, vec![]))
        }),
        ("wire.order", |c| {
            let records = c.frames[AT_RECORDS].1.split_off(200);
            c.frames.insert(AT_RECORDS + 1, (wire::RECORDS, records));
            c.frames.insert(AT_RECORDS + 1, (wire::RECORDS, vec![]));
        }),
        // The records given for the token key, and the token key for the records.
        ("token-key.context.mismatch", |c| {
            c.frames[AT_TOKEN_KEY].1 = c.frames[AT_RECORDS].1.clone()
        }),
        ("records.context.missing", |c| {
            c.frames[AT_RECORDS].1 = c.frames[AT_TOKEN_KEY].1.clone()
        }),
        // An older token key of the same data set, which the owner has replaced.
        ("token-key.other", |c| {
            let context = contexts::token_key("d").unwrap();
            c.frames[AT_TOKEN_KEY].1 = c.kms.seal(ARN, context, Suite::Committed, &[4; 32]);
        }),
        // Records of its own, under a key of its own: a dictionary for the owner's tokens.
        ("records.key-arn", |c| {
            let context = contexts::records(&c.job).unwrap();
            let own = "arn:aws:kms:eu-test-1:111122223333:key/ffff";
            c.frames[AT_RECORDS].1 = c
                .kms
                .seal(own, context, Suite::Committed, b"email,country\n");
        }),
        // Wrapped keys swapped between two messages: the KMS knows their contexts.
        ("kms.InvalidCiphertextException", |c| {
            let at = |m: &[u8], text: &[u8]| m.windows(text.len()).position(|w| w == text).unwrap();
            let start = at(&c.frames[AT_RECORDS].1, b"wrapped 1");
            c.frames[AT_RECORDS].1[start + 8] = b'0';
        }),
        ("records.message.truncated", |c| {
            let half = c.frames[AT_RECORDS].1.len() - 80;
            c.frames[AT_RECORDS].1.truncate(half);
        }),
        ("records.frame.tag", |c| {
            let near_end = c.frames[AT_RECORDS].1.len() - 1;
            c.frames[AT_RECORDS].1[near_end] ^= 1;
        }),
        ("records.message.trailing", |c| {
            c.frames[AT_RECORDS].1.push(0)
        }),
    ];
    for (rule, change) in cases {
        let mut case = Case::new(Suite::Committed);
        change(&mut case);
        let (got, kms) = case.refused();
        assert_eq!(got, rule);
        if got.starts_with("job")
            || got.contains("context")
            || got.contains("arn")
            || got.contains("other")
        {
            assert_eq!(kms.asked, 0, "{rule}: the KMS was asked in vain");
        }
    }
}

#[test]
fn a_connection_that_breaks_off_gives_no_answer() {
    for keep in 0..5 {
        let mut case = Case::new(Suite::Committed);
        case.frames.truncate(keep);
        assert!(!case.refused().0.is_empty());
    }
    // All records came, their end did not.
    let mut case = Case::new(Suite::Committed);
    case.frames.truncate(5);
    case.refused();
}

#[test]
fn a_token_key_has_32_bytes() {
    let mut case = Case::new(Suite::Committed);
    let context = contexts::token_key("d").unwrap();
    let short = case.kms.seal(ARN, context, Suite::Committed, b"short");
    case.hand_over(short);
    assert_eq!(case.refused().0, "token-key.length");
}

#[test]
fn an_answer_is_bound_to_job_input_and_challenge() {
    for suite in [Suite::Committed, Suite::CommittedSigned] {
        let mut case = Case::new(suite);
        let (result, got) = case.run();
        result.unwrap();
        let part = |frame: u8| -> Vec<u8> {
            got.iter()
                .filter(|(f, _)| *f == frame)
                .flat_map(|(_, p)| p.clone())
                .collect()
        };
        assert_eq!(got.last().unwrap().0, wire::DONE);
        assert_eq!(part(wire::DOCUMENT), b"document");
        let key = Release::parse(&part(wire::RELEASE))
            .unwrap()
            .key(None)
            .unwrap();
        let (mut rows, mut report) = (Vec::new(), Vec::new());
        let open = |sealed: Vec<u8>, part, out: &mut Vec<u8>| {
            open_part(sealed.as_slice(), &key, &case.job, part, out).unwrap()
        };
        let rows_sha384 = open(part(wire::ROWS), ("rows", contexts::ANSWER_ROWS), &mut rows);
        let report_sha384 = open(
            part(wire::REPORT),
            ("report", contexts::ANSWER_REPORT),
            &mut report,
        );
        let rows = String::from_utf8(rows).unwrap();
        assert_eq!(rows.lines().next(), Some("email,country"));
        assert!(rows.lines().nth(2).unwrap().ends_with(",FR"));
        assert!(!rows.contains("example.org"));
        let report: Report = serde_json::from_slice(&report).unwrap();
        assert_eq!(report.rows.written, 2);

        let opened = UnverifiedMessage::begin(&case.frames[AT_RECORDS].1[..]);
        let message_id = *opened.unwrap().message_id().as_bytes();
        let (user_data, nonce) = case.kms.attested.first().unwrap();
        assert_eq!(nonce, &[7; 32]);
        let statement = Statement {
            rows_sha384,
            report_sha384,
            job_sha384: case.job.sha384(),
            message_id,
            header_sha384: header_sha384(&case.frames[AT_RECORDS].1),
        };
        assert_eq!(user_data, &statement.user_data());
    }
}

fn header_sha384(message: &[u8]) -> [u8; 48] {
    UnverifiedMessage::begin(message).unwrap().header_sha384()
}

#[test]
fn tokens_are_stable_across_runs() {
    let rows = |case: &mut Case| {
        let (result, got) = case.run();
        result.unwrap();
        let part = |frame: u8| -> Vec<u8> {
            got.iter()
                .filter(|(f, _)| *f == frame)
                .flat_map(|(_, p)| p.clone())
                .collect()
        };
        let key = Release::parse(&part(wire::RELEASE))
            .unwrap()
            .key(None)
            .unwrap();
        let mut rows = Vec::new();
        let which = ("rows", contexts::ANSWER_ROWS);
        open_part(
            part(wire::ROWS).as_slice(),
            &key,
            &case.job,
            which,
            &mut rows,
        )
        .unwrap();
        (rows, part(wire::ROWS))
    };
    let mut case = Case::new(Suite::Committed);
    let (one, one_sealed) = rows(&mut case);
    let (two, two_sealed) = rows(&mut case);
    assert_eq!(one, two);
    assert_ne!(one_sealed, two_sealed);
}
