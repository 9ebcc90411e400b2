//! Pagination.

use anchorhold_kms_core::{Exception, KmsError};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Longest marker (API model, `MarkerType`), in characters.
pub const MAX_MARKER: usize = 1024;

/// Where a listing goes on: after this name. On the wire an opaque string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    /// The marker of a listing that ended with `last`.
    pub fn after(last: impl ToString) -> Self {
        Self(last.to_string())
    }

    /// The name that the listing goes on after.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The wire's form.
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("v1:{}", self.0))
    }

    /// Reads the wire's form; `is_name` says whether a name may have been the last one.
    ///
    /// # Errors
    /// `InvalidMarkerException`.
    pub fn decode(text: &str, is_name: impl Fn(&str) -> bool) -> Result<Self, KmsError> {
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.strip_prefix("v1:").map(str::to_owned))
            .filter(|name| is_name(name))
            .map(Self)
            .ok_or_else(|| {
                KmsError::other(
                    Exception::InvalidMarker,
                    "request.marker",
                    "The marker is not one that this KMS gave out.",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markers_of_another_make_are_refused() {
        let foreign = BASE64_URL_SAFE_NO_PAD.encode("v2:alias/a");
        for text in [
            "",
            "x",
            "====",
            &foreign,
            &BASE64_URL_SAFE_NO_PAD.encode([0xff, 0xfe]),
        ] {
            let refused = Marker::decode(text, |_| true).expect_err("no marker");
            assert_eq!(refused.exception().name(), "InvalidMarkerException");
        }
        let marker = Marker::after("alias/a").encode();
        assert!(Marker::decode(&marker, |name| name != "alias/a").is_err());
    }

    proptest! {
        #[test]
        fn markers_come_back(name in "[a-z/-]{0,256}") {
            let text = Marker::after(&name).encode();
            prop_assert!(text.len() <= MAX_MARKER);
            let read = Marker::decode(&text, |_| true).expect("ours");
            prop_assert_eq!(read.name(), name);
        }

        #[test]
        fn arbitrary_markers_never_panic(text in "\\PC{0,64}") {
            let _ = Marker::decode(&text, |_| true);
        }
    }
}
