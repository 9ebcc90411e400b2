//! Measures the switch against `vhost-device-vsock`, both under the same guest in the same run:
//!
//! ```text
//! cargo run --release -p anchorhold-switch --example switch_bench -- \
//!     --baseline ~/.cargo/bin/vhost-device-vsock --json
//! ```
//!
//! Two microVMs run side by side, one on each device, and take turns, so that both see the same
//! state of the machine. Every figure is the median of its rounds. Without `--baseline` only the
//! switch is measured.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anchorhold_switch::{Switch, SwitchConfig, SwitchHandle};
use serde_json::{Value, json};
use support::control::{Call, Guest};
use support::host;
use support::image::{Kernel, initramfs};
use support::machine::{Backend, Machine};

const MIB: u64 = 1 << 20;
const ROUNDS: usize = 5;
const ECHO: u32 = 1001;
const SINK: u32 = 1002;
const SOURCE_4K: u32 = 1003;
const SOURCE_64K: u32 = 1004;

/// Bytes of one measurement.
const BYTES: u64 = 24 * MIB;

/// Ten times what the slower device needs for them. One that takes longer hangs.
const HANG: Duration = Duration::from_secs(10);

/// Round trips of one measurement.
const PINGS: usize = 500;

fn main() -> io::Result<()> {
    let options = Options::parse()?;
    let directory = tempfile::tempdir()?;
    let kernel = options
        .kernel_dir
        .as_deref()
        .map_or_else(Kernel::find, Kernel::within);
    let initramfs = initramfs(&kernel, directory.path())?;

    let mut subjects = vec![Subject::switch(&kernel, &initramfs, directory.path())?];
    if let Some(baseline) = &options.baseline {
        subjects.push(Subject::baseline(
            baseline,
            &kernel,
            &initramfs,
            directory.path(),
        )?);
    }
    let mut figures = Vec::new();
    let wanted = |measure: &Measure| {
        options
            .only
            .as_ref()
            .is_none_or(|only| only == measure.name)
    };
    for measure in MEASURES.into_iter().filter(wanted) {
        let mut rounds = vec![Vec::new(); subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, values) in subjects.iter_mut().zip(&mut rounds) {
                values.extend(subject.measure(measure));
            }
        }
        figures.push(Figure::new(measure, rounds));
    }
    if options.json {
        let object: serde_json::Map<_, _> = figures
            .iter()
            .map(|figure| (figure.name.to_owned(), figure.json()))
            .collect();
        println!("{}", Value::Object(object));
    } else {
        figures.iter().for_each(Figure::print);
    }
    Ok(())
}

struct Options {
    baseline: Option<PathBuf>,
    kernel_dir: Option<PathBuf>,
    json: bool,
    only: Option<String>,
}

impl Options {
    fn parse() -> io::Result<Self> {
        let mut options = Self {
            baseline: None,
            kernel_dir: None,
            json: false,
            only: None,
        };
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--baseline") => options.baseline = arguments.next().map(PathBuf::from),
                Some("--kernel-dir") => options.kernel_dir = arguments.next().map(PathBuf::from),
                Some("--only") => {
                    options.only = arguments.next().and_then(|name| name.into_string().ok())
                }
                Some("--json") => options.json = true,
                // Cargo says so when it runs benches.
                Some("--bench") => {}
                _ => {
                    let usage = "usage: switch_bench [--baseline PATH] [--kernel-dir DIR] [--only MEASURE] [--json]";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, usage));
                }
            }
        }
        Ok(options)
    }
}

/// What is measured, in which unit, and whether more is better.
#[derive(Clone, Copy)]
struct Measure {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// `send` or `drain` on a port, with so many bytes per system call of the guest's: MiB/s.
    /// The 4k and 64k in a measure's name are the bytes per write; reads are of 64 KiB.
    Rate(&'static str, u32, usize),
    /// Round trips of so many bytes: milliseconds.
    RoundTrip(usize),
}

/// The last one hangs the baseline, so nothing comes after it.
const MEASURES: [Measure; 5] = [
    Measure {
        name: "round_trip_64",
        kind: Kind::RoundTrip(64),
    },
    Measure {
        name: "host_to_guest_4k",
        kind: Kind::Rate("drain", SOURCE_4K, 65536),
    },
    Measure {
        name: "guest_to_host_4k",
        kind: Kind::Rate("send", SINK, 4096),
    },
    Measure {
        name: "host_to_guest_64k",
        kind: Kind::Rate("drain", SOURCE_64K, 65536),
    },
    Measure {
        name: "guest_to_host_64k",
        kind: Kind::Rate("send", SINK, 65536),
    },
];

/// A machine on one of the devices.
struct Subject {
    guest: Guest,
    /// The CID by which its guest knows the host.
    cid: u32,
    /// Once something hung, nothing is measured any more.
    hung: bool,
    _machine: Machine,
    _device: Device,
}

/// What serves the machine's vsock.
enum Device {
    Switch(#[expect(dead_code, reason = "held for its drop")] SwitchHandle),
    Baseline(Child),
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Self::Baseline(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Subject {
    fn switch(kernel: &Kernel, initramfs: &Path, directory: &Path) -> io::Result<Self> {
        let directory = directory.join("switch");
        std::fs::create_dir(&directory)?;
        let prefix = directory.join("vsock");
        let config = SwitchConfig::new(16, directory.join("vsock.sock"), vec![prefix.clone()]);
        let (handle, frontend) = Switch::start(config).map_err(io::Error::other)?;
        let backend = Backend::Descriptor(frontend);
        Self::boot(
            kernel,
            initramfs,
            &directory,
            &prefix,
            (backend, Device::Switch(handle), 3),
        )
    }

    fn baseline(
        program: &Path,
        kernel: &Kernel,
        initramfs: &Path,
        directory: &Path,
    ) -> io::Result<Self> {
        let directory = directory.join("baseline");
        std::fs::create_dir(&directory)?;
        let (prefix, socket) = (directory.join("vsock"), directory.join("vhost.sock"));
        let child = Command::new(program)
            .arg("--vm")
            .arg(format!(
                "guest-cid=17,socket={},uds-path={}",
                socket.display(),
                prefix.display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let device = Device::Baseline(child);
        let deadline = Instant::now() + HANG;
        while !socket.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self::boot(
            kernel,
            initramfs,
            &directory,
            &prefix,
            (Backend::Path(&socket), device, 2),
        )
    }

    fn boot(
        kernel: &Kernel,
        initramfs: &Path,
        directory: &Path,
        prefix: &Path,
        (backend, device, cid): (Backend<'_>, Device, u32),
    ) -> io::Result<Self> {
        host::serve(prefix, ECHO, host::echo)?;
        host::serve(prefix, SINK, |stream| host::count(stream, BYTES))?;
        host::serve(prefix, SOURCE_4K, |stream| {
            host::source(stream, BYTES, 4096)
        })?;
        host::serve(prefix, SOURCE_64K, |stream| {
            host::source(stream, BYTES, 65536)
        })?;
        let call = Call::expect(prefix)?;
        let mut machine = Machine::boot(kernel, initramfs, directory, backend)?;
        let guest = call.answer(&mut machine)?;
        guest.deadline(HANG)?;
        Ok(Self {
            guest,
            cid,
            hung: false,
            _machine: machine,
            _device: device,
        })
    }

    /// One value, unless the device hangs.
    fn measure(&mut self, measure: Measure) -> Option<f64> {
        if self.hung {
            return None;
        }
        let value = self.try_measure(measure.kind);
        self.hung = value.is_err();
        value.ok()
    }

    fn try_measure(&mut self, kind: Kind) -> io::Result<f64> {
        let cid = self.cid;
        match kind {
            Kind::Rate(order, port, chunk) => {
                let time = self
                    .guest
                    .timed(&format!("{order} {cid} {port} {BYTES} {chunk}"))?;
                Ok(BYTES as f64 / MIB as f64 / time.as_secs_f64())
            }
            Kind::RoundTrip(size) => {
                let answer = self
                    .guest
                    .order(&format!("ping {cid} {ECHO} {size} {PINGS}"))?;
                let nanos: u32 = answer.parse().map_err(io::Error::other)?;
                Ok(f64::from(nanos) / 1e6)
            }
        }
    }
}

/// The medians of one measure.
struct Figure {
    name: &'static str,
    unit: &'static str,
    ours: Option<f64>,
    baseline: Option<f64>,
    /// How many times better the switch is.
    ratio: Option<f64>,
}

impl Figure {
    fn new(measure: Measure, rounds: Vec<Vec<f64>>) -> Self {
        let mut medians = rounds.into_iter().map(median);
        let ours = medians.next().flatten();
        let baseline = medians.next().flatten();
        let (unit, more_is_better) = match measure.kind {
            Kind::Rate(..) => ("MiB/s", true),
            Kind::RoundTrip(_) => ("ms", false),
        };
        let ratio = ours.zip(baseline).map(|(ours, baseline)| {
            if more_is_better {
                ours / baseline
            } else {
                baseline / ours
            }
        });
        Self {
            name: measure.name,
            unit,
            ours,
            baseline,
            ratio,
        }
    }

    fn json(&self) -> Value {
        json!({
            "unit": self.unit,
            "switch": self.ours,
            "baseline": self.baseline,
            "times_better": self.ratio,
        })
    }

    fn print(&self) {
        let text = |value: Option<f64>| {
            value.map_or("hangs or absent".into(), |value| format!("{value:.2}"))
        };
        println!(
            "{:18} {:>10} {:5}  baseline {:>10}  times better {:>6}",
            self.name,
            text(self.ours),
            self.unit,
            text(self.baseline),
            text(self.ratio)
        );
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
