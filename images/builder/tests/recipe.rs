//! Recipes over a workspace of their own: a Rust program with C in it, built in two places.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Bench, refused, stderr};

const RECIPE: &str = "recipes/sample/recipe.toml";
const RECORD: &str = "recipes/sample/expected.toml";
const BUILD: [&str; 5] = ["build", "--recipe", RECIPE, "--output-file", "out.eif"];

/// The application prints where its Rust and its C source lay when it was built.
const MAIN: &str = r#"
unsafe extern "C" { fn place() -> *const core::ffi::c_char; }
fn main() {
    // SAFETY: the function gives a string literal.
    let c = unsafe { std::ffi::CStr::from_ptr(place()) };
    println!("{} {c:?}", file!());
    assert!(std::env::args().count() < 100, "too many");
}
"#;

/// Compiles C as the crate `cc` does: with the flags of the target.
const BUILD_SCRIPT: &str = r#"
use std::{env, process::Command};
fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let source = format!("{}/src/place.c", env::var("CARGO_MANIFEST_DIR").unwrap());
    let flags = env::var("CFLAGS_x86_64_unknown_linux_gnu").unwrap();
    let object = format!("{out}/place.o");
    let mut cc = Command::new("cc");
    cc.args(flags.split(' ')).args(["-g", "-c", &source, "-o", &object]);
    assert!(cc.status().unwrap().success());
    let mut ar = Command::new("ar");
    ar.args(["crs", &format!("{out}/libplace.a"), &object]);
    assert!(ar.status().unwrap().success());
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=place");
}
"#;

/// A bench with a workspace in it: packages `pid1` and `sample`, and a recipe of both.
fn bench() -> Bench {
    let bench = Bench::with_kernel();
    let write = |path: &str, text: &str| {
        let path = bench.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"pid1\", \"sample\"]\n\
         [workspace.package]\nversion = \"0.1.0\"\n\
         [profile.measured]\ninherits = \"release\"\ncodegen-units = 1\n\
         panic = \"abort\"\nstrip = \"symbols\"\n",
    );
    for package in ["pid1", "sample"] {
        let manifest = format!(
            "[package]\nname = \"{package}\"\nversion.workspace = true\nedition = \"2024\"\n"
        );
        write(&format!("{package}/Cargo.toml"), &manifest);
    }
    let lock = |name| format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n");
    write(
        "Cargo.lock",
        &format!("version = 4\n{}{}", lock("pid1"), lock("sample")),
    );
    write("pid1/src/main.rs", "fn main() {}\n");
    write("sample/src/main.rs", MAIN);
    write(
        "sample/src/place.c",
        "const char *place(void) { return __FILE__; }\n",
    );
    write("sample/build.rs", BUILD_SCRIPT);
    write("recipes/sample/ca.pem", "a certificate");
    write(
        RECIPE,
        "name = \"sample\"\nversion = \"1\"\ninit = { package = \"pid1\" }\n\
         environment = [\"LOG=info\"]\n\
         [[binaries]]\npackage = \"sample\"\n\
         [[files]]\nhost = \"ca.pem\"\nguest = \"/etc/ca.pem\"\n",
    );
    let toolchain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rust-toolchain.toml");
    fs::copy(toolchain, bench.path("rust-toolchain.toml")).expect("the toolchain's file");
    bench
}

/// The tool with nothing of this test's own cargo in its environment but the toolchain.
fn run(bench: &Bench, arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    let mut command = bench.tool(arguments.iter().copied());
    command
        .env_remove("CARGO_TARGET_DIR")
        .envs(environment.iter().copied());
    command.output().expect("the tool starts")
}

fn succeed(bench: &Bench, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(bench, arguments, environment);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

fn edit(bench: &Bench, path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(bench.path(path)).expect("read");
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed, "{from:?} is not in {path}");
    fs::write(bench.path(path), changed).expect("written");
}

#[test]
fn recipes_that_are_none_are_refused() {
    let bench = bench();
    let cases = [
        ("name = \"sample\"", "", "toml.form"),
        (
            "package = \"sample\"",
            "package = \"--config=x\"",
            "toml.form",
        ),
        ("environment", "enviroment", "toml.form"),
        (
            "guest = \"/etc/ca.pem\"",
            "guest = \"etc/ca.pem\"",
            "guest.path",
        ),
        ("host = \"ca.pem\"", "host = \"missing.pem\"", "file.read"),
        (
            "package = \"sample\"",
            "package = \"missing\"",
            "tool.failed",
        ),
    ];
    let good = fs::read_to_string(bench.path(RECIPE)).expect("read");
    for (from, to, rule) in cases {
        fs::write(bench.path(RECIPE), good.replacen(from, to, 1)).expect("written");
        refused(&run(&bench, &BUILD, &[]), rule);
        assert!(!bench.path("out.eif").exists());
    }
    bench.refuse(
        ["build", "--recipe", "none.toml", "--output-file", "out.eif"],
        "file.read",
    );
}

#[test]
fn a_missing_compiler_is_named() {
    let bench = bench();
    let output = run(&bench, &BUILD, &[("PATH", "/nonexistent")]);
    assert!(refused(&output, "tool.missing").contains("cargo is not installed"));
}

#[test]
fn another_checkout_and_cargo_home_give_the_same_bytes() {
    let bench = bench();
    fs::create_dir(bench.path("home")).expect("created");
    let home = bench.path("home");
    let home = [("CARGO_HOME", home.to_str().expect("UTF-8"))];
    // As a run that was killed leaves it.
    let left = bench.path("anchorhold-reproduce");
    fs::create_dir_all(left.join("another")).expect("created");
    fs::set_permissions(left, Permissions::from_mode(0o700)).expect("set");
    let text = succeed(
        &bench,
        &["reproduce", "--recipe", RECIPE, "--work-dir", "."],
        &home,
    );
    assert!(text.contains("building in "), "{text}");
    let left = bench.names(".");
    assert!(
        !left.iter().any(|name| name.starts_with("anchorhold-")),
        "{left:?}"
    );

    // A path that gets into the program makes the second build another one.
    edit(
        &bench,
        "sample/src/main.rs",
        "file!()",
        "env!(\"CARGO_MANIFEST_DIR\")",
    );
    let output = run(&bench, &["reproduce", "--recipe", RECIPE], &home);
    let text = refused(&output, "recipe.images-differ");
    assert!(text.contains("(ramdisk) from byte "), "{text}");
    let cached = bench.path("cache/reproduce");
    let cached = cached.canonicalize().expect("in the cache");
    assert!(text.contains(&format!("building in {}", cached.display())));
    assert!(bench.names("cache/reproduce").is_empty());
}

#[test]
fn settings_of_the_user_do_not_get_in() {
    let bench = bench();
    succeed(&bench, &BUILD, &[]);
    let plain = fs::read(bench.path("out.eif")).expect("the image");
    fs::create_dir(bench.path("home")).expect("created");
    fs::write(
        bench.path("home/config.toml"),
        "[build]\nrustflags = [\"-Cdebuginfo=2\"]\nrustc-wrapper = \"/nonexistent\"\n\
         [target.x86_64-unknown-linux-gnu]\nlinker = \"/nonexistent\"\n\
         rustflags = [\"-Copt-level=0\"]\n\
         [profile.release]\nopt-level = 0\ndebug-assertions = true\n\
         [profile.measured]\nstrip = \"none\"\noverflow-checks = true\n",
    )
    .expect("written");
    let home = bench.path("home");
    let environment = [
        ("CARGO_HOME", home.to_str().expect("UTF-8")),
        ("RUSTFLAGS", "-Copt-level=0"),
        ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=0"),
        ("CARGO_PROFILE_MEASURED_OPT_LEVEL", "0"),
        ("CARGO_PROFILE_MEASURED_STRIP", "none"),
        ("CFLAGS", "-DNDEBUG -O0"),
        ("RUSTC_WRAPPER", "/nonexistent"),
        ("CARGO_TARGET_DIR", "elsewhere"),
    ];
    succeed(&bench, &BUILD, &environment);
    assert!(bench.path("elsewhere").is_dir());
    assert!(fs::read(bench.path("out.eif")).expect("the image") == plain);
}

#[test]
fn a_record_names_what_moved_the_measurement() {
    let bench = bench();
    let expect = ["expect", "--recipe", RECIPE];
    refused(&run(&bench, &expect, &[]), "recipe.not-recorded");
    assert!(succeed(&bench, &BUILD, &[]).contains("no measurement is recorded"));
    succeed(&bench, &["expect", "--recipe", RECIPE, "--update"], &[]);
    succeed(&bench, &expect, &[]);
    assert!(succeed(&bench, &BUILD, &[]).contains("measures to what is recorded"));
    let record = fs::read_to_string(bench.path(RECORD)).expect("the record");
    let inputs = [
        "kernel",
        "rustc",
        "gcc",
        "binutils",
        "libc6-dev",
        "\"crate pid1\"",
        "\"crate sample\"",
        "\"file /etc/ca.pem\"",
        "\"kernel command line\"",
        "\"workspace package\"",
        "\"manifest profile measured\"",
        "\"rust-toolchain.toml\"",
    ];
    for input in inputs {
        assert!(
            record.contains(&format!("\n{input} = ")),
            "{input} in {record}"
        );
    }

    // Another input: built, and the input is named.
    fs::write(bench.path("mine.pem"), "my certificate").expect("written");
    let mine: Vec<_> = BUILD
        .into_iter()
        .chain(["--file", "mine.pem=/etc/ca.pem"])
        .collect();
    let text = succeed(&bench, &mine, &[]);
    assert!(
        text.contains("because of\n  file /etc/ca.pem: recorded "),
        "{text}"
    );
    edit(&bench, "sample/src/main.rs", "too many", "too much");
    let text = succeed(&bench, &BUILD, &[]);
    assert!(
        text.contains("because of\n  crate sample: recorded "),
        "{text}"
    );
    let text = refused(&run(&bench, &expect, &[]), "recipe.record-differs");
    assert!(
        text.contains("PCR2: recorded ") && text.contains("crate sample"),
        "{text}"
    );
    edit(&bench, "sample/src/main.rs", "too much", "too many");

    // What crates take from the workspace's manifest moves no file of theirs.
    let version = ["version = \"0.1.0\"", "version = \"0.1.1\""];
    edit(&bench, "Cargo.toml", version[0], version[1]);
    let lock = fs::read_to_string(bench.path("Cargo.lock")).expect("read");
    fs::write(
        bench.path("Cargo.lock"),
        lock.replace(version[0], version[1]),
    )
    .expect("written");
    let text = refused(&run(&bench, &expect, &[]), "recipe.record-differs");
    assert!(text.contains("workspace package: recorded "), "{text}");
    fs::write(bench.path("Cargo.lock"), lock).expect("written");
    edit(&bench, "Cargo.toml", version[1], version[0]);

    // Another tool of the host's: named, measurements are not compared, our own inputs still are.
    let of_another_host = record.replacen("gcc = \"", "gcc = \"another ", 1);
    let of_another_host = of_another_host.replacen("PCR0 = \"", "PCR0 = \"00", 1);
    fs::write(bench.path(RECORD), &of_another_host).expect("written");
    let text = succeed(&bench, &expect, &[]);
    assert!(
        text.contains("cannot be compared here, because of\n  gcc: recorded another "),
        "{text}"
    );
    edit(&bench, "sample/src/main.rs", "too many", "too much");
    let text = refused(&run(&bench, &expect, &[]), "recipe.record-differs");
    assert!(
        text.contains("crate sample") && !text.contains("PCR2"),
        "{text}"
    );
    edit(&bench, "sample/src/main.rs", "too much", "too many");

    // The same inputs and another measurement: refused, and nothing is written.
    fs::remove_file(bench.path("out.eif")).expect("removed");
    let (start, _) = record.split_once("PCR0 = \"").expect("PCR0");
    let at = start.len() + "PCR0 = \"".len();
    let mut changed = record.clone();
    changed.replace_range(at..at + 96, &"0".repeat(96));
    fs::write(bench.path(RECORD), changed).expect("written");
    refused(&run(&bench, &BUILD, &[]), "recipe.not-reproducible");
    assert!(!bench.path("out.eif").exists());
}

#[test]
fn a_signed_build_is_compared_without_its_signature() {
    let bench = bench();
    succeed(&bench, &["expect", "--update", "--recipe", RECIPE], &[]);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("generated");
    let certificate = rcgen::CertificateParams::default();
    let certificate = certificate.self_signed(&key).expect("signed").pem();
    fs::write(bench.path("cert.pem"), certificate).expect("written");
    fs::write(bench.path("key.pem"), key.serialize_pem()).expect("written");
    let signing = [
        "--signing-certificate",
        "cert.pem",
        "--private-key",
        "key.pem",
    ];
    let output = run(&bench, &[&BUILD[..], &signing].concat(), &[]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the image measures to what is recorded"));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(printed.contains("\"PCR8\""), "{printed}");
    assert!(
        !fs::read_to_string(bench.path(RECORD))
            .expect("read")
            .contains("PCR8")
    );
}
