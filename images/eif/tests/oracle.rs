//! AWS's own crate as the judge: it reads and measures our images, and we read its images.

use std::fs::{self, File};
use std::path::Path;

use anchorhold_eif::{Architecture, Eif, EifWriter, Measurements, Metadata, Version};
use aws_nitro_enclaves_image_format::defs::eif_hasher::EifHasher;
use aws_nitro_enclaves_image_format::defs::{EifBuildInfo, EifIdentityInfo};
use aws_nitro_enclaves_image_format::utils::EifBuilder;
use aws_nitro_enclaves_image_format::utils::eif_reader::EifReader;
use proptest::prelude::*;
use sha2_0_9::{Digest, Sha384};

/// Sizes around the hashers' block and buffer sizes, and some larger.
fn parts() -> impl Strategy<Value = (Vec<u8>, String, Vec<Vec<u8>>)> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 1..most);
    (
        bytes(20_000),
        "[ -~]{0,300}",
        prop::collection::vec(bytes(9_000), 1..5),
    )
}

fn hex_of(hasher: &mut EifHasher<Sha384>) -> String {
    hex::encode(
        hasher
            .tpm_extend_finalize_reset()
            .expect("AWS's hasher gives a value"),
    )
}

fn ours(measurements: &Measurements) -> [String; 3] {
    [measurements.pcr0, measurements.pcr1, measurements.pcr2].map(|pcr| pcr.to_string())
}

fn read_by_aws(path: &Path) -> EifReader {
    EifReader::from_eif(path.display().to_string()).expect("AWS's crate reads the image")
}

fn identity() -> EifIdentityInfo {
    EifIdentityInfo {
        img_name: "sample".into(),
        img_version: "1.0".into(),
        build_info: EifBuildInfo {
            build_time: "2026-01-01T00:00:00+00:00".into(),
            build_tool: "nitro-cli".into(),
            build_tool_version: "1.3.0".into(),
            img_os: "Linux".into(),
            img_kernel: "6.12".into(),
        },
        docker_info: serde_json::json!({ "Os": "linux" }),
        custom_info: serde_json::json!({ "owner": "somebody" }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn aws_reads_and_measures_our_images_as_we_do((kernel, cmdline, ramdisks) in parts()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("ours.eif");
        let mut writer = EifWriter::new(&kernel, &cmdline);
        for ramdisk in &ramdisks {
            writer.ramdisk(ramdisk);
        }
        writer.metadata(Metadata { image_name: "ours".into(), ..Metadata::default() });
        fs::write(&path, writer.to_bytes().expect("valid")).expect("written");

        let mut aws = read_by_aws(&path);
        prop_assert!(aws.check_crc());
        let header = aws.get_header();
        prop_assert_eq!((header.version, header.flags), (4, 0));
        prop_assert_eq!((header.default_mem, header.default_cpus), (1 << 30, 2));
        prop_assert_eq!(usize::from(header.num_sections), 3 + ramdisks.len());
        prop_assert_eq!(aws.get_metadata().expect("metadata").img_name, "ours");
        let theirs = [
            hex_of(&mut aws.image_hasher),
            hex_of(&mut aws.bootstrap_hasher),
            hex_of(&mut aws.app_hasher),
        ];
        prop_assert_eq!(theirs, ours(&writer.measure()));
    }

    #[test]
    fn we_read_and_measure_aws_images_as_aws_does((kernel, cmdline, ramdisks) in parts()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let kernel_path = directory.path().join("kernel");
        fs::write(&kernel_path, &kernel).expect("written");
        let hasher = Sha384::new();
        let mut builder =
            EifBuilder::new(&kernel_path, cmdline.clone(), None, hasher, 1, identity());
        for (index, ramdisk) in ramdisks.iter().enumerate() {
            let path = directory.path().join(format!("ramdisk{index}"));
            fs::write(&path, ramdisk).expect("written");
            builder.add_ramdisk(&path);
        }
        let path = directory.path().join("theirs.eif");
        let theirs = builder.write_to(&mut File::create(&path).expect("created"));

        let bytes = fs::read(&path).expect("read");
        let image = Eif::parse(&bytes).expect("we read AWS's image");
        prop_assert_eq!(image.header().version, Version::V4);
        prop_assert_eq!(image.header().architecture, Architecture::Aarch64);
        prop_assert_eq!(image.kernel(), kernel);
        prop_assert_eq!(image.cmdline(), cmdline);
        prop_assert_eq!(image.ramdisks(), ramdisks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let metadata = image.metadata().expect("version 4");
        prop_assert_eq!(&metadata.image_name, "sample");
        prop_assert_eq!(&metadata.build.build_tool, "nitro-cli");
        prop_assert_eq!(&metadata.custom["owner"], "somebody");
        let pcrs = ["PCR0", "PCR1", "PCR2"].map(|name| theirs[name].clone());
        prop_assert_eq!(ours(&image.measure()), pcrs);
        prop_assert!(image.measure().pcr8.is_none());
    }
}
