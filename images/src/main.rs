//! `images`, the program behind `cargo boot`. See the library.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stderr,
    reason = "the edge of the program: the one place that shows an error to a person"
)]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use images::{BenchCommand, BuildOptions, Cli, Command, INTERRUPTED_STATUS, Image, Progress};

fn main() -> ExitCode {
    images::listen();
    let status = run(&Cli::parse()).unwrap_or_else(|err| {
        if images::is_interrupted() {
            eprintln!("agentos: interrupted");
            return INTERRUPTED_STATUS;
        }
        eprintln!("agentos: {}", chain(&*err));
        1
    });
    ExitCode::from(status)
}

fn run(cli: &Cli) -> Result<u8, Box<dyn Error>> {
    let progress = Progress::on_stderr();
    match &cli.command {
        Command::Boot(args) => return Ok(images::boot(args)?),
        Command::Bench { what: BenchCommand::Boot { build, runs, kvm } } => {
            let report = images::bench_boot(&BuildOptions::from(build), *kvm, *runs)?;
            io::stdout().lock().write_all(report.as_bytes())?;
        }
        Command::Build(args) => {
            let image = Image::build(&BuildOptions::from(args), progress)?;
            progress.say(&format!("image: {}", image.disk().display()));
            let size = images::compressed_size(&image)?;
            progress.say(&format!("as a download (zstd -19): {} MiB", size >> 20));
        }
        Command::Pin { mirror } => images::renew_pin(mirror.as_deref(), progress)?,
    }
    Ok(0)
}

/// An error and its causes, each once.
fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text += ": ";
            text += &inner_text;
        }
        cause = inner.source();
    }
    text
}
