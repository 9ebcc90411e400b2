use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

#[derive(Debug, PartialEq, Eq, Clone)]
enum Got {
    Row(u64, Vec<String>),
    Bad(u64, RowError),
    Broken(u64, QuotingError),
}

fn read(pieces: &[&[u8]]) -> Vec<Got> {
    let mut got = Vec::new();
    let mut note = |found: Found<'_>| {
        got.push(match found {
            Found::Row(row) => Got::Row(row.line, row.fields().map(str::to_owned).collect()),
            Found::Bad { line, error } => Got::Bad(line, error),
            Found::Broken { line, error } => Got::Broken(line, error),
        });
        Ok::<_, Infallible>(())
    };
    let mut reader = RowReader::default();
    for piece in pieces {
        let Ok(()) = reader.feed(piece, &mut note);
    }
    let Ok(()) = reader.finish(&mut note);
    got
}

fn row(line: u64, fields: &[&str]) -> Got {
    Got::Row(line, fields.iter().map(|f| (*f).to_owned()).collect())
}

#[test]
fn a_stray_quote_costs_its_row() {
    let got = read(&[b"a,b\nx\"y,1\nx\"y,\"two\nlines, and more\"\nlast,5\n"]);
    assert_eq!(
        got,
        [
            row(1, &["a", "b"]),
            Got::Bad(2, RowError::QuoteInUnquotedField),
            Got::Bad(3, RowError::QuoteInUnquotedField),
            row(5, &["last", "5"]),
        ]
    );
}

#[test]
fn quoting_that_leaves_row_ends_open_ends_the_file() {
    for (file, line, error) in [
        (
            &b"a\n\"q\"z,4\nlast,5\n"[..],
            2,
            QuotingError::TextAfterQuote,
        ),
        (b"a\n\"q\"\rz\n", 2, QuotingError::TextAfterQuote),
        (b"a\n\"q\"\r", 2, QuotingError::TextAfterQuote),
        (b"a\n\"two\nlines", 2, QuotingError::UnterminatedQuote),
        (
            b"a\nlost\nquote\",x\n",
            3,
            QuotingError::QuoteEndsUnquotedField,
        ),
        (
            b"a\nlost quote\"\nx\n",
            2,
            QuotingError::QuoteEndsUnquotedField,
        ),
        (
            b"a\nlost quote\"\r\nx\n",
            2,
            QuotingError::QuoteEndsUnquotedField,
        ),
        (b"a\nlost quote\"", 2, QuotingError::QuoteEndsUnquotedField),
        (
            b"a\nlost \"\"quote\"\"\n",
            2,
            QuotingError::QuoteEndsUnquotedField,
        ),
    ] {
        let got = read(&[file]);
        assert_eq!(got.last(), Some(&Got::Broken(line, error)));
        let broken = got.iter().filter(|g| matches!(g, Got::Broken(..)));
        assert_eq!(broken.count(), 1);
    }
}

#[test]
fn a_refused_row_is_left_at_its_real_end() {
    let long = "x".repeat(MAX_ROW);
    let wide = ",".repeat(MAX_FIELDS);
    for (row_text, error) in [
        (format!("{long}y"), RowError::RowTooLong),
        (
            format!("{long},\"secret\nsecret,DE\n\""),
            RowError::RowTooLong,
        ),
        (format!("\"{long}\nsecret,DE\n\",x"), RowError::RowTooLong),
        (
            format!("{wide}\"secret\nsecret,DE\n\""),
            RowError::TooManyFields,
        ),
        (
            "st\"ray,\"secret\nsecret,DE\n\"".to_owned(),
            RowError::QuoteInUnquotedField,
        ),
    ] {
        let lines = row_text.matches('\n').count() as u64;
        let file = format!("{row_text}\nok,1\n");
        for pieces in [
            &[file.as_bytes()][..],
            &file.as_bytes().chunks(999).collect::<Vec<_>>(),
        ] {
            assert_eq!(
                read(pieces),
                [Got::Bad(1, error), row(lines + 2, &["ok", "1"])],
                "{error:?}"
            );
        }
    }
    assert_eq!(
        read(&[b"\xFF,\"secret\nsecret,DE\n\"\nok,1"]),
        [Got::Bad(1, RowError::NotUtf8), row(4, &["ok", "1"])]
    );
    // Half a character on each side of a comma is not UTF-8 either.
    assert_eq!(read(&[b"\xC3,\xA9\n"]), [Got::Bad(1, RowError::NotUtf8)]);
}

#[test]
fn the_longest_row_is_taken_wherever_it_is_cut() {
    let longest = "x".repeat(MAX_ROW);
    for end in ["\n", "\r\n", ""] {
        let file = format!("{longest}{end}");
        let over = format!("x{longest}{end}");
        for cut in MAX_ROW - 1..=file.len() {
            let (a, b) = file.as_bytes().split_at(cut);
            assert_eq!(read(&[a, b]), [row(1, &[&longest])], "{end:?} cut at {cut}");
            let (a, b) = over.as_bytes().split_at(cut);
            assert_eq!(read(&[a, b]), [Got::Bad(1, RowError::RowTooLong)]);
        }
    }
}

#[test]
fn quoting_line_ends_and_a_byte_order_mark() {
    let got = read(&[
        b"\xEF\xBB",
        b"\xBFa,\"b\"\"c\"\r",
        b"\n\n\"two\nlines\",x\r\n,\n\"\"\nend",
    ]);
    assert_eq!(
        got,
        [
            row(1, &["a", "b\"c"]),
            row(3, &["two\nlines", "x"]),
            row(5, &["", ""]),
            row(6, &[""]),
            row(7, &["end"]),
        ]
    );
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(input in proptest::collection::vec(
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
        mut cuts in proptest::collection::vec(0_usize..200, 0..6))
    {
        let whole = read(&[&input]);
        cuts.sort_unstable();
        let mut rest = input.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()) / 2);
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(&whole, &read(&pieces));
        prop_assert_eq!(whole, read(&input.chunks(1).collect::<Vec<_>>()));
    }

    #[test]
    fn rows_near_the_limit_in_any_pieces(
        more in 0_usize..6, end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("")],
        quoted in any::<bool>(), near in 0_usize..12)
    {
        let content = "x".repeat(MAX_ROW - 3 + more);
        let quote = if quoted { "\"" } else { "" };
        let file = format!("{quote}{content}{quote}{end}ok");
        let cut = (MAX_ROW - 6 + near).min(file.len());
        let (a, b) = file.as_bytes().split_at(cut);
        prop_assert_eq!(read(&[file.as_bytes()]), read(&[a, b]));
    }

    #[test]
    fn agrees_with_the_csv_crate(rows in proptest::collection::vec(
        proptest::collection::vec("[a-z\",\n é]{0,6}", 2..4), 1..6))
    {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        for fields in &rows {
            writer.write_record(fields).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let got: Vec<_> = read(&[&text]).into_iter().map(|got| match got {
            Got::Row(_, fields) => fields,
            Got::Bad(..) | Got::Broken(..) => vec![],
        }).collect();
        prop_assert_eq!(got, rows);
    }
}
