//! What the hypervisor refuses before it starts anything.

mod common;
#[path = "common/signer.rs"]
mod signer;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anchorhold_eif::EifWriter;
use anchorhold_hypervisor::image::Image;
use common::Host;
use signer::{DAY, Signer, with_signature};

/// Runs an image that is refused by `rule`; gives what was said.
fn refused(host: &Host, image: &Path, more: &[&str], rule: &str) -> String {
    let image = image.to_str().expect("path");
    let words = [&["run", "--eif-path", image], more].concat();
    let (code, said) = host.refused(&words);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("error[{rule}]")), "{rule}: {said}");
    assert!(host.enclaves().is_empty(), "nothing is left behind");
    said
}

#[test]
fn misuse_is_named_and_exits_with_two() {
    let host = Host::new();
    for (words, named) in [
        (&["run"][..], "--eif-path"),
        (&["run", "--eif-path", "x", "--gpu"], "--gpu"),
        (&["run", "--eif-path", "x", "--memory", "1G"], "--memory"),
        (
            &["run", "--eif-path", "x", "--boot-deadline", "0"],
            "--boot-deadline",
        ),
        (&["run", "--eif-path", "x", "--vsock", "tcp"], "--vsock"),
        (&["platform"], "root"),
    ] {
        let (code, said) = host.refused(words);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn files_that_are_no_images_are_refused() {
    let host = Host::with_qemu("exit 1");
    let said = refused(&host, Path::new("/nonexistent.eif"), &[], "image.read");
    assert!(said.contains("/nonexistent.eif"), "{said}");
    refused(&host, Path::new("/"), &[], "image.not-a-file");
    let pipe = host.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    refused(&host, &pipe, &[], "image.not-a-file");

    let other = host.path("other.eif");
    fs::write(&other, b"").expect("file");
    refused(&host, &other, &[], "eif.truncated");
    fs::write(&other, vec![0; 4096]).expect("file");
    refused(&host, &other, &[], "eif.magic");
    let huge = File::create(&other).expect("file");
    huge.set_len(3 << 30).expect("a sparse file");
    refused(&host, &other, &[], "eif.too-large");
}

#[test]
fn a_truncated_or_changed_image_is_refused() {
    let host = Host::with_qemu("exit 1");
    let image = fs::read(host.image()).expect("image");
    let other = host.path("other.eif");
    for length in [100, 548, 600, image.len() - 1] {
        fs::write(&other, &image[..length]).expect("file");
        refused(&host, &other, &[], "eif.truncated");
    }
    let mut changed = image;
    let last = changed.last_mut().expect("not empty");
    *last ^= 1;
    fs::write(&other, &changed).expect("file");
    refused(&host, &other, &[], "eif.crc");
}

#[test]
fn sizes_that_do_not_fit_are_refused_with_numbers() {
    let host = Host::with_qemu("exit 1");
    let image = host.image();
    let said = refused(&host, &image, &["--memory", "66"], "memory.too-small");
    assert!(said.contains("expected at least 67 MiB"), "{said}");
    assert!(said.contains("got 66 MiB"), "{said}");
    refused(&host, &image, &["--memory", "0"], "memory.too-small");
    let more = u64::MAX.to_string();
    refused(&host, &image, &["--memory", &more], "memory.host");
    refused(&host, &image, &["--cpu-count", "0"], "cpus.host");
    refused(&host, &image, &["--cpu-count", "100000"], "cpus.host");
}

#[test]
fn identities_that_are_not_to_be_had_are_refused() {
    let host = Host::with_qemu("exit 1");
    let image = host.image();
    for cid in ["0", "3", "4294967295"] {
        let said = refused(&host, &image, &["--enclave-cid", cid], "cid.reserved");
        assert!(said.contains(cid), "{said}");
    }
    refused(&host, &image, &["--enclave-name", "a/b"], "name.characters");
}

#[test]
fn a_missing_qemu_is_named() {
    let mut host = Host::new();
    host.qemu = Some("/nonexistent/qemu".into());
    let image = host.image();
    let said = refused(&host, &image, &[], "qemu.missing");
    assert!(said.contains("/nonexistent/qemu"), "{said}");
    assert!(said.contains("ANCHORHOLD_QEMU"), "{said}");
}

#[test]
fn directories_open_to_others_are_refused() {
    let host = Host::with_qemu("exit 1");
    let image = host.image();
    let open = fs::Permissions::from_mode(0o755);
    fs::create_dir(host.path("platform")).expect("directory");
    fs::set_permissions(host.path("platform"), open.clone()).expect("mode");
    refused(&host, &image, &[], "directory.permissions");
    fs::remove_dir(host.path("platform")).expect("directory");
    fs::create_dir(host.state()).expect("directory");
    fs::set_permissions(host.state(), open).expect("mode");
    refused(&host, &image, &[], "directory.permissions");
}

#[test]
fn an_expired_signature_does_not_boot() {
    let host = Host::with_qemu("exit 1");
    let signed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/signed-2024.eif");
    refused(&host, &signed, &[], "signature.validity");

    // While its certificate was valid (the year 2024) the same image booted, with its PCR8.
    let in_2024 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_720_000_000);
    let image = Image::load(&signed, in_2024).expect("valid then");
    assert!(image.measurements.pcr8.is_some());
}

#[test]
fn a_signature_of_another_image_or_of_another_time_does_not_boot() {
    let host = Host::with_qemu("exit 1");
    let image = fs::read(host.image()).expect("image");
    let mut other = EifWriter::new(b"another kernel", "quiet");
    let other = other.ramdisk(b"boot").to_bytes().expect("valid");
    let path = host.path("signed.eif");
    let now = SystemTime::now();
    let signer = Signer::valid_at(now);
    fs::write(&path, with_signature(&image, &signer.section(&other))).expect("file");
    refused(&host, &path, &[], "signature.pcr0");

    for time in [now - 3 * DAY, now + 3 * DAY] {
        let signer = Signer::valid_at(time);
        fs::write(&path, with_signature(&image, &signer.section(&image))).expect("file");
        let said = refused(&host, &path, &[], "signature.validity");
        assert!(said.contains("is valid from"), "{said}");
    }

    fs::write(&path, with_signature(&image, &signer.section(&image))).expect("file");
    let loaded = Image::load(&path, now).expect("its own signature");
    assert_eq!(loaded.measurements.pcr8, Some(signer.pcr8()));
}

#[test]
fn the_platform_is_made_once_and_shown_the_same() {
    let host = Host::new();
    let (_, said) = host.refused(&["platform", "root"]);
    assert!(said.contains("error[platform.missing]"), "{said}");
    let shown = |command: &str| {
        let output = host.command(&["platform", command]).output();
        let output = output.expect("hypervisor");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let made = shown("init");
    assert_eq!(made, shown("init"));
    assert_eq!(made, shown("show"));
    let json: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(json["root_sha256"].as_str().map(str::len), Some(64));
    assert!(shown("root").starts_with("-----BEGIN CERTIFICATE-----\n"));
    let mode = |name: &str| {
        fs::metadata(host.path(name))
            .expect("made")
            .permissions()
            .mode()
    };
    assert_eq!(mode("platform") & 0o7777, 0o700);
    assert_eq!(mode("platform/platform.pem") & 0o7777, 0o600);
}
