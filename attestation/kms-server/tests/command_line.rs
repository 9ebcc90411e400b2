//! The command line: refusals that say what to do, secrets shown once, a trail that
//! cannot be changed unnoticed.

mod support;

use std::process::Command;

use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use support::{Kms, anchorhold_kms, stderr};

fn fails(output: &std::process::Output, code: i32, message: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(message), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn misuse_is_told_apart_from_failure() {
    let binary = env!("CARGO_BIN_EXE_anchorhold-kms");
    let run = |arguments: &[&str]| Command::new(binary).args(arguments).output().expect("runs");
    fails(&run(&["init"]), 2, "--data-dir");
    fails(
        &run(&["serve", "--data-dir", "x", "--frobnicate"]),
        2,
        "--frobnicate",
    );
    let dir = ["--data-dir", "x"];
    fails(
        &run(&["init", dir[0], dir[1], "--account", "12"]),
        2,
        "12 decimal digits",
    );
    fails(
        &run(&["init", dir[0], dir[1], "--region", "Über all"]),
        2,
        "region",
    );
    let listen = [
        "serve",
        "--data-dir",
        "/nonexistent/kms",
        "--listen",
        "127.0.0.1:0",
    ];
    fails(
        &run(&listen),
        1,
        "anchorhold-kms init --data-dir /nonexistent/kms",
    );
    let age = ["--document-max-age", "0"];
    let arguments = [&listen[..], &age[..]].concat();
    fails(&run(&arguments), 2, "1..=10800");
}

#[test]
fn init_refuses_to_overwrite_and_others_to_read() {
    let kms = Kms::new();
    let before = std::fs::read(kms.dir().join("root.key")).expect("a root key");
    fails(&kms.command(&["init"], &[]), 1, "does not overwrite");
    assert_eq!(
        std::fs::read(kms.dir().join("root.key")).expect("a root key"),
        before
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(kms.dir(), open).expect("chmod");
    fails(&kms.command(&["principal", "list"], &[]), 1, "chmod 700");
}

#[test]
fn a_root_key_of_another_kms_is_refused() {
    let [one, other] = [Kms::new(), Kms::new()];
    std::fs::copy(other.dir().join("root.key"), one.dir().join("root.key")).expect("copy");
    let output = one.command(&["serve"], &["--listen", "127.0.0.1:0"]);
    fails(&output, 1, "root.key does not fit kms.db");
}

#[test]
fn nothing_secret_is_on_disk_in_clear() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    client.call("CreateKey", &json!({})).ok();
    server.kill();
    let root_key = std::fs::read_to_string(kms.dir().join("root.key")).expect("a root key");
    let (_, digits) = root_key.trim().split_once(':').expect("a label");
    let root_key = hex::decode(digits).expect("hex");
    for name in ["kms.db", "kms.db-wal", "lock"] {
        let bytes = std::fs::read(kms.dir().join(name)).expect("a file");
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(
            !holds(kms.administrator.secret_access_key.as_bytes()),
            "{name}"
        );
        assert!(!holds(&root_key) && !holds(digits.as_bytes()), "{name}");
        let mode = std::fs::metadata(kms.dir().join(name))
            .expect("metadata")
            .permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn principals_come_and_go_while_the_server_runs() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    for (name, message) in [("a b", "user/<name>"), ("", "user/<name>"), ("a/b", "")] {
        let output = kms.command(&["principal", "add", name], &[]);
        assert_eq!(
            output.status.success(),
            name == "a/b",
            "{}",
            stderr(&output)
        );
        assert!(stderr(&output).contains(message));
    }
    let broken = kms.file("broken.json", "{");
    let broken = broken.to_str().expect("a path");
    let output = kms.command(&["principal", "add", "enclave"], &["--policy", broken]);
    fails(&output, 1, "JSON");

    let list = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}]}"#;
    let enclave = kms.add_principal("enclave", Some(list));
    assert_eq!(
        enclave.arn,
        format!("arn:aws:iam::{}:user/enclave", support::ACCOUNT)
    );
    let output = kms.command(&["principal", "add", "enclave"], &[]);
    fails(&output, 1, "there is a principal enclave already");
    let client = server.client(&enclave);
    client.call("ListKeys", &json!({})).ok();
    assert_eq!(
        client.call("ListAliases", &json!({})).exception(),
        "AccessDeniedException"
    );

    let output = kms.command(&["principal", "policy", "enclave"], &["--remove"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        client.call("ListKeys", &json!({})).exception(),
        "AccessDeniedException"
    );
    let output = kms.command(&["principal", "remove", "enclave"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let refused = client.call("ListKeys", &json!({}));
    assert_eq!(refused.exception(), "UnrecognizedClientException");
    fails(
        &kms.command(&["principal", "remove", "enclave"], &[]),
        1,
        "no principal enclave",
    );
    // Key policies may still name it: nobody else comes to have what they allow.
    let output = kms.command(&["principal", "add", "enclave"], &[]);
    fails(&output, 1, "there was a principal enclave before");
    let unpinned = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"Null":{"kms:RecipientAttestation:PCR0":"false"}}}]}"#;
    let unpinned = kms.file("unpinned.json", unpinned);
    let unpinned = ["--policy", unpinned.to_str().expect("a path")];
    for (command, name) in [("add", "other"), ("policy", "other")] {
        let output = kms.command(&["principal", command, name], &unpinned);
        assert!(output.status.success(), "{}", stderr(&output));
        let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let warning = printed["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains("without naming the root"), "{warning}");
    }

    let listed = kms.command(&["principal", "list"], &[]).stdout;
    let listed: Vec<Value> = serde_json::from_slice(&listed).expect("JSON");
    let names: Vec<_> = listed.iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["a/b", "administrator", "other"]);
    let text = serde_json::to_string(&kms.events()).expect("JSON");
    assert!(!text.contains(&enclave.secret_access_key));
    assert!(text.contains("AddPrincipal") && text.contains("RemovePrincipal"));
    kms.verify();
}

#[test]
fn a_port_in_use_is_said_to_be() {
    let kms = Kms::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = kms.command(&["serve"], &["--listen", &address]);
    fails(&output, 1, "is in use by another process");
    let output = kms.command(&["serve"], &["--listen", "0.0.0.0:0"]);
    fails(
        &output,
        1,
        "without --tls-cert and --tls-key the server binds to loopback only",
    );
    let output = kms.command(
        &["serve"],
        &["--listen", "127.0.0.1:0", "--trust-root", &address],
    );
    fails(&output, 1, "cannot take trusted roots");
    let garbage = kms.file("garbage.pem", "garbage");
    let garbage = garbage.to_str().expect("a path");
    let output = kms.command(
        &["serve"],
        &["--listen", "127.0.0.1:0", "--trust-root", garbage],
    );
    fails(&output, 1, "cannot take trusted roots");
}

#[tokio::test]
async fn a_changed_trail_is_found() {
    let kms = Kms::new();
    for name in ["a", "b", "c"] {
        kms.add_principal(name, None);
    }
    let head = kms.command(&["audit", "verify"], &[]).stdout;
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    let head = head["head"].as_str().expect("a head").to_owned();
    let export = kms.command(&["audit", "export"], &[]).stdout;
    let export = kms.file("export.jsonl", export);
    let verify = |arguments: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_anchorhold-kms");
        let command = [&["audit", "verify"], arguments].concat();
        let output = Command::new(binary).args(command).output().expect("runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rule = report["error"]["rule"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(output.status.success(), rule.is_empty());
        rule
    };
    let path = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    assert_eq!(verify(&["--export", &path(&export), "--expect", &head]), "");
    assert_eq!(
        verify(&["--data-dir", &path(&kms.dir()), "--expect", &head]),
        ""
    );

    // (A change that somebody makes who can write the table, the rule that finds it.)
    for (change, rule) in [
        (
            "UPDATE audit SET event = replace(event, '\"b\"', '\"x\"')",
            "audit.hash",
        ),
        ("DELETE FROM audit WHERE sequence = 2", "audit.sequence"),
        (
            "UPDATE audit SET seal = zeroblob(32) WHERE sequence = 3",
            "audit.seal",
        ),
        ("DELETE FROM audit WHERE sequence = 4", "audit.head"),
    ] {
        let copy = kms.temp.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp")
            .args(["-a"])
            .arg(kms.dir())
            .arg(&copy)
            .status();
        assert!(copied.expect("cp runs").success());
        let mut connection = SqliteConnectOptions::new()
            .filename(copy.join("kms.db"))
            .connect()
            .await
            .expect("connect");
        let script = format!(
            "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened; {change};"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(script))
            .execute(&mut connection)
            .await
            .expect("tampering");
        sqlx::Connection::close(connection).await.expect("close");
        assert_eq!(
            verify(&["--data-dir", &path(&copy), "--expect", &head]),
            rule,
            "{change}"
        );
    }
    let output = anchorhold_kms(&["audit", "verify"], &kms.dir(), &["--expect", "nonsense"]);
    fails(&output, 2, "expected a number");
}
