//! Values that operators compare: booleans, numbers, dates, networks.

use std::net::IpAddr;

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, macros::format_description};

/// `true` or `false`, without regard to case.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A decimal number; integers up to 2^53 compare exactly.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    let decimal = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
    if !text.bytes().all(decimal) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Milliseconds since the epoch of `2026-01-31T12:00:00Z`, `2026-01-31` or seconds since the
/// epoch (IAM: "one of the W3C implementations of the ISO 8601 date formats or in epoch time").
/// Four digits, which would be a year to the one and a second of 1970 to the other, are refused.
pub(super) fn parse_date(text: &str) -> Option<i128> {
    if let Ok(seconds) = text.parse::<i64>() {
        return (text.len() > 4).then_some(i128::from(seconds) * 1000);
    }
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Some(date.midnight().assume_utc().unix_timestamp_nanos() / 1_000_000);
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos() / 1_000_000)
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// `203.0.113.0/24`, `2001:db8::/32`, or a single address; no IPv4 mapped into IPv6, since
    /// peers are compared as IPv4 then.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        if address.to_canonical() != address {
            return None;
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["", "yes", "1", "TRUE ", "tru"] {
            assert_eq!(parse_bool(text), None, "{text:?}");
        }
        for text in [
            "", "one", "NaN", "inf", "-inf", "1e999", "0x10", "1 ", "infinity",
        ] {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-01-01T00:00:00",
            "01/02/2026",
            "now",
        ] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "host",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn dates_of_each_form_agree() {
        let expected = Some(1_767_225_600_000);
        for text in [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00+01:00",
            "1767225600",
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    fn networks_contain_their_own_and_nothing_else() {
        for (network, address, inside) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("2001:db8::/32", "2001:db9::", false),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
    }
}
