//! Control groups of the real kernel: what needs no controller, and limits where there are any.
//! Without root or without cgroup v2 this says that it did not run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code, but not a #[test] to clippy")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agentd_cell::cgroup::{CgroupError, Leaf};
use agentd_cell::{CgroupPlan, Setting};

/// A group of the test's own below the hierarchy's root, removed in the end.
struct Base(PathBuf);

impl Base {
    fn new(test: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let point = mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4))?
        });
        let dir =
            point.map(|p| Path::new(p).join(format!("agentos-{test}-{}", std::process::id())));
        match dir.filter(|dir| fs::create_dir(dir).is_ok()) {
            Some(dir) => Some(Self(dir)),
            None => {
                let text = "needs root and cgroup v2 and was NOT run";
                let text = format!("agentd-cell: {test} {text}\n");
                std::io::stderr().write_all(text.as_bytes()).unwrap();
                None
            }
        }
    }

    fn plan(&self) -> CgroupPlan {
        let listed = fs::read_to_string(self.0.join("cgroup.controllers")).unwrap();
        let controllers: Vec<String> = ["memory", "pids"]
            .iter()
            .filter(|name| listed.split_whitespace().any(|l| l == **name))
            .map(|name| (*name).to_owned())
            .collect();
        let set = |file: &str, value: &str| Setting { file: file.into(), value: value.into() };
        let settings = controllers.iter().map(|name| match name.as_str() {
            "memory" => set("memory.max", "33554432"),
            _ => set("pids.max", "7"),
        });
        CgroupPlan {
            base: self.0.clone(),
            leaf: self.0.join("agents/network"),
            settings: settings.collect(),
            controllers,
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        for dir in [self.0.join("agents/network"), self.0.join("agents"), self.0.clone()] {
            fs::remove_dir(dir).ok();
        }
    }
}

fn sleeper_in(leaf: &Leaf) -> Child {
    #[allow(clippy::disallowed_methods, reason = "a process to put into the group")]
    let child = Command::new("/usr/bin/sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    fs::write(leaf.dir().join("cgroup.procs"), child.id().to_string()).unwrap();
    child
}

#[test]
fn a_leaf_is_made_limited_killed_and_removed() {
    let Some(base) = Base::new("leaf") else { return };
    let plan = base.plan();
    let leaf = Leaf::create(&plan).unwrap();
    for setting in &plan.settings {
        let is = fs::read_to_string(leaf.dir().join(&setting.file)).unwrap();
        assert_eq!(is.trim(), setting.value, "{}", setting.file);
    }
    assert!(!leaf.is_populated().unwrap());

    let mut child = sleeper_in(&leaf);
    assert!(leaf.is_populated().unwrap());
    assert!(matches!(Leaf::create(&plan), Err(CgroupError::Populated { .. })));
    assert!(matches!(leaf.remove(), Err(CgroupError::Remove { .. })));
    leaf.kill().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    assert!(!leaf.is_populated().unwrap());

    // Left behind and empty: made anew.
    assert_eq!(Leaf::create(&plan).unwrap(), leaf);
    leaf.remove().unwrap();
    assert!(!leaf.dir().exists());
    leaf.remove().unwrap();
}

#[test]
fn a_value_that_the_kernel_refuses_is_named() {
    let Some(base) = Base::new("refused") else { return };
    let mut plan = base.plan();
    plan.settings = vec![Setting { file: "cgroup.max.depth".into(), value: "deep".into() }];
    let error = Leaf::create(&plan).unwrap_err();
    let file = plan.leaf.join("cgroup.max.depth");
    assert_eq!(error.to_string(), format!("cannot write \"deep\" to {}", file.display()));
    plan.settings.clear();
    plan.controllers = vec!["no-such-controller".into()];
    let error = Leaf::create(&plan).unwrap_err().to_string();
    assert!(error.contains("\"+no-such-controller\""), "{error}");
}
