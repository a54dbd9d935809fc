//! Where Debian 13's packages come from, taken from the host's own apt configuration.
//!
//! Two forms are understood: one-line entries (sources.list(5), "ONE-LINE-STYLE FORMAT") and deb822
//! stanzas. Only the archive that holds Debian's `main` for the host's suite tells the mirror; the
//! suite itself is always the image's. On other distributions, whose archive holds no Debian, the
//! mirror must be given.

use std::fs;
use std::path::{Path, PathBuf};

/// The suite that the image is made of, whatever the host runs.
pub(crate) const SUITE: &str = "trixie";

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The archive of the suite itself and its updates.
    pub(crate) archive: String,
    /// The archive of the security updates, if the host has one.
    pub(crate) security: Option<String>,
}

/// No mirror is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "the apt configuration in {} names no Debian archive; give one with --mirror=URL",
    directory.display()
)]
pub struct NoMirror {
    directory: PathBuf,
}

/// One archive and one suite of it.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
}

impl Mirror {
    /// The one that was asked for, or the host's.
    pub fn find(asked: Option<&str>, etc_apt: &Path) -> Result<Self, NoMirror> {
        let sources = host_sources(etc_apt);
        let security =
            sources.iter().find(|s| is_debian(&s.suite, "-security")).map(|s| s.uri.clone());
        if let Some(archive) = asked {
            let archive = archive.trim_end_matches('/').to_owned();
            // Somebody's own mirror may be the only thing that is reachable.
            return Ok(Self { archive, security: None });
        }
        let archive = sources.iter().find(|s| is_debian(&s.suite, "")).map(|s| s.uri.clone());
        archive
            .map(|archive| Self { archive, security })
            .ok_or_else(|| NoMirror { directory: etc_apt.to_owned() })
    }

    /// What mkosi's apt reads in place of the list that mkosi makes, which would include an archive
    /// of debug symbols that few mirrors carry.
    pub(crate) fn deb822(&self, keyring: &Path) -> String {
        let stanza = |uri: &str, suites: &str| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {}\n",
                keyring.display()
            )
        };
        let mut text = stanza(&self.archive, SUITE);
        if let Some(security) = &self.security {
            text.push('\n');
            text += &stanza(&self.archive, &format!("{SUITE}-updates"));
            text.push('\n');
            text += &stanza(security, &format!("{SUITE}-security"));
        }
        text
    }
}

/// Debian's releases since the last one that could run this program; Ubuntu's have other names.
fn is_debian(suite: &str, suffix: &str) -> bool {
    ["bookworm", "trixie", "forky", "stable", "testing", "sid"]
        .iter()
        .any(|release| suite.strip_prefix(release) == Some(suffix))
}

fn host_sources(etc_apt: &Path) -> Vec<Source> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|e| e.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => sources.extend(parse_deb822(&text)),
            Some("list") => sources.extend(parse_one_line(&text)),
            _ => {}
        }
    }
    sources
}

fn source(uri: &str, suite: &str) -> Source {
    Source { uri: uri.trim_end_matches('/').to_owned(), suite: suite.to_owned() }
}

/// `deb [options] uri suite component...`
fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
            let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            let mut words = rest.split_whitespace();
            let (uri, suite) = (words.next()?, words.next()?);
            words.any(|component| component == "main").then(|| source(uri, suite))
        })
        .collect()
}

/// Stanzas of `Field: value`, with continuation lines, apart by empty lines.
fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).flat_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let field = |wanted: &str| {
        let mut words = Vec::new();
        let mut inside = false;
        for line in lines {
            let value = if line.starts_with([' ', '\t']) {
                inside.then_some(*line)
            } else {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                inside = name.trim().eq_ignore_ascii_case(wanted);
                inside.then_some(value)
            };
            words.extend(value.into_iter().flat_map(str::split_whitespace));
        }
        words
    };
    let is_on = field("Enabled").first().is_none_or(|v| *v != "no");
    if !is_on || !field("Types").contains(&"deb") || !field("Components").contains(&"main") {
        return Vec::new();
    }
    let suites = field("Suites");
    field("URIs").iter().flat_map(|uri| suites.iter().map(|suite| source(uri, suite))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_stanzas_are_read_with_comments_and_continuations() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian/\n\
                    Suites: bookworm\n bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: http://mirror.example/security\n\
                    Suites: bookworm-security\nComponents: main\n";
        let found = parse_deb822(text);
        assert_eq!(
            found,
            [
                source("http://mirror.example/debian", "bookworm"),
                source("http://mirror.example/debian", "bookworm-updates"),
                source("http://mirror.example/security", "bookworm-security"),
            ]
        );
    }

    #[test]
    fn a_stanza_that_is_switched_off_is_not_read() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: sid\nComponents: main";
        assert_eq!(parse_deb822(text), []);
    }

    #[test]
    fn one_line_entries_are_read_with_options_and_comments() {
        let text = "# deb http://no.example trixie main\n\
                    deb [arch=amd64 signed-by=/a/b] http://mirror.example/debian trixie main # x\n\
                    deb-src http://no.example trixie main\n\
                    deb http://other.example tool stable\n";
        let found = parse_one_line(text);
        assert_eq!(found, [source("http://mirror.example/debian", "trixie")]);
    }

    #[test]
    fn the_hosts_mirror_is_taken_whatever_its_suite() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("sources.list"),
            "deb http://mirror.example/debian bookworm main\n\
             deb http://mirror.example/security bookworm-security main\n",
        )
        .unwrap();
        let mirror = Mirror::find(None, dir.path()).unwrap();
        assert_eq!(mirror.archive, "http://mirror.example/debian");
        let text = mirror.deb822(Path::new("/keys.gpg"));
        assert!(text.contains("Suites: trixie\n"), "{text}");
        assert!(text.contains("Suites: trixie-security\n"), "{text}");
        assert!(!text.contains("bookworm"), "{text}");
    }

    #[test]
    fn another_distributions_archive_is_not_taken_for_debians() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        fs::write(
            dir.path().join("sources.list.d/ubuntu.sources"),
            "Types: deb\nURIs: http://mirror.example/ubuntu\nSuites: noble\nComponents: main\n",
        )
        .unwrap();
        let err = Mirror::find(None, dir.path()).unwrap_err();
        assert!(err.to_string().contains("--mirror=URL"), "{err}");
        let asked = Mirror::find(Some("http://mine.example/debian/"), dir.path()).unwrap();
        assert_eq!(asked.archive, "http://mine.example/debian");
    }
}
