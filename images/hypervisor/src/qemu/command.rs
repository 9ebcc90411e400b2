//! QEMU's arguments, as a pure function of the machine that is wanted.

use std::os::fd::RawFd;

use super::Accelerator;

/// QEMU's own confinement: no obsolete system calls, no new privileges, no processes, no
/// scheduling. All five work with everything this command line asks for (QEMU 7.2, 10.0).
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The virtual machine of one enclave. Descriptors are those that the QEMU process inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine<'a> {
    /// The enclave's id, shown in process listings.
    pub name: &'a str,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// The sealed kernel.
    pub kernel: RawFd,
    /// The sealed ramdisks.
    pub initrd: RawFd,
    /// The measured command line; nothing is added to it.
    pub cmdline: &'a str,
    /// Socket that takes the serial console's output.
    pub console: RawFd,
    /// Socket of the port `nsm.0`.
    pub nsm: RawFd,
    /// Socket of the port `status.0`.
    pub status: RawFd,
    /// How the guest's vsock is served.
    pub vsock: VsockDevice,
}

/// Who serves the guest's vsock device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VsockDevice {
    /// The hypervisor's switch, at the other end of this vhost-user socket.
    Switch(RawFd),
    /// The host's kernel, which knows the guest by this CID.
    Kernel(u32),
}

impl Machine<'_> {
    /// Every argument after the program's name.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).into()));
        // Nothing by default, from a file of the user's, or from a monitor.
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-monitor", "none", "-parallel", "none", "-net", "none"]);
        add(&["-sandbox", SANDBOX]);
        add(&["-name", &format!("guest={}", self.name)]);
        // A guest that panics or resets has ended: measured bytes boot once.
        add(&["-no-reboot"]);
        add(self.machine());
        add(&["-smp", &self.processors()]);
        add(&["-m", &format!("{}M", self.memory_mib)]);
        add(&["-object", &self.memory()]);
        // The files are opened by descriptor: no path of theirs exists that could be exchanged.
        add(&["-kernel", &format!("/proc/self/fd/{}", self.kernel)]);
        add(&["-initrd", &format!("/proc/self/fd/{}", self.initrd)]);
        add(&["-append", self.cmdline]);
        add(&[
            "-chardev",
            &format!("socket,id=console,fd={}", self.console),
        ]);
        add(&["-serial", "chardev:console"]);
        add(&["-chardev", &format!("socket,id=nsm,fd={}", self.nsm)]);
        add(&["-chardev", &format!("socket,id=status,fd={}", self.status)]);
        let serial = format!("virtio-serial-{},id=ports,max_ports=3", self.bus());
        add(&["-device", &serial]);
        add(&[
            "-device",
            "virtserialport,bus=ports.0,nr=1,chardev=nsm,name=nsm.0",
        ]);
        let status = "virtserialport,bus=ports.0,nr=2,chardev=status,name=status.0";
        add(&["-device", status]);
        for word in self.vsock_device() {
            add(&[&word]);
        }
        arguments
    }

    /// How many processors there are, and may be. QEMU's software emulation of a machine that can
    /// have one only leaves out the guest's memory barriers (measured with 7.2: a locked instruction
    /// or `mfence` orders nothing then), though devices run beside it: a notification can be lost.
    fn processors(&self) -> String {
        match self.accelerator {
            Accelerator::Tcg => format!("{},maxcpus={}", self.cpus, self.cpus.max(2)),
            Accelerator::Kvm => self.cpus.to_string(),
        }
    }

    fn machine(&self) -> &'static [&'static str] {
        match self.accelerator {
            // Without ACPI QEMU would append its devices to the measured command line.
            Accelerator::Kvm => &[
                "-machine",
                "microvm,acpi=on,auto-kernel-cmdline=off,memory-backend=ram",
                "-accel",
                "kvm",
                "-cpu",
                "host",
            ],
            // Five-level page tables only cost the emulation time.
            Accelerator::Tcg => &[
                "-machine",
                "q35,usb=off,vmport=off,smbus=off,sata=off,memory-backend=ram",
                "-accel",
                "tcg",
                "-cpu",
                "max,la57=off",
            ],
        }
    }

    /// Guest memory that the switch maps as well, and that no core dump holds.
    fn memory(&self) -> String {
        let size = self.memory_mib;
        format!("memory-backend-memfd,id=ram,size={size}M,share=on,dump=off,merge=off")
    }

    fn vsock_device(&self) -> Vec<String> {
        let bus = self.bus();
        match self.vsock {
            VsockDevice::Switch(fd) => vec![
                "-chardev".into(),
                format!("socket,id=vsock,fd={fd}"),
                "-device".into(),
                format!("vhost-user-vsock-{bus},chardev=vsock"),
            ],
            VsockDevice::Kernel(cid) => vec![
                "-device".into(),
                format!("vhost-vsock-{bus},guest-cid={cid}"),
            ],
        }
    }

    /// The suffix of virtio devices on the machine's bus: PCI on q35, MMIO on microvm.
    fn bus(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "device",
            Accelerator::Tcg => "pci",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(accelerator: Accelerator) -> Machine<'static> {
        Machine {
            name: "i-0-enc1",
            accelerator,
            memory_mib: 256,
            cpus: 2,
            kernel: 10,
            initrd: 11,
            cmdline: "console=ttyS0 a,b=c \"x\"",
            console: 12,
            nsm: 13,
            status: 14,
            vsock: VsockDevice::Switch(15),
        }
    }

    fn value<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a str> {
        let pairs = arguments.windows(2);
        pairs
            .filter(|pair| pair[0] == flag)
            .map(|pair| pair[1].as_str())
            .collect()
    }

    #[test]
    fn nothing_comes_by_default_and_nothing_reaches_out() {
        for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
            let arguments = machine(accelerator).arguments();
            for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
                assert!(arguments.iter().any(|argument| argument == flag), "{flag}");
            }
            assert_eq!(value(&arguments, "-net"), ["none"]);
            assert_eq!(value(&arguments, "-display"), ["none"]);
            assert_eq!(value(&arguments, "-monitor"), ["none"]);
            assert_eq!(value(&arguments, "-sandbox"), [SANDBOX]);
            let devices = value(&arguments, "-device");
            assert!(devices.iter().all(|device| {
                device.starts_with("virtio-serial-")
                    || device.starts_with("virtserialport,")
                    || device.starts_with("vhost-user-vsock-")
            }));
            for flag in ["-netdev", "-drive", "-blockdev", "-hda", "-fsdev", "-qmp"] {
                assert!(value(&arguments, flag).is_empty(), "{flag}");
            }
        }
    }

    #[test]
    fn emulation_never_takes_the_guest_for_the_only_processor() {
        for (accelerator, cpus, expected) in [
            (Accelerator::Tcg, 1, "1,maxcpus=2"),
            (Accelerator::Tcg, 3, "3,maxcpus=3"),
            (Accelerator::Kvm, 1, "1"),
        ] {
            let mut machine = machine(accelerator);
            machine.cpus = cpus;
            assert_eq!(value(&machine.arguments(), "-smp"), [expected]);
        }
    }

    #[test]
    fn the_command_line_is_the_measured_one() {
        for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
            let arguments = machine(accelerator).arguments();
            assert_eq!(value(&arguments, "-append"), ["console=ttyS0 a,b=c \"x\""]);
        }
        let arguments = machine(Accelerator::Kvm).arguments();
        assert!(value(&arguments, "-machine")[0].contains("auto-kernel-cmdline=off"));
    }

    #[test]
    fn devices_are_on_the_machines_bus() {
        let arguments = machine(Accelerator::Kvm).arguments().join(" ");
        assert!(arguments.contains("vhost-user-vsock-device,chardev=vsock"));
        assert!(arguments.contains("virtio-serial-device,"));
        assert!(!arguments.contains("-pci"));
        let arguments = machine(Accelerator::Tcg).arguments().join(" ");
        assert!(arguments.contains("vhost-user-vsock-pci,chardev=vsock"));
        assert!(arguments.contains("virtio-serial-pci,"));
    }

    #[test]
    fn kernel_vsock_is_told_the_cid() {
        let mut machine = machine(Accelerator::Tcg);
        machine.vsock = VsockDevice::Kernel(42);
        let arguments = machine.arguments().join(" ");
        assert!(arguments.contains("-device vhost-vsock-pci,guest-cid=42"));
        assert!(!arguments.contains("id=vsock"));
    }

    #[test]
    fn images_and_sockets_come_by_descriptor() {
        let arguments = machine(Accelerator::Tcg).arguments();
        assert_eq!(value(&arguments, "-kernel"), ["/proc/self/fd/10"]);
        assert_eq!(value(&arguments, "-initrd"), ["/proc/self/fd/11"]);
        let sockets = value(&arguments, "-chardev");
        for (name, fd) in [("console", 12), ("nsm", 13), ("status", 14), ("vsock", 15)] {
            assert!(sockets.contains(&format!("socket,id={name},fd={fd}").as_str()));
        }
    }
}
