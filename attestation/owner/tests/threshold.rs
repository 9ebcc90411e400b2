//! `anchorhold-owner threshold` as owners meet it: which documents it takes for their enclaves'.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::SystemTime;

use anchorhold_document::Pcr;
use anchorhold_document::nsm::{AttestationRequest, Request, Response};
use anchorhold_nsm::{Boot, Platform, SecurityModule};
use anchorhold_threshold::Participant;
use anchorhold_threshold_app::agreement::Agreement;
use anchorhold_threshold_app::intake::{self, Intake};
use anchorhold_threshold_app::server::status_user_data;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde_json::{Value, json};

const PCRS: [Pcr; 3] = [Pcr([0xa0; 48]), Pcr([0xa1; 48]), Pcr([0xa2; 48])];
const SIGNER: Pcr = Pcr([0x88; 48]);
const CHALLENGE: [u8; 32] = [0x5c; 32];

/// An owner's folder: one platform for two participants, of whom the second has a signed image.
struct Desk {
    dir: tempfile::TempDir,
    platform: String,
}

impl Desk {
    fn new() -> Self {
        let platform = Platform::generate(SystemTime::now(), &mut UnwrapErr(SysRng)).unwrap();
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
            platform: platform.to_pem().unwrap().to_string(),
        };
        let member = |name: &str, key: &str, registers: Value| {
            json!({
                "name": name,
                "platform_root_pem": platform.root_certificate_pem(),
                "kms": {
                    "host": "kms.anchorhold.internal", "ca_pem": "",
                    "key_arn": "arn:aws:kms:eu-central-1:111122223333:key/share",
                    "gives_nonces": true,
                },
                "approval_key": key.repeat(32),
                "registers": registers,
            })
        };
        let signed = json!([{ "pcr": 8, "value": SIGNER.to_string() }]);
        let agreement = json!({
            "version": 1, "purpose": "test", "threshold": 2,
            "members": [member("ada", "a1", json!([])), member("ben", "b2", signed)],
        });
        fs::write(desk.path("agreement.json"), agreement.to_string()).unwrap();
        let made = desk.run(&["approval-key", "--output", "approval.key"]);
        assert!(made.status.success(), "{made:?}");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn group(&self) -> anchorhold_threshold::Group {
        let agreement = fs::read(self.path("agreement.json")).unwrap();
        Agreement::parse(&agreement).unwrap().group()
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_anchorhold-owner"))
            .arg("threshold")
            .args(words)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// A document of an enclave on the platform.
    fn document(&self, signer: Option<Pcr>, user_data: Vec<u8>, key: Option<Vec<u8>>) -> String {
        let platform = Platform::from_pem(&self.platform).unwrap();
        let boot = Boot {
            module_id: platform.module_id(7),
            pcr0: PCRS[0],
            pcr1: PCRS[1],
            pcr2: PCRS[2],
            pcr3: None,
            pcr8: signer,
            debug: false,
        };
        let mut module = SecurityModule::new(platform, boot).unwrap();
        let request = Request::Attestation(AttestationRequest {
            user_data: Some(user_data),
            nonce: Some(CHALLENGE.to_vec()),
            public_key: key,
        });
        let now = SystemTime::now();
        let answer = module.handle(&request.to_cbor(), now, &mut UnwrapErr(SysRng));
        match Response::from_cbor(&answer).unwrap() {
            Response::Attestation { document } => STANDARD.encode(document),
            other => panic!("no document: {other:?}"),
        }
    }

    /// An enclave's answer to `status`, which says so.
    fn status(&self, says: &Value, signer: Option<Pcr>) {
        let text = says.to_string();
        let document = self.document(signer, status_user_data(&text), None);
        let answer = json!({ "done": { "status": text, "document": document } });
        fs::write(self.path("answer.json"), answer.to_string()).unwrap();
    }

    fn check(&self, participant: &str, pcrs: &[(u8, Pcr)]) -> Output {
        let challenge = hex::encode(CHALLENGE);
        let mut words: Vec<String> = ["status", "--agreement", "agreement.json", "--answer"]
            .map(str::to_owned)
            .into();
        words.extend(["answer.json", "--challenge", &challenge].map(str::to_owned));
        words.extend(["--participant", participant].map(str::to_owned));
        for (index, pcr) in pcrs {
            words.extend(["--pcr".to_owned(), format!("{index}={pcr}")]);
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.run(&words)
    }
}

fn image() -> Vec<(u8, Pcr)> {
    (0..).zip(PCRS).collect()
}

fn rule(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["error"]["rule"].as_str().unwrap().to_owned()
}

#[test]
fn a_status_of_another_group_or_participant_is_refused_though_it_is_attested() {
    let desk = Desk::new();
    let group = hex::encode(desk.group().context());
    let status = json!({ "group": group, "participant": 1, "key": null, "epoch": null });
    let with = |field: &str, value: Value| {
        let mut other = status.clone();
        other[field] = value;
        other
    };
    for (says, expected) in [
        (with("group", json!("00".repeat(48))), "status.group"),
        (with("group", Value::Null), "status.group"),
        (with("participant", json!(2)), "status.participant"),
        (with("participant", json!("1")), "status.participant"),
    ] {
        desk.status(&says, None);
        assert_eq!(rule(&desk.check("1", &image())), expected, "{says}");
    }
    desk.status(&status, None);
    let printed = desk.check("1", &image());
    assert!(printed.status.success(), "{printed:?}");
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(printed, status);
    // Its text changed afterwards is not what was attested.
    let answer = fs::read_to_string(desk.path("answer.json")).unwrap();
    let changed = answer.replace(r#"\"epoch\":null"#, r#"\"epoch\":1"#);
    assert_ne!(answer, changed);
    fs::write(desk.path("answer.json"), changed).unwrap();
    assert_eq!(rule(&desk.check("1", &image())), "user-data.mismatch");
}

#[test]
fn a_status_without_the_registers_that_the_agreement_demands_is_refused() {
    let desk = Desk::new();
    let group = hex::encode(desk.group().context());
    let status = json!({ "group": group, "participant": 2 });
    for signer in [None, Some(Pcr([0x99; 48]))] {
        desk.status(&status, signer);
        assert_eq!(rule(&desk.check("2", &image())), "pcr.mismatch");
    }
    desk.status(&status, Some(SIGNER));
    assert!(desk.check("2", &image()).status.success());
    // The owner may say the same, and nothing else.
    let mut named = image();
    named.push((8, SIGNER));
    assert!(desk.check("2", &named).status.success());
    named[3].1 = Pcr([0x99; 48]);
    assert_eq!(desk.check("2", &named).status.code(), Some(1));
}

#[test]
fn an_image_is_named_by_its_three_registers_once_each() {
    let desk = Desk::new();
    let group = hex::encode(desk.group().context());
    desk.status(&json!({ "group": group, "participant": 1 }), None);
    for missing in 0..3 {
        let mut pcrs = image();
        pcrs.remove(missing);
        assert_eq!(desk.check("1", &pcrs).status.code(), Some(1), "{missing}");
    }
    let mut twice = image();
    twice.insert(0, (0, Pcr([1; 48])));
    assert_eq!(desk.check("1", &twice).status.code(), Some(1));
    let mut other = image();
    other[2].1 = Pcr([1; 48]);
    assert_eq!(rule(&desk.check("1", &other)), "pcr.mismatch");
    assert!(desk.check("1", &image()).status.success());
}

/// Two enclaves' answers to `intake`, whose documents say that they are of these participants.
fn intakes(desk: &Desk, of: [u16; 2]) -> Output {
    for (file, number) in ["one.json", "two.json"].iter().zip(of) {
        let key = Intake::generate().unwrap().public_key_der().to_vec();
        let enclave = Participant::new(number).unwrap();
        let user_data = intake::user_data(&desk.group(), enclave);
        let document = desk.document(Some(SIGNER), user_data, Some(key));
        let answer = json!({ "done": { "document": document } });
        fs::write(desk.path(file), answer.to_string()).unwrap();
    }
    let challenge = hex::encode(CHALLENGE);
    let mut words = vec![
        "split",
        "--agreement",
        "agreement.json",
        "--participant",
        "1",
    ];
    words.extend([
        "--key",
        "approval.key",
        "--label",
        "exposure",
        "--value",
        "5",
    ]);
    words.extend([
        "--intake",
        "one.json",
        "--intake",
        "two.json",
        "--challenge",
    ]);
    words.push(&challenge);
    let pcrs: Vec<_> = image()
        .iter()
        .map(|(n, pcr)| format!("{n}={pcr}"))
        .collect();
    words.extend(pcrs.iter().flat_map(|pcr| ["--pcr", pcr.as_str()]));
    desk.run(&words)
}

#[test]
fn values_are_split_among_different_participants_enclaves_only() {
    let desk = Desk::new();
    // One platform for all: a host shows the key of one enclave twice, or in another's place.
    for of in [[1, 1], [2, 1], [2, 2]] {
        assert_eq!(rule(&intakes(&desk, of)), "user-data.mismatch", "{of:?}");
    }
    let printed = intakes(&desk, [1, 2]);
    assert!(printed.status.success(), "{printed:?}");
    let pieces: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(pieces["1"]["split"], pieces["2"]["split"]);
    let again: Value = serde_json::from_slice(&intakes(&desk, [1, 2]).stdout).unwrap();
    assert_ne!(pieces["1"]["split"], again["1"]["split"]);
}
