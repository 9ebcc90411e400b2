//! Fetching and locking the kernel, with a made-up package and package client.

mod common;

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    Bench, PACKAGE, RELEASE, VERSION, kernel_package, kernel_package_of, refused, stderr,
};

/// PATH of the tool: the made-up programs, and dpkg-deb with what it calls.
fn path(bench: &Bench) -> String {
    format!("{}:/usr/bin:/bin", bench.path("bin").display())
}

/// A package client that offers this version and copies `kernel.deb`.
fn client(bench: &Bench, version: &str) {
    bench.script(
        "apt-cache",
        &format!(
            "case \"$1\" in\n\
             madison) echo '{PACKAGE} | {version} | http://mirror.example bookworm/main' ;;\n\
             search) echo '{PACKAGE} - a kernel'; echo '{PACKAGE}-dbg - symbols' ;;\n\
             esac\n"
        ),
    );
    let root = bench.root().display();
    bench.script(
        "apt-get",
        &format!("echo \"$@\" >> {root}/calls\n[ \"$2\" = update ] || cp {root}/kernel.deb .\n"),
    );
}

#[test]
fn a_package_with_another_hash_is_refused() {
    let bench = Bench::new();
    kernel_package(&bench.path("kernel.deb"), b"another kernel");
    let text = bench.refuse(["kernel", "--package-file", "kernel.deb"], "kernel.hash");
    assert!(text.contains("expected SHA-256"), "{text}");
    assert_eq!(bench.names("cache/kernel"), [".lock"]);
}

#[test]
fn locks_that_cannot_be_right_are_refused() {
    let bench = Bench::new();
    let good = fs::read_to_string(bench.path("kernel.lock")).expect("a lock");
    let cases = [
        (VERSION, "../../etc", "kernel.lock-field"),
        (PACKAGE, "--allow-unauthenticated", "kernel.lock-field"),
        (PACKAGE, "coreutils", "kernel.lock-field"),
        ("deb_sha256 = \"", "deb_sha256 = \"z", "toml.form"),
        ("[modules]", "unknown = 1\n[modules]", "toml.form"),
        ("version = ", "other = ", "toml.form"),
        ("nsm = ", "other = ", "kernel.module"),
    ];
    for (from, to, rule) in cases {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        fs::write(bench.path("bad.lock"), bad).expect("written");
        bench.refuse(
            [
                "kernel",
                "--lock",
                "bad.lock",
                "--package-file",
                "kernel.deb",
            ],
            rule,
        );
    }
    let text = bench.refuse(["kernel", "--lock", "none.lock"], "kernel.lock-missing");
    assert!(text.contains("--update-lock"), "{text}");
}

#[test]
fn a_file_that_is_no_package_is_refused() {
    let bench = Bench::new();
    fs::write(bench.path("kernel.deb"), "no package").expect("written");
    bench.refuse(
        ["kernel", "--update-lock", "--package-file", "kernel.deb"],
        "tool.failed",
    );
    bench.refuse(["kernel", "--package-file", "none.deb"], "file.read");
    assert_eq!(bench.names("cache/kernel"), [".lock"]);
}

#[test]
fn a_kernel_that_is_gone_is_named_with_the_way_out() {
    let bench = Bench::new();
    client(&bench, "6.12.1-2");
    let output = bench
        .tool(["kernel"])
        .env("PATH", path(&bench))
        .output()
        .expect("starts");
    let text = refused(&output, "kernel.gone");
    for part in [PACKAGE, VERSION, "--update-lock"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(bench.names("cache/kernel"), [".lock"]);
}

#[test]
fn empty_package_lists_are_named() {
    let bench = Bench::new();
    bench.script("apt-cache", "exit 0\n");
    bench.script("apt-get", "exit 0\n");
    for arguments in [vec!["kernel"], vec!["kernel", "--update-lock"]] {
        let output = bench
            .tool(arguments)
            .env("PATH", path(&bench))
            .output()
            .expect("starts");
        let text = refused(&output, "kernel.unknown");
        assert!(
            text.contains("apt-get update") || text.contains("bookworm-security"),
            "{text}"
        );
    }
}

#[test]
fn a_failing_package_client_is_quoted() {
    let bench = Bench::new();
    client(&bench, VERSION);
    bench.script(
        "apt-get",
        "echo 'E: no route to the mirror' >&2; exit 100\n",
    );
    let output = bench
        .tool(["kernel"])
        .env("PATH", path(&bench))
        .output()
        .expect("starts");
    let text = refused(&output, "tool.failed");
    assert!(text.contains("E: no route to the mirror"), "{text}");
}

#[test]
fn missing_programs_are_named() {
    let bench = Bench::new();
    let output = bench
        .tool(["kernel"])
        .env("PATH", "/nonexistent")
        .output()
        .expect("starts");
    let text = refused(&output, "tool.missing");
    assert!(text.contains("apt-cache is not installed"), "{text}");
    let mut command = bench.tool(["kernel", "--package-file", "kernel.deb"]);
    let output = command
        .env("PATH", "/nonexistent")
        .output()
        .expect("starts");
    assert!(refused(&output, "tool.missing").contains("dpkg-deb is not installed"));
}

#[test]
fn the_locked_kernel_is_downloaded_once() {
    let bench = Bench::new();
    client(&bench, VERSION);
    for _ in 0..2 {
        let output = bench
            .tool(["kernel"])
            .env("PATH", path(&bench))
            .output()
            .expect("starts");
        assert!(output.status.success(), "{}", stderr(&output));
        let kernel: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(kernel["version"], VERSION);
        assert_eq!(kernel["release"], RELEASE);
        let bzimage = kernel["bzimage"].as_str().expect("a path");
        let hash = kernel["sha256"].as_str().expect("a hash");
        let bytes = fs::read(bench.path(bzimage)).expect("the bzImage");
        assert_eq!(anchorhold_image::hash::Sha256::of(&bytes).to_string(), hash);
        let modules = bench.path(kernel["modules_dir"].as_str().expect("a path"));
        assert!(modules.join("drivers/misc/nsm.ko.xz").is_file());
    }
    let calls = fs::read_to_string(bench.path("calls")).expect("calls");
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(
        calls.contains(&format!("download {PACKAGE}={VERSION}")),
        "{calls}"
    );
}

#[test]
fn an_update_locks_the_newest() {
    let bench = Bench::new();
    client(&bench, VERSION);
    fs::remove_file(bench.path("kernel.lock")).expect("removed");
    let mut command = bench.tool(["kernel", "--update-lock"]);
    let output = command.env("PATH", path(&bench)).output().expect("starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("locked "), "{}", stderr(&output));
    bench.succeed(["kernel"]);
}

#[test]
fn a_second_lock_stands_in_for_a_kernel_that_is_gone() {
    let bench = Bench::new();
    let lock = fs::read(bench.path("kernel.lock")).expect("the lock");
    kernel_package_of(&bench.path("kernel.deb"), "6.12.1-2", b"the next kernel");
    client(&bench, "6.12.1-2");
    for first in [true, false] {
        let mut command = bench.tool(["kernel", "--fallback-lock", "own.lock"]);
        let output = command.env("PATH", path(&bench)).output().expect("starts");
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains("is not offered") && text.contains("instead, by own.lock"),
            "{text}"
        );
        assert_eq!(text.contains("in own.lock"), first, "{text}");
        let kernel: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(kernel["version"], "6.12.1-2");
        let calls = fs::read_to_string(bench.path("calls")).expect("calls");
        let downloads = calls
            .lines()
            .filter(|line| line.contains(" download "))
            .count();
        assert_eq!(downloads, 1, "{calls}");
    }
    assert_eq!(fs::read(bench.path("kernel.lock")).expect("the lock"), lock);

    // The second lock's kernel goes the same way.
    kernel_package_of(&bench.path("kernel.deb"), "6.12.1-3", b"the one after");
    client(&bench, "6.12.1-3");
    fs::remove_dir_all(bench.path("cache")).expect("removed");
    let mut command = bench.tool(["kernel", "--fallback-lock", "own.lock"]);
    let output = command.env("PATH", path(&bench)).output().expect("starts");
    assert!(
        stderr(&output).contains("6.12.1-3 instead"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_damaged_cache_is_replaced() {
    let bench = Bench::with_kernel();
    let kernel = format!("cache/kernel/{VERSION}/boot/vmlinuz-{RELEASE}");
    let module = format!("cache/kernel/{VERSION}/lib/modules/{RELEASE}/kernel/fs/fuse/cuse.ko.xz");
    for file in [kernel, module] {
        fs::write(bench.path(&file), "damaged").expect("written");
        bench.succeed(["kernel", "--package-file", "kernel.deb"]);
        assert_ne!(fs::read(bench.path(&file)).expect("read"), b"damaged");
    }
}

#[test]
fn many_at_once_fetch_one_kernel() {
    let bench = Bench::new();
    let start = |_| {
        let mut command = bench.tool(["kernel", "--package-file", "kernel.deb"]);
        command.stdout(Stdio::null()).spawn().expect("starts")
    };
    let running: Vec<Child> = (0..6).map(start).collect();
    for mut child in running {
        assert!(child.wait().expect("ends").success());
    }
    assert_eq!(bench.names("cache/kernel"), [".lock", VERSION]);
}

#[test]
fn a_killed_fetch_leaves_no_half_kernel() {
    let bench = Bench::new();
    client(&bench, VERSION);
    let root = bench.root().display();
    bench.script(
        "apt-get",
        &format!("cp {root}/kernel.deb .; touch {root}/there; sleep 60\n"),
    );
    let mut command = bench.tool(["kernel"]);
    let mut child = command.env("PATH", path(&bench)).spawn().expect("starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.path("there").exists() {
        assert!(
            Instant::now() < deadline,
            "the package client was not called"
        );
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(
        bench.names("cache/kernel").len(),
        2,
        "the lock and a staging directory"
    );

    bench.succeed(["kernel", "--package-file", "kernel.deb"]);
    assert_eq!(bench.names("cache/kernel"), [".lock", VERSION]);
}
