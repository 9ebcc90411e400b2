//! How values stand in JSON.

use core::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error as _, IgnoredAny, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Longest request, in bytes: room for a document of 256 KiB in base64 and the rest.
const MAX_REQUEST: usize = 512 * 1024;

/// A request as JSON, in memory that is cleared. Room is measured first, so that growing leaves no
/// copies behind.
pub(super) fn encode(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut length = Counter(0);
    serde_json::to_writer(&mut length, request)?;
    let mut body = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *body, request)?;
    Ok(body)
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        if self.0 > MAX_REQUEST {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes in base64.
pub(super) struct Base64<'a>(pub &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Bytes that came in base64; cleared when dropped, since some are secret.
pub(super) struct Blob(pub Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decoder;

        impl Visitor<'_> for Decoder {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
                let decoded = STANDARD.decode_vec(text, &mut bytes);
                // The decoder's own error would quote the text.
                decoded.map_err(|_| E::custom("not base64"))?;
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_str(Decoder)
    }
}

/// A field that must not be there, whatever its value.
#[derive(Default)]
pub(super) struct Presence(pub bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map_err(|_| D::Error::custom("not JSON"))?;
        Ok(Self(true))
    }
}
