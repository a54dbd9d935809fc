//! Check `journal-size`: how much room the journal takes on disk and in memory.
//!
//! The blocks of all files below `/var/log/journal` and `/run/log/journal`, as `journalctl
//! --disk-usage` counts them. journald keeps itself within its limits (journald.conf(5)); that it
//! does not, or that its limits are too wide for this disk, is what is found here.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use agentd_kit::{CheckError, Context, Defaults, Host, Readings, clock};

pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::minutes(1)).thresholds(512.0, 2048.0, 32.0);

/// Where journald keeps its files (systemd-journald.service(8), "Files").
const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Most files looked at.
const MAX_FILES: usize = 10_000;
/// stat(2), `st_blocks`.
const BLOCK: u64 = 512;

/// The journal's files could not be counted.
#[derive(Debug, thiserror::Error)]
enum SizeError {
    #[error("cannot look into {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("the journal has more than {MAX_FILES} files")]
    TooMany,
}

/// Blocks in the file system.
pub(crate) fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let mut readings = Readings::new();
    let (disk, memory) = (size(ctx.host(), FOLDERS[0])?, size(ctx.host(), FOLDERS[1])?);
    let mebibytes = (disk + memory) / (1024 * 1024);
    readings
        .measure(
            "journal:size",
            u32::try_from(mebibytes).map_or(f64::MAX, f64::from),
            "MiB",
            format!("the journal takes {mebibytes} MiB"),
        )
        .evidence("disk_bytes", disk)
        .evidence("memory_bytes", memory);
    Ok(readings)
}

/// Bytes that the files in the folders below `folder` take. A folder that does not exist takes none.
fn size(host: &Host, folder: &str) -> Result<u64, SizeError> {
    let mut total = 0_u64;
    let mut files = 0;
    let mut waiting = vec![host.path(folder)];
    while let Some(path) = waiting.pop() {
        let fail = |source| SizeError::Look { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(fail(err)),
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            files += 1;
            if files > MAX_FILES {
                return Err(SizeError::TooMany);
            }
            // journald renames and removes files as it goes.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(fail(err)),
            };
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.is_file() {
                total = total.saturating_add(metadata.blocks().saturating_mul(BLOCK));
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use agentd_kit::InForce;

    use super::*;

    fn look(root: &std::path::Path) -> Result<Readings, CheckError> {
        let host = Host::under(root);
        run(&Context::new(host, InForce::from(&DEFAULTS), clock::now()), &mut ())
    }

    #[test]
    fn the_files_of_both_journals_are_added_up() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).unwrap().readings()[0].value(), Some(0.0));
        for folder in ["var/log/journal/0123", "run/log/journal/0123"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            let file = dir.path().join(folder).join("system.journal");
            fs::write(&file, vec![1; 3 * 1024 * 1024]).unwrap();
            // Some file systems count blocks only once they are on the disk.
            fs::File::open(&file).unwrap().sync_all().unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("var/log/journal/loop")).unwrap();
        let readings = look(dir.path()).unwrap();
        let reading = &readings.readings()[0];
        assert_eq!((reading.key(), reading.value()), ("journal:size", Some(6.0)));
        let disk: u64 = reading.evidence_of("disk_bytes").unwrap().parse().unwrap();
        assert!(disk >= 3 * 1024 * 1024, "{disk}");
    }

    #[test]
    fn a_journal_that_cannot_be_looked_into_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/log")).unwrap();
        fs::write(dir.path().join("var/log/journal"), "").unwrap();
        assert!(look(dir.path()).unwrap_err().to_string().contains("var/log/journal"));
    }
}
