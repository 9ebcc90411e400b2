//! The relay against an enclave that answers, refuses, breaks off or sends what it must not.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anchorhold_carrier::{SubmitError, frame};
use anchorhold_joint_client::submit::{Submission, Submitted};
use anchorhold_joint_client::wire;

type Frame = (u8, Vec<u8>);

fn package(dir: &Path, name: &str, records: Option<&[u8]>) -> PathBuf {
    let package = dir.join(name);
    fs::create_dir(&package).unwrap();
    fs::write(package.join("approval.json"), format!("approval {name}")).unwrap();
    fs::write(package.join("challenge"), [7; 32]).unwrap();
    fs::write(package.join("credentials.json"), b"{}").unwrap();
    if let Some(records) = records {
        fs::write(package.join("records.esdk"), records).unwrap();
    }
    package
}

/// Runs the relay against an enclave that reads all and sends these frames; gives what it read.
fn relay(
    dir: &Path,
    packages: Vec<PathBuf>,
    sends: &[Frame],
) -> (Result<Submitted, SubmitError>, Vec<Frame>) {
    fs::write(dir.join("contract.json"), b"contract").unwrap();
    let submission = Submission {
        contract: dir.join("contract.json"),
        packages,
        max_pages: 3000,
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sends = sends.to_vec();
    std::thread::scope(|scope| {
        let enclave = scope.spawn(move || {
            let (mut from, mut to) = (&theirs, &theirs);
            for (frame, payload) in &sends {
                if frame::write(&mut to, *frame, payload).is_err() {
                    break;
                }
            }
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let mut read = Vec::new();
            let mut payload = Vec::new();
            while let Ok(frame) = frame::read(&mut from, &mut payload) {
                read.push((frame, payload.clone()));
            }
            read
        });
        let result = submission.run(ours, &dir.join("answers"));
        (result, enclave.join().unwrap())
    })
}

fn good() -> Vec<Frame> {
    vec![
        (wire::ANSWER_TO, b"ann".to_vec()),
        (wire::ANSWER, b"sealed".to_vec()),
        (wire::ANSWER, b" for ann".to_vec()),
        (wire::ANSWER_TO, b"bob".to_vec()),
        (wire::ANSWER, b"for bob".to_vec()),
        (wire::STATEMENT, b"{}".to_vec()),
        (wire::DOCUMENT, b"document".to_vec()),
        (wire::DONE, Vec::new()),
    ]
}

#[test]
fn what_an_enclave_may_not_send_leaves_nothing() {
    let refusal = br#"{"rule":"approval.missing","message":"ann has not"}"#.to_vec();
    type Change = fn(&mut Vec<Frame>);
    let changes: [(&str, Change); 8] = [
        ("submit.protocol", |f| f[0].1 = b"../ann".to_vec()),
        ("submit.protocol", |f| f[0].1.clear()),
        ("submit.protocol", |f| {
            f.remove(0);
        }),
        ("submit.protocol", |f| {
            f.remove(4);
        }),
        ("submit.protocol", |f| {
            f.remove(6);
        }),
        ("submit.protocol", |f| f[1].0 = wire::START),
        ("submit.output", |f| f[3].1 = b"ann".to_vec()),
        ("submit.connection", |f| f.truncate(5)),
    ];
    let mut cases: Vec<_> = changes
        .into_iter()
        .map(|(rule, change)| {
            let mut frames = good();
            change(&mut frames);
            (rule, frames)
        })
        .collect();
    cases.push(("approval.missing", vec![(wire::REFUSED, refusal)]));
    cases.push(("submit.protocol", vec![(wire::REFUSED, b"no".to_vec())]));
    for (rule, frames) in cases {
        let dir = tempfile::tempdir().unwrap();
        let one = package(dir.path(), "one", Some(b"records"));
        let (result, _) = relay(dir.path(), vec![one], &frames);
        assert_eq!(result.unwrap_err().rule(), rule, "{frames:?}");
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "only contract and package are there after {rule}");
    }
}

/// A place and a page.
fn page(place: u32, byte: u8) -> Vec<u8> {
    [place.to_be_bytes().as_slice(), &[byte; 1000]].concat()
}

#[test]
fn an_enclave_that_misuses_its_pages_gets_nothing() {
    let put = |place| (wire::PAGE_PUT, page(place, 1));
    let cases: [(&str, Vec<Frame>); 4] = [
        ("submit.protocol", vec![put(1)]),
        ("submit.pages", (0..4).map(put).collect()),
        (
            "submit.protocol",
            vec![put(0), (wire::PAGE_GET, vec![0; 3])],
        ),
        ("submit.protocol", vec![put(0), (wire::PAGE, page(0, 1))]),
    ];
    for (rule, frames) in cases {
        let dir = tempfile::tempdir().unwrap();
        let one = package(dir.path(), "one", Some(b"records"));
        let (result, _) = relay(dir.path(), vec![one], &frames);
        assert_eq!(result.unwrap_err().rule(), rule, "{frames:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

/// An enclave that puts pages while files come in, and asks for them when all have come.
#[test]
fn pages_are_kept_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let long = vec![7; 300_000];
    let packages = vec![
        package(dir.path(), "one", Some(&long)),
        package(dir.path(), "two", None),
    ];
    fs::write(dir.path().join("contract.json"), b"contract").unwrap();
    let submission = Submission {
        contract: dir.path().join("contract.json"),
        packages,
        max_pages: 3000,
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let enclave = std::thread::spawn(move || {
        let (mut from, mut to) = (&theirs, &theirs);
        let (mut payload, mut ends, mut puts) = (Vec::new(), 0, 0);
        while ends < 2 {
            let frame = frame::read(&mut from, &mut payload).unwrap();
            ends += u32::from(frame == wire::END);
            if frame == wire::RECORDS && puts < 3 {
                frame::write(&mut to, wire::PAGE_PUT, &page(puts, puts as u8)).unwrap();
                puts += 1;
            }
        }
        assert_eq!(puts, 3);
        for place in [2_u32, 0, 1] {
            frame::write(&mut to, wire::PAGE_GET, &place.to_be_bytes()).unwrap();
            assert_eq!(frame::read(&mut from, &mut payload).unwrap(), wire::PAGE);
            assert_eq!(payload, [place as u8; 1000]);
        }
        for (frame, payload) in good() {
            frame::write(&mut to, frame, &payload).unwrap();
        }
    });
    let submitted = submission.run(ours, &dir.path().join("answers")).unwrap();
    enclave.join().unwrap();
    assert_eq!((submitted.pages, submitted.page_bytes), (3, 3000));
    let answers = fs::read_dir(dir.path().join("answers")).unwrap();
    assert_eq!(answers.count(), 4, "no page is left beside the answers");
}

#[test]
fn files_that_are_not_there_or_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let one = package(dir.path(), "one", Some(b"records"));
    fs::write(one.join("challenge"), vec![0; 20_000]).unwrap();
    let (result, read) = relay(dir.path(), vec![one.clone()], &[]);
    assert_eq!(result.unwrap_err().rule(), "submit.size");
    assert!(read.is_empty());
    fs::remove_file(one.join("challenge")).unwrap();
    let (result, _) = relay(dir.path(), vec![one.clone()], &[]);
    assert_eq!(result.unwrap_err().rule(), "submit.input");
    fs::write(one.join("challenge"), [0; 32]).unwrap();
    fs::create_dir(dir.path().join("answers")).unwrap();
    let (result, _) = relay(dir.path(), vec![one], &good());
    assert_eq!(result.unwrap_err().rule(), "submit.exists");
}

#[test]
fn all_beginnings_come_before_any_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let packages = vec![
        package(dir.path(), "one", Some(&long)),
        package(dir.path(), "two", None),
        package(dir.path(), "three", Some(b"short")),
    ];
    let (result, read) = relay(dir.path(), packages, &good());
    let submitted = result.unwrap();
    assert_eq!(submitted.parties, ["ann", "bob"]);
    assert_eq!(submitted.sent, 200_005);
    let answers = dir.path().join("answers");
    assert_eq!(
        fs::read(answers.join("ann.esdk")).unwrap(),
        b"sealed for ann"
    );
    assert_eq!(
        fs::read(answers.join("document.cose")).unwrap(),
        b"document"
    );

    let kinds: Vec<u8> = read.iter().map(|(frame, _)| *frame).collect();
    let part = [
        wire::APPROVAL,
        wire::CHALLENGE,
        wire::CREDENTIALS,
        wire::START,
    ];
    let mut expected = vec![wire::CONTRACT];
    expected.extend([part; 3].concat());
    expected.push(wire::READY);
    expected.extend([wire::RECORDS, wire::RECORDS, wire::RECORDS, wire::END]);
    expected.extend([wire::END, wire::END]);
    assert_eq!(kinds, expected);
    let starts = read.iter().filter(|(frame, _)| *frame == wire::START);
    let lengths: Vec<_> = starts.map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [frame::PIECE, 0, 5]);
    let first = read
        .iter()
        .filter(|(f, _)| [wire::START, wire::RECORDS].contains(f));
    let sent: Vec<u8> = first.flat_map(|(_, payload)| payload.clone()).collect();
    assert!(sent.starts_with(&long[..frame::PIECE]) && sent.ends_with(&long[frame::PIECE..]));
}
