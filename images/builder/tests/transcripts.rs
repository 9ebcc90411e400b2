//! What the tool says, word for word: each file in `transcripts/` is one call and its answer.
//!
//! `$DIR` stands for the directory of the call. A missing `stdout` or `stderr` means silence.

mod common;

use std::fs;
use std::path::Path;

use common::Bench;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcript {
    arguments: Vec<String>,
    status: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

#[test]
fn the_tool_says_what_the_transcripts_say() {
    let bench = Bench::with_kernel();
    fs::write(bench.path("text"), "not a program, nor an image\n").expect("written");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() > 10, "transcripts are missing");
    for path in paths {
        let text = fs::read_to_string(&path).expect("read");
        let transcript: Transcript = toml::from_str(&text).expect("a transcript");
        let mut command = bench.tool(transcript.arguments.iter().map(String::as_str));
        let output = command
            .env("COLUMNS", "100")
            .output()
            .expect("the tool starts");
        let name = path.display();
        let said = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&bench.root().display().to_string(), "$DIR")
        };
        assert_eq!(said(&output.stderr), transcript.stderr, "stderr of {name}");
        assert_eq!(said(&output.stdout), transcript.stdout, "stdout of {name}");
        assert_eq!(
            output.status.code(),
            Some(transcript.status),
            "status of {name}"
        );
    }
}
