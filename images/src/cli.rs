//! The command line of `images`, and of `cargo boot`, which is `images boot`.

use clap::{Args, Parser, Subcommand};

use crate::image::BuildOptions;
use crate::kvm::Kvm;
use crate::vm::VmOptions;

/// Builds the agentos image and boots it in QEMU.
#[derive(Debug, Parser)]
#[command(name = "images", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds the image if anything changed, boots it, and ends on a console of it; or runs one
    /// command in it and ends with that command's status.
    Boot(BootArgs),
    /// Measures, and writes a Markdown table to stdout.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        what: BenchCommand,
    },
    /// Builds the image and says where it is.
    Build(BuildArgs),
    /// Pins the mkosi that the package mirror has now.
    Pin {
        /// Where Debian packages come from [default: where the host's apt gets them].
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The appliance's boot against that of a stock Debian 13.
    Boot {
        /// How to build.
        #[command(flatten)]
        build: BuildArgs,
        /// How often each is booted.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// Whether to use KVM.
        #[arg(long, value_enum, default_value_t)]
        kvm: Kvm,
    },
}

/// How to build.
#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    /// Build the image even if nothing changed, with the packages that the mirror has now.
    #[arg(long)]
    pub fresh: bool,
    /// Where Debian packages come from [default: where the host's apt gets them].
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// How to boot.
#[derive(Debug, Args)]
pub struct BootArgs {
    /// How to build.
    #[command(flatten)]
    pub build: BuildArgs,
    /// Boot through the firmware (OVMF) and the image's own boot file.
    #[arg(long)]
    pub firmware: bool,
    /// Leave the disk for the next boot with --keep of the same image.
    #[arg(long)]
    pub keep: bool,
    /// Let the machine reach the host's network; without it, it reaches nothing.
    #[arg(long)]
    pub network: bool,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    pub memory: u32,
    /// Processors.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Whether to use KVM.
    #[arg(long, value_enum, default_value_t)]
    pub kvm: Kvm,
    /// A command to run in the machine, instead of a console.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl From<&BuildArgs> for BuildOptions {
    fn from(args: &BuildArgs) -> Self {
        Self { fresh: args.fresh, mirror: args.mirror.clone() }
    }
}

impl BootArgs {
    pub(crate) fn vm_options(&self) -> VmOptions {
        VmOptions {
            firmware: self.firmware,
            network: self.network,
            memory_mib: self.memory,
            cpus: self.cpus,
            kvm: self.kvm,
            ..VmOptions::default()
        }
    }
}
