//! What is acknowledged is kept: kill -9, two servers; and one event per call.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use support::{ACCOUNT, Client, Kms, comes, signal};

/// What the server acknowledged during a burst.
#[derive(Default)]
struct Acknowledged {
    /// Key id to the description in its policy's Sid.
    policies: BTreeMap<String, String>,
    /// Alias to key id.
    aliases: BTreeMap<String, String>,
    requests: Vec<String>,
}

/// How many keys and aliases were acknowledged.
fn counts(acknowledged: &Mutex<Acknowledged>) -> (usize, usize) {
    let state = acknowledged.lock().expect("no panic");
    (state.policies.len(), state.aliases.len())
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let kms = Kms::new();
    let acknowledged = Mutex::new(Acknowledged::default());
    for round in 0..3 {
        let server = kms.serve(&[]);
        let client = server.client(&kms.administrator);
        let (keys, aliases) = counts(&acknowledged);
        let enough = std::thread::scope(|scope| {
            for worker in 0..8 {
                let (client, acknowledged) = (client.clone(), &acknowledged);
                scope.spawn(move || burst(&client, acknowledged, round, worker));
            }
            let enough = comes(|| {
                let now = counts(&acknowledged);
                now.0 >= keys + 8 && now.1 >= aliases + 4
            });
            // Not a round number of anything that the server does.
            std::thread::sleep(Duration::from_millis(137 * (round + 1)));
            server.kill();
            enough
        });
        assert!(enough, "{:?} in round {round}", counts(&acknowledged));
    }
    let acknowledged = acknowledged.into_inner().expect("no panic");
    assert!(
        acknowledged.policies.len() > 20,
        "{} keys",
        acknowledged.policies.len()
    );
    assert!(
        acknowledged.aliases.len() > 10,
        "{} aliases",
        acknowledged.aliases.len()
    );

    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    for (key, sid) in &acknowledged.policies {
        let policy = client.call("GetKeyPolicy", &json!({ "KeyId": key })).ok();
        let policy = policy["Policy"].as_str().expect("a policy").to_owned();
        assert!(policy.contains(sid), "{key}: {policy}");
        let input = json!({ "KeyId": key, "Plaintext": "AAAA" });
        client.call("Encrypt", &input).ok();
    }
    for (alias, key) in &acknowledged.aliases {
        let described = client.call("DescribeKey", &json!({ "KeyId": alias })).ok();
        assert_eq!(described["KeyMetadata"]["KeyId"], *key, "{alias}");
    }
    kms.verify();
    let recorded = request_ids(&kms);
    for request in &acknowledged.requests {
        assert_eq!(recorded.get(request), Some(&1), "{request}");
    }
}

/// Keys, policies and aliases until the server is gone.
fn burst(client: &Client, acknowledged: &Mutex<Acknowledged>, round: u64, worker: usize) {
    for number in 0.. {
        let call = |operation: &str, input: Value| {
            let target = format!("TrentService.{operation}");
            let reply = client.try_send(&target, &input.to_string())?;
            assert_eq!(reply.status, 200, "{}", reply.body);
            Some((reply.request_id(), reply.body))
        };
        let sid = format!("R{round}W{worker}N{number}");
        let made = || -> Option<()> {
            let (request, body) = call("CreateKey", json!({ "Policy": policy("Before") }))?;
            let key = body["KeyMetadata"]["KeyId"].as_str()?.to_owned();
            let mut state = acknowledged.lock().ok()?;
            state.policies.insert(key.clone(), "Before".to_owned());
            state.requests.push(request);
            drop(state);
            // Until it is answered, the new policy may or may not be there: both hold its Sid.
            let text = policy(&sid).replace("\"Statement\"", "\"Id\":\"Before\",\"Statement\"");
            let (request, _) = call("PutKeyPolicy", json!({ "KeyId": key, "Policy": text }))?;
            let mut state = acknowledged.lock().ok()?;
            state.policies.insert(key.clone(), sid.clone());
            state.requests.push(request);
            drop(state);
            let alias = format!("alias/{sid}");
            let input = json!({ "AliasName": alias, "TargetKeyId": key });
            let (request, _) = call("CreateAlias", input)?;
            let mut state = acknowledged.lock().ok()?;
            state.aliases.insert(alias, key);
            state.requests.push(request);
            Some(())
        };
        if made().is_none() {
            return;
        }
    }
}

fn policy(sid: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"{sid}","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}},"Action":"kms:*","Resource":"*"}}]}}"#
    )
}

/// How often each request id stands in the trail.
fn request_ids(kms: &Kms) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in kms.events() {
        let id = event["requestID"].as_str().expect("an id").to_owned();
        *counts.entry(id).or_default() += 1;
    }
    counts
}

#[test]
fn a_second_server_on_the_directory_is_told_who_holds_it() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let output = kms.command(&["serve"], &["--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let message = support::stderr(&output);
    let holder = format!(
        "is in use by process {} (anchorhold-kms serve)",
        server.child.id()
    );
    assert!(message.contains(&holder), "{message}");
    // The first one goes on, and a killed one leaves nothing that must be cleared away.
    server
        .client(&kms.administrator)
        .call("ListKeys", &json!({}))
        .ok();
    server.kill();
    assert!(kms.serve(&[]).stop().success());
}

#[test]
fn every_call_has_exactly_one_event() {
    let kms = Kms::new();
    let nobody = kms.add_principal("nobody", None);
    let server = kms.serve(&[]);
    let admin = server.client(&kms.administrator);
    let nobody = server.client(&nobody);
    let mut stranger = admin.clone();
    stranger.credentials.secret_access_key = "x".repeat(40);

    let key = admin.call("CreateKey", &json!({ "Description": "d" }));
    let id = key.body["KeyMetadata"]["KeyId"].clone();
    let secret = "cGxhaW50ZXh0IGluIG5vIGV2ZW50";
    let input = json!({ "KeyId": id, "Plaintext": secret, "EncryptionContext": { "a": "b" } });
    let replies = [
        ("CreateKey", key),
        ("Encrypt", admin.call("Encrypt", &input)),
        ("Encrypt", nobody.call("Encrypt", &input)),
        ("Encrypt", stranger.call("Encrypt", &input)),
        (
            "DisableKey",
            admin.call("DisableKey", &json!({ "KeyId": id })),
        ),
        ("Encrypt", admin.call("Encrypt", &input)),
        ("DescribeKey", admin.call("DescribeKey", &json!({}))),
        ("CreateGrant", admin.call("CreateGrant", &json!({}))),
        ("UnknownOperation", admin.call("Frobnicate", &json!({}))),
        ("ListKeys", admin.send("TrentService.ListKeys", "[")),
        ("ListKeys", admin.call("ListKeys", &json!({}))),
        (
            "GenerateRandom",
            admin.call("GenerateRandom", &json!({ "NumberOfBytes": 8 })),
        ),
    ];
    let random = replies[11].1.body["Plaintext"]
        .as_str()
        .expect("bytes")
        .to_owned();
    let events = kms.events();
    let calls: Vec<_> = events
        .iter()
        .filter(|e| e["eventType"] == "AwsApiCall")
        .collect();
    assert_eq!(calls.len(), replies.len());
    for (event, (name, reply)) in calls.iter().zip(&replies) {
        assert_eq!(event["eventName"], *name);
        assert_eq!(event["requestID"], reply.request_id());
        let code = reply
            .exception()
            .replace("AccessDeniedException", "AccessDenied");
        assert_eq!(
            event["errorCode"].as_str().unwrap_or_default(),
            code,
            "{name}"
        );
        let nobody_known = matches!(
            reply.exception(),
            "InvalidSignatureException" | "UnknownOperationException"
        );
        let who = if nobody_known { "Unknown" } else { "IAMUser" };
        assert_eq!(event["userIdentity"]["type"], who, "{name}");
    }
    assert_eq!(calls[0]["responseElements"]["KeyMetadata"]["KeyId"], id);
    assert_eq!(
        calls[1]["requestParameters"]["encryptionContext"],
        json!({ "a": "b" })
    );
    assert_eq!(calls[1]["resources"][0]["type"], "AWS::KMS::Key");
    assert_eq!(
        calls[1]["additionalEventData"]["allowedBy"][0]["policy"],
        "key"
    );
    assert_eq!(calls[2]["userIdentity"]["userName"], "nobody");
    let text = serde_json::to_string(&events).expect("JSON");
    assert!(!text.contains(secret) && !text.contains(&random));
    kms.verify();
}

#[test]
fn sigterm_finishes_the_answers_in_flight() {
    let kms = Kms::new();
    let (mut server, log) = kms.serve_logged(&[]);
    let client = server.client(&kms.administrator);
    // An idle connection and half a request must not hold the server up.
    let _idle = std::net::TcpStream::connect(&client.address).expect("connect");
    let mut half = std::net::TcpStream::connect(&client.address).expect("connect");
    std::io::Write::write_all(&mut half, b"POST / HTTP/1.1\r\nHost: x\r\n").expect("write");

    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(reply) = client.try_send("TrentService.CreateKey", "{}") {
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    let id = reply.body["KeyMetadata"]["KeyId"]
                        .as_str()
                        .map(str::to_owned);
                    answers
                        .lock()
                        .expect("no panic")
                        .push(id.expect("a whole answer"));
                }
            });
        }
        comes(|| answers.lock().expect("no panic").len() > 5);
        signal(&server.child, "TERM");
        let status = server.child.wait().expect("the server ends");
        assert!(status.success());
    });
    // Nor was it the end of its patience that let it end.
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(!log.contains("still in flight"), "{log}");
    let answered = answers.into_inner().expect("no panic");
    assert!(answered.len() > 5);
    let made = kms
        .events()
        .iter()
        .filter(|e| e["eventName"] == "CreateKey")
        .count();
    assert_eq!(made, answered.len(), "each commit was answered");
}
