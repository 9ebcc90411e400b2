//! What a party checks before it approves, and how it binds its key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::desk::Desk;
use anchorhold_document::Pcr;
use anchorhold_joint::contract::{Computation, Contract, Output, Privacy, Terms};
use anchorhold_party::offer::{Demands, Offer};
use anchorhold_party::policy::{before_contract, for_contract};
use anchorhold_party::review::Review;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

/// A day before the contract is over.
const NOW: OffsetDateTime = datetime!(2130-01-30 00:00 UTC);

fn changed(contract: &Contract, change: impl FnOnce(&mut Terms)) -> Contract {
    let mut terms = contract.terms().clone();
    change(&mut terms);
    Contract::from_terms(terms).unwrap()
}

#[test]
fn a_contract_that_says_what_was_not_offered() {
    let desk = Desk::new(1);
    let offer = desk.offer("ann");
    let json = serde_json::to_vec(&offer).unwrap();
    let offer = Offer::parse(&json).unwrap();
    let others = [desk.offer("bob")];
    offer.agree(&desk.contract, &others, NOW).unwrap();
    let changes: [fn(&mut Terms); 8] = [
        |t| t.parties[0].runs = 9,
        |t| t.parties[0].outputs = vec![Output::IntersectionSize],
        |t| t.parties[0].kms_endpoint = "kms.other.example".to_owned(),
        |t| t.parties[0].columns[1].name = "ssn".to_owned(),
        |t| t.parties[0].platform_root = "ab".repeat(32),
        // Another party is to see more, or is somebody else.
        |t| t.parties[1].outputs = vec![Output::IntersectionSize, Output::Sums],
        |t| t.parties[1].runs = 9,
        |t| t.parties[1].kms_ca = t.parties[1].kms_ca.replace("MAMC", "MAMD"),
    ];
    for change in changes {
        let contract = changed(&desk.contract, change);
        let refused = offer.agree(&contract, &others, NOW).unwrap_err();
        assert_eq!(refused.rule(), "offer.differs");
    }
    let without = changed(&desk.contract, |t| t.parties[0].name = "amy".to_owned());
    let refused = offer.agree(&without, &others, NOW).unwrap_err();
    assert_eq!(refused.rule(), "offer.party");
    let unknown = offer.agree(&desk.contract, &[], NOW).unwrap_err();
    assert_eq!(unknown.rule(), "offer.stranger");
    let gone = [desk.offer("bob"), {
        let mut third = desk.offer("bob");
        third.party.name = "cyd".to_owned();
        third
    }];
    let refused = offer.agree(&desk.contract, &gone, NOW).unwrap_err();
    assert_eq!(refused.rule(), "offer.party");
    assert_eq!(Offer::parse(b"{}").unwrap_err().rule(), "offer.json");
}

fn noise(epsilon: &str) -> Privacy {
    let bounds = ["ann", "bob"]
        .map(|party| json!({"column": "amount", "lower": "0", "party": party, "upper": "10"}));
    let noise = json!({"bounds": bounds, "delta": "0", "epsilon": epsilon, "mechanism": "laplace"});
    serde_json::from_value(noise).unwrap()
}

#[test]
fn a_contract_that_does_not_meet_a_party_s_demands() {
    let desk = Desk::new(1);
    let others = [desk.offer("bob")];
    let agree = |demands: fn(&mut Demands), terms: &dyn Fn(&mut Terms)| {
        let mut offer = desk.offer("ann");
        demands(&mut offer.demands);
        let contract = changed(&desk.contract, terms);
        let agreed = offer.agree(&contract, &others, NOW);
        agreed.map_err(|e| (e.rule(), e.to_string()))
    };
    let refused = |demands, terms, said: &str| {
        let (rule, message) = agree(demands, terms).unwrap_err();
        assert_eq!(rule, "offer.demand", "{message}");
        assert!(message.contains(said), "{message}");
    };
    refused(|d| d.minimum = 3, &|_| {}, "at least 3");
    refused(|d| d.withhold_complements = true, &|_| {}, "complements");
    refused(
        |d| d.computation = Computation::Overlap {},
        &|_| {},
        "overlap",
    );
    refused(|d| d.longest -= 1, &|_| {}, "seconds");
    let one: fn(&mut Demands) = |d| d.privacy = Some(noise("1"));
    // Noise that was demanded and is not there, or less of it.
    refused(one, &|_| {}, "noise");
    refused(one, &|t| t.privacy = Some(noise("1.5")), "noise");
    agree(one, &|t| t.privacy = Some(noise("1"))).unwrap();
    agree(|_| {}, &|t| t.privacy = Some(noise("1.5"))).unwrap();
    agree(|d| d.minimum = 2, &|t| t.cohorts.minimum = 9).unwrap();
    agree(|_| {}, &|t| t.cohorts.withhold_complements = true).unwrap();

    let offer = desk.offer("ann");
    let over = changed(&desk.contract, |t| {
        t.expires = "2030-01-01T00:00:00Z".to_owned()
    });
    let refused = offer.agree(&over, &others, NOW).unwrap_err();
    assert_eq!(refused.rule(), "contract.expired");
}

#[test]
fn a_key_is_bound_to_image_contract_root_and_runs() {
    let desk = Desk::new(1);
    let party = &desk.contract.parties()[0];
    let (owner, enclave) = ("arn:aws:iam::1:user/owner", "arn:aws:iam::1:user/enclave");
    let before = before_contract(owner).to_string();
    assert!(before.contains("kms:PutKeyPolicy") && !before.contains("kms:Decrypt"));
    let signed = changed(&desk.contract, |t| t.image.pcr8 = Some("08".repeat(48)));
    let policy = for_contract(&signed, party, owner, enclave, None).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let decrypts = |s: &&Value| s["Action"].to_string().contains("kms:Decrypt\"");
    let decrypt: Vec<_> = statements.iter().filter(decrypts).collect();
    assert_eq!(decrypt.len(), 1);
    assert_eq!(decrypt[0]["Principal"]["AWS"], enclave);
    let expected = json!({
        "StringEqualsIgnoreCase": {
            "kms:RecipientAttestation:PCR0": "01".repeat(48),
            "kms:RecipientAttestation:PCR1": "02".repeat(48),
            "kms:RecipientAttestation:PCR2": "03".repeat(48),
            "kms:RecipientAttestation:PCR8": "08".repeat(48),
            "anchorhold:RecipientAttestation:RootSha256": party.platform_root,
            "anchorhold:RecipientAttestation:UserData": hex::encode(signed.user_data()),
        },
        "DateLessThan": {"aws:CurrentTime": signed.terms().expires},
        "NumericLessThan": {"anchorhold:RecipientAttestation:PriorReleases": "3"},
    });
    assert_eq!(decrypt[0]["Condition"], expected);
    // The party's own choice of a signer, beside a contract that leaves it open or names another.
    let own = Pcr([9; 48]);
    let policy = for_contract(&desk.contract, party, owner, enclave, Some(&own)).unwrap();
    let pcr8 = "/Statement/1/Condition/StringEqualsIgnoreCase/kms:RecipientAttestation:PCR8";
    assert_eq!(policy.pointer(pcr8).unwrap(), &"09".repeat(48));
    let refused = for_contract(&signed, party, owner, enclave, Some(&own)).unwrap_err();
    assert_eq!(refused.rule(), "image.signer");
}

/// Runs the program; its status and what it printed.
fn party(desk: &Desk, words: &str) -> (bool, Value) {
    let done = Command::new(env!("CARGO_BIN_EXE_anchorhold-party"))
        .args(words.split_whitespace())
        .current_dir(desk.dir.path())
        .output()
        .unwrap();
    let printed = String::from_utf8(done.stdout).unwrap();
    let json = serde_json::from_str(&printed);
    (
        done.status.success(),
        json.unwrap_or_else(|_| panic!("{words}: {printed}")),
    )
}

#[test]
fn the_program_refuses_by_rule_and_overwrites_nothing() {
    let desk = Desk::new(1);
    let write = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
    for name in ["ann", "bob"] {
        let mut offer = desk.offer(name);
        offer.demands.longest = u64::from(u32::MAX);
        write(
            &format!("{name}.json"),
            &serde_json::to_vec(&offer).unwrap(),
        );
    }
    let receipt = |hash: &str| {
        let format = anchorhold_party::receipt::FORMAT;
        json!({"contract_sha384": hash, "format": format,
            "header_sha384": "aa".repeat(48), "plaintext_bytes": 1})
        .to_string()
    };
    let hash = desk.contract.hash().to_string();
    write("receipt.json", receipt(&hash).as_bytes());
    write("old-receipt.json", receipt(&"00".repeat(48)).as_bytes());
    let mut spaced = desk.contract.canonical().to_vec();
    spaced.push(b'\n');
    write("spaced.json", &spaced);
    let other = changed(&desk.contract, |t| t.parties[0].runs = 9);
    write("other.json", other.canonical());
    let review = |contract: &Contract| serde_json::to_vec(&Review::of(contract, false)).unwrap();
    write("review.json", &review(&desk.contract));
    write("other-review.json", &review(&other));

    let (shown, printed) = party(&desk, "contract show --contract contract.json");
    assert!(shown && printed["sha384"] == *hash);
    let approve =
        "approve --offer ann.json --peer bob.json --review review.json --output approval.json";
    let agreed = "--contract contract.json --offer ann.json --peer bob.json";
    let other = "--contract other.json --offer ann.json --peer bob.json --review other-review.json";
    let kms = "--kms 127.0.0.1:1 --kms-host x --region x --kms-ca x.pem --credentials x.json";
    let refusals = [
        ("keys --dir keys-ann".to_owned(), "keys.file"),
        (
            "contract show --contract spaced.json".to_owned(),
            "contract.canonical",
        ),
        (
            "contract show --contract nowhere.json".to_owned(),
            "owner.file",
        ),
        (
            format!("{approve} --contract other.json --keys keys-ann --receipt receipt.json"),
            "offer.differs",
        ),
        (
            format!("{approve} --contract contract.json --keys keys-bob --receipt receipt.json"),
            "approval.private-key",
        ),
        (
            format!(
                "{approve} --contract contract.json --keys keys-ann --receipt old-receipt.json"
            ),
            "party.usage",
        ),
        (
            format!("review {agreed} --eif x.eif --image-tool /nowhere"),
            "image.tool",
        ),
        (
            "review --contract other.json --offer ann.json --peer bob.json --eif x.eif".to_owned(),
            "offer.differs",
        ),
        (
            "review --contract contract.json --offer ann.json --peer ann.json --eif x.eif"
                .to_owned(),
            "offer.stranger",
        ),
        // Neither is a key bound nor a file sealed for a contract that was not offered; no KMS is
        // asked.
        (
            format!("key bind {other} --owner x --enclave y {kms}"),
            "offer.differs",
        ),
        (
            format!("seal {other} --records x.csv --output x.esdk --receipt x.json {kms}"),
            "offer.differs",
        ),
    ];
    for (words, rule) in refusals {
        let (done, printed) = party(&desk, &words);
        assert!(!done, "{words}");
        assert_eq!(printed["error"]["rule"], rule, "{words}");
    }
    assert!(!desk.path("approval.json").exists());
    let words =
        format!("{approve} --contract contract.json --keys keys-ann --receipt receipt.json");
    assert!(party(&desk, &words).0);
    let (done, printed) = party(&desk, &words);
    assert!(!done && printed["error"]["rule"] == "owner.file");

    // A host may hand out a contract with its answers; the party believes the one that it approved.
    let open = "open --keys keys-ann --answers x --challenge x --root x --approval approval.json";
    for (words, refused) in [
        (
            "--contract other.json --party ann",
            "approval.other-contract",
        ),
        ("--contract contract.json --party bob", "party.usage"),
        ("--contract contract.json --party ann", "owner.file"),
    ] {
        let (done, printed) = party(&desk, &format!("{open} {words}"));
        assert!(!done && printed["error"]["rule"] == refused, "{printed}");
    }
}

/// Prints the registers of the desk's image, or one with another application.
fn image_tool(desk: &Desk, name: &str, pcr2: &str) {
    let [pcr0, pcr1] = ["01", "02"].map(|byte| byte.repeat(48));
    let printed = json!({"Measurements": {"PCR0": pcr0, "PCR1": pcr1, "PCR2": pcr2}});
    let path = desk.path(name);
    fs::write(&path, format!("#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_a_review_of_this_contract_and_its_image_nothing_is_done() {
    let desk = Desk::new(1);
    let write = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
    for name in ["ann", "bob"] {
        let mut offer = desk.offer(name);
        offer.demands.longest = u64::from(u32::MAX);
        write(
            &format!("{name}.json"),
            &serde_json::to_vec(&offer).unwrap(),
        );
    }
    image_tool(&desk, "image", &"03".repeat(48));
    image_tool(&desk, "other-image", &"04".repeat(48));
    let agreed = "--contract contract.json --offer ann.json --peer bob.json";
    let review = format!("review {agreed} --eif x.eif --review review.json --image-tool");
    let (done, printed) = party(&desk, &format!("{review} ./other-image"));
    assert!(
        !done && printed["error"]["rule"] == "image.pcr",
        "{printed}"
    );
    assert!(!desk.path("review.json").exists());
    let (done, printed) = party(&desk, &format!("{review} ./image"));
    assert!(done && printed["review"] == "review.json", "{printed}");
    let (done, printed) = party(&desk, &format!("{review} ./image"));
    assert!(
        !done && printed["error"]["rule"] == "owner.file",
        "{printed}"
    );

    let written = fs::read(desk.path("review.json")).unwrap();
    let written = Review::parse(&written).unwrap();
    assert_eq!(written, Review::of(&desk.contract, false));
    let changed = |change: &dyn Fn(&mut Review)| {
        let mut review = written.clone();
        change(&mut review);
        serde_json::to_vec(&review).unwrap()
    };
    // Another contract with the same image, which the same offers made.
    let again = changed_nonce(&desk.contract);
    write(
        "other-contract",
        &changed(&|r| *r = Review::of(&again, true)),
    );
    write(
        "other-image.json",
        &changed(&|r| r.image.pcr2 = "04".repeat(48)),
    );
    write(
        "signed",
        &changed(&|r| r.image.pcr8 = Some("08".repeat(48))),
    );
    write("format", &changed(&|r| r.format.push('x')));
    write("none", b"{}");
    let kms = "--kms 127.0.0.1:1 --kms-host x --region x --kms-ca x.pem --credentials x.json";
    for (review, rule) in [
        ("other-contract", "review.contract"),
        ("other-image.json", "review.image"),
        ("signed", "review.image"),
        ("format", "review.json"),
        ("none", "review.json"),
        ("nowhere", "owner.file"),
    ] {
        for words in [
            format!("key bind {agreed} --owner x --enclave y {kms}"),
            format!("seal {agreed} --records x.csv --output x.esdk --receipt x.json {kms}"),
            format!("approve {agreed} --keys keys-ann --receipt x.json --output approval.json"),
        ] {
            let (done, printed) = party(&desk, &format!("{words} --review {review}"));
            assert!(!done, "{words}");
            assert_eq!(printed["error"]["rule"], rule, "{words}: {printed}");
        }
    }
}

fn changed_nonce(contract: &Contract) -> Contract {
    changed(contract, |t| t.nonce = "0e".repeat(32))
}
