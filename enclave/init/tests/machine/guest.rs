//! What runs inside: the conformance image as its recipe makes it, with another command.

use std::path::{Path, PathBuf};

use anchorhold_eif::{Eif, Measurements};
use anchorhold_image::kernel::Fetch;
use anchorhold_image::recipe::{Build, Recipe};

/// The recipe, seen from this package.
const RECIPE: &str = "../../images/recipes/conformance/recipe.toml";

/// An image's parts as a machine takes them.
pub struct Image {
    pub kernel: Vec<u8>,
    pub cmdline: String,
    pub ramdisks: Vec<u8>,
    pub measurements: Measurements,
}

/// The conformance image that runs this command, with a variable in its environment.
pub fn image(command: &[&str]) -> Image {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECIPE);
    let mut recipe = Recipe::read(&path).expect("the recipe");
    recipe.command = command.iter().map(ToString::to_string).collect();
    recipe.environment = vec!["CONFORMANCE=one=1".into()];
    let fallback = cache().join("kernel.lock");
    let fetch = Fetch {
        lock: None,
        update_lock: false,
        cache: cache(),
        package_file: None,
    };
    let kernel = fetch
        .run_or_fall_back(&fallback, &mut |progress| eprintln!("{progress}"))
        .expect("a kernel: run `cargo xtask setup`");
    let packed = Build::new(&recipe, &kernel).run().expect("an image").packed;
    let image = Eif::parse(&packed.bytes).expect("an image");
    Image {
        kernel: image.kernel().to_vec(),
        cmdline: image.cmdline().to_owned(),
        ramdisks: image.ramdisks().concat(),
        measurements: packed.measurements,
    }
}

/// Where kernels are kept.
fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .expect("HOME or XDG_CACHE_HOME")
        .join("anchorhold")
}
