//! Recognition of a column's type by its name and its content.
//!
//! Recognition never widens the answer: every type it can give discloses less than the value, and
//! a column that it does not know is withheld. So are names of people in a column that is not called
//! so: content does not tell a name from any other text.

use std::collections::BTreeSet;

use crate::column::ColumnType;

/// How many rows are looked at before the first one is written.
pub const SAMPLE_ROWS: usize = 200;

/// Of the values in the sample, at least this share (in percent) must be of a type for the content
/// alone to name it.
const CONTENT_PERCENT: usize = 90;

/// Names that tell a type, compared with the column's name in lower case without separators.
const NAMES: &[(ColumnType, &[&str])] = &[
    (ColumnType::Email, &["email", "mail", "emailaddress"]),
    (
        ColumnType::Phone,
        &[
            "phone",
            "telephone",
            "mobile",
            "cell",
            "fax",
            "tel",
            "phonenumber",
        ],
    ),
    (
        ColumnType::Ssn,
        &[
            "ssn",
            "socialsecurity",
            "socialsecuritynumber",
            "socialsecurityno",
        ],
    ),
    (
        ColumnType::Card,
        &[
            "card",
            "cardnumber",
            "creditcard",
            "pan",
            "ccnumber",
            "cardno",
        ],
    ),
    (
        ColumnType::DateOfBirth,
        &["dob", "dateofbirth", "birthdate", "birthday", "born"],
    ),
    (
        ColumnType::Postcode,
        &["postcode", "zip", "zipcode", "postalcode", "plz"],
    ),
    (
        ColumnType::Name,
        &[
            "name",
            "firstname",
            "lastname",
            "fullname",
            "surname",
            "givenname",
            "familyname",
            "middlename",
            "customername",
        ],
    ),
];

/// Types whose form alone tells them, the most particular first: a social security number is also
/// a telephone number by its digits, so it stands before it.
const BY_CONTENT: &[ColumnType] = &[
    ColumnType::Email,
    ColumnType::Card,
    ColumnType::Ssn,
    ColumnType::DateOfBirth,
];

/// Forms of postcodes that little else has: a digit stands for any digit, a letter for any letter.
const POSTCODE_FORMS: &[&str] = &[
    // United States, ZIP+4.
    "99999-9999",
    // United Kingdom (BS 7666).
    "A9 9AA",
    "A99 9AA",
    "A9A 9AA",
    "AA9 9AA",
    "AA99 9AA",
    "AA9A 9AA",
    // Canada, the Netherlands.
    "A9A 9A9",
    "9999 AA",
    // Sweden, Greece, Czechia, Slovakia.
    "999 99",
    // Poland, Portugal, Brazil.
    "99-999",
    "9999-999",
    "99999-999",
];

/// The postcodes of the United States, Germany, France, Italy and Spain: by its form this is any
/// number of five digits.
const BARE_POSTCODE: &str = "99999";

/// Bare postcodes come again: each this often in the sample on average. Numbers that count or name
/// something rarely do.
const BARE_POSTCODE_REPEATS: usize = 2;

/// The type of a column, by its name first and its sampled values second;
/// [`ColumnType::Withheld`] when neither tells.
pub fn recognise<'a>(name: &str, sample: impl Iterator<Item = &'a str> + Clone) -> ColumnType {
    if let Some(by_name) = by_name(name) {
        return by_name;
    }
    let values = || sample.clone().map(str::trim).filter(|v| !v.is_empty());
    let count = values().count();
    if count == 0 {
        return ColumnType::Withheld;
    }
    let share = |column: ColumnType| values().filter(|v| column.accepts(v)).count() * 100 / count;
    // Before social security numbers, of which ZIP+4 has the digits.
    postcode(values(), count)
        .or_else(|| {
            let mut by_content = BY_CONTENT.iter().copied();
            by_content.find(|column| share(*column) >= CONTENT_PERCENT)
        })
        .or_else(|| formatted_phone(values(), count))
        .unwrap_or(ColumnType::Withheld)
}

fn by_name(name: &str) -> Option<ColumnType> {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    NAMES
        .iter()
        .find(|(_, names)| names.contains(&plain.as_str()))
        .map(|(column, _)| *column)
}

/// Bare digits may be anything; with a `+` or brackets they are a telephone number.
fn formatted_phone<'a>(values: impl Iterator<Item = &'a str>, count: usize) -> Option<ColumnType> {
    let phones = values
        .filter(|v| v.starts_with(['+', '(']) && ColumnType::Phone.accepts(v))
        .count();
    (phones * 100 / count >= CONTENT_PERCENT).then_some(ColumnType::Phone)
}

/// Values in the forms of postcodes, or of five digits of which some begin with a zero, as no amount
/// does, and many come again, as no identifier does.
fn postcode<'a>(values: impl Iterator<Item = &'a str> + Clone, count: usize) -> Option<ColumnType> {
    let formed = |v: &&str| POSTCODE_FORMS.contains(&form(v).as_str());
    let bare = |v: &&str| form(v) == BARE_POSTCODE;
    let of_form = values.clone().filter(formed).count();
    if of_form * 100 / count >= CONTENT_PERCENT {
        return Some(ColumnType::Postcode);
    }
    let bares = values.clone().filter(bare);
    let many = (of_form + bares.clone().count()) * 100 / count >= CONTENT_PERCENT;
    let different: BTreeSet<_> = bares.clone().collect();
    let again = different.len() * BARE_POSTCODE_REPEATS <= bares.clone().count();
    let padded = bares.clone().any(|v| v.starts_with('0'));
    (many && again && padded).then_some(ColumnType::Postcode)
}

/// A value with 9 for each digit and A for each letter (ASCII), cut behind the longest form.
fn form(value: &str) -> String {
    let kind = |c: char| match c {
        '0'..='9' => '9',
        'a'..='z' | 'A'..='Z' => 'A',
        other => other,
    };
    value.chars().take(11).map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, values: &[&str]) -> ColumnType {
        recognise(name, values.iter().copied())
    }

    #[test]
    fn what_is_not_known_is_withheld() {
        assert_eq!(
            of("notes", &["likes tea", "ann@example.org called"]),
            ColumnType::Withheld
        );
        assert_eq!(of("balance", &["1234567", "7654321"]), ColumnType::Withheld);
        assert_eq!(of("empty", &["", " "]), ColumnType::Withheld);
        assert_eq!(of("none", &[]), ColumnType::Withheld);
        assert_eq!(
            of("c1", &["Ann Example", "Bob Example"]),
            ColumnType::Withheld
        );
        // Two in ten that are no address: not a column of addresses.
        let mut mixed = vec!["a@b.example"; 8];
        mixed.extend(["x", "y"]);
        assert_eq!(of("contact", &mixed), ColumnType::Withheld);
    }

    #[test]
    fn by_content() {
        assert_eq!(
            of("c1", &["a@b.example", "", "c@d.example"]),
            ColumnType::Email
        );
        assert_eq!(
            of("c1", &["4111111111111111", "5500-0000-0000-0004"]),
            ColumnType::Card
        );
        assert_eq!(of("c1", &["123-45-6789", "321-54-9876"]), ColumnType::Ssn);
        assert_eq!(
            of("c1", &["1980-01-02", "2.3.1990"]),
            ColumnType::DateOfBirth
        );
        assert_eq!(
            of("c1", &["+1 617 555 0100", "(617) 555-0101"]),
            ColumnType::Phone
        );
    }

    #[test]
    fn numbers_of_five_digits_are_withheld() {
        for numbers in [
            // Amounts: none begins with a zero.
            ["12345", "12345", "54321", "54321"],
            // Identifiers or secret numbers: none comes again.
            ["00017", "00018", "00019", "00020"],
            // Other forms among them.
            ["02139", "02139", "02139", "2139"],
        ] {
            assert_eq!(of("c1", &numbers), ColumnType::Withheld, "{numbers:?}");
        }
        // Local telephone numbers and number plates are no postcodes.
        assert_eq!(of("c1", &["555-0100", "555-0101"]), ColumnType::Withheld);
        assert_eq!(of("c1", &["AB123CD", "EF456GH"]), ColumnType::Withheld);
    }

    #[test]
    fn postcodes_by_content() {
        for codes in [
            &["02139", "02139", "94104", "94104", "94104-1234"][..],
            &["02139-4307", "94104-1234"],
            &["SW1A 1AA", "M1 1AE", "ec1a 1bb", "CR2 6XH"],
            &["K1A 0B1", "V6B 4Y8"],
            &["1012 AB", "3511 LN"],
            &["114 55", "753 10"],
            &["00-950", "31-042"],
            &["1000-001", "4000-322"],
            &["01310-100", "20040-020"],
        ] {
            assert_eq!(of("c1", codes), ColumnType::Postcode, "{codes:?}");
            let disclosable = codes.iter().all(|code| ColumnType::Postcode.accepts(code));
            assert!(disclosable, "{codes:?}");
        }
    }

    #[test]
    fn by_name() {
        assert_eq!(of("E-Mail", &[]), ColumnType::Email);
        assert_eq!(of("date_of_birth", &["?"]), ColumnType::DateOfBirth);
        assert_eq!(of("ZIP code", &["02139"]), ColumnType::Postcode);
        assert_eq!(of("Full Name", &["Ann Example"]), ColumnType::Name);
        assert_eq!(of("username", &["ann"]), ColumnType::Withheld);
    }
}
