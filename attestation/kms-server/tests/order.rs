//! Calls at the same time: one winner, and a trail whose order explains every decision.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Kms, comes};

#[test]
fn of_two_calls_for_one_alias_one_wins() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let key = client.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    for round in 0..5 {
        let input = json!({ "AliasName": format!("alias/{round}"), "TargetKeyId": key });
        let replies: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| client.call("CreateAlias", &input)))
                .collect();
            calls
                .into_iter()
                .map(|call| call.join().expect("no panic"))
                .collect()
        });
        let made = replies.iter().filter(|reply| reply.status == 200).count();
        let late = replies
            .iter()
            .filter(|reply| reply.exception() == "AlreadyExistsException");
        assert_eq!((made, late.count()), (1, 5));
    }
}

#[test]
fn the_quota_of_aliases_holds_under_concurrency() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let key = client.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    std::thread::scope(|scope| {
        for worker in 0..6 {
            let (client, key) = (&client, &key);
            scope.spawn(move || {
                for number in 0..12 {
                    let name = format!("alias/{worker}/{number}");
                    let reply = client.call(
                        "CreateAlias",
                        &json!({ "AliasName": name, "TargetKeyId": key }),
                    );
                    let known = ["", "LimitExceededException"].contains(&reply.exception());
                    assert!(known, "{}", reply.body);
                }
            });
        }
    });
    let listed = client
        .call("ListAliases", &json!({ "KeyId": key, "Limit": 100 }))
        .ok();
    assert_eq!(listed["Aliases"].as_array().expect("aliases").len(), 50);
}

/// A removed principal, or one whose policy was taken away, does nothing more once that is in the
/// trail.
#[test]
fn after_the_event_of_a_change_of_the_caller_no_event_of_its_old_right_follows() {
    let kms = Kms::new();
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
    let callers = ["removed", "restricted"].map(|name| kms.add_principal(name, Some(allow)));
    let server = kms.serve(&[]);
    let done = AtomicBool::new(false);
    let of_each = || [AtomicUsize::new(0), AtomicUsize::new(0)];
    let (made, refused) = (of_each(), of_each());
    let each = |counters: &[AtomicUsize; 2]| {
        comes(|| {
            let mut counts = counters.iter().map(|count| count.load(Ordering::Relaxed));
            counts.all(|count| count > 0)
        })
    };
    let outputs = std::thread::scope(|scope| {
        for (at, credentials) in callers.iter().enumerate() {
            for _ in 0..3 {
                let (client, done) = (server.client(credentials), &done);
                let (made, refused) = (&made[at], &refused[at]);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let reply = client.call("CreateKey", &json!({}));
                        let count = if reply.status == 200 { made } else { refused };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        // Both have done something before the commands, and both come again after them.
        each(&made);
        let outputs = [
            ["principal", "remove", "removed"].as_slice(),
            &["principal", "policy", "restricted", "--remove"],
        ]
        .map(|command| kms.command(command, &[]));
        each(&refused);
        done.store(true, Ordering::Relaxed);
        outputs
    });
    for output in &outputs {
        assert!(output.status.success(), "{}", support::stderr(output));
    }
    assert!(each(&refused), "{refused:?}");
    let events = kms.events();
    for (name, change) in [
        ("removed", "RemovePrincipal"),
        ("restricted", "SetPrincipalPolicy"),
    ] {
        let at = events.iter().position(|event| event["eventName"] == change);
        let made = |event: &&serde_json::Value| {
            event["userIdentity"]["userName"] == name && event.get("errorCode").is_none()
        };
        let (before, after) = events.split_at(at.expect("the change"));
        assert!(before.iter().filter(made).count() > 0, "{name}");
        assert_eq!(after.iter().filter(made).count(), 0, "{name}");
    }
    kms.verify();
}

#[test]
fn after_the_event_of_a_disabling_no_event_of_a_use_follows() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let key = client.call("CreateKey", &json!({})).ok()["KeyMetadata"]["KeyId"].clone();
    let input = json!({ "KeyId": key });
    let use_of_key = json!({ "KeyId": key, "Plaintext": "AAAA" });
    let done = AtomicBool::new(false);
    let encrypted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let reply = client.call("Encrypt", &use_of_key);
                    let known = ["", "DisabledException"].contains(&reply.exception());
                    assert!(known, "{}", reply.body);
                    if reply.status == 200 {
                        encrypted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Until uses have come between the changes, however the machine takes turns.
        let end = Instant::now() + Duration::from_secs(60);
        let mut rounds = 0;
        while rounds < 15 || (encrypted.load(Ordering::Relaxed) <= 5 && Instant::now() < end) {
            client.call("DisableKey", &input).ok();
            client.call("EnableKey", &input).ok();
            rounds += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    let mut enabled = true;
    let [mut uses, mut refusals] = [0; 2];
    for event in kms.events() {
        let success = event.get("errorCode").is_none();
        match event["eventName"].as_str().expect("a name") {
            "DisableKey" => enabled = false,
            "EnableKey" => enabled = true,
            "Encrypt" if success => {
                uses += 1;
                assert!(enabled, "{event}");
            }
            "Encrypt" => refusals += 1,
            _ => {}
        }
    }
    assert!(uses > 5, "{uses} uses, {refusals} refusals");
    kms.verify();
}
