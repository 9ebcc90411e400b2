//! What is printed: for programs as JSON, for people as text.

use std::fmt::Write;

use anchorhold_document::DIGEST;
use anchorhold_verifier::{Appraised, RootSha256};
use serde_json::{Value, json};

use super::args::DocumentArguments;

/// Bytes of a field that are shown to people.
const SHOWN: usize = 48;

/// The refusal of a document.
pub(super) fn refusal(rule: &str, message: &str) -> String {
    json!({ "error": { "rule": rule, "message": message } }).to_string()
}

/// The decoded document and what was found out about it.
pub(super) fn json(appraised: &Appraised) -> String {
    let document = appraised.document();
    let hex = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(hex::encode);
    let pcrs: serde_json::Map<String, Value> = document
        .pcrs
        .iter()
        .map(|(index, value)| (index.to_string(), Value::from(value.to_string())))
        .collect();
    let chain: Vec<Value> = appraised
        .certificates()
        .iter()
        .map(|certificate| {
            json!({
                "subject": certificate.subject,
                "not_before": certificate.not_before.to_string(),
                "not_after": certificate.not_after.to_string(),
            })
        })
        .collect();
    json!({
        "document": {
            "module_id": document.module_id,
            "digest": DIGEST,
            "timestamp": document.timestamp_ms,
            "pcrs": pcrs,
            "certificate": hex::encode(&document.certificate),
            "cabundle": document.cabundle.iter().map(hex::encode).collect::<Vec<_>>(),
            "public_key": hex(&document.public_key),
            "user_data": hex(&document.user_data),
            "nonce": hex(&document.nonce),
        },
        "root_sha256": appraised.root_sha256().to_string(),
        "debug": appraised.is_debug(),
        "signed_at": appraised.signed_at().to_string(),
        "verified_at": appraised.authenticated_at().to_string(),
        "valid_from": appraised.valid_from().to_string(),
        "valid_until": appraised.valid_until().to_string(),
        "chain": chain,
    })
    .to_string()
}

/// The same for people: who signed, what was measured, until when, and what was not asked.
pub(super) fn text(appraised: &Appraised, arguments: &DocumentArguments) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, appraised)
        .and_then(|()| write_measured(&mut text, appraised, arguments))
        .and_then(|()| write_chain(&mut text, appraised))
        .and_then(|()| write_fields(&mut text, appraised, arguments))
        .and_then(|()| write_limits(&mut text, arguments));
    text.truncate(text.trim_end().len());
    text
}

fn write_summary(text: &mut String, appraised: &Appraised) -> std::fmt::Result {
    let root = appraised.root_sha256();
    let whose = if root == RootSha256::AWS_NITRO_G1 {
        " (AWS Nitro Enclaves Root G1)"
    } else {
        ""
    };
    let mode = if appraised.is_debug() {
        "DEBUG: its registers say nothing"
    } else {
        "measured"
    };
    writeln!(
        text,
        "Authentic document of {}",
        printable(&appraised.document().module_id)
    )?;
    writeln!(text, "  signed at    {}", appraised.signed_at())?;
    writeln!(text, "  checked at   {}", appraised.authenticated_at())?;
    writeln!(text, "  valid until  {}", appraised.valid_until())?;
    writeln!(text, "  enclave      {mode}")?;
    writeln!(text, "  root SHA-256 {root}{whose}")
}

fn write_measured(
    text: &mut String,
    appraised: &Appraised,
    arguments: &DocumentArguments,
) -> std::fmt::Result {
    writeln!(text, "Measured ({DIGEST})")?;
    let mut zero = Vec::new();
    for (index, value) in &appraised.document().pcrs {
        let demanded = arguments.pcrs.iter().any(|demand| demand.index == *index);
        match value.is_zero() && !demanded {
            true => zero.push(index.to_string()),
            false => {
                let mark = if demanded { "  as demanded" } else { "" };
                writeln!(text, "  PCR{index:<2} {value}{mark}")?;
            }
        }
    }
    match zero.is_empty() {
        true => Ok(()),
        false => writeln!(text, "  zero: PCR {}", zero.join(", ")),
    }
}

fn write_chain(text: &mut String, appraised: &Appraised) -> std::fmt::Result {
    writeln!(text, "Signed by")?;
    for certificate in appraised.certificates() {
        let subject = printable(&certificate.subject);
        writeln!(text, "  {subject}, until {}", certificate.not_after)?;
    }
    Ok(())
}

fn write_fields(
    text: &mut String,
    appraised: &Appraised,
    arguments: &DocumentArguments,
) -> std::fmt::Result {
    let document = appraised.document();
    writeln!(text, "Fields")?;
    let nonce = if arguments.nonce.is_some() {
        "  as demanded"
    } else {
        ""
    };
    for (name, value, mark) in [
        ("public_key", &document.public_key, ""),
        ("user_data", &document.user_data, ""),
        ("nonce", &document.nonce, nonce),
    ] {
        let value = match value {
            None => "none".to_owned(),
            Some(bytes) => match bytes.get(..SHOWN) {
                Some(start) if bytes.len() > SHOWN => {
                    format!("{}… ({} bytes)", hex::encode(start), bytes.len())
                }
                _ => format!("{} ({} bytes)", hex::encode(bytes), bytes.len()),
            },
        };
        writeln!(text, "  {name:<10} {value}{mark}")?;
    }
    Ok(())
}

fn write_limits(text: &mut String, arguments: &DocumentArguments) -> std::fmt::Result {
    if arguments.pcrs.is_empty() {
        writeln!(
            text,
            "No register was demanded: this says that the enclave is genuine, not which one it is \
             (--pcr)."
        )?;
    }
    if arguments.max_age.is_none() {
        writeln!(
            text,
            "No age was demanded: an old document would have passed (--max-age)."
        )?;
    }
    Ok(())
}

/// Text from a document with nothing in it that moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_unicode().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}
