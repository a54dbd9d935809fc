//! The terminal of whoever called, made the machine's serial console.
//!
//! What must hold: the terminal is as it was before when this returns, however it returns.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};

use crate::interrupt;
use crate::process::Process;

/// Ctrl-], as in telnet: leaves the console and powers the machine off.
const LEAVE: u8 = 0x1d;

/// Why the console was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The machine powered itself off.
    MachineEnded,
    /// Ctrl-], or there is no more input.
    Asked,
    /// A signal.
    Interrupted,
}

/// A terminal in raw mode, until dropped.
#[derive(Debug)]
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    fn set() -> Result<Self, Errno> {
        let stdin = io::stdin();
        let before = match termios::tcgetattr(stdin.as_fd()) {
            Ok(before) => before,
            // Input from a file or a pipe: nothing to set, nothing to undo.
            Err(Errno::ENOTTY) => return Ok(Self { before: None }),
            Err(err) => return Err(err),
        };
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone altogether.
            let _best_effort = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, before);
        }
    }
}

/// Passes bytes both ways until one side ends.
pub(crate) fn attach(mut console: UnixStream, process: &mut Process) -> io::Result<Left> {
    let _raw = Raw::set()?;
    let stdin = io::stdin();
    let mut stdout = io::stdout();
    let mut buffer = [0; 4096];
    loop {
        if interrupt::is_interrupted() {
            return Ok(Left::Interrupted);
        }
        if !process.is_running() {
            return Ok(Left::MachineEnded);
        }
        let mut fds = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(console.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::from(100_u8)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let readable = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let (typed, said) = (readable(&fds[0]), readable(&fds[1]));
        if said {
            match console.read(&mut buffer)? {
                0 => {
                    process.wait(Duration::from_secs(5));
                    return Ok(Left::MachineEnded);
                }
                n => {
                    stdout.write_all(&buffer[..n])?;
                    stdout.flush()?;
                }
            }
        }
        if typed {
            let n = nix::unistd::read(stdin.as_fd(), &mut buffer)?;
            let leave = buffer[..n].iter().position(|b| *b == LEAVE);
            console.write_all(&buffer[..leave.unwrap_or(n)])?;
            if n == 0 || leave.is_some() {
                return Ok(Left::Asked);
            }
        }
    }
}
