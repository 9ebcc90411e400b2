//! The canonical request.

use http::HeaderMap;

use super::SignatureError;

/// Canonical request of a `POST /` without query:
///
/// ```text
/// POST
/// /
/// <empty query>
/// <name>:<value>        one line per signed header, in order
///
/// <name>;<name>…
/// <hex SHA-256 of the body>
/// ```
pub(super) fn canonical_request(
    headers: &HeaderMap,
    signed: &[String],
    body_sha256: &[u8; 32],
) -> Result<String, SignatureError> {
    let mut request = String::from("POST\n/\n\n");
    for name in signed {
        request.push_str(name);
        request.push(':');
        push_values(&mut request, headers, name)?;
        request.push('\n');
    }
    request.push('\n');
    request.push_str(&signed.join(";"));
    request.push('\n');
    request.push_str(&hex::encode(body_sha256));
    Ok(request)
}

/// The values of one header joined by commas in the order received, each trimmed
/// and with runs of white space inside it reduced to one space.
fn push_values(
    request: &mut String,
    headers: &HeaderMap,
    name: &str,
) -> Result<(), SignatureError> {
    let mut present = false;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| SignatureError::HeaderNotText {
            name: name.to_owned(),
        })?;
        if present {
            request.push(',');
        }
        present = true;
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                request.push(' ');
            }
            request.push_str(word);
        }
    }
    if present {
        Ok(())
    } else {
        Err(SignatureError::SignedHeaderAbsent {
            name: name.to_owned(),
        })
    }
}
