use super::*;
use crate::testing::{self, KEYS, NAMES};
use proptest::prelude::*;

fn headers() -> BTreeMap<String, [u8; 48]> {
    let names = NAMES.iter().zip(1..);
    names
        .map(|(name, n)| ((*name).to_owned(), [n; 48]))
        .collect()
}

fn sign(contract: &Contract, index: usize) -> Approval {
    let header = headers()[NAMES[index]];
    let key = &KEYS[index].approval_private;
    Approval::sign(contract, NAMES[index], &header, key).unwrap()
}

fn refused(
    change: impl FnOnce(&mut Vec<Approval>, &mut BTreeMap<String, [u8; 48]>),
) -> &'static str {
    let contract = testing::contract(|_| {});
    let mut approvals: Vec<_> = (0..3).map(|i| sign(&contract, i)).collect();
    let mut headers = headers();
    check(&contract, &approvals, &headers).unwrap();
    change(&mut approvals, &mut headers);
    check(&contract, &approvals, &headers)
        .map(|_| ())
        .unwrap_err()
        .rule()
}

#[test]
fn what_does_not_approve() {
    let other = testing::contract(|t| t.cohorts.minimum = 6);
    assert_eq!(refused(|a, _| drop(a.pop())), "approval.missing");
    assert_eq!(refused(|a, _| a.clear()), "approval.missing");
    assert_eq!(refused(|a, _| a.push(a[0].clone())), "approval.duplicate");
    assert_eq!(refused(|a, _| a[1] = a[0].clone()), "approval.duplicate");
    assert_eq!(
        refused(|a, _| a[0].party = "dan".into()),
        "approval.unknown-party"
    );
    // The name is signed: one cannot pass for the other.
    assert_eq!(
        refused(|a, _| a[0].party = "bob".into()),
        "approval.signature"
    );
    assert_eq!(
        refused(|a, _| a[0].signature[95] ^= 1),
        "approval.signature"
    );
    assert_eq!(
        refused(|a, _| a[0].header_sha384[0] ^= 1),
        "approval.signature"
    );
    assert_eq!(
        refused(|a, _| a[2] = sign(&other, 2)),
        "approval.other-contract"
    );
    assert_eq!(
        refused(|_, h| h.get_mut("ann").unwrap()[0] ^= 1),
        "approval.other-message"
    );
    assert_eq!(
        refused(|_, h| assert!(h.remove("cyd").is_some())),
        "approval.no-message"
    );
    assert_eq!(
        refused(|_, h| assert!(h.insert("dan".into(), [0; 48]).is_none())),
        "approval.unknown-message"
    );
    // The host swaps two parties' files.
    let swap = |_: &mut Vec<Approval>, h: &mut BTreeMap<String, [u8; 48]>| {
        let (ann, bob) = (h["ann"], h["bob"]);
        h.insert("ann".into(), bob);
        h.insert("bob".into(), ann);
    };
    assert_eq!(refused(swap), "approval.other-message");
}

/// The contract does not name files, so that what was approved is kept in the proof.
#[test]
fn the_proof_names_the_messages_at_hand_in_the_contract_s_order() {
    let contract = testing::contract(|_| {});
    let approvals: Vec<_> = [2, 0, 1].map(|i| sign(&contract, i)).to_vec();
    let approved = check(&contract, &approvals, &headers()).unwrap();
    let expected: Vec<_> = headers().into_iter().collect();
    assert_eq!(approved.inputs(), expected);

    // A second approval of one party, for another file, is as good as the first.
    let key = &KEYS[0].approval_private;
    let second = Approval::sign(&contract, "ann", &[9; 48], key).unwrap();
    assert_eq!(second.header_sha384(), &[9; 48]);
    let mut other = headers();
    other.insert("ann".to_owned(), [9; 48]);
    let approvals = [second, approvals[0].clone(), approvals[2].clone()];
    let approved = check(&contract, &approvals, &other).unwrap();
    assert_eq!(approved.inputs()[0], ("ann".to_owned(), [9; 48]));
}

#[test]
fn an_approval_says_the_right_hash_but_was_made_for_another() {
    let (contract, other) = (
        testing::contract(|_| {}),
        testing::contract(|t| t.cohorts.minimum = 6),
    );
    let mut approval = sign(&other, 0);
    approval.contract = contract.hash();
    assert_eq!(
        approval.verify(&contract).unwrap_err().rule(),
        "approval.signature"
    );
}

#[test]
fn only_the_contracts_key_signs() {
    let contract = testing::contract(|_| {});
    let rule = |party: &str, key: &[u8]| {
        Approval::sign(&contract, party, &[1; 48], key)
            .unwrap_err()
            .rule()
    };
    assert_eq!(
        rule("ann", &KEYS[1].approval_private),
        "approval.private-key"
    );
    assert_eq!(rule("ann", b"no key"), "approval.private-key");
    assert_eq!(
        rule("dan", &KEYS[0].approval_private),
        "approval.unknown-party"
    );
}

#[test]
fn what_is_no_approval() {
    let contract = testing::contract(|_| {});
    let good = String::from_utf8(sign(&contract, 0).to_bytes().unwrap()).unwrap();
    let rule = |text: String| Approval::parse(text.as_bytes()).unwrap_err().rule();
    assert_eq!(rule(" ".repeat(MAX_APPROVAL + 1)), "approval.size");
    assert_eq!(rule(good.replace("party", "name")), "approval.json");
    assert_eq!(rule(good.replace("{", "{\"x\":1,")), "approval.json");
    assert_eq!(
        rule(good.replace("{", "{\"party\":\"ann\",")),
        "approval.json"
    );
    assert_eq!(
        rule(good.replace("approval/1", "approval/2")),
        "approval.field"
    );
    assert_eq!(rule(good.replace("0101", "01")), "approval.field");
    assert_eq!(
        rule(good.replace("\"signature\":\"", "\"signature\":\"AAAA")),
        "approval.field"
    );
    assert_eq!(rule(good.replace(":", ": ")), "approval.canonical");
    let upper = good.replace(
        &contract.hash().to_string(),
        &contract.hash().to_string().to_uppercase(),
    );
    assert_eq!(rule(upper), "approval.canonical");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Approval::parse(&bytes).is_err());
    }

    #[test]
    fn round_trip_and_no_other_byte(at: usize, bit in 0_u32..8) {
        let contract = testing::contract(|_| {});
        let approval = sign(&contract, 0);
        let mut bytes = approval.to_bytes().unwrap();
        prop_assert_eq!(Approval::parse(&bytes).unwrap(), approval);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = Approval::parse(&bytes) {
            prop_assert!(changed.verify(&contract).is_err());
        }
    }
}
