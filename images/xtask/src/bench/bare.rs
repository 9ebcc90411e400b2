//! The baseline of a boot: the same kernel, command line and machine with an init that says one
//! line, and with none of the enclave's devices.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cpio::newc::{Builder, ModeFileType, trailer};

use crate::commands::run;
use crate::scene::Scene;

/// What init says.
const LINE: &str = "bare: init";
/// The whole of init.
const INIT: &str = r#"fn main() {
    println!("bare: init");
    loop {
        std::thread::park();
    }
}
"#;
/// How long a bare boot may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a bare machine boots.
pub struct Bare {
    pub kernel: PathBuf,
    pub cmdline: String,
    pub memory_mib: u32,
    pub cpus: u32,
    /// Whether the hypervisor uses KVM here, and `microvm` with it; else TCG and `q35`.
    pub kvm: bool,
    initrd: PathBuf,
}

impl Bare {
    /// Builds its ramdisk.
    ///
    /// # Errors
    /// The compiler fails, or the ramdisk cannot be written.
    pub fn new(scene: &Scene, kernel: PathBuf, cmdline: String, kvm: bool) -> Result<Self> {
        let (source, program) = (scene.path("bare.rs"), scene.path("bare"));
        fs::write(&source, INIT)?;
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let flags = [
            "-O",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
        ];
        rustc
            .args(["--edition=2024", "--target=x86_64-unknown-linux-gnu"])
            .args(flags);
        run(rustc.arg("-o").args([&program, &source]))?;
        let initrd = scene.path("bare.cpio");
        ramdisk(&program, &initrd).with_context(|| format!("cannot write {}", initrd.display()))?;
        Ok(Self {
            kernel,
            cmdline,
            memory_mib: super::boot::MEMORY_MIB,
            cpus: super::boot::CPUS,
            kvm,
            initrd,
        })
    }

    /// Seconds from the start of QEMU to init's first line.
    ///
    /// # Errors
    /// QEMU does not start, or init says nothing in time.
    pub fn boot(&self) -> Result<f64> {
        let start = Instant::now();
        let mut qemu = self.command();
        let mut child = qemu.spawn().context("cannot start qemu-system-x86_64")?;
        let console = child.stdout.take().context("no console")?;
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(console).lines().map_while(Result::ok);
            for line in lines {
                if line.contains(LINE) {
                    let _ = tell.send(start.elapsed());
                }
            }
        });
        let booted = told.recv_timeout(PATIENCE);
        child.kill()?;
        child.wait()?;
        match booted {
            Ok(time) => Ok(time.as_secs_f64()),
            Err(_) => bail!("a bare machine did not come to its init within {PATIENCE:?}"),
        }
    }

    /// The hypervisor's command line without the enclave's devices.
    fn command(&self) -> Command {
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-net",
            "none",
        ]);
        qemu.args([
            "-monitor",
            "none",
            "-parallel",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
        ]);
        qemu.args(match self.kvm {
            true => [
                "-machine",
                "microvm,acpi=on,auto-kernel-cmdline=off",
                "-accel",
                "kvm",
                "-cpu",
                "host",
            ],
            false => [
                "-machine",
                "q35,usb=off,vmport=off,smbus=off,sata=off",
                "-accel",
                "tcg",
                "-cpu",
                "max,la57=off",
            ],
        });
        qemu.arg("-m").arg(format!("{}M", self.memory_mib));
        qemu.arg("-smp").arg(match self.kvm {
            true => self.cpus.to_string(),
            false => format!("{},maxcpus={}", self.cpus, self.cpus.max(2)),
        });
        qemu.arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd);
        qemu.arg("-append").arg(&self.cmdline);
        qemu.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        qemu
    }
}

/// A ramdisk of a console and an init.
fn ramdisk(init: &Path, to: &Path) -> Result<()> {
    let mut file = fs::File::create(to)?;
    let program = fs::read(init)?;
    let directory = Builder::new("dev")
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Directory);
    // Character device 5:1, to which init's output goes.
    let console = Builder::new("dev/console")
        .mode(0o600)
        .rdev_major(5)
        .rdev_minor(1);
    let console = console.set_mode_file_type(ModeFileType::Char);
    let init = Builder::new("init")
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Regular);
    for (builder, bytes) in [(directory, &[][..]), (console, &[]), (init, &program)] {
        let mut entry = builder.write(&mut file, u32::try_from(bytes.len())?);
        entry.write_all(bytes)?;
        entry.finish()?;
    }
    trailer(file)?;
    Ok(())
}
