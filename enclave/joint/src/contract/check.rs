//! The rules that a contract's fields follow.

use std::collections::BTreeSet;
use std::fmt::Display;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::file::*;
use super::{ApprovalKey, ContractError, FORMAT, PARTIES, answer_key};
use crate::table::MAX_VALUES;

mod analysis;

/// The most columns that a party may name.
const MAX_COLUMNS: usize = 64;
/// The most runs that a party may approve.
const MAX_RUNS: u32 = 1_000_000;
/// The largest CA certificate in PEM, in bytes.
const MAX_CA: usize = 8 * 1024;
/// The longest names of columns (as in CSV headers), endpoints (RFC 1035, section 2.3.4, and a
/// port) and ARNs, in bytes.
const MAX_COLUMN_NAME: usize = 128;
const MAX_ENDPOINT: usize = 253 + 6;
const MAX_ARN: usize = 256;

/// Refuses by a rule unless it holds.
pub(super) fn rule(
    rule: &'static str,
    holds: bool,
    expected: &str,
    got: impl Display,
) -> Result<(), ContractError> {
    if holds {
        return Ok(());
    }
    // What came may be of any length; the beginning tells enough.
    let got = got.to_string().chars().take(128).collect();
    Err(ContractError::Field {
        rule,
        expected: expected.to_owned(),
        got,
    })
}

impl Terms {
    pub(super) fn check(&self) -> Result<(), ContractError> {
        rule(
            "contract.format",
            self.format == FORMAT,
            FORMAT,
            &self.format,
        )?;
        let count = self.parties.len();
        rule(
            "contract.parties",
            PARTIES.contains(&count),
            "2 to 16 parties",
            count,
        )?;
        let minimum = self.cohorts.minimum;
        rule("contract.cohorts", minimum >= 2, "at least 2", minimum)?;
        rule(
            "contract.expires",
            expiry(&self.expires).is_some(),
            "RFC 3339 in UTC to the second, as 2030-01-31T00:00:00Z",
            &self.expires,
        )?;
        rule(
            "contract.nonce",
            is_hex(&self.nonce, 32),
            "64 lower-case hex digits",
            &self.nonce,
        )?;
        self.image.check()?;
        self.parties.iter().try_for_each(Party::check)?;
        self.check_order()?;
        self.check_analysis()
    }

    /// Names rise, and nobody stands for two parties.
    fn check_order(&self) -> Result<(), ContractError> {
        type Key = fn(&Party) -> &str;
        for (one, next) in self.parties.iter().zip(self.parties.iter().skip(1)) {
            rule(
                "contract.party.order",
                one.name < next.name,
                "parties in the order of their names, each once",
                format_args!("{:?} before {:?}", one.name, next.name),
            )?;
        }
        let once = |what: Key| {
            let all: BTreeSet<_> = self.parties.iter().map(what).collect();
            all.len() == self.parties.len()
        };
        let keys: [(&'static str, Key); 3] = [
            ("contract.party.approval-key", |p| &p.approval_key),
            ("contract.party.answer-key", |p| &p.answer_key),
            ("contract.party.kms-key", |p| &p.kms_key),
        ];
        for (name, key) in keys {
            rule(
                name,
                once(key),
                "a key of its own for each party",
                "one key twice",
            )?;
        }
        Ok(())
    }
}

impl Image {
    fn check(&self) -> Result<(), ContractError> {
        let pcrs = [&self.pcr0, &self.pcr1, &self.pcr2];
        for pcr in pcrs.into_iter().chain(&self.pcr8) {
            // All zero is how an enclave in debug mode measures.
            let ok = is_hex(pcr, 48) && pcr.bytes().any(|b| b != b'0');
            rule(
                "contract.image",
                ok,
                "96 lower-case hex digits, not all zero",
                pcr,
            )?;
        }
        Ok(())
    }
}

impl Party {
    fn check(&self) -> Result<(), ContractError> {
        let name = &self.name;
        rule(
            "contract.party.name",
            is_name(name),
            "1 to 32 of [a-z0-9-]",
            name,
        )?;
        rule(
            "contract.party.kms-key",
            is_key_arn(&self.kms_key),
            "the ARN of a KMS key",
            &self.kms_key,
        )?;
        rule(
            "contract.party.kms-endpoint",
            host_and_port(&self.kms_endpoint).is_some(),
            "a lower-case host name, with :port where that is not 443",
            &self.kms_endpoint,
        )?;
        rule(
            "contract.party.kms-ca",
            is_one_certificate(&self.kms_ca),
            "one certificate in PEM of at most 8 KiB",
            format_args!("{name}'s"),
        )?;
        rule(
            "contract.party.platform-root",
            is_hex(&self.platform_root, 32),
            "64 lower-case hex digits",
            &self.platform_root,
        )?;
        rule(
            "contract.party.approval-key",
            ApprovalKey::from_base64(&self.approval_key).is_some(),
            "base64 of an uncompressed P-384 SubjectPublicKeyInfo",
            format_args!("{name}'s"),
        )?;
        rule(
            "contract.party.answer-key",
            answer_key(&self.answer_key).is_some(),
            "base64 of an RSA SubjectPublicKeyInfo, 2048 to 8192 bits",
            format_args!("{name}'s"),
        )?;
        rule(
            "contract.party.runs",
            (1..=MAX_RUNS).contains(&self.runs),
            "1 to 1000000",
            self.runs,
        )?;
        self.check_columns()?;
        let rises = self.outputs.is_sorted_by(|a, b| a < b);
        rule(
            "contract.party.outputs",
            rises,
            "each once, in order",
            format_args!("{name}'s"),
        )
    }

    fn check_columns(&self) -> Result<(), ContractError> {
        let check = |holds, expected: &str, got: &dyn Display| {
            rule("contract.party.columns", holds, expected, got)
        };
        let count = self.columns.len();
        check(
            (1..=MAX_COLUMNS).contains(&count),
            "1 to 64 columns",
            &count,
        )?;
        let mut names = BTreeSet::new();
        for Column { name, .. } in &self.columns {
            let length = name.len();
            check(
                (1..=MAX_COLUMN_NAME).contains(&length),
                "names of 1 to 128 bytes",
                &length,
            )?;
            check(names.insert(name), "each column once", name)?;
        }
        let keys = self.columns.iter().filter(|c| c.role == Role::Key).count();
        check(keys == 1, "one column with the role key", &keys)?;
        let values = self.values().count();
        check(
            values <= MAX_VALUES,
            "at most 8 columns with the role value",
            &values,
        )
    }
}

/// The moment that an expiry names; `None` where it is written in another way.
pub(super) fn expiry(text: &str) -> Option<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let same = moment.offset().is_utc() && moment.format(&Rfc3339).ok()? == text;
    (same && text.len() == "2030-01-31T00:00:00Z".len()).then_some(moment)
}

/// Host and port of an endpoint.
pub(super) fn host_and_port(endpoint: &str) -> Option<(&str, u16)> {
    let (host, port) = match endpoint.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|n: &u16| *n != 0)?),
        None => (endpoint, 443),
    };
    let spelled_once = endpoint.len() == host.len()
        || (port != 443 && endpoint.len() == host.len() + 1 + port.to_string().len());
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ok = spelled_once && endpoint.len() <= MAX_ENDPOINT && host.split('.').all(label);
    ok.then_some((host, port))
}

fn is_name(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(inside)
}

/// `arn:<partition>:kms:<region>:<account>:key/<id>`.
fn is_key_arn(arn: &str) -> bool {
    let word = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let parts: Vec<_> = arn.splitn(7, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    arn.len() <= MAX_ARN
        && *prefix == "arn"
        && word(partition)
        && *service == "kms"
        && word(region)
        && account
        && resource.strip_prefix("key/").is_some_and(word)
}

fn is_one_certificate(pem: &str) -> bool {
    if pem.len() > MAX_CA {
        return false;
    }
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let first = found.next();
    // A DER SEQUENCE; what is in it, the TLS client reads.
    let certificate = matches!(first, Some(Ok(der)) if der.first() == Some(&0x30));
    certificate && found.next().is_none()
}

fn is_hex(text: &str, bytes: usize) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == bytes * 2 && text.bytes().all(digit)
}
