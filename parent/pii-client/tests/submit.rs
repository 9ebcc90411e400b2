//! A submission against enclaves that answer, refuse, flood or break off.

use std::fs;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use anchorhold_carrier::{SubmitError, frame};
use anchorhold_pii_client::submit::{Answer, Submission};
use anchorhold_pii_client::wire;

struct Owner {
    dir: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("job", b"j".to_vec()),
            ("token", b"t".to_vec()),
            ("credentials", b"{}".to_vec()),
            ("records", vec![7; 300_000]),
        ] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        Self { dir }
    }

    fn submission(&self) -> Submission {
        let at = |name: &str| self.dir.path().join(name);
        Submission {
            job: at("job"),
            records: at("records"),
            token_key: at("token"),
            credentials: at("credentials"),
            challenge: vec![1; 32],
        }
    }

    fn answer(&self) -> PathBuf {
        self.dir.path().join("answer")
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|n| n.starts_with("answer"));
        names
    }

    fn run(
        &self,
        enclave: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Answer, SubmitError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let enclave = thread::spawn(move || enclave(theirs));
        let result = self.submission().run(ours, &self.answer());
        enclave.join().unwrap();
        result
    }
}

fn read_all(stream: &UnixStream) -> Vec<(u8, usize)> {
    let mut from = BufReader::new(stream);
    let mut payload = Vec::new();
    let mut frames = Vec::new();
    loop {
        let frame = frame::read(&mut from, &mut payload).unwrap();
        frames.push((frame, payload.len()));
        if frame == wire::END {
            return frames;
        }
    }
}

fn send(mut stream: &UnixStream, frames: &[(u8, &[u8])]) {
    for (frame, payload) in frames {
        // The client may have gone already: that is what some of these tests are about.
        let _ = frame::write(&mut stream, *frame, payload);
    }
}

#[test]
fn a_refusal_says_its_rule_and_leaves_nothing() {
    let owner = Owner::new();
    let error = owner
        .run(|s| {
            let said = br#"{"rule":"kms.access-denied","message":"no"}"#;
            send(&s, &[(wire::ROWS, b"x"), (wire::REFUSED, said)]);
        })
        .unwrap_err();
    assert_eq!(error.rule(), "kms.access-denied");
    assert!(owner.left().is_empty());
}

#[test]
fn an_answer_that_is_not_whole_is_none() {
    let owner = Owner::new();
    type Enclave = fn(UnixStream);
    let cases: [(Enclave, &str); 5] = [
        (|s| drop(s), "submit.connection"),
        (
            |s| send(&s, &[(wire::ROWS, b"x"), (wire::DONE, b"")]),
            "submit.protocol",
        ),
        (|s| send(&s, &[(0x42, b"x")]), "submit.protocol"),
        (
            |s| send(&s, &[(wire::REFUSED, b"not json")]),
            "submit.protocol",
        ),
        (
            |s| {
                use std::io::Write;
                let _ = (&s).write_all(&[wire::ROWS, 0xFF, 0xFF, 0xFF, 0xFF]);
            },
            "submit.connection",
        ),
    ];
    for (enclave, rule) in cases {
        assert_eq!(owner.run(enclave).unwrap_err().rule(), rule);
        assert!(owner.left().is_empty(), "{rule} left {:?}", owner.left());
    }
}

#[test]
fn a_flood_is_bounded() {
    let owner = Owner::new();
    let error = owner
        .run(|mut s| {
            let piece = vec![0; frame::MAX_PAYLOAD];
            while frame::write(&mut s, wire::DOCUMENT, &piece).is_ok() {}
        })
        .unwrap_err();
    assert_eq!(error.rule(), "submit.protocol");
    assert!(owner.left().is_empty());
}

#[test]
fn an_answer_is_never_overwritten() {
    let owner = Owner::new();
    fs::create_dir(owner.answer()).unwrap();
    assert_eq!(owner.run(drop).unwrap_err().rule(), "submit.exists");
    assert_eq!(owner.left(), ["answer"]);
}

#[test]
fn inputs_that_are_missing_or_too_large() {
    let owner = Owner::new();
    fs::write(owner.dir.path().join("token"), vec![0; 100_000]).unwrap();
    assert_eq!(owner.run(drop).unwrap_err().rule(), "submit.size");
    fs::remove_file(owner.dir.path().join("token")).unwrap();
    assert_eq!(owner.run(drop).unwrap_err().rule(), "submit.input");
}

#[test]
fn rows_come_back_while_records_go_out() {
    let owner = Owner::new();
    let answer = owner
        .run(|s| {
            // More than the socket's buffers hold, before the first record is read.
            for _ in 0..64 {
                send(&s, &[(wire::ROWS, &[5; frame::PIECE])]);
            }
            let frames = read_all(&s);
            let order: Vec<u8> = frames.iter().map(|f| f.0).take(5).collect();
            assert_eq!(
                order,
                [
                    wire::JOB,
                    wire::CHALLENGE,
                    wire::CREDENTIALS,
                    wire::TOKEN_KEY,
                    wire::RECORDS
                ]
            );
            let records: usize = frames
                .iter()
                .filter(|f| f.0 == wire::RECORDS)
                .map(|f| f.1)
                .sum();
            assert_eq!(records, 300_000);
            send(
                &s,
                &[
                    (wire::REPORT, b"r"),
                    (wire::RELEASE, b"k"),
                    (wire::DOCUMENT, b"d"),
                    (wire::DONE, b""),
                ],
            );
        })
        .unwrap();
    assert_eq!(
        (answer.sent, answer.received),
        (300_000, 64 * frame::PIECE as u64)
    );
    let part = |name: &str| fs::read(Path::new(&answer.answer).join(name)).unwrap();
    assert_eq!(part("document.cose"), b"d");
    assert_eq!(part("rows.esdk").len(), 64 * frame::PIECE);
    assert_eq!(owner.left(), ["answer"]);
}
