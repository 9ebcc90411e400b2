//! Several files in one command, and how often the KMS is asked for them: by the program's count and by
//! the KMS's audit trail.

use std::process::Output;

use serde_json::Value;

use crate::common::Owner;
use crate::files::{CONTEXT, Files, json, owner, refused};

const COUNT: usize = 12;

/// Files of different lengths in `in`, and folders for what is made of them.
fn several() -> Files {
    let files = Files::new(b"");
    for folder in ["in", "sealed", "opened"] {
        std::fs::create_dir(files.at(folder)).unwrap();
    }
    for number in 0..COUNT {
        std::fs::write(
            files.at(&format!("in/{number:02}.csv")),
            vec![7; 100 * number],
        )
        .unwrap();
    }
    files
}

impl Files {
    fn listed(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// All files of a folder into another.
    fn all(&self, command: &str, owner: &Owner, more: &[&str], folders: [&str; 2]) -> Output {
        let [from, into] = folders;
        let mut program = self.program(command, owner);
        program.args(CONTEXT).args(["--json", "--into", into]);
        let names = self.listed(from);
        program
            .args(more)
            .args(names.iter().map(|name| format!("{from}/{name}")));
        program.output().unwrap()
    }
}

fn refusal(output: &Output) -> (String, i32) {
    let said: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let rule = said["error"]["rule"].as_str().unwrap().to_owned();
    (rule, output.status.code().unwrap())
}

#[test]
fn bounds_and_names_that_make_no_sense_cost_no_call() {
    let (files, owner) = (several(), Owner::new());
    let seal = |more: &[&str]| refusal(&files.all("seal", &owner, more, ["in", "sealed"]));
    let usage = refused("usage", 2);
    for more in [
        &["--bucket-age", "9"][..],
        &["--bucket-messages", "9"],
        &["--cache-messages", "9"],
        &["--cache-bytes", "9"],
        &["--cache-age", "x"],
        &["-"],
        &["in/.."],
        &["in/00.csv"],
        &["./in/03.csv"],
    ] {
        assert_eq!(seal(more), usage, "{more:?}");
    }
    for more in [
        &["--cache-age", "0"][..],
        &["--cache-age", "9", "--cache-messages", "0"],
        &["--cache-age", "9", "--cache-messages", "4294967297"],
        &["--cache-age", "9", "--cache-bytes", "9223372036854775808"],
    ] {
        assert_eq!(seal(more), refused("cache.limit", 2), "{more:?}");
    }
    for more in [
        ["--bucket-age", "0"],
        ["--bucket-age", "86401"],
        ["--bucket-messages", "0"],
    ] {
        let more = [&["--bucket-by", "tenant"][..], &more].concat();
        assert_eq!(seal(&more), refused("bucket.policy", 2), "{more:?}");
    }
    assert_eq!(
        seal(&["--bucket-by", "absent"]),
        refused("context.missing", 1)
    );
    let run = |more: &[&str]| {
        let more = [&CONTEXT[..], &["--json"], more].concat();
        refusal(&files.run("seal", &owner, &more, ["in/00.csv", "sealed/x"]))
    };
    assert_eq!(run(&["in/01.csv"]), usage);
    assert_eq!(run(&["--cache-age", "9"]), usage);
    let open = files.all("open", &owner, &[], ["in", "opened"]);
    assert_eq!(refusal(&open), usage, "names that do not end in .esdk");
    assert!(files.listed("sealed").is_empty() && files.listed("opened").is_empty());
    assert_eq!(owner.calls().get("GenerateDataKey"), None);
    assert_eq!(owner.calls().get("Decrypt"), None);
}

#[test]
fn what_stands_before_the_first_refusal_stays() {
    let files = several();
    std::fs::write(files.at("sealed/02.csv.esdk"), "kept").unwrap();
    let output = files.all("seal", owner(), &["--cache-age", "60"], ["in", "sealed"]);
    assert_eq!(refusal(&output), refused("file.exists", 2));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["error"]["input"], "in/02.csv");
    assert_eq!(said["files"].as_array().unwrap().len(), 2);
    let names = ["00.csv.esdk", "01.csv.esdk", "02.csv.esdk"];
    assert_eq!(files.listed("sealed"), names);
    assert_eq!(
        std::fs::read(files.at("sealed/02.csv.esdk")).unwrap(),
        b"kept"
    );
    let output = files.all("open", owner(), &[], ["sealed", "opened"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(files.listed("opened"), ["00.csv", "01.csv"]);
    assert_eq!(std::fs::read(files.at("opened/01.csv")).unwrap(), [7; 100]);
}

/// Calls for sealing and opening all files, by the program and by the KMS.
fn calls(sealing: &[&str], opening: &[&str]) -> (u64, u64) {
    let (files, owner) = (several(), Owner::new());
    let sealed = json(&files.all("seal", &owner, sealing, ["in", "sealed"]));
    let opened = json(&files.all("open", &owner, opening, ["sealed", "opened"]));
    for said in [&sealed, &opened] {
        assert_eq!(said["files"].as_array().unwrap().len(), COUNT);
    }
    assert_eq!(files.listed("in"), files.listed("opened"));
    for name in files.listed("in") {
        let read = |folder| std::fs::read(files.at(&format!("{folder}/{name}"))).unwrap();
        assert!(read("in") == read("opened"), "{name}");
    }
    let told = |said: &Value| said["kms_calls"].as_u64().unwrap();
    let trail = owner.calls();
    let of = |name: &str| trail.get(name).copied().unwrap_or(0);
    assert_eq!(told(&sealed), of("GenerateDataKey"));
    assert_eq!(told(&opened), of("Decrypt"));
    (told(&sealed), told(&opened))
}

#[test]
fn without_either_each_file_costs_a_call() {
    assert_eq!(calls(&[], &[]), (12, 12));
}

#[test]
fn a_bucket_key_costs_one_call() {
    let bucket = ["--bucket-by", "tenant"];
    assert_eq!(calls(&bucket, &bucket), (1, 1));
    let bounded = [&bucket[..], &["--bucket-messages", "5"]].concat();
    assert_eq!(calls(&bounded, &bucket), (3, 3));
}

#[test]
fn a_cached_data_key_costs_one_call() {
    let cache = ["--cache-age", "600"];
    assert_eq!(calls(&cache, &cache), (1, 1));
    // What was sealed with few keys is opened with few calls only from a cache.
    assert_eq!(calls(&cache, &[]), (1, 12));
    let messages = [&cache[..], &["--cache-messages", "5"]].concat();
    assert_eq!(calls(&messages, &cache), (3, 3));
    // 0 to 700 bytes are 2800 together and 800 to 1000 are 2700: the next goes beyond, twice.
    let bytes = [&cache[..], &["--cache-bytes", "3000"]].concat();
    assert_eq!(calls(&bytes, &cache), (3, 3));
}

#[test]
fn a_shared_data_key_seals_what_was_counted() {
    // A named pipe has no length: it gets a data key of its own.
    let files = several();
    let made = std::process::Command::new("mkfifo")
        .arg(files.at("in/pipe"))
        .status();
    assert!(made.unwrap().success());
    let pipe = files.at("in/pipe");
    let writer = std::thread::spawn(move || std::fs::write(pipe, "through a pipe").unwrap());
    let output = files.all("seal", owner(), &["--cache-age", "600"], ["in", "sealed"]);
    assert_eq!(json(&output)["kms_calls"], 2);
    writer.join().unwrap();
}
