//! Audit events in CloudTrail's shape.
//!
//! Source: "CloudTrail record contents" and "Logging AWS KMS API calls" in AWS's
//! documentation; `additionalEventData.recipient` is what AWS writes for requests
//! with an attestation document, with `rootSha256`, `documentSha384`, `userData`,
//! `documentTimestamp` and, for calls on a key, `priorReleases` added. Plaintext, data keys, random bytes and secret keys
//! have no member here.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::Home;

/// Longest `requestParameters`, in bytes: CloudTrail's bound, beyond which it omits them.
pub const MAX_PARAMETERS: usize = 100 * 1024;
/// Longest user agent kept, in bytes; CloudTrail's is 1 KB.
const MAX_USER_AGENT: usize = 256;
/// Longest error message kept, in bytes: CloudTrail's bound.
const MAX_ERROR_MESSAGE: usize = 1024;

/// One audit event, as it is stored: members in CloudTrail's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    event_version: &'static str,
    user_identity: Identity,
    event_time: String,
    event_source: &'static str,
    event_name: String,
    aws_region: String,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: String,
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    request_parameters: Option<Value>,
    response_elements: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_event_data: Map<String, Value>,
    #[serde(rename = "requestID")]
    request_id: Uuid,
    #[serde(rename = "eventID")]
    event_id: Uuid,
    read_only: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource>,
    event_type: &'static str,
    management_event: bool,
    recipient_account_id: String,
    event_category: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_details: Option<TlsDetails>,
}

/// CloudTrail's `userIdentity`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
pub enum Identity {
    /// A user whose signature was checked.
    #[serde(rename = "IAMUser", rename_all = "camelCase")]
    User {
        /// The user's unique id.
        principal_id: String,
        /// The user's ARN.
        arn: String,
        /// The account.
        account_id: String,
        /// The access key that signed.
        access_key_id: String,
        /// The user's name.
        user_name: String,
    },
    /// Nobody has been authenticated.
    #[serde(rename = "Unknown")]
    Unknown,
    /// The KMS itself, for instance when a waiting period ends.
    #[serde(rename = "AWSService", rename_all = "camelCase")]
    Service {
        /// Who.
        invoked_by: &'static str,
    },
    /// Somebody with access to the data directory, through the command line.
    #[serde(rename = "HostOperator")]
    HostOperator,
}

/// CloudTrail's `resources` entry.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    account_id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "ARN")]
    arn: String,
}

impl Resource {
    /// A key.
    pub fn key(home: &Home, arn: impl ToString) -> Self {
        Self {
            account_id: home.account.to_string(),
            kind: "AWS::KMS::Key",
            arn: arn.to_string(),
        }
    }

    /// An alias.
    pub fn alias(home: &Home, arn: impl ToString) -> Self {
        Self {
            kind: "AWS::KMS::Alias",
            ..Self::key(home, arn)
        }
    }
}

/// CloudTrail's `tlsDetails`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsDetails {
    /// For instance `TLSv1.3`.
    pub tls_version: String,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
}

/// Who called, from where, and when.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The id in the answer's `x-amzn-RequestId`.
    pub request_id: Uuid,
    /// The peer's address, or the name of a local caller.
    pub source: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The connection's TLS parameters.
    pub tls: Option<TlsDetails>,
    /// When the request was complete.
    pub at: SystemTime,
}

/// What a call gathers for its event while it is decided.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// The request's parameters, without anything secret.
    pub parameters: Option<Value>,
    /// What the call changed.
    pub response: Option<Value>,
    /// `additionalEventData`.
    pub additional: Map<String, Value>,
    /// The keys and aliases that the call is about.
    pub resources: Vec<Resource>,
}

impl Trail {
    /// Adds a resource once.
    pub fn touch(&mut self, resource: Resource) {
        if !self.resources.contains(&resource) {
            self.resources.push(resource);
        }
    }
}

/// How a call ended, as the event says it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// AWS's name of the error.
    pub code: String,
    /// What the caller is told.
    pub message: String,
    /// The rule that refused.
    pub rule: &'static str,
}

/// Where an event comes from: CloudTrail's `eventSource` and `eventType`.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// A call of the API.
    Api,
    /// Something that the KMS did by itself.
    Service,
    /// A command on the host.
    Command,
}

/// Who did what.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// Where it was asked for.
    pub source: Source,
    /// CloudTrail's `eventName`.
    pub name: &'a str,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// By whom.
    pub identity: Identity,
}

impl Event {
    /// Puts an event together.
    pub fn new(
        home: &Home,
        deed: Deed<'_>,
        origin: &Origin,
        trail: Trail,
        failure: Option<Failure>,
    ) -> Self {
        let (event_source, event_type) = match deed.source {
            Source::Api => ("kms.amazonaws.com", "AwsApiCall"),
            Source::Service => ("kms.amazonaws.com", "AwsServiceEvent"),
            Source::Command => ("anchorhold-kms", "AnchorholdCommand"),
        };
        let mut additional = trail.additional;
        if let Some(failure) = &failure {
            additional.insert("rule".to_owned(), failure.rule.into());
        }
        Self {
            event_version: "1.11",
            user_identity: deed.identity,
            event_time: rfc3339(origin.at),
            event_source,
            event_name: deed.name.to_owned(),
            aws_region: home.region.to_string(),
            source_ip_address: origin.source.clone(),
            user_agent: origin.user_agent.as_deref().map(|a| cut(a, MAX_USER_AGENT)),
            error_code: failure.as_ref().map(|f| error_code(&f.code)),
            error_message: failure.map(|f| cut(&f.message, MAX_ERROR_MESSAGE)),
            request_parameters: trail.parameters.map(bounded),
            response_elements: trail.response,
            additional_event_data: additional,
            request_id: origin.request_id,
            event_id: Uuid::new_v4(),
            read_only: deed.read_only,
            resources: trail.resources,
            event_type,
            management_event: true,
            recipient_account_id: home.account.to_string(),
            event_category: "Management",
            tls_details: origin.tls.clone(),
        }
    }

    /// The event's JSON, one line.
    pub fn to_json(&self) -> String {
        // Every member serialises: there are no maps with other keys than strings.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// CloudTrail calls this one error by another name than the wire does.
fn error_code(aws_type: &str) -> String {
    match aws_type {
        "AccessDeniedException" => "AccessDenied".to_owned(),
        other => other.to_owned(),
    }
}

/// CloudTrail omits request parameters above its bound, and says so.
fn bounded(parameters: Value) -> Value {
    let size = parameters.to_string().len();
    if size <= MAX_PARAMETERS {
        parameters
    } else {
        json!({ "omitted": true, "originalSize": size, "reasonForOmission": "too large" })
    }
}

/// The start of a text: as many bytes, at a character's end.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// CloudTrail's `eventTime`: UTC, whole seconds.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_ms;

    fn event(trail: Trail, failure: Option<Failure>) -> Value {
        let home = Home {
            account: "111122223333".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let origin = Origin {
            request_id: Uuid::nil(),
            source: "127.0.0.1".to_owned(),
            user_agent: Some("é".repeat(1000)),
            tls: None,
            at: from_ms(1_700_000_000_999),
        };
        let deed = Deed {
            source: Source::Api,
            name: "Decrypt",
            read_only: true,
            identity: Identity::Unknown,
        };
        let event = Event::new(&home, deed, &origin, trail, failure);
        serde_json::from_str(&event.to_json()).expect("JSON")
    }

    #[test]
    fn oversized_parameters_are_omitted_and_said_to_be() {
        let trail = Trail {
            parameters: Some(json!({ "encryptionContext": { "a": "x".repeat(MAX_PARAMETERS) } })),
            ..Trail::default()
        };
        let event = event(trail, None);
        assert_eq!(event["requestParameters"]["omitted"], true);
    }

    #[test]
    fn long_texts_are_cut_at_characters() {
        let failure = Failure {
            code: "AccessDeniedException".to_owned(),
            message: "é".repeat(2000),
            rule: "policy.denied",
        };
        let event = event(Trail::default(), Some(failure));
        assert_eq!(
            event["userAgent"].as_str().map(str::len),
            Some(MAX_USER_AGENT)
        );
        assert_eq!(
            event["errorMessage"].as_str().map(str::len),
            Some(MAX_ERROR_MESSAGE)
        );
        assert_eq!(event["errorCode"], "AccessDenied");
        assert_eq!(event["additionalEventData"]["rule"], "policy.denied");
    }

    #[test]
    fn members_have_cloudtrails_names() {
        let event = event(Trail::default(), None);
        for (name, value) in [
            ("eventTime", json!("2023-11-14T22:13:20Z")),
            ("eventSource", json!("kms.amazonaws.com")),
            ("eventType", json!("AwsApiCall")),
            ("sourceIPAddress", json!("127.0.0.1")),
            ("requestID", json!(Uuid::nil())),
            ("recipientAccountId", json!("111122223333")),
            ("userIdentity", json!({ "type": "Unknown" })),
            ("requestParameters", Value::Null),
            ("responseElements", Value::Null),
        ] {
            assert_eq!(event.get(name), Some(&value), "{name}");
        }
        assert_eq!(event.get("errorCode"), None);
    }
}
