//! Time passes: keys whose waiting period ends are gone, material and all.

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime};

use anchorhold_kms::audit::event::Origin;
use anchorhold_kms::instance::{Instance, Running};
use anchorhold_kms::service::{Answer, Request, Service};
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_verifier::TrustRoots;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use support::{Client, Kms};
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(86_400);

async fn start(kms: &Kms) -> Running {
    let (instance, lock) = Instance::open_to_serve(&kms.dir()).await.expect("open");
    let rules = RecipientRules::new(TrustRoots::new());
    instance.start(lock, rules).await.expect("start")
}

/// A call at a time of the test's choice.
async fn call(
    service: &Service,
    client: &Client,
    at: SystemTime,
    operation: &str,
    input: Value,
) -> (u16, Value) {
    let body = input.to_string();
    let target = format!("TrentService.{operation}");
    let headers: HeaderMap = client
        .signed_headers(&target, &body, at)
        .into_iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(&value).expect("a value");
            (HeaderName::from_static(name), value)
        })
        .collect();
    let request = Request {
        origin: Origin {
            request_id: uuid::Uuid::new_v4(),
            source: "test".to_owned(),
            user_agent: None,
            tls: None,
            at,
        },
        peer: [127, 0, 0, 1].into(),
        headers,
        body: Ok(Zeroizing::new(body.into_bytes())),
        until: tokio::time::Instant::now() + Duration::from_secs(60),
    };
    let Answer { status, body, .. } = service.handle(request).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_key_is_destroyed_when_its_waiting_period_ends() {
    let kms = Kms::new();
    let running = start(&kms).await;
    let service = &running.service;
    let client = Client::new("http://kms.test", &kms.administrator);
    let now = SystemTime::now();
    let mut keys = Vec::new();
    for alias in ["alias/kept", "alias/lost"] {
        let (_, made) = call(service, &client, now, "CreateKey", json!({})).await;
        let key = made["KeyMetadata"]["KeyId"]
            .as_str()
            .expect("an id")
            .to_owned();
        let input = json!({ "AliasName": alias, "TargetKeyId": key });
        assert_eq!(
            call(service, &client, now, "CreateAlias", input).await.0,
            200
        );
        let input = json!({ "KeyId": key, "PendingWindowInDays": 7 });
        assert_eq!(
            call(service, &client, now, "ScheduleKeyDeletion", input)
                .await
                .0,
            200
        );
        keys.push(key);
    }
    let [kept, lost] = [&keys[0], &keys[1]];
    let wrapped = wrapped_material(&kms.dir(), lost).await.expect("material");

    // A second before its end the period can still be broken off.
    let before = now + 7 * DAY - Duration::from_secs(1);
    assert_eq!(service.destroy_due_keys(before).await.expect("sweep"), 0);
    let input = json!({ "KeyId": kept });
    assert_eq!(
        call(service, &client, before, "CancelKeyDeletion", input)
            .await
            .0,
        200
    );

    // From its end on the key is gone, whether or not it has been destroyed yet.
    let after = now + 7 * DAY;
    for (operation, input) in [
        ("DescribeKey", json!({ "KeyId": lost })),
        ("CancelKeyDeletion", json!({ "KeyId": lost })),
        ("DescribeKey", json!({ "KeyId": "alias/lost" })),
    ] {
        let (status, body) = call(service, &client, after, operation, input).await;
        assert_eq!(
            (status, &body["__type"]),
            (400, &json!("NotFoundException")),
            "{operation}"
        );
    }
    assert_eq!(service.destroy_due_keys(after).await.expect("sweep"), 1);
    assert_eq!(service.destroy_due_keys(after).await.expect("sweep"), 0);
    assert_eq!(wrapped_material(&kms.dir(), lost).await, None);
    let input = json!({ "AliasName": "alias/lost", "TargetKeyId": kept });
    let (status, body) = call(service, &client, after, "CreateAlias", input).await;
    assert_eq!(status, 200, "the alias went with its key: {body}");
    let input = json!({ "KeyId": kept });
    let (_, described) = call(service, &client, after, "DescribeKey", input).await;
    assert_eq!(described["KeyMetadata"]["KeyState"], "Disabled");

    let Running {
        service, writer, ..
    } = running;
    drop(service);
    writer.await.expect("the writer ends");
    for name in ["kms.db", "kms.db-wal"] {
        let bytes = std::fs::read(kms.dir().join(name)).unwrap_or_default();
        let found = bytes
            .windows(32)
            .any(|window| window == &wrapped[wrapped.len() - 32..]);
        assert!(!found, "wrapped material is still in {name}");
    }
    let events = kms.events();
    let destroyed: Vec<_> = events
        .iter()
        .filter(|e| e["eventName"] == "DeleteKey")
        .collect();
    assert_eq!(destroyed.len(), 1);
    assert_eq!(destroyed[0]["eventType"], "AwsServiceEvent");
    let arn = destroyed[0]["resources"][0]["ARN"]
        .as_str()
        .expect("an ARN");
    assert!(arn.ends_with(lost.as_str()));
    kms.verify();
}

#[tokio::test]
async fn a_server_that_was_down_destroys_at_its_start() {
    let kms = Kms::new();
    let server = kms.serve(&[]);
    let client = server.client(&kms.administrator);
    let made = client.call("CreateKey", &json!({})).ok();
    let key = made["KeyMetadata"]["KeyId"]
        .as_str()
        .expect("an id")
        .to_owned();
    client
        .call("ScheduleKeyDeletion", &json!({ "KeyId": key }))
        .ok();
    server.kill();
    let mut connection = connect(&kms.dir()).await;
    sqlx::query("UPDATE keys SET deletion_ms = 1")
        .execute(&mut connection)
        .await
        .expect("time passes");
    sqlx::Connection::close(connection).await.expect("close");

    let server = kms.serve(&[]);
    assert_eq!(wrapped_material(&kms.dir(), &key).await, None);
    let client = server.client(&kms.administrator);
    let described = client.call("DescribeKey", &json!({ "KeyId": key }));
    assert_eq!(described.exception(), "NotFoundException");
}

async fn connect(dir: &Path) -> sqlx::SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.join("kms.db"));
    options.connect().await.expect("connect")
}

async fn wrapped_material(dir: &Path, key: &str) -> Option<Vec<u8>> {
    let mut connection = connect(dir).await;
    let row = sqlx::query("SELECT wrapped FROM materials WHERE key_id = ?")
        .bind(key.to_owned())
        .fetch_optional(&mut connection)
        .await
        .expect("query");
    sqlx::Connection::close(connection).await.expect("close");
    row.map(|row| row.get(0))
}
