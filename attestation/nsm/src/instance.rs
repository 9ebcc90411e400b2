//! The parent instance's name.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;

/// Hex digits after `i-`.
const DIGITS: usize = 17;

/// An instance id as EC2 writes them: `i-` and 17 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// A random one.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; DIGITS.div_ceil(2)];
        rng.fill_bytes(&mut bytes);
        let mut text = format!("i-{}", hex::encode(bytes));
        text.truncate(2 + DIGITS);
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = InstanceIdError;

    fn from_str(text: &str) -> Result<Self, InstanceIdError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.strip_prefix("i-") {
            Some(digits) if digits.len() == DIGITS && digits.bytes().all(hex) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InstanceIdError {
                got: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no instance id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance id: expected i- and 17 lower-case hex digits, got {got:?}")]
pub struct InstanceIdError {
    /// The text that came.
    pub got: String,
}

impl InstanceIdError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "instance.id"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "i-",
            "i-0123456789abcdef",
            "i-0123456789ABCDEF0",
            "x-0123456789abcdef0",
        ] {
            assert_eq!(text.parse::<InstanceId>().unwrap_err().got, text);
        }
        assert_eq!(
            "i-0123456789abcdef0"
                .parse::<InstanceId>()
                .unwrap()
                .to_string()
                .len(),
            19
        );
    }

    #[test]
    fn a_random_one_is_well_formed() {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let id = InstanceId::random(&mut rng);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
    }
}
