//! The programs under test, built when they are first asked for.
//!
//! `cargo test -p process-tests` builds no program of another package, and `CARGO_BIN_EXE_…` is there
//! only for the package that owns the program. So the harness calls cargo once per test process, for
//! the profile and target directory that the test itself was built in, and takes what that leaves
//! there. When all is built already this costs a fraction of a second.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Where the programs are.
#[derive(Debug)]
pub struct Programs {
    /// The daemon. Its launcher lies beside it, where it looks for it.
    pub agentd: PathBuf,
    /// The agent that does what it is told.
    pub fake_agent: PathBuf,
}

/// The programs, built from the present sources.
pub fn programs() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> Programs {
    // target/PROFILE/deps/TEST-HASH
    let own = std::env::current_exe().expect("a test knows its own program");
    let deps = own.parent().expect("a program lies in a directory");
    let dir = if deps.ends_with("deps") { deps.parent().unwrap_or(deps) } else { deps };
    let target = dir.parent().expect("a profile's directory lies in the target directory");
    // The directory of the profile `dev` is called `debug`, for historical reasons.
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = command(Path::new(&cargo));
    build
        .args(["build", "--locked", "--quiet", "--bins", "--profile", profile])
        .args(["-p", "agentd", "-p", "agentd-cell", "-p", "harness"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace);
    let built = output_of(&mut build);
    assert!(
        built.status.success(),
        "cargo could not build what is tested:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let programs = Programs { agentd: dir.join("agentd"), fake_agent: dir.join("fake-agent") };
    for program in [&programs.agentd, &programs.fake_agent, &dir.join("agentd-launch")] {
        assert!(program.is_file(), "cargo built no {}", program.display());
    }
    programs
}

/// Runs a program to its end.
pub fn output_of(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|err| panic!("cannot run {command:?}: {err}"))
}

#[allow(clippy::disallowed_methods, reason = "the one place where the harness starts programs")]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}
