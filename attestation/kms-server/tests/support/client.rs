//! A small signing client over HTTP/1.1, so that tests can send what no SDK sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Credentials, REGION};

/// An endpoint and who calls it.
#[derive(Clone)]
pub struct Client {
    pub address: String,
    pub credentials: Credentials,
    pub region: String,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    pub fn request_id(&self) -> String {
        self.header("x-amzn-requestid").expect("a request id")
    }

    /// The exception's name, or "" for success.
    pub fn exception(&self) -> &str {
        self.body["__type"].as_str().unwrap_or_default()
    }

    /// The rule that refused.
    pub fn rule(&self) -> String {
        self.header("x-anchorhold-rule").unwrap_or_default()
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub fn blob(&self, name: &str) -> Vec<u8> {
        let text = self.body[name].as_str();
        let text = text.unwrap_or_else(|| panic!("no {name} in {}", self.body));
        BASE64_STANDARD.decode(text).expect("base64")
    }
}

impl Client {
    pub fn new(url: &str, credentials: &Credentials) -> Self {
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            credentials: credentials.clone(),
            region: REGION.to_owned(),
        }
    }

    /// Calls an operation of AWS's.
    pub fn call(&self, operation: &str, input: &Value) -> Reply {
        self.send(&format!("TrentService.{operation}"), &input.to_string())
    }

    pub fn send(&self, target: &str, body: &str) -> Reply {
        self.try_send(target, body).expect("an answer")
    }

    /// `None` when the server went away.
    pub fn try_send(&self, target: &str, body: &str) -> Option<Reply> {
        let headers = self.signed_headers(target, body, SystemTime::now());
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        let request = format!(
            "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{body}",
            body.len(),
            headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect::<String>(),
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        read_reply(&answer)
    }

    /// The headers of a signed request, host included.
    pub fn signed_headers(
        &self,
        target: &str,
        body: &str,
        at: SystemTime,
    ) -> Vec<(&'static str, String)> {
        let date = OffsetDateTime::from(at)
            .format(format_description!(
                "[year][month][day]T[hour][minute][second]Z"
            ))
            .expect("a date");
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("host", self.address.clone()),
            ("x-amz-date", date.clone()),
            ("x-amz-target", target.to_owned()),
        ];
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256(body.as_bytes()));
        let day = &date[..8];
        let scope = format!("{day}/{}/kms/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            sha256(canonical.as_bytes())
        );
        let mut key = format!("AWS4{}", self.credentials.secret_access_key).into_bytes();
        for part in [day, &self.region, "kms", "aws4_request", &text] {
            key = hmac(&key, part.as_bytes());
        }
        headers.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
                self.credentials.access_key_id,
                hex::encode(key)
            ),
        ));
        headers
    }
}

/// Parses one answer that ends with its connection.
pub fn read_reply(answer: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply {
        status,
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
