//! Refusals first, then round trips: one file per rule of the format.

use anchorhold_eif::{
    Architecture, BuildMetadata, Eif, EifError, EifWriter, HEADER_SIZE, Metadata,
    SECTION_HEADER_SIZE, SectionType, SignatureSection, Version,
};
use proptest::prelude::*;

const KERNEL: &[u8] = b"a kernel";
const CMDLINE: &str = "console=ttyS0 quiet";
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

const OFFSETS_AT: usize = 0x1c;
const SIZES_AT: usize = 0x11c;

fn writer() -> EifWriter<'static> {
    let mut writer = EifWriter::new(KERNEL, CMDLINE);
    writer
        .ramdisk(b"boot")
        .ramdisk(b"application")
        .metadata(Metadata {
            image_name: "sample".into(),
            image_version: "1".into(),
            build: BuildMetadata {
                kernel_version: "6.12".into(),
                ..BuildMetadata::default()
            },
            ..Metadata::default()
        });
    writer
}

fn image() -> Vec<u8> {
    writer().to_bytes().expect("the sample is a valid image")
}

/// Makes the checksum right again, so that the rule behind it is what refuses.
fn with_crc(mut file: Vec<u8>) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[..HEADER_SIZE - 4]);
    crc.update(&file[HEADER_SIZE..]);
    let crc = crc.finalize().to_be_bytes();
    file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc);
    file
}

/// Builds a file from raw sections with matching tables and checksum, whatever their types.
fn raw(version: u16, sections: &[(u16, &[u8])]) -> Vec<u8> {
    let mut header = image()[..HEADER_SIZE].to_vec();
    header[4..6].copy_from_slice(&version.to_be_bytes());
    header[0x1a..0x1c].copy_from_slice(&(sections.len() as u16).to_be_bytes());
    header[OFFSETS_AT..HEADER_SIZE].fill(0);
    let mut body = Vec::new();
    for (index, (kind, data)) in sections.iter().enumerate() {
        if index < 32 {
            let at = ((HEADER_SIZE + body.len()) as u64).to_be_bytes();
            header[OFFSETS_AT + 8 * index..][..8].copy_from_slice(&at);
            let size = (data.len() as u64).to_be_bytes();
            header[SIZES_AT + 8 * index..][..8].copy_from_slice(&size);
        }
        body.extend(kind.to_be_bytes());
        body.extend([0, 0]);
        body.extend((data.len() as u64).to_be_bytes());
        body.extend(*data);
    }
    header.extend(body);
    with_crc(header)
}

fn refused(file: &[u8]) -> (&'static str, String) {
    match Eif::parse(file) {
        Ok(_) => panic!("accepted"),
        Err(error) => (error.rule(), error.to_string()),
    }
}

fn metadata() -> Vec<u8> {
    let bytes = image();
    let image = Eif::parse(&bytes).expect("valid");
    let section = image
        .sections()
        .iter()
        .find(|s| s.kind == SectionType::Metadata);
    section.expect("version 4 has metadata").data.to_vec()
}

#[test]
fn every_shorter_file_is_refused() {
    let file = image();
    for length in 0..file.len() {
        assert_eq!(
            refused(&file[..length]).0,
            "eif.truncated",
            "cut to {length} bytes"
        );
    }
}

#[test]
fn a_changed_bit_anywhere_is_refused() {
    let file = image();
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        refused(&changed);
    }
}

#[test]
fn header_fields_that_mean_nothing_are_refused() {
    let cases: [(usize, u8, &str); 9] = [
        (0, b'E', "eif.magic"),
        (5, 1, "eif.version"),
        (5, 5, "eif.version"),
        (7, 2, "eif.flags"),
        (0x19, 1, "eif.reserved"),
        (0x1b, 1, "eif.section-count"),
        (0x1b, 33, "eif.section-count"),
        (OFFSETS_AT + 8 * 5 + 7, 1, "eif.reserved"),
        (SIZES_AT + 8 * 31, 1, "eif.reserved"),
    ];
    for (at, value, rule) in cases {
        let mut file = image();
        file[at] = value;
        assert_eq!(refused(&with_crc(file)).0, rule, "byte {at} set to {value}");
    }
    let mut file = image();
    file[0x21f] = 1;
    assert_eq!(refused(&with_crc(file)).0, "eif.reserved");
}

#[test]
fn offsets_that_disagree_with_the_sections_are_refused() {
    // Two ramdisks of equal size swapped in the table: sizes still agree.
    let mut file = writer().ramdisk(b"trapdoor").to_bytes().expect("valid");
    let entry = |index: usize| OFFSETS_AT + 8 * index..OFFSETS_AT + 8 * index + 8;
    let (first, second) = (file[entry(3)].to_vec(), file[entry(5)].to_vec());
    file[entry(3)].copy_from_slice(&second);
    file[entry(5)].copy_from_slice(&first);
    assert_eq!(refused(&with_crc(file)).0, "eif.section-offset");

    // A section that overlaps the one before, and one that leaves a gap.
    for shift in [-1i64, 1] {
        let mut file = image();
        let at = u64::from_be_bytes(file[entry(1)].try_into().expect("8 bytes"));
        file[entry(1)].copy_from_slice(&at.wrapping_add_signed(shift).to_be_bytes());
        let (rule, message) = refused(&with_crc(file));
        assert_eq!(rule, "eif.section-offset");
        let got = at.wrapping_add_signed(shift);
        assert_eq!(
            message,
            format!(
                "section 1 lies at offset {at} by the sections before it, but at {got} by the header"
            )
        );
    }
}

#[test]
fn sizes_that_disagree_or_reach_too_far_are_refused() {
    let mut file = image();
    file[SIZES_AT + 7] += 1;
    assert_eq!(refused(&with_crc(file)).0, "eif.section-size");

    for size in [1 << 20, u64::MAX, u64::MAX - 559] {
        let mut file = image();
        file[SIZES_AT..SIZES_AT + 8].copy_from_slice(&size.to_be_bytes());
        file[HEADER_SIZE + 4..HEADER_SIZE + 12].copy_from_slice(&size.to_be_bytes());
        assert_eq!(refused(&with_crc(file)).0, "eif.truncated", "size {size}");
    }
}

#[test]
fn bytes_after_the_last_section_are_refused() {
    for more in [1, SECTION_HEADER_SIZE, 100] {
        let mut file = image();
        file.resize(file.len() + more, 0);
        assert_eq!(refused(&with_crc(file)).0, "eif.trailing-bytes");
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut file = image();
    let last = file.len() - 1;
    file[last] ^= 1;
    let (rule, message) = refused(&file);
    assert_eq!(rule, "eif.crc");
    assert!(message.starts_with("the checksum is 0x"), "{message}");
}

#[test]
fn missing_repeated_unknown_and_misplaced_sections_are_refused() {
    let meta = metadata();
    let (k, c, r, m) = (
        (1, KERNEL),
        (2, &b"quiet"[..]),
        (3, &b"disk"[..]),
        (5, meta.as_slice()),
    );
    type Case<'a> = (u16, Vec<(u16, &'a [u8])>, &'a str);
    let cases: [Case<'_>; 14] = [
        (4, vec![c, m, r], "eif.section-order"),
        (4, vec![c, m], "eif.section-missing"),
        (4, vec![k, m, r], "eif.section-missing"),
        (4, vec![k, c, m], "eif.section-missing"),
        (4, vec![k, c, r], "eif.section-missing"),
        (4, vec![k, k, c, m, r], "eif.section-repeated"),
        (4, vec![k, c, c, m, r], "eif.section-repeated"),
        (4, vec![k, c, m, m, r], "eif.section-repeated"),
        (4, vec![r, k, c, m], "eif.section-order"),
        (4, vec![k, c, m, r, (0, b"x")], "eif.section-type"),
        (4, vec![k, c, m, r, (6, b"x")], "eif.section-type"),
        (3, vec![k, c, m, r], "eif.section-type"),
        (2, vec![k, c, r, (4, b"x")], "eif.section-type"),
        (4, vec![(1, b""), c, m, r], "eif.section-empty"),
    ];
    for (version, sections, rule) in cases {
        let (got, message) = refused(&raw(version, &sections));
        assert_eq!(got, rule, "{message}");
    }
}

#[test]
fn section_flags_are_refused() {
    let mut file = image();
    file[HEADER_SIZE + 3] = 1;
    assert_eq!(refused(&with_crc(file)).0, "eif.flags");
}

#[test]
fn command_lines_that_the_kernel_would_cut_are_refused() {
    let meta = metadata();
    let with = |cmdline: &[u8]| raw(4, &[(1, KERNEL), (2, cmdline), (5, &meta), (3, b"disk")]);
    assert_eq!(refused(&with(b"quiet\0panic=1")).0, "eif.cmdline-nul");
    assert_eq!(refused(&with(b"quiet \xff")).0, "eif.cmdline-encoding");
    assert_eq!(refused(&with(&[b'a'; 2048])).0, "eif.section-too-large");
    assert!(Eif::parse(&with(&[b'a'; 2047])).is_ok());
    assert!(Eif::parse(&with(b"")).is_ok());
}

#[test]
fn metadata_that_is_no_metadata_is_refused() {
    let with = |json: &[u8]| raw(4, &[(1, KERNEL), (2, b"quiet"), (5, json), (3, b"disk")]);
    for json in [&b"{}"[..], b"[]", b"{", b"null", b"\xff", &[b'['; 4000]] {
        assert_eq!(refused(&with(json)).0, "eif.metadata");
    }
    let large = vec![b' '; (1 << 20) + 1];
    assert_eq!(refused(&with(&large)).0, "eif.section-too-large");

    let mut custom = writer();
    let long = serde_json::json!({ "note": "x".repeat(4096) });
    custom.metadata(Metadata {
        custom: long,
        ..Metadata::default()
    });
    let error = custom.to_bytes().expect_err("custom metadata is too large");
    assert_eq!(error.rule(), "eif.custom-metadata");
}

#[test]
fn signature_sections_in_another_form_are_refused() {
    let good = SignatureSection::new(PEM, b"cose")
        .expect("valid")
        .to_bytes();
    let meta = metadata();
    let with = |signature: &[u8]| {
        raw(
            4,
            &[
                (1, KERNEL),
                (2, b"quiet"),
                (5, &meta),
                (3, b"disk"),
                (4, signature),
            ],
        )
    };
    assert!(Eif::parse(&with(&good)).is_ok());

    let form = "eif.signature-form";
    for length in 1..good.len() {
        assert_eq!(
            refused(&with(&good[..length])).0,
            form,
            "cut to {length} bytes"
        );
    }
    assert_eq!(refused(&with(&[&good[..], b"\0"].concat())).0, form);
    let byte_strings = b"\x81\xa2\x73signing_certificate\x41x\x69signature\x41x";
    let two_signatures = b"\x82\xa2\x73signing_certificate\x80\x69signature\x80";
    let same_key_twice = b"\x81\xa2\x69signature\x80\x69signature\x80";
    let endless = b"\x81\xa2\x69signature\x9f\xff\x73signing_certificate\x80";
    let huge_octet = b"\x81\xa2\x69signature\x81\x19\x01\x00\x73signing_certificate\x80";
    let bomb = b"\x81\xa2\x69signature\x9b\xff\xff\xff\xff\xff\xff\xff\xff";
    let others: [&[u8]; 6] = [
        byte_strings,
        two_signatures,
        same_key_twice,
        endless,
        huge_octet,
        bomb,
    ];
    for section in others {
        assert_eq!(refused(&with(section)).0, form);
    }
    assert_eq!(refused(&with(&vec![0; 32769])).0, "eif.section-too-large");

    let no_pem = b"\x81\xa2\x73signing_certificate\x81\x01\x69signature\x80";
    assert_eq!(refused(&with(no_pem)).0, "eif.signature-certificate");
    for pem in [
        &b""[..],
        &PEM.repeat(2),
        b"-----BEGIN KEY-----\nAQID\n-----END KEY-----\n",
    ] {
        let error = SignatureSection::new(pem, b"").expect_err("not one certificate");
        assert_eq!(error.rule(), "eif.signature-certificate");
    }
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let rule = |writer: &EifWriter<'_>| writer.to_bytes().expect_err("invalid").rule();
    assert_eq!(
        rule(&EifWriter::new(KERNEL, "quiet")),
        "eif.section-missing"
    );
    assert_eq!(rule(writer().ramdisk(b"")), "eif.section-empty");
    assert_eq!(
        rule(EifWriter::new(b"", "quiet").ramdisk(b"disk")),
        "eif.section-empty"
    );
    assert_eq!(
        rule(EifWriter::new(KERNEL, "a\0b").ramdisk(b"disk")),
        "eif.cmdline-nul"
    );
    let mut many = EifWriter::new(KERNEL, CMDLINE);
    for _ in 0..30 {
        many.ramdisk(b"disk");
    }
    assert_eq!(rule(&many), "eif.section-count");
}

#[test]
fn what_is_written_is_read_back() {
    let mut writer = writer();
    let signature = SignatureSection::new(PEM, b"cose").expect("valid");
    writer
        .signature(signature)
        .defaults(256 << 20, 1)
        .architecture(Architecture::Aarch64);
    let bytes = writer.to_bytes().expect("valid");
    let mut streamed = Vec::new();
    writer.write_to(&mut streamed).expect("written");
    assert_eq!(bytes, streamed);

    let image = Eif::parse(&bytes).expect("valid");
    assert_eq!(image.header().version, Version::V4);
    assert_eq!(image.header().architecture, Architecture::Aarch64);
    assert_eq!(
        (image.header().default_memory, image.header().default_cpus),
        (256 << 20, 1)
    );
    assert_eq!(image.kernel(), KERNEL);
    assert_eq!(image.cmdline(), CMDLINE);
    assert_eq!(image.ramdisks(), [&b"boot"[..], b"application"]);
    assert_eq!(
        image.metadata().map(|m| m.image_name.as_str()),
        Some("sample")
    );
    let signature = image.signature().expect("signed");
    assert_eq!(signature.certificate_pem(), PEM);
    assert_eq!(signature.certificate_der(), [1, 2, 3]);
    assert_eq!(signature.cose_sign1(), b"cose");
    assert_eq!(image.measure(), writer.measure());
    assert!(image.measure().pcr8.is_some());
}

#[test]
fn older_versions_are_read() {
    let sections: [(u16, &[u8]); 3] = [(1, KERNEL), (2, b"quiet"), (3, b"disk")];
    let v2 = raw(2, &sections);
    let v3 = raw(3, &sections);
    let (v2, v3) = (
        Eif::parse(&v2).expect("valid"),
        Eif::parse(&v3).expect("valid"),
    );
    assert_eq!(
        (v2.header().version, v3.header().version),
        (Version::V2, Version::V3)
    );
    assert_eq!(v2.metadata(), None);
    assert_eq!(v2.measure(), v3.measure());
}

#[test]
fn parsing_borrows_from_the_file() {
    let bytes = image();
    let image = Eif::parse(&bytes).expect("valid");
    let file = bytes.as_ptr_range();
    for data in image
        .ramdisks()
        .into_iter()
        .chain([image.kernel(), image.cmdline().as_bytes()])
    {
        assert!(file.contains(&data.as_ptr()));
    }
}

#[test]
fn metadata_and_header_are_not_measured() {
    let mut other = writer();
    other.metadata(Metadata::default()).defaults(1, 1);
    assert_eq!(other.measure(), writer().measure());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Eif::parse(&bytes);
    }

    #[test]
    fn damaged_images_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut file = writer()
            .signature(SignatureSection::new(PEM, b"cose").expect("valid"))
            .to_bytes()
            .expect("valid");
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        if let Ok(image) = Eif::parse(&with_crc(file)) {
            let _ = image.measure();
            let _ = image.check_boundaries();
        }
    }

    #[test]
    fn any_image_survives_a_round_trip(
        kernel in prop::collection::vec(any::<u8>(), 1..200),
        cmdline in "[ -~]{0,100}",
        ramdisks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..29),
        name in ".{0,20}",
        cose in prop::option::of(prop::collection::vec(any::<u8>(), 0..400)),
    ) {
        let mut writer = EifWriter::new(&kernel, &cmdline);
        for ramdisk in &ramdisks {
            writer.ramdisk(ramdisk);
        }
        writer.metadata(Metadata { image_name: name.clone(), ..Metadata::default() });
        if let Some(cose) = &cose {
            writer.signature(SignatureSection::new(PEM, cose).expect("valid"));
        }
        let bytes = match writer.to_bytes() {
            Ok(bytes) => bytes,
            Err(EifError::SectionCount { got }) => {
                prop_assert_eq!(usize::from(got), 33);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let image = Eif::parse(&bytes).expect("written by the writer");
        prop_assert_eq!(image.kernel(), &kernel);
        prop_assert_eq!(image.cmdline(), &cmdline);
        prop_assert_eq!(image.ramdisks(), ramdisks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(&image.metadata().expect("version 4").image_name, &name);
        prop_assert_eq!(image.signature().map(|s| s.cose_sign1().to_vec()), cose);
        prop_assert_eq!(image.measure(), writer.measure());
    }
}
