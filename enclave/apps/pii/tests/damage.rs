//! Records with one damaged row: whatever the damage, no withheld text leaves as another column's.

use anchorhold_pii::job::Job;
use anchorhold_pii::processor::{ProcessError, Processor};
use anchorhold_pii::rows::{MAX_FIELDS, MAX_ROW};
use anchorhold_pii::token::TokenKey;
use proptest::prelude::*;
use proptest::sample::Index;

/// Text of at least so many bytes in a row is told from what stands there by chance.
const TELLING: usize = 12;

fn job() -> Job {
    let draft = r#"{"format":"anchorhold-pii-job/1","data_set":"d","answer_to":"anyone",
        "columns":[{"name":"email","type":"email"},{"name":"notes","type":"withhold"}],
        "pass_through":["country"]}"#;
    Job::from_draft(draft.as_bytes(), &[0; 48]).unwrap()
}

/// What the owner would see: rows and report, if the file is not refused.
fn disclosed(records: &[u8]) -> Result<Vec<u8>, ProcessError> {
    let mut processor = Processor::new(job(), TokenKey::new(&[9; 32]).unwrap(), Vec::new());
    for piece in records.chunks(4096) {
        processor.feed(piece)?;
    }
    let (report, mut rows) = processor.finish()?;
    rows.extend(serde_json::to_vec(&report).unwrap());
    Ok(rows)
}

fn assert_withheld(notes: &[String], records: &[u8]) {
    let Ok(out) = disclosed(records) else {
        return;
    };
    for note in notes {
        for window in note.as_bytes().windows(TELLING) {
            let found = out.windows(TELLING).any(|seen| seen == window);
            let (window, out) = (
                String::from_utf8_lossy(window),
                String::from_utf8_lossy(&out),
            );
            assert!(!found, "{window:?} of {note:?} left in\n{out}");
        }
    }
}

#[test]
fn a_row_that_is_refused_takes_its_note_with_it() {
    let note = "secret one\nsecret text,DE,secret text\nsecret two, DE".to_owned();
    let long = "x".repeat(MAX_ROW);
    let wide = ",".repeat(MAX_FIELDS);
    for (damaged, refuses_the_file) in [
        // Not UTF-8.
        (&b"a\xFF@b.example,\"NOTE\",DE\n"[..], false),
        // Too long.
        (b"LONG,\"NOTE\",DE\n", false),
        // Too many fields.
        (b"WIDE,\"NOTE\",DE\n", false),
        // Text behind a closing quote, then an opening quote that is none.
        (b"a@b.example,\"x\"y\"NOTE\",DE\n", true),
        (b"a@b.example,\"NOTE\"x,DE\n", true),
        // The opening quote is lost, the closing one, or the comma before it.
        (b"a@b.example,NOTE\",DE\n", true),
        (b"a@b.example,\"NOTE,DE\n", true),
        (b"a@b.example\"NOTE\",DE\n", true),
        (b"a@b.example, \"NOTE\",DE\n", true),
        // A quote in another field of the row.
        (b"a\"b@c.example,\"NOTE\",DE\n", false),
    ] {
        let mut row = damaged.to_vec();
        for (mark, text) in [("NOTE", &note), ("LONG", &long), ("WIDE", &wide)] {
            if let Some(at) = row.windows(4).position(|w| w == mark.as_bytes()) {
                row.splice(at..at + 4, text.bytes());
            }
        }
        let before = b"email,notes,country\nann@example.org,\"n, 1\",DE\n";
        let records = [&before[..], &row, b"bob@example.org,\"n, 2\",FR\n"].concat();
        let shown = String::from_utf8_lossy(damaged);
        match disclosed(&records) {
            Ok(out) => {
                let out = String::from_utf8(out).unwrap();
                assert!(!refuses_the_file && !out.contains("secret"), "{shown}");
                assert!(out.contains(",FR\n"), "the next row is read: {shown}");
            }
            Err(error) => {
                assert!(refuses_the_file, "{shown}: {error}");
                assert_eq!(error.rule(), "records.quoting", "{shown}");
                assert!(!error.to_string().contains("secret"));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Lose,
    Replace(u8),
    Add(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || {
        prop_oneof![
            Just(b'"'),
            Just(b','),
            Just(b'\n'),
            Just(b'\r'),
            any::<u8>()
        ]
    };
    let many = prop_oneof![
        Just(vec![0xFF]),
        Just(vec![b',']),
        Just(vec![b','; MAX_FIELDS + 3]),
        Just(vec![b'A'; MAX_ROW + 3]),
    ];
    prop_oneof![
        2 => Just(Damage::Lose),
        3 => byte().prop_map(Damage::Replace),
        3 => byte().prop_map(|byte| Damage::Add(vec![byte])),
        2 => many.prop_map(Damage::Add),
    ]
}

/// The fields of a row in one of the orders that a header may have.
fn ordered(order: usize, fields: [&str; 3]) -> String {
    let orders = [
        [0, 1, 2],
        [1, 0, 2],
        [1, 2, 0],
        [0, 2, 1],
        [2, 0, 1],
        [2, 1, 0],
    ];
    orders[order % 6].map(|at| fields[at]).join(",")
}

/// A note that needs quotes is quoted, another may be.
fn quoted(note: &str, always: bool) -> String {
    if always || note.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", note.replace('"', "\"\""))
    } else {
        note.to_owned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_damage_of_one_row_discloses_a_note(
        // Letters that stand in no other column.
        notes in proptest::collection::vec(("[kquvz\",\n]{0,40}", any::<bool>()), 1..6),
        order in 0_usize..6, crlf in any::<bool>(), at in any::<Index>(), damage in damage())
    {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut records = format!("{}{end}", ordered(order, ["email", "notes", "country"]));
        let first_row = records.len();
        for (i, (note, always)) in notes.iter().enumerate() {
            let email = format!("{i}@example.org");
            records.push_str(&ordered(order, [&email, &quoted(note, *always), "DE"]));
            records.push_str(end);
        }
        let whole = disclosed(records.as_bytes()).unwrap();
        let rows = whole.iter().filter(|b| **b == b'\n').count();
        prop_assert_eq!(rows, notes.len() + 1, "an undamaged file is answered in full");

        let mut records = records.into_bytes();
        let at = first_row + at.index(records.len() - first_row);
        match damage {
            Damage::Lose => { records.remove(at); }
            Damage::Replace(byte) => records[at] = byte,
            Damage::Add(bytes) => { records.splice(at..at, bytes); }
        }
        let notes: Vec<_> = notes.into_iter().map(|(note, _)| note).collect();
        assert_withheld(&notes, &records);
    }
}
