//! Column types: what makes a value valid, and what of it is disclosed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::token::TokenKey;

/// The longest value of any typed column in bytes.
pub const MAX_VALUE: usize = 1024;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// Any join value; disclosed as a keyed token.
    Identifier,
    /// A person's name; disclosed as a keyed token of it in lower case with single spaces.
    Name,
    /// An email address; disclosed as a keyed token of it in lower case.
    Email,
    /// A telephone number of 7 to 15 digits (E.164); disclosed as a keyed token of its digits.
    Phone,
    /// A US social security number; disclosed as a keyed token of its digits.
    Ssn,
    /// A payment card number (ISO/IEC 7812, Luhn); its last four digits are disclosed.
    Card,
    /// A date of birth; its year is disclosed.
    DateOfBirth,
    /// A postcode; its first three characters are disclosed.
    Postcode,
    /// Disclosed as it is, because the owner says so.
    PassThrough,
    /// Not disclosed.
    Withheld,
}

/// Why a value does not parse. Never holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueError {
    /// Longer than [`MAX_VALUE`].
    TooLong,
    /// A name without a letter.
    NameWithoutLetter,
    /// Not `local@domain.tld`.
    NotAnEmail,
    /// Not 7 to 15 digits.
    NotAPhoneNumber,
    /// Not nine digits, or a number that is never issued.
    NotAnSsn,
    /// Not 12 to 19 digits.
    NotACardNumber,
    /// The Luhn check digit is wrong.
    CardCheckDigit,
    /// Not a date in one of the accepted forms.
    NotADate,
    /// Not 4 to 10 letters and digits.
    NotAPostcode,
}

impl ColumnType {
    /// What the report says of the column's disclosure.
    pub fn disclosure(self) -> &'static str {
        match self {
            Self::Identifier | Self::Name | Self::Email | Self::Phone | Self::Ssn => "keyed token",
            Self::Card => "last four digits",
            Self::DateOfBirth => "year",
            Self::Postcode => "first three characters",
            Self::PassThrough => "as it is",
            Self::Withheld => "withheld",
        }
    }

    /// Whether groups of the report may be made of its disclosed values: tokens and card digits
    /// single out a person, so they may not.
    pub fn may_group(self) -> bool {
        matches!(self, Self::DateOfBirth | Self::Postcode | Self::PassThrough)
    }

    /// The disclosed form of a value; `None` for a withheld column. An empty value stays empty.
    ///
    /// # Errors
    /// [`ValueError`] when the value is not of this type.
    pub fn disclose<'a>(
        self,
        value: &'a str,
        tokens: &TokenKey,
    ) -> Result<Option<Cow<'a, str>>, ValueError> {
        if self == Self::Withheld {
            return Ok(None);
        }
        if self == Self::PassThrough {
            return Ok(Some(Cow::Borrowed(value)));
        }
        let value = value.trim();
        if value.is_empty() {
            return Ok(Some(Cow::Borrowed("")));
        }
        if value.len() > MAX_VALUE {
            return Err(ValueError::TooLong);
        }
        let token = |normal: &str| tokens.token(self, normal);
        let disclosed = match self {
            Self::Identifier => token(value),
            Self::Name => token(&name(value)?),
            Self::Email => token(&email(value)?),
            Self::Phone => token(&phone(value)?),
            Self::Ssn => token(&ssn(value)?),
            Self::Card => card(value)?,
            Self::DateOfBirth => year(value)?,
            Self::Postcode => postcode(value)?,
            Self::PassThrough | Self::Withheld => return Ok(None),
        };
        Ok(Some(Cow::Owned(disclosed)))
    }

    /// Whether a value is one of this type.
    pub fn accepts(self, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::Name => name(value).is_ok(),
            Self::Email => email(value).is_ok(),
            Self::Phone => phone(value).is_ok(),
            Self::Ssn => ssn(value).is_ok(),
            Self::Card => card(value).is_ok(),
            Self::DateOfBirth => year(value).is_ok(),
            Self::Postcode => postcode(value).is_ok(),
            Self::Identifier | Self::PassThrough | Self::Withheld => true,
        }
    }
}

fn name(value: &str) -> Result<String, ValueError> {
    if !value.chars().any(char::is_alphabetic) {
        return Err(ValueError::NameWithoutLetter);
    }
    let words: Vec<_> = value.split_whitespace().map(str::to_lowercase).collect();
    Ok(words.join(" "))
}

/// Lower-case throughout: RFC 5321 lets the local part be case-sensitive, no large provider does.
fn email(value: &str) -> Result<String, ValueError> {
    let plain = !value.chars().any(|c| c.is_whitespace() || c.is_control());
    match value.split_once('@') {
        Some((local, domain))
            if plain
                && (1..=64).contains(&local.len())
                && domain.len() <= 255
                && !domain.contains('@')
                && domain.contains('.')
                && domain.split('.').all(|label| !label.is_empty()) =>
        {
            Ok(value.to_lowercase())
        }
        _ => Err(ValueError::NotAnEmail),
    }
}

/// E.164: at most 15 digits. An international prefix `00` counts as `+`.
fn phone(value: &str) -> Result<String, ValueError> {
    let (plus, rest) = match value.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let digits = digits(rest, " -().").ok_or(ValueError::NotAPhoneNumber)?;
    let digits = match digits.strip_prefix("00") {
        Some(international) if !plus => international.to_owned(),
        _ => digits,
    };
    if (7..=15).contains(&digits.len()) {
        Ok(digits)
    } else {
        Err(ValueError::NotAPhoneNumber)
    }
}

/// Areas 000, 666 and 900–999, group 00 and serial 0000 are never issued (SSA, 20 CFR 422.103).
fn ssn(value: &str) -> Result<String, ValueError> {
    let digits = digits(value, " -")
        .filter(|d| d.len() == 9)
        .ok_or(ValueError::NotAnSsn)?;
    let (area, rest) = digits.split_at(3);
    let (group, serial) = rest.split_at(2);
    let issued = area != "000"
        && area != "666"
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000";
    if issued {
        Ok(digits)
    } else {
        Err(ValueError::NotAnSsn)
    }
}

fn card(value: &str) -> Result<String, ValueError> {
    let digits = digits(value, " -")
        .filter(|d| (12..=19).contains(&d.len()))
        .ok_or(ValueError::NotACardNumber)?;
    if !luhn(&digits) {
        return Err(ValueError::CardCheckDigit);
    }
    let last = digits
        .get(digits.len().saturating_sub(4)..)
        .unwrap_or_default();
    Ok(format!("****{last}"))
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b.saturating_sub(b'0'));
            let doubled = digit * 2;
            match i % 2 {
                0 => digit,
                _ if doubled > 9 => doubled - 9,
                _ => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `YYYY-MM-DD`, `YYYY/MM/DD`, `YYYYMMDD`, and with the year last `DD.MM.YYYY`, `DD-MM-YYYY` and
/// `DD/MM/YYYY` or `MM/DD/YYYY`: only the year is disclosed, so the two need not be told apart.
fn year(value: &str) -> Result<String, ValueError> {
    let date = value.split(['T', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) {
        vec![&date[..4], &date[4..6], &date[6..]]
    } else {
        date.split(['-', '/', '.']).collect()
    };
    let [a, b, c] = parts[..] else {
        return Err(ValueError::NotADate);
    };
    let (year, one, other) = if a.len() == 4 { (a, b, c) } else { (c, a, b) };
    let number = |part: &str, longest: usize| -> Option<u16> {
        let plain = (1..=longest).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let (Some(y), Some(one), Some(other)) = (
        number(year, 4).filter(|_| year.len() == 4),
        number(one, 2),
        number(other, 2),
    ) else {
        return Err(ValueError::NotADate);
    };
    let real = is_day(y, one, other) || (a.len() != 4 && is_day(y, other, one));
    if (1850..=2100).contains(&y) && real {
        Ok(year.to_owned())
    } else {
        Err(ValueError::NotADate)
    }
}

fn is_day(year: u16, month: u16, day: u16) -> bool {
    let Some(month) = u8::try_from(month)
        .ok()
        .and_then(|m| time::Month::try_from(m).ok())
    else {
        return false;
    };
    u8::try_from(day)
        .is_ok_and(|day| time::Date::from_calendar_date(i32::from(year), month, day).is_ok())
}

fn postcode(value: &str) -> Result<String, ValueError> {
    let plain: String = value.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let ok = (4..=10).contains(&plain.len())
        && plain.bytes().all(|b| b.is_ascii_alphanumeric())
        && plain.bytes().any(|b| b.is_ascii_digit());
    if !ok {
        return Err(ValueError::NotAPostcode);
    }
    Ok(plain.chars().take(3).collect::<String>().to_uppercase())
}

/// The digits of a value that holds nothing but digits and the given separators.
fn digits(value: &str, separators: &str) -> Option<String> {
    let mut digits = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
        } else if !separators.contains(c) {
            return None;
        }
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> TokenKey {
        TokenKey::new(&[7; 32]).unwrap()
    }

    fn disclosed(column: ColumnType, value: &str) -> Result<String, ValueError> {
        column
            .disclose(value, &key())
            .map(|v| v.unwrap().into_owned())
    }

    #[test]
    fn values_that_are_not_of_their_type() {
        use ColumnType as C;
        use ValueError as E;
        for (column, value, error) in [
            (C::Name, "12345", E::NameWithoutLetter),
            (C::Email, "no.at.example", E::NotAnEmail),
            (C::Email, "a@b@c.example", E::NotAnEmail),
            (C::Email, "a b@c.example", E::NotAnEmail),
            (C::Email, "a@localhost", E::NotAnEmail),
            (C::Email, "a@.example", E::NotAnEmail),
            (C::Phone, "12345", E::NotAPhoneNumber),
            (C::Phone, "+1 555 0100 ext 9", E::NotAPhoneNumber),
            (C::Phone, "1234567890123456", E::NotAPhoneNumber),
            (C::Ssn, "000-12-3456", E::NotAnSsn),
            (C::Ssn, "666-12-3456", E::NotAnSsn),
            (C::Ssn, "912-12-3456", E::NotAnSsn),
            (C::Ssn, "123-00-3456", E::NotAnSsn),
            (C::Ssn, "123-45-0000", E::NotAnSsn),
            (C::Ssn, "123-45-678", E::NotAnSsn),
            (C::Card, "4111 1111 1111 1112", E::CardCheckDigit),
            (C::Card, "4111", E::NotACardNumber),
            (C::Card, "4111x1111", E::NotACardNumber),
            (C::DateOfBirth, "1980-02-30", E::NotADate),
            (C::DateOfBirth, "1980-13-01", E::NotADate),
            (C::DateOfBirth, "80-01-02", E::NotADate),
            (C::DateOfBirth, "yesterday", E::NotADate),
            (C::DateOfBirth, "13/13/1980", E::NotADate),
            (C::Postcode, "abc", E::NotAPostcode),
            (C::Postcode, "Springfield", E::NotAPostcode),
            (C::Postcode, "LETTERS", E::NotAPostcode),
        ] {
            assert_eq!(disclosed(column, value), Err(error), "{column:?} {value}");
        }
        let long = "a".repeat(MAX_VALUE + 1);
        assert_eq!(disclosed(C::Identifier, &long), Err(E::TooLong));
    }

    #[test]
    fn what_is_disclosed() {
        use ColumnType as C;
        assert_eq!(
            disclosed(C::Card, "4111 1111 1111 1111").unwrap(),
            "****1111"
        );
        for date in [
            "1980-02-29",
            "1980/2/29",
            "29.02.1980",
            "02/29/1980",
            "19800229",
        ] {
            assert_eq!(disclosed(C::DateOfBirth, date).unwrap(), "1980", "{date}");
        }
        assert_eq!(disclosed(C::Postcode, "02139-4307").unwrap(), "021");
        assert_eq!(disclosed(C::Postcode, "sw1a 1aa").unwrap(), "SW1");
        assert_eq!(disclosed(C::PassThrough, " as is ").unwrap(), " as is ");
        assert_eq!(disclosed(C::Email, "").unwrap(), "");
        assert_eq!(C::Withheld.disclose("secret", &key()).unwrap(), None);
    }

    #[test]
    fn the_same_person_has_the_same_token() {
        use ColumnType as C;
        for (column, one, other) in [
            (C::Email, "Ann@Example.org", " ann@example.ORG "),
            (C::Phone, "+1 (617) 555-0100", "0016175550100"),
            (C::Ssn, "123-45-6789", "123456789"),
            (C::Name, "Ann  Example", "ann example"),
        ] {
            assert_eq!(
                disclosed(column, one),
                disclosed(column, other),
                "{column:?}"
            );
        }
        assert_ne!(disclosed(C::Name, "ann"), disclosed(C::Identifier, "ann"));
    }

    proptest! {
        #[test]
        fn no_value_panics_or_shows_through(value in "\\PC{0,64}", digits in "[0-9]{7,15}") {
            use ColumnType as C;
            for column in [C::Identifier, C::Name, C::Email, C::Phone, C::Ssn, C::Card,
                           C::DateOfBirth, C::Postcode] {
                let _ = disclosed(column, &value);
            }
            prop_assert!(!disclosed(C::Phone, &digits).unwrap_or_default().contains(&digits));
            prop_assert!(!disclosed(C::Identifier, &digits).unwrap().contains(&digits));
        }
    }
}
