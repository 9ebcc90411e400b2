//! Files that do not fit into the enclave's memory, joined all the same.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

/// Rows of each file: 32 bytes each where they are joined, so that three files pass the memory that
/// such an enclave has left.
const ROWS: u64 = 300_000;
/// MiB of the enclave.
const MEMORY: &str = "96";

/// A file whose keys begin at a number. Row i has the key i · 7,919 modulo all rows, and the amount
/// key / 100.
fn file(first: u64) -> String {
    let mut text = String::from("id,amount\n");
    for row in 0..ROWS {
        let key = first + row * 7_919 % ROWS;
        writeln!(text, "k{key},{}.{:02}", key / 100, key % 100).unwrap();
    }
    text
}

#[test]
fn microvm_demo_mpc_joins_what_does_not_fit_into_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let step = ROWS / 10;
    let mut demo = Command::new(env!("CARGO_BIN_EXE_xtask"));
    demo.args(["demo", "mpc", "--json", "--no-install", "--size"]);
    demo.args(["--join-on", "id", "--memory", MEMORY]);
    for place in 0..3 {
        let path = dir.path().join(format!("{place}.csv"));
        fs::write(&path, file(place * step)).unwrap();
        demo.args(["--input", &format!("owner-{place}={}", path.display())]);
    }
    let output = demo
        .env("ANCHORHOLD_BINS", xtask::stage::bins())
        .output()
        .unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let shown: Value = serde_json::from_slice(&stdout).unwrap();

    // Keys from two steps on to the end of the first file.
    let common = 2 * step..ROWS;
    assert_eq!(shown["intersection_size"], common.end - common.start);
    let cents: u64 = common.sum();
    let (whole, rest) = (cents / 100, cents % 100);
    let sum = format!("{whole}.{rest:02}");
    let sum = sum.trim_end_matches('0').trim_end_matches('.');
    for owner in ["owner-0", "owner-1", "owner-2"] {
        assert_eq!(shown["sums"][owner], sum);
    }
    let size = &shown["size"];
    let number = |name: &str| size[name].as_u64().unwrap();
    assert!(
        number("pages") > 0,
        "all rows fitted into {MEMORY} MiB: {size}"
    );
    assert!(number("page_bytes") > ROWS * 32, "{size}");
    let memory = MEMORY.parse::<u64>().unwrap() << 20;
    assert!(number("guest_peak") < memory + (16 << 20), "{size}");
}
