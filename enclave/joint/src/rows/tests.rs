use super::*;
use proptest::prelude::*;

type Fields = Vec<Vec<u8>>;

fn read(pieces: &[&[u8]]) -> Result<Vec<Fields>, QuotingError> {
    let mut rows = Vec::new();
    let mut note = |row: Row<'_>| {
        let fields = (0..row.count()).filter_map(|i| row.field(i));
        rows.push(fields.map(<[u8]>::to_vec).collect());
        Ok::<_, QuotingError>(())
    };
    let mut reader = RowReader::default();
    for piece in pieces {
        reader.feed(piece, &mut note)?;
    }
    reader.finish(&mut note)?;
    Ok(rows)
}

fn row(fields: &[&str]) -> Fields {
    fields.iter().map(|f| f.as_bytes().to_vec()).collect()
}

#[test]
fn broken_quoting_refuses_the_file() {
    for (text, rule, line) in [
        ("a\nx\"y,1\n", "csv.quote-in-field", 2),
        ("a\n\"q\"z,1\n", "csv.text-after-quote", 2),
        ("a\n\"two\nlines", "csv.unterminated-quote", 3),
        ("a\rb\n", "csv.bare-return", 1),
        ("a\r", "csv.bare-return", 1),
        ("\r\r\n", "csv.bare-return", 1),
    ] {
        let error = read(&[text.as_bytes()]).unwrap_err();
        assert_eq!(error.rule(), rule, "{text:?}");
        assert!(error.to_string().starts_with(&format!("line {line}:")));
    }
}

#[test]
fn quoting_line_ends_and_a_byte_order_mark() {
    let got = read(&[
        b"\xEF\xBB",
        b"\xBFa,\"b\"\"c\"\r",
        b"\n\n\r\n\"two\nlines\",x\r\n,\n\"\"\n\"\"\r\n\"e\",",
    ]);
    let expected = [
        row(&["a", "b\"c"]),
        row(&["two\nlines", "x"]),
        row(&["", ""]),
        row(&[""]),
        row(&[""]),
        row(&["e", ""]),
    ];
    assert_eq!(got.unwrap(), expected);
    assert_eq!(read(&[b"\xEF\xBBa\n"]).unwrap(), [[b"\xEF\xBBa".to_vec()]]);
    assert_eq!(read(&[b"\xEF\xBB\xBF"]).unwrap(), [] as [Fields; 0]);
}

#[test]
fn long_rows_cost_no_memory() {
    let mut reader = RowReader::default();
    let mut long = Vec::new();
    let mut note = |row: Row<'_>| {
        long.push((row.too_long(), row.count()));
        Ok::<_, QuotingError>(())
    };
    for _ in 0..100 {
        reader.feed(&[b'x'; 8192], &mut note).unwrap();
    }
    reader.feed(b"\n", &mut note).unwrap();
    reader.feed(&vec![b','; 100_000], &mut note).unwrap();
    assert!(reader.bytes.capacity() <= 2 * MAX_ROW && reader.ends.len() == MAX_FIELDS);
    reader.finish(&mut note).unwrap();
    assert_eq!(long, [(true, 1), (false, 100_001)]);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(input in proptest::collection::vec(
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
        cut in 0_usize..200)
    {
        let (a, b) = input.split_at(cut.min(input.len()));
        prop_assert_eq!(read(&[&input]), read(&[a, b]));
    }

    #[test]
    fn what_is_written_is_read(rows in proptest::collection::vec(
        proptest::collection::vec("[a-z\",\r\n é]{0,6}", 2..4), 0..6), crlf in any::<bool>())
    {
        let quoted = |f: &String| format!("\"{}\"", f.replace('"', "\"\""));
        let lines = rows.iter().map(|r| r.iter().map(quoted).collect::<Vec<_>>().join(","));
        let text: String = lines.map(|l| l + if crlf { "\r\n" } else { "\n" }).collect();
        let expected: Vec<_> = rows.iter()
            .map(|r| r.iter().map(|f| f.clone().into_bytes()).collect::<Fields>()).collect();
        prop_assert_eq!(read(&[text.as_bytes()]).unwrap(), expected);
    }
}
