//! What a parent hands to its enclave, and what of it is refused.

use std::collections::BTreeMap;

use anchorhold_threshold::{GroupKey, Participant, sum};
use anchorhold_threshold_app::agreement::{Agreement, MAX_AGREEMENT};
use anchorhold_threshold_app::intake::{Intake, Slot, seal};
use anchorhold_threshold_app::opening::Opening;
use anchorhold_threshold_app::{Refusal, approval, wire};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use proptest::prelude::*;
use serde_json::{Value, json};

fn who(number: u16) -> Participant {
    Participant::new(number).unwrap()
}

fn root(name: &str) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    parameters.self_signed(&key).unwrap().pem()
}

fn document() -> Value {
    let members = [("ada", "a1"), ("ben", "b2"), ("cyd", "c3")].map(|(name, key)| {
        json!({
            "name": name,
            "platform_root_pem": root(name),
            "kms": {
                "host": "kms.anchorhold.internal", "ca_pem": root("kms"),
                "key_arn": "arn:aws:kms:eu-central-1:111122223333:key/share",
                "gives_nonces": true,
            },
            "approval_key": key.repeat(32),
        })
    });
    json!({ "version": 1, "purpose": "test", "threshold": 2, "members": members })
}

fn parse(document: &Value) -> Result<Agreement, Refusal> {
    Agreement::parse(document.to_string().as_bytes())
}

fn rule(document: &Value) -> String {
    parse(document).map(drop).expect_err("it is refused").rule
}

#[test]
fn whatever_is_swapped_in_an_agreement_gives_another_group() {
    let mut document = document();
    document["members"][1]["registers"] = json!([]);
    let group = parse(&document).unwrap().group();
    let swaps = [
        ("/members/0/platform_root_pem", json!(root("other"))),
        ("/members/1/kms/ca_pem", json!(root("other"))),
        ("/members/1/kms/host", json!("kms.example.com")),
        (
            "/members/2/kms/key_arn",
            json!("arn:aws:kms:eu-central-1:1:key/other"),
        ),
        ("/members/2/kms/gives_nonces", json!(false)),
        ("/members/0/approval_key", json!("cd".repeat(32))),
        ("/members/0/name", json!("eve")),
        (
            "/members/1/registers",
            json!([{"pcr": 8, "value": "12".repeat(48)}]),
        ),
        ("/purpose", json!("another")),
        ("/threshold", json!(3)),
    ];
    for (at, value) in swaps {
        let mut swapped = document.clone();
        *swapped.pointer_mut(at).unwrap() = value;
        let other = parse(&swapped).unwrap().group();
        assert_ne!(group.context(), other.context(), "{at}");
    }
}

#[test]
fn agreements_that_are_none() {
    let good = document();
    let with = |at: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(at).unwrap() = value;
        changed
    };
    assert_eq!(rule(&with("/version", json!(2))), "agreement.version");
    assert_eq!(rule(&with("/threshold", json!(1))), "group.size");
    assert_eq!(rule(&with("/threshold", json!(4))), "group.size");
    assert_eq!(rule(&with("/members", json!([]))), "group.size");
    assert_eq!(
        rule(&with("/members/0/approval_key", json!("ab"))),
        "agreement.approval-key"
    );
    assert_eq!(
        rule(&with("/members/0/platform_root_pem", json!("none"))),
        "agreement.platform-root"
    );
    let two = json!(root("one") + &root("two"));
    assert_eq!(
        rule(&with("/members/0/platform_root_pem", two)),
        "agreement.platform-root"
    );
    assert_eq!(
        rule(&with("/members/0/approval_key", json!("c3".repeat(32)))),
        "agreement.approval-key"
    );
    let mut more = good.clone();
    more["more"] = json!(1);
    assert_eq!(rule(&more), "agreement.encoding");
    let long = vec![b' '; MAX_AGREEMENT + 1];
    assert_eq!(
        Agreement::parse(&long).unwrap_err().rule,
        "agreement.length"
    );
    assert_eq!(
        parse(&good).unwrap().member(who(4)).unwrap_err().rule,
        "participant.member"
    );
}

#[test]
fn registers_that_an_agreement_cannot_demand() {
    let with = |registers: Value| {
        let mut changed = document();
        changed["members"][2]["registers"] = registers;
        changed
    };
    let value = "5a".repeat(48);
    let demand = |pcr: u8, value: &str| json!({ "pcr": pcr, "value": value });
    let refused = [
        json!([demand(0, &value)]),
        json!([demand(2, &value)]),
        json!([demand(16, &value)]),
        json!([demand(255, &value)]),
        json!([demand(8, "5a")]),
        json!([demand(8, &"00".repeat(48))]),
        json!([demand(8, &value), demand(8, &value)]),
        json!([demand(8, &value), demand(8, &"5b".repeat(48))]),
    ];
    for registers in refused {
        assert_eq!(
            rule(&with(registers.clone())),
            "agreement.register",
            "{registers}"
        );
    }
    let more = json!([{ "pcr": 8, "value": value, "or": value }]);
    assert_eq!(rule(&with(more)), "agreement.encoding");
    let agreement = parse(&with(json!([demand(8, &value), demand(4, &value)]))).unwrap();
    let of = |number| agreement.registers(who(number)).unwrap();
    let named: Vec<_> = of(3).keys().map(|index| index.value()).collect();
    assert_eq!(named, [4, 8]);
    assert!(of(1).is_empty() && of(2).is_empty());
    assert_eq!(
        agreement.registers(who(4)).unwrap_err().rule,
        "participant.member"
    );
}

#[test]
fn an_approval_is_for_one_message_key_and_group() {
    let agreement = parse(&document()).unwrap();
    let other = parse(&document()).unwrap().group();
    let owner = Ed25519KeyPair::generate().unwrap();
    let public: [u8; 32] = owner.public_key().as_ref().try_into().unwrap();
    let (group, key) = (agreement.group(), GroupKey([7; 32]));
    let signed = approval::to_be_signed(&group, &key, b"pay");
    let approval = owner.sign(&signed);
    let approval = approval.as_ref();
    let check = |public: &_, group: &_, key: &_, message: &[u8]| {
        approval::check(public, group, key, message, approval).map_err(|refusal| refusal.rule)
    };
    assert!(check(&public, &group, &key, b"pay").is_ok());
    let refused = Err("sign.approval".to_owned());
    assert_eq!(check(&public, &group, &key, b"pay more"), refused);
    assert_eq!(check(&public, &group, &GroupKey([8; 32]), b"pay"), refused);
    assert_eq!(check(&public, &other, &key, b"pay"), refused);
    assert_eq!(check(&[9; 32], &group, &key, b"pay"), refused);
}

#[test]
fn a_piece_counts_for_its_owner_enclave_and_sum_only() {
    let group = parse(&document()).unwrap().group();
    let owner = Ed25519KeyPair::generate().unwrap();
    let public: [u8; 32] = owner.public_key().as_ref().try_into().unwrap();
    let (intake, elsewhere) = (Intake::generate().unwrap(), Intake::generate().unwrap());
    let mut pieces: BTreeMap<_, _> = sum::split(&group, &[5, 6], &mut UnwrapErr(SysRng)).unwrap();
    let piece = pieces.remove(&who(2)).unwrap();
    let slot = Slot {
        group: &group,
        label: "exposure",
        split: &[1; 32],
        owner: who(1),
        enclave: who(2),
    };
    let message = seal(slot, &piece, intake.public_key_der()).unwrap();
    let signature = owner.sign(&message);
    let open = |intake: &Intake, slot, message: &[u8], signature: &[u8]| {
        intake
            .open(slot, &public, message, signature)
            .map_err(|refusal| refusal.rule)
    };
    let opened = open(&intake, slot, &message, signature.as_ref()).unwrap();
    assert_eq!(*opened.to_bytes(), *piece.to_bytes());
    let refused = |result: Result<_, String>| result.map(drop).expect_err("it is refused");
    let others = [
        Slot {
            owner: who(3),
            ..slot
        },
        Slot {
            enclave: who(1),
            ..slot
        },
        Slot {
            label: "another sum",
            ..slot
        },
        Slot {
            split: &[2; 32],
            ..slot
        },
    ];
    for other in others {
        let result = open(&intake, other, &message, signature.as_ref());
        assert_eq!(refused(result), "context.mismatch");
    }
    let result = open(&elsewhere, slot, &message, signature.as_ref());
    assert_eq!(refused(result), "sum.key");
    let mut changed = message.clone();
    changed[0] ^= 1;
    let result = open(&intake, slot, &changed, signature.as_ref());
    assert_eq!(refused(result), "sum.signature");
}

#[test]
fn commands_are_lines_of_a_bounded_length() {
    let refused = |bytes: &[u8]| wire::read(bytes).map(drop).expect_err("refused").rule;
    assert_eq!(refused(b""), "command.length");
    assert_eq!(refused(br#"{"op":"dkg"}"#), "command.length");
    let long = vec![b' '; usize::try_from(wire::MAX_COMMAND).unwrap() + 1];
    assert_eq!(refused(&long), "command.length");
    assert_eq!(refused(b"{\"op\":\"export-share\"}\n"), "command.encoding");
    assert_eq!(
        refused(b"{\"op\":\"dkg\",\"share\":1}\n"),
        "command.encoding"
    );
    let read = wire::read(&b"{\"op\":\"dkg\"}\n"[..]);
    assert!(matches!(read, Ok(wire::Command::Dkg { patience: 60 })));
    let configure = json!({
        "op": "configure", "agreement": "", "participant": 1, "peers": {"2": 7002},
        "credentials": {"access_key_id": "a", "secret_access_key": "b"},
    });
    let read = wire::read(format!("{configure}\n").as_bytes());
    let Ok(wire::Command::Configure { peers, .. }) = read else {
        panic!("a command with numbers for names is understood");
    };
    assert_eq!(peers["2"], 7002);
    for name in ["", "x", "0", "33", "70000"] {
        assert!(wire::participant(name).is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn hostile_lines_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        bytes.push(b'\n');
        let _ = wire::read(&bytes[..]);
        let _ = Agreement::parse(&bytes);
        let _ = Opening::parse(&bytes);
    }
}
