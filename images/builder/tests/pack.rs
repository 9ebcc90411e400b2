//! Packing: what is refused, what comes out, and that equal inputs give equal bytes.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use anchorhold_eif::Eif;
use common::{Bench, refused, stderr};
use serde_json::Value;

const PACK: [&str; 7] = [
    "pack",
    "--init",
    "init",
    "--binary",
    "app",
    "--output-file",
    "out.eif",
];

fn pack(further: &[&'static str]) -> Vec<&'static str> {
    PACK.iter().chain(further).copied().collect()
}

#[test]
fn what_cannot_run_in_the_guest_is_refused() {
    let bench = Bench::with_kernel();
    fs::write(bench.path("script"), "#!/bin/sh\n").expect("written");
    let binary = |name| {
        [
            "pack",
            "--init",
            "init",
            "--output-file",
            "out.eif",
            "--binary",
            name,
        ]
    };
    bench.refuse(binary("script"), "guest.not-static");
    let text = bench.refuse(binary("/bin/sh"), "guest.not-static");
    assert!(text.contains("crt-static"), "{text}");
    bench.refuse(binary("missing"), "file.read");
    let init = [
        "pack",
        "--init",
        "script",
        "--output-file",
        "out.eif",
        "--binary",
        "app",
    ];
    bench.refuse(init, "guest.not-static");
    assert!(!bench.path("out.eif").exists());
}

#[test]
fn arguments_that_cannot_be_passed_are_refused() {
    let bench = Bench::with_kernel();
    bench.refuse(pack(&["--cmd", "two\nlines"]), "guest.argument");
    bench.refuse(pack(&["--env", "no value"]), "guest.argument");
    bench.refuse(pack(&["--file", "missing=/etc/x"]), "file.read");
    for bad in ["app", "app=relative", "app=/etc/../x", "=/etc/x"] {
        let output = bench.run(pack(&["--file", bad]));
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    let long = "quiet ".repeat(400);
    let mut arguments = pack(&["--cmdline"]);
    arguments.push(&long);
    bench.refuse(arguments, "eif.section-too-large");
}

#[test]
fn root_directories_need_a_command_and_plain_files() {
    let bench = Bench::with_kernel();
    fs::create_dir(bench.path("root")).expect("created");
    let root = [
        "pack",
        "--init",
        "init",
        "--rootfs",
        "root",
        "--output-file",
        "out.eif",
    ];
    bench.refuse(root, "guest.no-command");
    let _socket = UnixListener::bind(bench.path("root/socket")).expect("bound");
    let text = bench.refuse(root.into_iter().chain(["--cmd", "/x"]), "guest.file-kind");
    assert!(text.contains("it is a socket"), "{text}");
}

#[test]
fn a_full_disk_leaves_the_old_image_and_nothing_else() {
    let bench = Bench::with_kernel();
    fs::write(bench.path("out.eif"), "the old image").expect("written");
    let before = bench.names(".");
    // Files of more than one block fail, as they do on a full disk, instead of killing the tool.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 1; exec {} {} --cache cache --lock kernel.lock",
        env!("CARGO_BIN_EXE_anchorhold-image"),
        PACK.join(" ")
    );
    let mut command = Command::new("sh");
    command.current_dir(bench.root()).args(["-c", &limited]);
    let output = command.output().expect("sh starts");
    assert!(refused(&output, "file.write").contains("cannot write out.eif"));
    assert_eq!(bench.names("."), before);
    assert_eq!(
        fs::read(bench.path("out.eif")).expect("read"),
        b"the old image"
    );
}

#[test]
fn devices_and_directories_are_not_replaced_and_links_are_followed() {
    let bench = Bench::with_kernel();
    fs::create_dir(bench.path("directory")).expect("created");
    for output in ["/dev/null", "directory"] {
        let arguments = [
            "pack",
            "--init",
            "init",
            "--binary",
            "app",
            "--output-file",
            output,
        ];
        let text = bench.refuse(arguments, "file.write");
        assert!(text.contains("is not a file"), "{text}");
    }
    fs::write(bench.path("target.eif"), "old").expect("written");
    symlink("target.eif", bench.path("out.eif")).expect("linked");
    bench.succeed(PACK);
    assert!(bench.path("out.eif").is_symlink());
    assert!(
        fs::read(bench.path("target.eif"))
            .expect("read")
            .starts_with(b".eif")
    );
}

#[test]
fn an_output_in_no_directory_is_refused() {
    let bench = Bench::with_kernel();
    let arguments = [
        "pack",
        "--init",
        "init",
        "--binary",
        "app",
        "--output-file",
        "missing/out.eif",
    ];
    bench.refuse(arguments, "file.write");
}

#[test]
fn the_image_holds_what_was_asked_for() {
    let bench = Bench::with_kernel();
    fs::write(bench.path("ca.pem"), "a certificate").expect("written");
    let printed = bench.succeed(pack(&[
        "--cmd",
        "/bin/app",
        "--cmd",
        "--flag",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--file",
        "ca.pem=/etc/ca.pem",
        "--name",
        "sample",
        "--version",
        "1.2",
    ]));
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let file = fs::read(bench.path("out.eif")).expect("the image");
    let image = Eif::parse(&file).expect("valid");
    assert_eq!(image.check_boundaries(), Ok(()));
    let metadata = image.metadata().expect("version 4");
    assert_eq!(
        (&*metadata.image_name, &*metadata.image_version),
        ("sample", "1.2")
    );
    assert_eq!(metadata.build.kernel_version, common::RELEASE);
    let measured = image.measure();
    assert_eq!(printed["Measurements"]["HashAlgorithm"], "Sha384 { ... }");
    for (name, pcr) in [
        ("PCR0", measured.pcr0),
        ("PCR1", measured.pcr1),
        ("PCR2", measured.pcr2),
    ] {
        assert_eq!(printed["Measurements"][name], pcr.to_string());
    }
    let [boot, application] = image.ramdisks()[..] else {
        panic!("two ramdisks")
    };
    let boot = entries(boot);
    let order = "virtio_mmio.ko\nvsock.ko\nvmw_vsock_virtio_transport_common.ko\n\
                 vmw_vsock_virtio_transport.ko\ncuse.ko\nnsm.ko\n";
    assert_eq!(content(&boot, "modules/order"), order);
    assert!(content(&boot, "modules/nsm.ko").starts_with("\x7fELF"));
    assert!(content(&boot, "init").ends_with("init"));
    let application = entries(application);
    assert_eq!(content(&application, "cmd"), "/bin/app\n--flag\n");
    assert_eq!(content(&application, "env"), "A=1\nB=x=y\n");
    assert_eq!(content(&application, "rootfs/etc/ca.pem"), "a certificate");
    assert!(content(&application, "rootfs/bin/app").ends_with("app"));
    assert!(
        application
            .iter()
            .all(|entry| entry.owner == (0, 0) && entry.time == 0)
    );
}

#[test]
fn equal_inputs_give_equal_bytes_whatever_the_host() {
    let image = |umask: &str, reverse: bool| {
        let bench = Bench::with_kernel();
        fs::create_dir(bench.path("root")).expect("created");
        let mut names = ["zebra", "ant", "mouse"];
        if reverse {
            names.reverse();
        }
        for name in names {
            fs::write(bench.path("root").join(name), name).expect("written");
            let mode = Permissions::from_mode(0o640);
            fs::set_permissions(bench.path("root").join(name), mode).expect("set");
        }
        symlink("ant", bench.path("root/link")).expect("linked");
        let arguments = pack(&["--rootfs", "root", "--name", "same"]).join(" ");
        let tool = env!("CARGO_BIN_EXE_anchorhold-image");
        let line =
            format!("umask {umask}; exec {tool} {arguments} --cache cache --lock kernel.lock");
        let mut command = Command::new("sh");
        command.current_dir(bench.root()).args(["-c", &line]);
        let output = command.output().expect("sh starts");
        assert!(output.status.success(), "{}", stderr(&output));
        let mode = fs::metadata(bench.path("out.eif"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(
            mode & 0o777,
            0o644 & !u32::from_str_radix(umask, 8).expect("octal")
        );
        fs::read(bench.path("out.eif")).expect("the image")
    };
    assert!(image("022", false) == image("077", true));
}

#[test]
fn given_files_replace_those_of_the_root_directory() {
    let bench = Bench::with_kernel();
    fs::create_dir_all(bench.path("root/etc")).expect("created");
    fs::write(bench.path("root/etc/ca.pem"), "old").expect("written");
    fs::write(bench.path("ca.pem"), "new").expect("written");
    bench.succeed(pack(&["--rootfs", "root", "--file", "ca.pem=/etc/ca.pem"]));
    let file = fs::read(bench.path("out.eif")).expect("the image");
    let image = Eif::parse(&file).expect("valid");
    assert_eq!(
        content(&entries(image.ramdisks()[1]), "rootfs/etc/ca.pem"),
        "new"
    );
}

struct Entry {
    name: String,
    owner: (u32, u32),
    time: u32,
    data: Vec<u8>,
}

fn entries(mut archive: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let mut reader = cpio::NewcReader::new(archive).expect("an archive");
        if reader.entry().is_trailer() {
            return entries;
        }
        let entry = reader.entry().clone();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut data).expect("read");
        archive = reader.finish().expect("finished");
        entries.push(Entry {
            name: entry.name().into(),
            owner: (entry.uid(), entry.gid()),
            time: entry.mtime(),
            data,
        });
    }
}

fn content(entries: &[Entry], name: &str) -> String {
    let entry = entries.iter().find(|entry| entry.name == name).expect(name);
    String::from_utf8_lossy(&entry.data).into_owned()
}
