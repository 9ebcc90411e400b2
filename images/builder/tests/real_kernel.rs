//! The kernel that images really boot.

mod common;

use std::env;
use std::path::PathBuf;

use anchorhold_eif::Eif;
use anchorhold_image::kernel::{Fetch, Kernel, MODULES};
use anchorhold_image::pack::{CMDLINE, Parts, pack};
use anchorhold_image::ramdisk::Application;
use common::static_program;

fn kernel() -> Kernel {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let cache = base.expect("HOME is set").join("anchorhold");
    let fallback = cache.join("kernel.lock");
    let fetch = Fetch {
        lock: None,
        update_lock: false,
        cache,
        package_file: None,
    };
    let mut progress = |text: &str| eprintln!("{text}");
    fetch
        .run_or_fall_back(&fallback, &mut progress)
        .expect("a kernel: run `cargo xtask setup`")
}

#[test]
fn its_modules_load_in_this_order() {
    let modules = kernel()
        .read_modules()
        .expect("each needs only those before it");
    assert_eq!(modules.len(), MODULES.len());
    for (module, (name, _)) in modules.iter().zip(MODULES) {
        assert_eq!(module.name, name);
        assert!(module.object.starts_with(b"\x7fELF"), "{name}");
    }
}

#[test]
fn its_image_has_fixed_borders() {
    let kernel = kernel();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("program");
    std::fs::write(&program, static_program("content")).expect("written");
    let application = Application {
        binaries: vec![program.clone()],
        ..Application::default()
    };
    let packed = pack(&Parts {
        name: "sample".into(),
        version: String::new(),
        kernel: &kernel,
        cmdline: CMDLINE.into(),
        init: program,
        application,
    });
    let packed = packed.expect("packed");
    let image = Eif::parse(&packed.bytes).expect("valid");
    assert_eq!(image.check_boundaries(), Ok(()));
    assert_eq!(image.measure(), packed.measurements);
    assert!(image.kernel().len() > 4 << 20);
}
