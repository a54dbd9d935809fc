//! Configuration from its two folders, read and judged as a whole.
//!
//! The vendor's `agents.d/NAME.toml` are read first; a file of the same name among the site's own
//! replaces it, an empty one removes the agent (systemd's rule, systemd.unit(5)). Nothing here
//! changes what is in force: the caller takes a [`Loaded`] or leaves it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentd_model::{
    AgentName, AgentSpec, AgentdConfig, Paths, SetProblem, check_set, parse_agentd, parse_spec,
};
use agentd_protocol::control::Problem;

/// Largest file that is read. A spec of every key with comments has 6 KiB.
const MAX_FILE: u64 = 256 * 1024;

/// What the folders hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// agentd's own settings.
    pub agentd: AgentdConfig,
    /// The agents that are sound.
    pub specs: BTreeMap<AgentName, AgentSpec>,
    /// Everything that is not. Empty: all of it may be put in force.
    pub problems: Vec<Problem>,
}

/// Reads everything. Files with problems leave their agent out, or the vendor's version of it in,
/// and each problem is told.
pub fn load(paths: &Paths) -> Loaded {
    let mut loaded = Loaded::default();
    load_agentd(paths, &mut loaded);
    let mut sources = Sources::new();
    let mut candidates: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for dir in [paths.site(), paths.vendor()] {
        for file in list(&dir.join("agents.d"), &mut loaded.problems) {
            let name = file.file_stem().and_then(OsStr::to_str).unwrap_or_default().to_owned();
            candidates.entry(name).or_default().push(file);
        }
    }
    for (stem, files) in &candidates {
        for file in files {
            match load_spec(stem, file) {
                Ok(Some((spec, text))) => {
                    sources.insert(spec.name.clone(), (file.clone(), text));
                    loaded.specs.insert(spec.name.clone(), spec);
                    break;
                }
                Ok(None) => break,
                Err(problems) => loaded.problems.extend(problems),
            }
        }
    }
    drop_unsound(&mut loaded, &sources);
    loaded
}

/// Each sound agent's file and its text, for telling where a problem between files stands.
type Sources = BTreeMap<AgentName, (PathBuf, String)>;

fn load_agentd(paths: &Paths, loaded: &mut Loaded) {
    for dir in [paths.site(), paths.vendor()] {
        let file = dir.join("agentd.toml");
        match read(&file) {
            Ok(text) => match parse_agentd(&file.to_string_lossy(), &text) {
                Ok(config) => {
                    loaded.agentd = config;
                    return;
                }
                Err(err) => loaded.problems.extend(
                    err.problems.iter().map(|problem| problem_in(&file, problem.to_string())),
                ),
            },
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => loaded.problems.push(unread(&file, &err)),
        }
    }
}

/// The spec and its text. `None`: an empty file, the agent is masked.
fn load_spec(stem: &str, file: &Path) -> Result<Option<(AgentSpec, String)>, Vec<Problem>> {
    let text = read(file).map_err(|err| vec![unread(file, &err)])?;
    if text.is_empty() {
        return Ok(None);
    }
    let shown = file.to_string_lossy();
    let spec = parse_spec(&shown, &text).map_err(|err| {
        err.problems.iter().map(|problem| problem_in(file, problem.to_string())).collect::<Vec<_>>()
    })?;
    if spec.name.as_str() != stem {
        let (line, column) = place_of(&text, "name");
        let message = format!(
            "{shown}:{line}:{column}: name is {:?}, but the file is called {stem}.toml",
            spec.name.as_str()
        );
        return Err(vec![problem_in(file, message)]);
    }
    if let Some(why) = not_runnable(&spec.exec[0]) {
        let (line, column) = place_of(&text, "exec");
        let message = format!("{shown}:{line}:{column}: exec: {} {why}", spec.exec[0]);
        return Err(vec![problem_in(file, message)]);
    }
    Ok(Some((spec, text)))
}

fn not_runnable(program: &str) -> Option<String> {
    match fs::metadata(program) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Some("does not exist".into()),
        Err(err) => Some(format!("cannot be looked at: {err}")),
        Ok(meta) if !meta.is_file() => Some("is not a file".into()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("is not executable".into()),
        Ok(_) => None,
    }
}

/// Where a key of the file begins: line and column, both from 1.
fn place_of(text: &str, key: &str) -> (usize, usize) {
    text.lines()
        .enumerate()
        .find_map(|(index, line)| {
            let start = line.len() - line.trim_start().len();
            let rest = line.trim_start().strip_prefix(key)?;
            rest.trim_start().starts_with('=').then_some((index + 1, start + 1))
        })
        .unwrap_or((1, 1))
}

/// Takes out agents that need what is not there or wait for each other, until the rest fits
/// together. One that only comes after what is not there stays: order is no requirement.
fn drop_unsound(loaded: &mut Loaded, sources: &Sources) {
    loop {
        let specs: Vec<AgentSpec> = loaded.specs.values().cloned().collect();
        let Err(problems) = check_set(specs) else { return };
        for problem in &problems {
            let placed = problem_between(problem, &loaded.specs, sources);
            match problem {
                SetProblem::Missing { name, key: "after", missing, .. } => {
                    if let Some(spec) = loaded.specs.get_mut(name) {
                        spec.after.remove(missing);
                    }
                }
                SetProblem::Missing { name, .. } | SetProblem::Duplicate { name, .. } => {
                    loaded.specs.remove(name);
                }
                SetProblem::Cycle { cycle } => {
                    loaded.specs.retain(|name, _| !cycle.contains(name));
                }
            }
            loaded.problems.push(placed);
        }
    }
}

/// A problem between files, at the line of the first of them that makes it.
fn problem_between(
    problem: &SetProblem,
    specs: &BTreeMap<AgentName, AgentSpec>,
    sources: &Sources,
) -> Problem {
    let (name, key) = match problem {
        SetProblem::Missing { name, key, .. } => (Some(name), *key),
        SetProblem::Duplicate { name, .. } => (Some(name), "name"),
        SetProblem::Cycle { cycle } => {
            let name = cycle.first();
            let next = cycle.get(1).or(name);
            let needs = name.and_then(|name| specs.get(name)).map(|spec| &spec.needs);
            let is_need = next.is_some_and(|next| needs.is_some_and(|needs| needs.contains(next)));
            (name, if is_need { "needs" } else { "after" })
        }
    };
    match name.and_then(|name| sources.get(name)) {
        Some((file, text)) => {
            let (line, column) = place_of(text, key);
            problem_in(file, format!("{}:{line}:{column}: {problem}", file.display()))
        }
        None => Problem {
            area: "config".into(),
            subject: name.map(ToString::to_string).unwrap_or_default(),
            message: problem.to_string(),
        },
    }
}

fn list(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(err) => {
            problems.push(problem_in(dir, format!("{}: cannot be listed: {err}", dir.display())));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> io::Result<String> {
    let meta = fs::metadata(file)?;
    if !meta.is_file() {
        // Reading a pipe waits for a writer, for ever.
        return Err(io::Error::other("it is not a file"));
    }
    let size = meta.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!("it has {size} bytes, more than {MAX_FILE}")));
    }
    fs::read_to_string(file)
}

fn unread(file: &Path, err: &io::Error) -> Problem {
    problem_in(file, format!("{}: cannot be read: {err}", file.display()))
}

fn problem_in(file: &Path, message: String) -> Problem {
    Problem { area: "config".into(), subject: file.to_string_lossy().into_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[agent]\nname = \"web\"\nsummary = \"serves\"\nexec = [\"/bin/true\"]\n";

    fn scratch(files: &[(&str, &str)]) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let paths = Paths::under(dir.path());
        (dir, paths)
    }

    fn names(loaded: &Loaded) -> Vec<&str> {
        loaded.specs.keys().map(AgentName::as_str).collect()
    }

    #[test]
    fn the_sites_file_replaces_the_vendors_and_an_empty_one_removes_it() {
        let site = GOOD.replace("serves", "serves us");
        let (_dir, paths) = scratch(&[
            ("usr/lib/agentos/agents.d/web.toml", GOOD),
            ("etc/agentos/agents.d/web.toml", &site),
            ("usr/lib/agentos/agents.d/db.toml", &GOOD.replace("web", "db")),
            ("etc/agentos/agents.d/db.toml", ""),
        ]);
        let loaded = load(&paths);
        assert_eq!(loaded.problems, []);
        assert_eq!(names(&loaded), ["web"]);
        assert_eq!(loaded.specs.values().next().unwrap().summary, "serves us");
    }

    #[test]
    fn a_broken_file_of_the_site_leaves_the_vendors_and_is_told_with_its_place() {
        let (_dir, paths) = scratch(&[
            ("usr/lib/agentos/agents.d/web.toml", GOOD),
            ("etc/agentos/agents.d/web.toml", &GOOD.replace("summary", "sumary")),
        ]);
        let loaded = load(&paths);
        assert_eq!(names(&loaded), ["web"]);
        let message = &loaded.problems[0].message;
        assert!(message.contains("web.toml:3:1") && message.contains("summary"), "{message}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_line() {
        let (_dir, paths) = scratch(&[(
            "usr/lib/agentos/agents.d/web.toml",
            &GOOD.replace("/bin/true", "/no/such"),
        )]);
        let loaded = load(&paths);
        assert!(names(&loaded).is_empty());
        let message = &loaded.problems[0].message;
        assert!(message.ends_with("web.toml:4:1: exec: /no/such does not exist"), "{message}");
    }

    #[test]
    fn a_name_that_is_not_the_files_is_refused() {
        let (_dir, paths) = scratch(&[("usr/lib/agentos/agents.d/wob.toml", GOOD)]);
        let loaded = load(&paths);
        assert!(loaded.problems[0].message.contains("wob.toml:2:1: name is \"web\""));
    }

    #[test]
    fn agents_in_a_cycle_are_left_out_and_the_others_stay() {
        let with = |name: &str, needs: &str| {
            GOOD.replace("web", name) + &format!("needs = [\"{needs}\"]\n")
        };
        let (_dir, paths) = scratch(&[
            ("usr/lib/agentos/agents.d/a.toml", &with("a", "b")),
            ("usr/lib/agentos/agents.d/b.toml", &with("b", "a")),
            ("usr/lib/agentos/agents.d/c.toml", &with("c", "a")),
            ("usr/lib/agentos/agents.d/web.toml", GOOD),
        ]);
        let loaded = load(&paths);
        assert_eq!(names(&loaded), ["web"]);
        let message = &loaded.problems[0].message;
        assert!(
            message.ends_with("a.toml:5:1: agents wait for each other: a -> b -> a"),
            "{message}"
        );
        let left = &loaded.problems[1];
        assert!(left.subject.ends_with("/c.toml"), "{left:?}");
        assert!(left.message.contains("c.toml:5:1: c: agent.needs: "), "{left:?}");
    }
}
