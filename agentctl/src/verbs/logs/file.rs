//! The end of a log file, and what comes. The file may be of any size and hold anything: it is
//! read a piece at a time, and a line without an end is cut into lines that have one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::super::Session;
use super::Wanted;
use crate::clock;
use crate::failure::Failure;
use crate::text;

/// Longest line that is shown whole, in bytes.
const LONGEST: usize = 64 * 1024;

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// Time from one look at the file to the next.
const AGAIN: Duration = Duration::from_millis(200);

/// Shows it.
pub(super) fn show(session: &mut Session<'_>, path: &Path, wanted: &Wanted) -> Result<(), Failure> {
    if wanted.since.is_some() {
        return Err(Failure::LogWithoutTime { path: path.to_owned() });
    }
    let failed = |source| Failure::Log { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let start = start_of_last(&mut file, wanted.lines.unwrap_or(u32::MAX)).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut lines = Lines { partial: Vec::new() };
    loop {
        lines.copy(session, &mut file, wanted).map_err(|err| err.at(path))?;
        if !wanted.is_followed {
            return lines.end(session, wanted);
        }
        session.out.flush()?;
        clock::pause(AGAIN);
        if let Some(newer) = replaced(&mut file, path).map_err(failed)? {
            lines.copy(session, &mut file, wanted).map_err(|err| err.at(path))?;
            file = newer;
        }
    }
}

/// The file that now has this name, if it is another one or was emptied.
fn replaced(file: &mut File, path: &Path) -> io::Result<Option<File>> {
    let newer = match File::open(path) {
        Ok(newer) => newer,
        // Between the two steps of a rotation.
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    let (ours, theirs) = (file.metadata()?, newer.metadata()?);
    let is_same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
    let is_emptied = theirs.len() < file.stream_position()?;
    Ok((!is_same || is_emptied).then_some(newer))
}

/// Where the last `lines` lines begin.
fn start_of_last(file: &mut File, lines: u32) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut end = file.seek(SeekFrom::End(0))?;
    let whole = end;
    if lines == 0 {
        return Ok(whole);
    }
    let mut found = 0;
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        let length = usize::try_from(end - start).unwrap_or(PIECE);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece[..length])?;
        for (index, byte) in piece[..length].iter().enumerate().rev() {
            let after = start + index as u64 + 1;
            // The line end at the end of the file ends the last line and begins none.
            if *byte == b'\n' && after < whole {
                found += 1;
                if found >= lines {
                    return Ok(after);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Reading and writing fail for different reasons.
enum CopyError {
    Read(io::Error),
    Show(Failure),
}

impl CopyError {
    fn at(self, path: &Path) -> Failure {
        match self {
            Self::Read(source) => Failure::Log { path: path.to_owned(), source },
            Self::Show(failure) => failure,
        }
    }
}

/// Bytes cut into lines.
struct Lines {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Shows every whole line up to the present end of the file.
    fn copy(
        &mut self,
        session: &mut Session<'_>,
        file: &mut File,
        wanted: &Wanted,
    ) -> Result<(), CopyError> {
        let mut piece = [0; PIECE];
        loop {
            let length = file.read(&mut piece).map_err(CopyError::Read)?;
            if length == 0 {
                return Ok(());
            }
            for part in piece[..length].split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(part);
                if part.ends_with(b"\n") || self.partial.len() >= LONGEST {
                    self.end(session, wanted).map_err(CopyError::Show)?;
                }
            }
        }
    }

    /// Shows what there is of a line.
    fn end(&mut self, session: &mut Session<'_>, wanted: &Wanted) -> Result<(), Failure> {
        if self.partial.is_empty() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&self.partial);
        let line = line.trim_end_matches(['\r', '\n']);
        if wanted.is_json {
            let identifier = wanted.identifier();
            session.json_line(&json!({ "SYSLOG_IDENTIFIER": identifier, "MESSAGE": line }))?;
        } else {
            writeln!(session.out, "{}", text::line(line))?;
        }
        self.partial.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_found_whatever_the_size() {
        let mut file = tempfile::tempfile().unwrap();
        let start = |file: &mut File, lines| start_of_last(file, lines).unwrap();
        assert_eq!(start(&mut file, 3), 0);
        // Lines of 10 bytes, far more than a piece.
        for number in 0..5_000 {
            writeln!(file, "line {number:04}").unwrap();
        }
        assert_eq!(start(&mut file, 0), 50_000);
        assert_eq!(start(&mut file, 1), 49_990);
        assert_eq!(start(&mut file, 4_000), 10_000);
        assert_eq!(start(&mut file, 9_000), 0);
        file.seek(SeekFrom::End(0)).unwrap();
        write!(file, "and a part").unwrap();
        assert_eq!(start(&mut file, 1), 50_000);
    }
}
