//! `cargo boot`: image, machine, agents; then a console of it, or one command in it.

use std::io::{self, Write};
use std::time::Duration;

use crate::cli::BootArgs;
use crate::clock::{Moment, seconds};
use crate::console::{self, Left};
use crate::image::{BuildError, BuildOptions, Image};
use crate::interrupt::INTERRUPTED_STATUS;
use crate::progress::Progress;
use crate::timing::{self, ReadyError};
use crate::vm::{Vm, VmError};

/// A command in the machine may take this long.
const COMMAND_LIMIT: Duration = Duration::from_secs(3600);

/// `cargo boot` failed by itself, as opposed to the command that it ran.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// No image.
    #[error("cannot build the image")]
    Build(#[from] BuildError),
    /// No machine, or it stopped answering.
    #[error("cannot boot the image")]
    Vm(#[from] VmError),
    /// The machine runs, its agents do not.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// Our own terminal or stdout.
    #[error("cannot write to the terminal")]
    Terminal(#[from] io::Error),
}

/// Does it; gives the status to exit with.
pub fn boot(args: &BootArgs) -> Result<u8, BootError> {
    let progress = Progress::on_stderr();
    let image = Image::build(&BuildOptions::from(&args.build), progress)?;
    let mut options = args.vm_options();
    if args.keep {
        options.kept_disk = Some(image.kept_disk());
    }
    let began = Moment::now();
    let mut vm = Vm::boot_loudly(&image, &options, progress)?;
    let times = timing::await_agents(&mut vm)?;
    let cost = vm.processor_time().map_or_else(|| "unknown".to_owned(), seconds);
    let took = seconds(began.elapsed());
    progress.say(&format!("boot: {took} since QEMU began ({cost} of processor time): {times}"));
    if args.command.is_empty() { interactive(vm, progress) } else { command(vm, &args.command) }
}

/// Runs one command; its output and its status are ours.
fn command(mut vm: Vm, words: &[String]) -> Result<u8, BootError> {
    let output = vm.run(&script(words), COMMAND_LIMIT)?;
    vm.shutdown()?;
    let mut stdout = io::stdout().lock();
    // Whoever reads may have had enough.
    ignore_closed_pipe(stdout.write_all(&output.stdout).and_then(|()| stdout.flush()))?;
    ignore_closed_pipe(io::stderr().lock().write_all(&output.stderr))?;
    Ok(u8::try_from(output.status).unwrap_or(u8::MAX))
}

/// One word is a script, as with `sh -c`; several are a command and its arguments.
fn script(words: &[String]) -> String {
    if let [only] = words {
        return only.clone();
    }
    let quoted: Vec<_> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

fn ignore_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|err| match err.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(err),
    })
}

fn interactive(mut vm: Vm, progress: Progress) -> Result<u8, BootError> {
    progress.say("this is a console of the machine: try `agentctl list`");
    progress.say("`poweroff` or Ctrl-] ends it");
    let console = vm.open_console()?;
    vm.run("systemctl start agentos-console.service", Duration::from_secs(60))?;
    match console::attach(console, vm.process())? {
        Left::MachineEnded => {
            progress.say("the machine is off");
            Ok(0)
        }
        Left::Asked => {
            progress.say("powering the machine off");
            vm.shutdown()?;
            Ok(0)
        }
        Left::Interrupted => Ok(INTERRUPTED_STATUS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_script_and_several_are_kept_apart() {
        assert_eq!(script(&["a | b".to_owned()]), "a | b");
        let words = ["echo", "it's", "a b"].map(str::to_owned);
        assert_eq!(script(&words), r"'echo' 'it'\''s' 'a b'");
    }
}
