//! A disk without room: nothing acknowledged is lost, no answer is given without its event, and
//! the server goes on when there is room again.

mod support;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Client, Credentials, Kms, Server, serve_arguments, stderr};

/// Makes keys until the disk is full, and shows that nothing is answered then.
fn fill(client: &Client) -> Vec<String> {
    let mut made = Vec::new();
    let full = loop {
        let reply = client.call("CreateKey", &json!({ "Description": "x".repeat(4000) }));
        if reply.status != 200 {
            break reply;
        }
        made.push(id(&reply.body));
        assert!(made.len() < 1000, "the limit has no effect");
    };
    assert_eq!(
        (full.status, full.exception()),
        (500, "KMSInternalException")
    );
    assert!(!made.is_empty());
    // The little that may be left is used up; then, without its event, no answer is given,
    // not even one that changes nothing.
    let encrypt = || {
        let input = json!({ "KeyId": made[0], "Plaintext": "AAAA" });
        client.call("Encrypt", &input)
    };
    let left = (0..1000).take_while(|_| encrypt().status == 200).count();
    assert!(left < 1000);
    for _ in 0..3 {
        let reply = encrypt();
        assert_eq!(reply.exception(), "KMSInternalException");
        assert_eq!(reply.body.get("CiphertextBlob"), None);
    }
    let before = client.call("ListKeys", &json!({}));
    assert_eq!(before.exception(), "KMSInternalException");
    made
}

/// With room again, exactly the acknowledged keys are there, and further ones can be made.
fn go_on(client: &Client, mut made: Vec<String>) {
    made.push(id(&client.call("CreateKey", &json!({})).ok()));
    let listed = client.call("ListKeys", &json!({ "Limit": 1000 })).ok();
    let mut listed: Vec<_> = listed["Keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| key["KeyId"].as_str().expect("an id").to_owned())
        .collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made, "exactly the acknowledged keys");
}

fn id(made: &Value) -> String {
    let id = made["KeyMetadata"]["KeyId"].as_str();
    id.expect("an id").to_owned()
}

/// A process at its file size limit: every write beyond it fails (EFBIG).
#[test]
fn a_file_size_limit_loses_nothing_and_is_survived() {
    let kms = Kms::new();
    let mut command = Command::new("bash");
    let limited = "trap '' XFSZ; ulimit -S -f 192; exec \"$0\" \"$@\"";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_anchorhold-kms")]);
    command.args(serve_arguments(&kms.dir(), &[]));
    let server = Server::spawn(command.stderr(Stdio::null()));
    let client = server.client(&kms.administrator);
    let made = fill(&client);
    let raised = Command::new("prlimit")
        .args([
            "--pid",
            &server.child.id().to_string(),
            "--fsize=unlimited:",
        ])
        .status();
    assert!(raised.expect("prlimit runs").success());
    go_on(&client, made);
    assert!(server.stop().success());
    kms.verify();
}

/// A file system without a free block (ENOSPC): a small tmpfs in a mount namespace of its own.
#[test]
fn a_full_file_system_loses_nothing_and_is_survived() {
    let temp = tempfile::tempdir().expect("a directory");
    let small = temp.path().join("small");
    std::fs::create_dir(&small).expect("a mount point");
    let script = r#"
        set -e
        mount -t tmpfs -o size=1m,mode=0700 tmpfs "$1"
        head -c 300000 /dev/zero > "$1/ballast"
        "$0" init --data-dir "$1/kms" > "$2"
        exec "$0" serve --data-dir "$1/kms" --listen 127.0.0.1:0
    "#;
    let credentials = temp.path().join("administrator.json");
    let mut command = Command::new("unshare");
    command.args(namespaces());
    command.args(["bash", "-c", script, env!("CARGO_BIN_EXE_anchorhold-kms")]);
    command.arg(&small).arg(&credentials);
    let server = Server::spawn(command.stderr(Stdio::null()));
    let administrator = Credentials::from_json(&std::fs::read(credentials).expect("credentials"));
    let mut client = server.client(&administrator);
    client.region = "us-east-1".to_owned();

    let made = fill(&client);
    // The mount is the server's alone; the kernel shows it to us as the server sees it.
    let inside = inside(&server, &small);
    std::fs::remove_file(inside.join("ballast")).expect("room");
    go_on(&client, made);
    // The mount goes with the server: what is checked is a copy, made while nothing is written.
    let copy = temp.path().join("copy");
    DirBuilder::new()
        .mode(0o700)
        .create(&copy)
        .expect("a directory");
    for name in ["kms.db", "kms.db-wal", "root.key"] {
        std::fs::copy(inside.join("kms").join(name), copy.join(name)).expect("a copy");
    }
    assert!(server.stop().success());
    let verified = support::anchorhold_kms(&["audit", "verify"], &copy, &[]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}

fn inside(server: &Server, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", server.child.id()));
    root.join(path.strip_prefix("/").expect("an absolute path"))
}

/// A mount namespace by way of a user namespace, or as root without one. Where a host forbids
/// both, this test cannot run and says so.
fn namespaces() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    ways.iter().find(works).expect(
        "unshare makes no mount namespace here: allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, or AppArmor's \
         kernel.apparmor_restrict_unprivileged_userns=0), or run this test as root",
    )
}
