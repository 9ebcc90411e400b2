//! Files that do not fit into the enclave's memory, at hosts that keep pages well and badly.

mod common;

use anchorhold_joint::outputs::PartyOutput;
use anchorhold_joint_enclave::answer::open;
use anchorhold_joint_enclave::wire;
use common::{Case, Frame, NAMES, keys};

/// Memory in which 512 rows of a file fit, and as many as 16 runs of 240 can be joined.
const SMALL: usize = 48 * 1024;

/// A case of files of so many rows.
fn case(rows: [u32; 3]) -> Case {
    let mut case = Case::new();
    for (place, rows) in rows.into_iter().enumerate() {
        let mut file = String::from("email,amount\n");
        for row in 0..rows {
            file.push_str(&format!("person{}@x,{row}.5\n", row % 1000));
        }
        case.replace(place, &file);
    }
    case
}

/// What each party opens, as JSON.
fn outputs(case: &Case, got: &[Frame]) -> Vec<Vec<u8>> {
    let contract = case.agreed();
    let answers = got.iter().filter(|(frame, _)| *frame == wire::ANSWER);
    let opened: Vec<_> = NAMES
        .iter()
        .zip(answers)
        .zip(keys())
        .map(|((name, (_, sealed)), key)| {
            let opened = open(contract, name, sealed, &key.answer_private).unwrap();
            opened.to_vec()
        })
        .collect();
    assert_eq!(opened.len(), 3);
    opened
}

#[test]
fn rows_go_to_the_host_and_come_back() {
    let rows = [1500, 300, 700];
    let mut enough = case(rows);
    let (done, got) = enough.run();
    done.unwrap();
    let expected = outputs(&enough, &got);
    assert!(got.iter().all(|(frame, _)| *frame != wire::PAGE_PUT));

    let mut short = case(rows);
    short.world.memory = SMALL;
    let (done, got) = short.run();
    done.unwrap();
    assert_eq!(outputs(&short, &got), expected);
    let output = PartyOutput::parse(&expected[0]).unwrap();
    assert_eq!(output.intersection_size.unwrap().shown(), Some(&300));
    assert_eq!(output.rows.counts.joined, 1500);

    let count = |kind| got.iter().filter(|(frame, _)| *frame == kind).count();
    assert_eq!(count(wire::PAGE_PUT), count(wire::PAGE_GET));
    assert!(
        count(wire::PAGE_PUT) >= 16 * 7,
        "seven runs of one file alone"
    );
    for (_, payload) in got.iter().filter(|(frame, _)| *frame == wire::PAGE_PUT) {
        assert_eq!(payload.len(), 4 + 1024, "no page tells how full it is");
    }
    // What the files hold is nowhere among what the host hears.
    for secret in [&b"person"[..], b"PERSON"] {
        let clear = |payload: &[u8]| payload.windows(secret.len()).any(|w| w == secret);
        assert!(clear(&secret.repeat(2)));
        assert!(!got.iter().any(|(_, payload)| clear(payload)), "{secret:?}");
    }
    // Every page is asked for once, and in an order that no content decides.
    let places = |kind| -> Vec<Vec<u8>> {
        let of = got.iter().filter(|(frame, _)| *frame == kind);
        of.map(|(_, payload)| payload[..4].to_vec()).collect()
    };
    let (put, mut asked) = (places(wire::PAGE_PUT), places(wire::PAGE_GET));
    asked.sort();
    assert_eq!(asked, put);
}

/// The rule that refuses a host's pages.
fn refused(change: impl FnMut(&mut Vec<Vec<u8>>) + 'static) -> String {
    let mut case = case([1500, 300, 700]);
    case.world.memory = SMALL;
    case.pages = Some(Box::new(change));
    let (done, got) = case.run();
    let rule = done.unwrap_err().rule;
    assert_eq!(got.last().unwrap().0, wire::REFUSED);
    assert!(
        got.iter().all(|(frame, _)| *frame != wire::ANSWER),
        "{rule}"
    );
    assert!(case.world.attested.is_empty(), "{rule}");
    rule
}

#[test]
fn a_host_that_keeps_pages_badly_gets_no_answer() {
    assert_eq!(refused(|pages| pages.swap(0, 1)), "page.swapped");
    assert_eq!(refused(|pages| pages.swap(3, 16 + 3)), "page.swapped");
    assert_eq!(refused(|pages| pages[17][500] ^= 1), "page.altered");
    assert_eq!(refused(|pages| pages[17].clear()), "page.missing");
    assert_eq!(refused(|pages| pages[17] = vec![0; 70_000]), "page.store");
    // Nothing comes at all.
    assert_eq!(refused(Vec::clear), "page.store");
    // Pages of the same places of an earlier session.
    let mut earlier = case([1500, 300, 700]);
    earlier.world.memory = SMALL;
    let (_, got) = earlier.run();
    let put = got
        .into_iter()
        .filter(|(frame, _)| *frame == wire::PAGE_PUT);
    let old: Vec<_> = put.map(|(_, payload)| payload[4..].to_vec()).collect();
    assert_eq!(refused(move |pages| *pages = old.clone()), "page.altered");
}

#[test]
fn what_could_not_be_read_back_is_refused_while_it_comes() {
    let mut case = case([1500, 300, 700]);
    case.world.memory = SMALL / 4;
    let (done, got) = case.run();
    assert_eq!(done.unwrap_err().rule, "memory.rows");
    assert!(got.iter().all(|(frame, _)| *frame != wire::PAGE_GET));
}
