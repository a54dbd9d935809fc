//! QEMU's command line, as a pure function, and starting it.

use std::path::{Path, PathBuf};

use crate::exec::Program;
use crate::guest;

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// On the processor.
    Kvm,
    /// By translating them: slower by a factor of ten or more, and works everywhere.
    Emulation,
}

/// What the firmware or QEMU itself loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// QEMU loads a kernel.
    Direct { kernel: PathBuf, initrd: Option<PathBuf>, command_line: String },
    /// The firmware loads what the disk holds.
    Firmware {
        code: PathBuf,
        /// A copy of this machine's own.
        variables: PathBuf,
    },
}

/// A machine, as QEMU is told about it.
#[derive(Debug, Clone)]
pub(crate) struct Machine<'a> {
    pub(crate) accel: Accel,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) start: Start,
    pub(crate) disk: &'a Path,
    /// `raw` or `qcow2`.
    pub(crate) disk_format: &'a str,
    /// Whether the guest reaches anything outside.
    pub(crate) network: bool,
    /// The folder for sockets and the console's log.
    pub(crate) folder: &'a Path,
    /// Files of the tools tree: QEMU's own firmware.
    pub(crate) tools: &'a Path,
    /// Names and values.
    pub(crate) credentials: Vec<(&'a str, &'a str)>,
}

/// Where the host talks to the runner.
pub(crate) fn runner_socket(folder: &Path) -> PathBuf {
    folder.join("runner.sock")
}

/// Where the serial console is.
pub(crate) fn console_socket(folder: &Path) -> PathBuf {
    folder.join("console.sock")
}

/// Everything that the serial console said.
pub(crate) fn console_log(folder: &Path) -> PathBuf {
    folder.join("console.log")
}

/// All arguments.
pub(crate) fn arguments(machine: &Machine<'_>) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| args.extend([name.to_owned(), value]);
    for folder in ["usr/share/qemu", "usr/share/seabios"] {
        add("-L", machine.tools.join(folder).display().to_string());
    }
    // Without the disk controller that nothing is connected to and whose ports a guest would probe.
    add("-machine", "q35,sata=off,smbus=off".to_owned());
    match machine.accel {
        Accel::Kvm => {
            add("-accel", "kvm".to_owned());
            add("-cpu", "host".to_owned());
        }
        Accel::Emulation => {
            add("-accel", "tcg,thread=multi,tb-size=512".to_owned());
            add("-cpu", "max".to_owned());
        }
    }
    add("-smp", machine.cpus.to_string());
    add("-m", format!("{}M", machine.memory_mib));
    add(
        "-drive",
        format!(
            "if=none,id=disk,file={},format={},discard=unmap",
            escape(machine.disk),
            machine.disk_format
        ),
    );
    add("-device", "nvme,drive=disk,serial=agentos,bootindex=1".to_owned());
    let restrict = if machine.network { "off" } else { "on" };
    add("-netdev", format!("user,id=net,restrict={restrict}"));
    // No option ROM: nothing boots from the network.
    add("-device", "virtio-net-pci,netdev=net,romfile=".to_owned());
    add("-device", "virtio-rng-pci".to_owned());
    add("-device", "virtio-serial-pci".to_owned());
    add(
        "-chardev",
        format!(
            "socket,id=runner,path={},server=on,wait=off",
            escape(&runner_socket(machine.folder))
        ),
    );
    add("-device", format!("virtserialport,chardev=runner,name={}", guest::PORT));
    add(
        "-chardev",
        format!(
            "socket,id=console,path={},server=on,wait=off,logfile={}",
            escape(&console_socket(machine.folder)),
            escape(&console_log(machine.folder))
        ),
    );
    add("-serial", "chardev:console".to_owned());
    for (name, value) in &machine.credentials {
        add(
            "-smbios",
            format!(
                "type=11,value=io.systemd.credential.binary:{name}={}",
                base64(value.as_bytes())
            ),
        );
    }
    match &machine.start {
        Start::Direct { kernel, initrd, command_line } => {
            add("-kernel", kernel.display().to_string());
            if let Some(initrd) = initrd {
                add("-initrd", initrd.display().to_string());
            }
            add("-append", command_line.clone());
        }
        Start::Firmware { code, variables } => {
            add("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", escape(code)));
            add("-drive", format!("if=pflash,unit=1,format=raw,file={}", escape(variables)));
        }
    }
    args.extend(
        ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]
            .map(str::to_owned),
    );
    args
}

/// QEMU, set to be killed by the kernel when the thread that starts it ends (prctl(2),
/// PR_SET_PDEATHSIG): a machine never outlives whoever booted it.
pub(crate) fn bound_to_this_thread(qemu: &Program) -> Program {
    qemu.after(["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"])
}

/// A comma separates options; doubled, it is one.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (word >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(start: Start) -> Vec<String> {
        arguments(&Machine {
            accel: Accel::Emulation,
            cpus: 2,
            memory_mib: 1024,
            start,
            disk: Path::new("/a,b/disk"),
            disk_format: "qcow2",
            network: false,
            folder: Path::new("/run/vm"),
            tools: Path::new("/tools"),
            credentials: vec![("name", "value")],
        })
    }

    fn has(args: &[String], name: &str, value: &str) -> bool {
        args.windows(2).any(|w| w[0] == name && w[1] == value)
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_guest_reaches_nothing_unless_asked() {
        let args = machine(Start::Firmware { code: "/code".into(), variables: "/vars".into() });
        assert!(has(&args, "-netdev", "user,id=net,restrict=on"));
        assert!(!args.contains(&"-kernel".to_owned()));
    }

    #[test]
    fn a_comma_in_a_path_separates_nothing() {
        let args = machine(Start::Direct {
            kernel: "/k".into(),
            initrd: None,
            command_line: "quiet".to_owned(),
        });
        let disk = "if=none,id=disk,file=/a,,b/disk,format=qcow2,discard=unmap";
        assert!(has(&args, "-drive", disk), "{args:?}");
        assert!(has(&args, "-append", "quiet"));
        let credential = "type=11,value=io.systemd.credential.binary:name=dmFsdWU=";
        assert!(has(&args, "-smbios", credential));
    }
}
