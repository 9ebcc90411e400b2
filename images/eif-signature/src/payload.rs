//! What is signed.

use anchorhold_eif::Measurement;
use ciborium::Value;

use crate::error::SignatureError;

const INDEX: &str = "register_index";
const VALUE: &str = "register_value";

/// The bytes that a signature over this PCR0 signs, as AWS's tools write them: a map in this
/// order, the value an array of integers.
pub fn payload(pcr0: &Measurement) -> Vec<u8> {
    let octets = pcr0.0.iter().map(|octet| Value::from(*octet)).collect();
    let map = Value::Map(vec![
        (Value::from(INDEX), Value::from(0)),
        (Value::from(VALUE), Value::Array(octets)),
    ]);
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail, and the value has nothing that CBOR lacks.
    let _ = ciborium::into_writer(&map, &mut bytes);
    bytes
}

/// Demands that exactly [`payload`] of this PCR0 was signed; AWS's reader compares bytes too.
pub(crate) fn check(signed: &[u8], pcr0: &Measurement) -> Result<(), SignatureError> {
    if signed == payload(pcr0) {
        return Ok(());
    }
    let form = |reason: String| SignatureError::Form {
        what: "payload",
        reason,
    };
    let value: Value =
        ciborium::from_reader(signed).map_err(|error| form(format!("it is not CBOR: {error}")))?;
    let Value::Map(entries) = value else {
        return Err(form("it is not a map".into()));
    };
    let find = |name: &str| {
        let mut matching = entries
            .iter()
            .filter(|(key, _)| key.as_text() == Some(name));
        matching.next().map(|(_, value)| value)
    };
    match find(INDEX) {
        Some(Value::Integer(index)) if i128::from(*index) == 0 => {}
        Some(Value::Integer(index)) => {
            return Err(SignatureError::Register {
                got: i128::from(*index).to_string(),
            });
        }
        _ => return Err(form(format!("it has no number {INDEX}"))),
    }
    let octet = |value: &Value| u8::try_from(i128::from(value.as_integer()?)).ok();
    let octets = match find(VALUE) {
        Some(Value::Array(values)) => values.iter().map(octet).collect::<Option<Vec<u8>>>(),
        _ => None,
    };
    let Some(octets) = octets else {
        return Err(form(format!("it has no array of octets {VALUE}")));
    };
    if octets == pcr0.0 {
        return Err(form("it is not encoded as AWS's tools do".into()));
    }
    let got = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Err(SignatureError::Pcr0 {
        expected: pcr0.to_string(),
        got,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_encoded_as_aws_tools_do() {
        let mut expected = b"\xa2\x6eregister_index\x00\x6eregister_value\x98\x30".to_vec();
        expected.extend([0x18, 0xff]);
        expected.extend([0x17; 47]);
        let mut pcr0 = [0x17; 48];
        pcr0[0] = 0xff;
        assert_eq!(payload(&Measurement(pcr0)), expected);
    }

    #[test]
    fn other_payloads_are_refused_by_what_they_say() {
        let pcr0 = Measurement([1; 48]);
        let rule = |payload: &[u8]| check(payload, &pcr0).expect_err("refused").rule();
        let mut register = payload(&pcr0);
        register[16] = 8;
        assert_eq!(rule(&register), "signature.register");
        assert_eq!(rule(&payload(&Measurement([2; 48]))), "signature.pcr0");
        assert_eq!(rule(&payload(&pcr0)[..50]), "signature.form");
        assert_eq!(rule(b""), "signature.form");
        assert_eq!(rule(b"\x80"), "signature.form");
        assert_eq!(rule(b"\xa0"), "signature.form");
        assert_eq!(
            rule(&[&payload(&pcr0)[..], b"\0"].concat()),
            "signature.form"
        );
    }
}
