//! Every byte that crosses the parent is recorded, and none of the undisclosed values is among them.
//!
//! Canaries: random values in every column, searched raw, in hex and in base64 at every alignment.
//! A control application that leaks must be caught by the same search.

mod recorder;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use recorder::Recorder;
use xtask::commands::output;
use xtask::demo::pii::cast::{Cast, challenge};
use xtask::demo::{Enclave, terminate};
use xtask::scene::Scene;
use xtask::stage::{self, Image};

/// Rows that are answered.
const ROWS: usize = 40;

/// The columns whose form has no room for 12 random characters. Their values are canaries as well,
/// each searched whole. Beside the rows above there are some for each of these columns in which its
/// value is 16 random letters. The application rejects them: what it does not recognise must stay
/// inside, too.
const SHORT_COLUMNS: [&str; 4] = ["phone", "ssn", "card_number", "postcode"];
const REJECTED_OF_EACH: usize = 4;

/// What of the control's leak must come through at least, in percent. The switch loses nothing; a
/// busy host's serial line does.
const LEAKS: [(&str, usize); 2] = [("switch", 100), ("console", 50)];

/// Random values with what the application makes of them: at least 12 random characters in every
/// column.
struct Canaries {
    csv: String,
    undisclosed: Vec<String>,
}

fn random(alphabet: &[u8], length: usize) -> String {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
        .iter()
        .map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()]))
        .collect()
}

fn canaries() -> Canaries {
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    let mut csv =
        String::from("customer_id,name,email,phone,ssn,card_number,date_of_birth,postcode,notes\n");
    let mut undisclosed = Vec::new();
    let rejected = SHORT_COLUMNS.map(|column| [Some(column); REJECTED_OF_EACH]);
    let rows = [None; ROWS]
        .into_iter()
        .chain(rejected.into_iter().flatten());
    for unrecognisable in rows {
        let or_letters = |column: &str, value: String| match unrecognisable == Some(column) {
            true => random(letters, 16),
            false => value,
        };
        let id = random(letters, 16);
        let name = format!("{} {}", random(letters, 12), random(letters, 12));
        let email = format!("{}@{}.example", random(letters, 14), random(letters, 12));
        let phone = format!("+4915{}", random(b"0123456789", 10));
        let phone = or_letters("phone", phone);
        let ssn = format!(
            "8{}-{}-{}",
            random(b"0123456789", 2),
            random(b"123456789", 2),
            random(b"123456789", 4)
        );
        let ssn = or_letters("ssn", ssn);
        let card = luhn(&format!("400000{}", random(b"0123456789", 9)));
        let card = or_letters("card_number", card);
        // The application reads a time behind the date, and the date alone has eight digits.
        let born = format!(
            "19{}-0{}-1{}T{}",
            random(b"56789", 2),
            random(b"123456789", 1),
            random(b"0123456789", 1),
            random(letters, 12)
        );
        let postcode = or_letters("postcode", random(b"123456789", 10));
        // A field of two lines; what follows the break must not be taken for a row.
        let (notes, more) = (random(letters, 24), random(letters, 24));
        csv.push_str(&format!(
            "{id},{name},{email},{phone},{ssn},{card},{born},{postcode},\"{notes}\n{more}\"\n"
        ));
        // What the application makes of them on the way to a token, too.
        undisclosed.extend([phone[1..].to_owned(), ssn.replace('-', "")]);
        let parts = name
            .split(' ')
            .chain(email.split('@').take(1))
            .chain(born.split('T').skip(1));
        undisclosed.extend(parts.map(str::to_owned));
        undisclosed.extend([
            id, name, email, phone, ssn, card, born, postcode, notes, more,
        ]);
    }
    Canaries { csv, undisclosed }
}

fn luhn(digits: &str) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b - b'0') * if i % 2 == 0 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// The forms in which a value may stand in a stream: raw, hex, and base64 at its three alignments.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![
        value.as_bytes().to_vec(),
        hex::encode(value).into_bytes(),
        hex::encode_upper(value).into_bytes(),
    ];
    for skip in 0..3 {
        let mut shifted = vec![0; skip];
        shifted.extend(value.as_bytes());
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted).into_bytes();
            // Characters that also hold bits of the neighbours are not the value's own.
            let start = [0, 2, 3][skip];
            let end = text.len() - usize::from(shifted.len() % 3 != 0);
            forms.push(text[start..end].to_vec());
        }
    }
    forms
}

fn found<'a>(canaries: &'a Canaries, places: &[(String, Vec<u8>)]) -> Vec<(&'a str, String)> {
    let mut found = Vec::new();
    for value in &canaries.undisclosed {
        for form in forms(value) {
            for (place, bytes) in places {
                let mut matches = memchr::memmem::find_iter(bytes, &form);
                if matches.any(|at| !is_chance(value, &form, bytes, at)) {
                    found.push((value.as_str(), place.clone()));
                }
            }
        }
    }
    found
}

/// Whether a match is the midst of a longer number: the nine digits of an SSN come about in the hex
/// digits of a digest. Values that leak stand beside commas, quotes or line ends.
fn is_chance(value: &str, form: &[u8], bytes: &[u8], at: usize) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let short = value.len() < 10 && value.bytes().all(|b| b.is_ascii_digit());
    short && form == value.as_bytes() && is_hex(before) && is_hex(bytes.get(at + form.len()))
}

/// How much of the records, as they came, is found in places of this name, in percent. The control
/// leaks these, not what the application makes of them.
fn percent(canaries: &Canaries, places: &[(String, Vec<u8>)], name: &str) -> usize {
    let found = found(canaries, places);
    let caught: BTreeSet<&str> = found
        .iter()
        .filter(|(_, place)| place.starts_with(name))
        .map(|(value, _)| *value)
        .collect();
    let raw = canaries.undisclosed.iter().map(String::as_str);
    let raw: Vec<&str> = raw.filter(|value| canaries.csv.contains(*value)).collect();
    raw.iter().filter(|value| caught.contains(*value)).count() * 100 / raw.len()
}

/// Runs the image on canaries and returns them with every byte that crossed the parent, and the
/// answer as its receiver reads it.
fn run(recipe: &str) -> (Canaries, Vec<(String, Vec<u8>)>) {
    let scene = Scene::new("test", &stage::bins()).unwrap();
    let owner = tempfile::tempdir().unwrap();
    let canaries = canaries();
    let records = owner.path().join("records.csv");
    fs::write(&records, &canaries.csv).unwrap();

    let mut cast = Cast::assemble(&scene).unwrap();
    let ca = format!("{}=/etc/anchorhold/kms-ca.pem", cast.kms.ca().display());
    let image = stage::build_image(scene.bins(), recipe, &[ca], &scene.path("image.eif")).unwrap();
    cast.create_key(&image.pcrs).unwrap();
    cast.seal(Some(&job(owner.path())), &records).unwrap();
    let state = scene.path("state");
    let out = Recorder::between(&state.join("vsock_8000"));
    let enclave = run_recorded(&scene, &image);
    let directory = state.join("enclaves").join(&enclave.id);
    let into = Recorder::between(&directory.join("vsock.sock"));
    assert!(
        !directory.join("console.sock").exists(),
        "a production enclave has no console"
    );

    let (answer, challenge) = (scene.path("answer"), challenge().unwrap());
    let submitted = cast.submit(&enclave, &challenge, &answer);
    let mut places = vec![
        (
            "switch, into the enclave and out of it".to_owned(),
            into.bytes(),
        ),
        ("proxy, to the KMS and back".to_owned(), out.bytes()),
    ];
    if let Err(error) = submitted {
        // The control's document is too long to be one: its client may refuse the answer.
        assert_eq!(recipe, "leaking", "{error:#}");
    } else if recipe == "pii" {
        let rows = owner.path().join("rows.csv");
        let opened = cast.open(&answer, &challenge, &rows).unwrap();
        let rejected = SHORT_COLUMNS.len() * REJECTED_OF_EACH;
        assert_eq!(opened.pointer("/report/rows/written").unwrap(), ROWS);
        assert_eq!(opened.pointer("/report/rows/rejected").unwrap(), rejected);
        places.push(("the answer's rows".to_owned(), fs::read(rows).unwrap()));
        places.push((
            "the answer's report".to_owned(),
            opened.to_string().into_bytes(),
        ));
    }
    let enough = places.iter().take(2).all(|(_, bytes)| bytes.len() > 4096);
    assert!(enough, "the recorders heard nothing");
    let console = match recipe {
        "leaking" => leaked(&scene.path("console.log"), &canaries),
        _ => at_rest(&scene.path("console.log")),
    };
    assert!(!console.is_empty(), "the console said nothing");
    terminate(&scene, &enclave).unwrap();
    places.push(("console".to_owned(), console));
    collect(&scene.path("."), &mut places);
    (canaries, places)
}

/// Boots in production mode, under a QEMU that keeps all that the guest writes to its console.
fn run_recorded(scene: &Scene, image: &Image) -> Enclave {
    let (qemu, log) = (scene.path("recorded-qemu"), scene.path("console.log"));
    let script = format!(
        "#!/bin/bash\nfor word in \"$@\"; do\n\
         case $word in socket,id=console,*) word=$word,logfile='{}';; esac\n\
         words+=(\"$word\")\ndone\nexec qemu-system-x86_64 \"${{words[@]}}\"\n",
        log.display()
    );
    fs::write(&qemu, script).unwrap();
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o700)).unwrap();
    let mut run = scene.program("anchorhold");
    run.env("ANCHORHOLD_QEMU", qemu);
    run.args(["run-enclave", "--memory", "512", "--eif-path"]);
    let printed = output(run.arg(&image.eif)).unwrap();
    serde_json::from_str(&printed).unwrap()
}

/// A file's bytes once nothing has come for a while: a serial line is slow.
fn at_rest(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let later = fs::read(path).unwrap();
        if later.len() == bytes.len() {
            return later;
        }
        bytes = later;
    }
}

/// The control's console, once enough of the leak is on it: a busy host's guest may fall silent in
/// the midst of it. What is not there in time is for the test to say.
fn leaked(path: &Path, canaries: &Canaries) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(60);
    let [_, (name, least)] = LEAKS;
    loop {
        let places = [(name.to_owned(), at_rest(path))];
        if percent(canaries, &places, name) >= least || Instant::now() >= until {
            let [(_, bytes)] = places;
            return bytes;
        }
    }
}

/// What lies in the scene's files: logs, state, answers.
fn collect(dir: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, places);
        } else if let Ok(metadata) = path.symlink_metadata()
            && metadata.is_file()
            && metadata.len() < 1 << 22
        {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

fn job(dir: &Path) -> std::path::PathBuf {
    let job = serde_json::json!({
        "format": "anchorhold-pii-job/1", "data_set": "canaries", "answer_to": "anyone",
        "columns": [
            {"name": "customer_id", "type": "identifier"}, {"name": "name", "type": "name"},
            {"name": "email", "type": "email"}, {"name": "phone", "type": "phone"},
            {"name": "ssn", "type": "ssn"}, {"name": "card_number", "type": "card"},
            {"name": "date_of_birth", "type": "date-of-birth"},
            {"name": "postcode", "type": "postcode"}, {"name": "notes", "type": "withhold"},
        ],
    });
    let path = dir.join("draft.json");
    fs::write(&path, job.to_string()).unwrap();
    path
}

#[test]
fn microvm_no_undisclosed_value_crosses_the_parent() {
    let (canaries, places) = run("pii");
    assert_eq!(found(&canaries, &places), []);
}

#[test]
fn microvm_an_application_that_leaks_is_caught() {
    let (canaries, places) = run("leaking");
    for (leak, least) in LEAKS {
        let percent = percent(&canaries, &places, leak);
        assert!(percent >= least, "{percent} percent caught at the {leak}");
    }
}

#[test]
fn a_number_is_found_unless_it_is_the_midst_of_a_digest() {
    let canaries = Canaries {
        csv: String::new(),
        undisclosed: vec!["812345678".to_owned()],
    };
    let is_found = |text: &str| {
        let places = [("here".to_owned(), text.as_bytes().to_vec())];
        !found(&canaries, &places).is_empty()
    };
    assert!(!is_found("5a812345678e0f"));
    assert!(is_found("812345678"));
    for (before, behind) in [(",", ","), ("\"", "\""), ("a", ","), ("=", "0"), ("", "0")] {
        let leak = format!("{before}812345678{behind}");
        assert!(is_found(&leak), "{leak}");
        assert!(is_found(&format!("5a812345678e0f {leak}")), "{leak}");
        let leak = hex::encode(leak);
        assert!(is_found(&leak), "{leak}");
    }
}

#[test]
fn the_search_finds_every_form() {
    let canaries = Canaries {
        csv: String::new(),
        undisclosed: vec!["canary-0123456789".to_owned()],
    };
    let value = &canaries.undisclosed[0];
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{value}--and more");
        for bytes in [
            text.clone().into_bytes(),
            hex::encode(&text).into_bytes(),
            STANDARD_NO_PAD.encode(&text).into_bytes(),
            URL_SAFE_NO_PAD.encode(&text).into_bytes(),
        ] {
            let places = vec![("here".to_owned(), bytes)];
            assert!(!found(&canaries, &places).is_empty(), "{before:?}");
        }
    }
    assert!(
        found(
            &canaries,
            &[("here".to_owned(), b"canary-9876543210".to_vec())]
        )
        .is_empty()
    );
}
