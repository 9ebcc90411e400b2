//! The kernel modules that an enclave loads.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::lock::expect_hash;
use crate::error::Error;
use crate::hash::Sha256;

/// Name and place of each module below the package's modules directory, in the order of loading:
/// the machine's bus, vsock, then the two ways to `/dev/nsm` (the kernel's driver for a virtio-nsm
/// device, CUSE where there is none). FUSE itself, virtio-pci and virtio-console are built in.
pub const MODULES: [(&str, &str); 6] = [
    ("virtio_mmio", "drivers/virtio/virtio_mmio.ko.xz"),
    ("vsock", "net/vmw_vsock/vsock.ko.xz"),
    (
        "vmw_vsock_virtio_transport_common",
        "net/vmw_vsock/vmw_vsock_virtio_transport_common.ko.xz",
    ),
    (
        "vmw_vsock_virtio_transport",
        "net/vmw_vsock/vmw_vsock_virtio_transport.ko.xz",
    ),
    ("cuse", "fs/fuse/cuse.ko.xz"),
    ("nsm", "drivers/misc/nsm.ko.xz"),
];

/// Largest module in bytes once decompressed; the ones above have up to 125 KB.
const MAX_MODULE_SIZE: u64 = 4 << 20;

/// A module, decompressed: loading it in the guest then costs no time for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, as `lsmod` shows it.
    pub name: &'static str,
    /// The ELF object.
    pub object: Vec<u8>,
}

pub(super) fn read(
    directory: &Path,
    hashes: &BTreeMap<String, Sha256>,
) -> Result<Vec<Module>, Error> {
    let mut modules: Vec<Module> = Vec::with_capacity(MODULES.len());
    for (name, place) in MODULES {
        let path = directory.join(place);
        let packed = fs::read(&path).map_err(Error::read(&path))?;
        let refuse = |reason: String| Error::Module {
            module: name.into(),
            reason,
        };
        let expected = hashes.get(name).ok_or_else(|| {
            refuse("the kernel lock has no hash for it: run with --update-lock".into())
        })?;
        expect_hash(&path.display().to_string(), *expected, Sha256::of(&packed))?;
        let object = decompress(&packed).map_err(|error| refuse(error.to_string()))?;
        for needed in dependencies(&object) {
            if !modules.iter().any(|module| module.name == needed) {
                return Err(refuse(format!(
                    "it needs {needed}, which is not loaded before it"
                )));
            }
        }
        modules.push(Module { name, object });
    }
    Ok(modules)
}

fn decompress(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut object = Vec::new();
    let decoder = liblzma::read::XzDecoder::new(packed);
    decoder.take(MAX_MODULE_SIZE + 1).read_to_end(&mut object)?;
    if object.len() as u64 > MAX_MODULE_SIZE {
        let limit = format!("more than {MAX_MODULE_SIZE} bytes decompressed");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, limit));
    }
    Ok(object)
}

/// Names in the module's `depends=` entry, which stands as a NUL-terminated string in its
/// `.modinfo` section.
fn dependencies(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = object.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = object.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_modinfo_entry() {
        let object = b"\x7fELF...\0license=GPL\0depends=one,two\0name=three\0";
        assert_eq!(dependencies(object), ["one", "two"]);
        assert!(dependencies(b"\0depends=\0name=alone\0").is_empty());
        assert!(dependencies(b"no entry").is_empty());
    }
}
