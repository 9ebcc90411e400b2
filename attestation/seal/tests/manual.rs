//! Every command of the manual is run, in order, in one shell.

mod common;

use std::process::Command;

use common::Owner;

/// The shell blocks, joined.
fn script(manual: &str) -> String {
    let blocks = manual.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("```").expect("an end").0);
    blocks.collect()
}

#[test]
fn the_manuals_commands_do_what_it_says() {
    let script = script(include_str!("../src/manual.md"));
    assert!(script.matches("anchorhold-seal ").count() >= 10, "{script}");
    let (blue, red) = (Owner::new(), Owner::new());
    let dir = tempfile::tempdir().unwrap();
    for name in ["records.csv", "a.csv", "b.csv", "c.csv"] {
        std::fs::write(dir.path().join(name), format!("{name}\n1\n")).unwrap();
    }
    for name in ["ca.pem", "credentials.json"] {
        std::fs::copy(blue.file(name), dir.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink(red.file("").canonicalize().unwrap(), dir.path().join("red"))
        .unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_anchorhold-seal"));
    let path = std::env::var("PATH").unwrap();
    let folder = program.parent().unwrap().display();
    let output = Command::new("bash")
        .args(["-eu", "-c", &script])
        .current_dir(dir.path())
        .env("PATH", format!("{folder}:{path}"))
        .env("KEY", &blue.key_arn)
        .env("KMS", blue.address.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Nothing of this is verified"), "{said}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    for name in ["case.csv", "red.csv"] {
        assert_eq!(read(name), read("records.csv"), "{name}");
    }
    for name in ["a.csv", "b.csv", "c.csv"] {
        assert_eq!(read(&format!("opened/{name}")), read(name));
    }
    let (blue, red) = (blue.calls(), red.calls());
    // Records, case, both, the cache and the bucket.
    assert_eq!((blue["GenerateDataKey"], blue["Decrypt"]), (5, 4));
    assert_eq!((red["Encrypt"], red["Decrypt"]), (1, 1));
}
