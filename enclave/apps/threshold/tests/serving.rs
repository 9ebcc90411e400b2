//! One connection of a parent's: what is answered, and how long it may take.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use anchorhold_threshold_app::wire::{self, Command, MAX_COMMAND};
use anchorhold_threshold_app::world::Link;
use common::net::Ended;
use common::{Owners, run};
use serde_json::{Value, json};

/// More than a busy machine needs for a command.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, served with these bytes of the parent's: the rule that refused it, and the answer.
fn served(bytes: &[u8]) -> (Option<String>, Value) {
    let (mut parent, enclave) = UnixStream::pair().unwrap();
    let bytes = bytes.to_vec();
    let asking = thread::spawn(move || {
        let _ = parent.write_all(&bytes);
        let _ = parent.shutdown(Shutdown::Write);
        let mut answer = String::new();
        // What is left of too long a command resets the stream behind the answer.
        let _ = parent.read_to_string(&mut answer);
        serde_json::from_str(&answer).unwrap_or_default()
    });
    let never = |_: Command| panic!("nothing is run");
    let result = wire::serve(Link::new(Ended::whole(enclave)), PATIENCE, never);
    let rule = result.err().map(|refusal| refusal.rule);
    (rule, asking.join().unwrap())
}

#[test]
fn what_is_no_command_is_answered_with_its_rule_and_not_run() {
    let long = vec![b' '; usize::try_from(MAX_COMMAND).unwrap() + 1];
    let deep = [b"{\"op\":".as_slice(), &[b'['; 100_000], b"\n"].concat();
    for (bytes, expected) in [
        (&b"{\"op\":\"export-share\"}\n"[..], "command.encoding"),
        (b"{\"op\":\"dkg\",\"op\":\"refresh\"}\n", "command.encoding"),
        (b"[]\n", "command.encoding"),
        (b"\xff\xfe\n", "command.encoding"),
        (b"\n", "command.encoding"),
        (&deep, "command.encoding"),
        (b"{\"op\":\"dkg\"}", "command.length"),
        (b"", "command.length"),
    ] {
        let (rule, answer) = served(bytes);
        assert_eq!(rule.as_deref(), Some(expected));
        assert_eq!(answer["error"]["rule"], expected);
    }
    assert_eq!(served(&long).0.as_deref(), Some("command.length"));
}

#[test]
fn a_parent_that_says_a_byte_now_and_then_has_no_longer_than_one_that_is_silent() {
    let (mut parent, enclave) = UnixStream::pair().unwrap();
    // It says a minute's bytes if it may, and ends: then it was cut off by no deadline.
    let trickle = thread::spawn(move || {
        let spoken = (0..1200).take_while(|_| {
            thread::sleep(Duration::from_millis(50));
            parent.write_all(b" ").is_ok()
        });
        spoken.count()
    });
    let never = |_: Command| panic!("nothing is run");
    let short = Duration::from_millis(400);
    let result = wire::serve(Link::new(Ended::whole(enclave)), short, never);
    assert_eq!(result.unwrap_err().rule, "command.read");
    assert!(trickle.join().unwrap() < 1200);
}

#[test]
fn a_parent_that_has_gone_does_not_undo_what_was_done() {
    let owners = Owners::new();
    let mut enclave = owners.boot(1, |_| {});
    let (mut parent, other) = UnixStream::pair().unwrap();
    let configure = owners.configure(1, &owners.agreement());
    parent
        .write_all(format!("{configure}\n").as_bytes())
        .unwrap();
    drop(parent);
    let link = Link::new(Ended::whole(other));
    wire::serve(link, PATIENCE, |command| enclave.run(command)).unwrap();
    let status = json!({ "op": "status", "challenge": "ab".repeat(32) });
    run(&mut enclave, &status).unwrap();
}
