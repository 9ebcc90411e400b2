//! AWS's published vector `post-vanilla`, one more made with botocore, and every refusal.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::datetime;

use super::{Authorization, Presented, Scope, SecretAccessKey, SignatureError};

const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "service",
};
const NOW: OffsetDateTime = datetime!(2015-08-30 12:36:00 UTC);
/// AWS's test suite for Signature Version 4, `post-vanilla`.
const POST_VANILLA: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
    SignedHeaders=host;x-amz-date, \
    Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
/// botocore 1.44.5 over the headers in [`spaces`].
const SPACES: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
    SignedHeaders=content-type;host;my-header1;my-spaces;x-amz-date;x-amz-target, \
    Signature=98b21fb896cde1dec62173e048e16a1ff813994535b9b6f9d9704240fe735392";

fn secret() -> SecretAccessKey {
    SecretAccessKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned())
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a header value"),
            )
        })
        .collect()
}

fn vanilla() -> HeaderMap {
    headers(&[
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", POST_VANILLA),
    ])
}

fn spaces() -> HeaderMap {
    headers(&[
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("my-header1", "value2"),
        ("my-spaces", "  a   b  c  "),
        ("x-amz-target", "TrentService.Decrypt"),
        ("content-type", "application/x-amz-json-1.1"),
        ("authorization", SPACES),
    ])
}

fn check_at(headers: &HeaderMap, body: &[u8], now: OffsetDateTime) -> Result<(), SignatureError> {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let presented = Presented::read(headers, &digest, SCOPE, now)?;
    assert_eq!(presented.access_key_id(), "AKIDEXAMPLE");
    let authentic = presented.prove(&secret())?;
    assert_eq!(authentic.access_key_id(), "AKIDEXAMPLE");
    Ok(())
}

fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
    check_at(headers, body, NOW)
}

fn with(mut headers: HeaderMap, name: &'static str, value: &str) -> HeaderMap {
    headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
    headers
}

fn rule(result: Result<(), SignatureError>) -> &'static str {
    result.expect_err("must be refused").rule()
}

#[test]
fn every_signed_part_is_bound() {
    for (name, value) in [
        ("host", "example.amazonaws.org"),
        ("my-header1", "value3"),
        ("my-spaces", "a b cd"),
        ("x-amz-target", "TrentService.Encrypt"),
        ("content-type", "application/json"),
        ("x-amz-date", "20150830T123601Z"),
    ] {
        assert_eq!(
            check(&with(spaces(), name, value), b"{\"a\":1}"),
            Err(SignatureError::Mismatch),
            "{name}"
        );
    }
    assert_eq!(
        check(&spaces(), b"{\"a\":2}"),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn a_request_out_of_time_is_refused() {
    let bound = super::MAX_SKEW;
    let second = std::time::Duration::from_secs(1);
    assert_eq!(check_at(&vanilla(), b"", NOW + bound), Ok(()));
    assert_eq!(check_at(&vanilla(), b"", NOW - bound), Ok(()));
    let late = check_at(&vanilla(), b"", NOW + bound + second);
    assert_eq!(rule(late), "signature.expired");
    let early = check_at(&vanilla(), b"", NOW - bound - second);
    assert_eq!(rule(early), "signature.not-yet-current");
}

#[test]
fn a_date_that_is_none_is_refused() {
    for date in [
        "",
        "20150830",
        "2015-08-30T12:36:00Z",
        "20151330T123600Z",
        "20150830T123600Z ",
    ] {
        assert_eq!(
            rule(check(&with(vanilla(), "x-amz-date", date), b"")),
            "signature.date"
        );
    }
    let mut none = vanilla();
    none.remove("x-amz-date");
    assert_eq!(check(&none, b""), Err(SignatureError::MissingDate));
}

#[test]
fn another_scope_is_refused() {
    for (from, to) in [
        ("us-east-1", "us-east-2"),
        ("/service/", "/kms/"),
        ("20150830", "20150831"),
        ("aws4_request", "aws4_requests"),
    ] {
        let headers = with(vanilla(), "authorization", &POST_VANILLA.replace(from, to));
        assert_eq!(rule(check(&headers, b"")), "signature.scope", "{to}");
    }
}

#[test]
fn an_unsigned_host_or_amz_header_is_refused() {
    let target = with(vanilla(), "x-amz-target", "TrentService.Decrypt");
    assert_eq!(rule(check(&target, b"")), "signature.unsigned-header");
    let hostless = POST_VANILLA.replace("host;", "");
    let headers = with(vanilla(), "authorization", &hostless);
    assert_eq!(rule(check(&headers, b"")), "signature.unsigned-header");
}

#[test]
fn a_payload_digest_has_to_be_the_bodys() {
    let unsigned = with(vanilla(), "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(check(&unsigned, b""), Err(SignatureError::UnsignedPayload));
    let other = with(vanilla(), "x-amz-content-sha256", &"0".repeat(64));
    assert_eq!(check(&other, b""), Err(SignatureError::PayloadMismatch));
}

#[test]
fn a_session_token_is_unknown() {
    let token = with(vanilla(), "x-amz-security-token", "FwoGZXIvYXdzEXAMPLE");
    let refused = check(&token, b"").expect_err("no token is known");
    assert_eq!(refused.exception().name(), "UnrecognizedClientException");
}

#[test]
fn a_repeated_header_is_refused() {
    for name in ["authorization", "x-amz-date", "x-amz-content-sha256"] {
        let mut headers = vanilla();
        for value in [POST_VANILLA, "20150830T123600Z"] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(rule(check(&headers, b"")), "signature.headers", "{name}");
    }
}

#[test]
fn malformed_authorization_headers_are_refused() {
    let long = format!("{POST_VANILLA}{}", " ".repeat(4096));
    let many = POST_VANILLA.replace("host;", &"a;".repeat(70));
    for value in [
        "",
        "AWS4-HMAC-SHA256",
        "Basic dXNlcjpwYXNz",
        "AWS4-HMAC-SHA512 Credential=a/b/c/d/aws4_request",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request",
        &POST_VANILLA.replace("Credential=", "credential="),
        &POST_VANILLA.replace("AKIDEXAMPLE/", ""),
        &POST_VANILLA.replace("AKIDEXAMPLE/", "AKID EXAMPLE/"),
        &POST_VANILLA.replace("aws4_request", "aws4_request/"),
        &POST_VANILLA.replace("aws4_request", "aws4_request/x"),
        &POST_VANILLA.replace("host;x-amz-date", "x-amz-date;host"),
        &POST_VANILLA.replace("host;x-amz-date", "Host;x-amz-date"),
        &POST_VANILLA.replace("host;x-amz-date", "host;host;x-amz-date"),
        &POST_VANILLA.replace("host;x-amz-date", ""),
        &POST_VANILLA.replace("5da7", "5DA7"),
        &POST_VANILLA.replace("5da7", "5da"),
        &POST_VANILLA.replace("5da7", "xyzw"),
        &format!("{POST_VANILLA}, Signature=00"),
        &format!("{POST_VANILLA}, Extra=1"),
        &long,
        &many,
    ] {
        assert!(Authorization::parse(value).is_err(), "{value:.200}");
    }
    assert_eq!(
        check(&HeaderMap::new(), b""),
        Err(SignatureError::MissingToken)
    );
}

#[test]
fn a_signed_header_has_to_be_there() {
    let mut headers = spaces();
    headers.remove("my-spaces");
    assert_eq!(rule(check(&headers, b"{\"a\":1}")), "signature.headers");
}

#[test]
fn published_vectors_are_accepted() {
    assert_eq!(check(&vanilla(), b""), Ok(()));
    assert_eq!(check(&spaces(), b"{\"a\":1}"), Ok(()));
}

#[test]
fn another_secret_does_not_fit() {
    let digest: [u8; 32] = Sha256::digest(b"").into();
    let presented = Presented::read(&vanilla(), &digest, SCOPE, NOW).expect("well formed");
    let other = SecretAccessKey::new("x".repeat(SecretAccessKey::LENGTH));
    assert!(matches!(
        presented.prove(&other),
        Err(SignatureError::Mismatch)
    ));
}

proptest! {
    #[test]
    fn arbitrary_headers_never_panic(text in "\\PC{0,300}") {
        let _ = Authorization::parse(&text);
        let _ = Authorization::parse(&format!("AWS4-HMAC-SHA256 {text}"));
    }

    #[test]
    fn what_is_parsed_was_written(
        key in "[A-Z0-9_]{1,32}",
        names in proptest::collection::btree_set("[a-z][a-z0-9-]{0,12}", 1..10),
        signature in proptest::array::uniform32(any::<u8>()),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let text = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20150830/us-east-1/kms/aws4_request,SignedHeaders={},Signature={}",
            names.join(";"),
            hex::encode(signature),
        );
        let parsed = Authorization::parse(&text).expect("well formed");
        prop_assert_eq!(parsed.access_key_id(), key);
        prop_assert_eq!(parsed.signed_headers(), names);
        prop_assert_eq!(parsed.signature(), &signature);
    }
}
