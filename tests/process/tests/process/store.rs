//! A database that is damaged, cannot be had or is full: agents run, agentd says so, and recovers.

use std::fs;
use std::io::Write;

use agentd_protocol::control::{EventQuery, EventReply, kind};
use harness::{Agentd, LIMIT, Scratch, wait_for};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::geteuid;

use crate::UP;

fn one_good() -> Scratch {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    scratch
}

/// Waits until the store has no problem any more.
#[track_caller]
fn wait_recovered(agentd: &Agentd) {
    wait_for("the store to work again", LIMIT, || {
        // A busy agentd gets it back, too.
        agentd.ask("Start", "a").expect("may be asked");
        let problems = agentd.problems("store");
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    });
    agentd.wait_event(kind::STORE_RECOVERED, None, "the store works again");
}

/// Fails unless the history from `first` to `last` is there whole.
#[track_caller]
fn assert_history(agentd: &Agentd, first: u64, last: u64) {
    let query = EventQuery { after_seq: Some(first - 1), ..EventQuery::default() };
    for (reply, expected) in agentd.follow(&query).zip(first..=last) {
        let EventReply { event, dropped } = reply.expect("the stream goes on");
        assert_eq!((event.seq, dropped), (expected, 0));
    }
}

#[test]
fn a_damaged_database_is_set_aside_and_told_and_supervision_runs() {
    let scratch = one_good();
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let known = agentd.status().seq;
    agentd.stop();
    let database = scratch.paths().database();
    // As a dying disk would: nothing of it is left to be read from its log.
    for name in ["agentd.db-wal", "agentd.db-shm"] {
        fs::remove_file(scratch.paths().state().join(name)).ok();
    }
    fs::write(&database, "this was a database once\n".repeat(1000)).expect("can be written");
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    assert_eq!(agentd.phases("a"), UP);
    let told = agentd.wait_event(kind::STORE_FAILED, None, "was damaged");
    let aside: Vec<_> = fs::read_dir(scratch.paths().state())
        .expect("can be listed")
        .map(|entry| entry.expect("can be read").path())
        .filter(|path| told.message.contains(&*path.to_string_lossy()) && *path != database)
        .collect();
    let [aside] = aside.as_slice() else { panic!("{told:?}") };
    let kept = fs::read_to_string(aside).expect("kept as it was");
    assert!(kept.starts_with("this was a database once"));
    assert_eq!(agentd.problems("store"), "", "a new one is in use");
    assert!(agentd.began() > known, "whoever follows from {known} on misses nothing");
    let (began, last) = (agentd.began(), agentd.status().seq);
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert!(agentd.began() > last);
    assert_history(&agentd, began, agentd.began());
}

#[test]
fn without_a_database_agents_run_and_history_is_kept_until_there_is_one() {
    let scratch = one_good();
    let database = scratch.paths().database();
    fs::create_dir_all(database.join("in the way")).expect("can be made");
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    let problem = agentd.problems("store");
    assert!(
        problem.starts_with("the store failed: ") && problem.contains("agentd.db"),
        "{problem}"
    );
    scratch.order("a", "exit:1");
    agentd.wait_replaced("a", first);
    assert_eq!(agentd.phases("a"), [&UP[..], &["waiting (exit status 1)"], &UP[1..]].concat());
    fs::remove_dir_all(&database).expect("can be removed");
    wait_recovered(&agentd);
    let (began, last) = (agentd.began(), agentd.status().seq);
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert_eq!(agentd.problems("store"), "");
    assert_history(&agentd, began, last);
    assert!(agentd.began() > last, "numbers only rise");
}

/// What cannot be kept is not promised.
#[test]
fn without_a_database_nothing_is_enabled_that_would_be_forgotten() {
    let scratch = one_good();
    fs::create_dir_all(scratch.paths().database().join("in the way")).expect("can be made");
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let refused = agentd.ask("Disable", "a").expect_err("cannot be kept");
    assert_eq!(refused.name(), "org.agentos.Agents.Unavailable");
    assert!(refused.message().contains("store"), "{refused}");
    assert!(agentd.get("a").enabled);
    fs::remove_dir_all(scratch.paths().database()).expect("can be removed");
    wait_recovered(&agentd);
    agentd.ask("Disable", "a").expect("can be kept");
    assert!(!agentd.get("a").enabled);
}

/// A file system of its own over the folder of the database.
struct Small {
    at: std::path::PathBuf,
}

impl Small {
    fn mount(scratch: &Scratch) -> Self {
        let at = scratch.paths().state();
        fs::create_dir_all(&at).expect("can be made");
        mount(
            Some("agentos-test"),
            &at,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=1m,mode=0700"),
        )
        .expect("root may mount");
        Self { at }
    }

    fn set_read_only(&self, is_read_only: bool) {
        let lock = if is_read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        mount(None::<&str>, &self.at, None::<&str>, MsFlags::MS_REMOUNT | lock, None::<&str>)
            .expect("root may mount");
    }

    /// Leaves not a byte of room.
    fn fill(&self) {
        let ballast = fs::File::create(self.at.join("ballast")).expect("can be made");
        let block = [0; 4096];
        while (&ballast).write_all(&block).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.at.join("ballast")).expect("it is there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.at, MntFlags::MNT_DETACH).ok();
    }
}

/// Whether this test can be had. Without root a database in whose way something stands is tested, by
/// the tests above, and this says that a bad disk is not.
fn can_mount() -> bool {
    let can = geteuid().is_root();
    if !can {
        // Past the harness, which keeps to itself what a test prints that does not fail.
        let words = "NOT TESTED: a bad disk. It takes root to mount a small file system";
        writeln!(std::io::stderr(), "{words}").expect("somebody listens");
    }
    can
}

#[test]
fn on_a_read_only_disk_agents_run_and_history_is_kept_until_it_can_be_written() {
    if !can_mount() {
        return;
    }
    let scratch = one_good();
    let disk = Small::mount(&scratch);
    disk.set_read_only(true);
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let problem = agentd.problems("store");
    assert!(problem.starts_with("the store failed: cannot open "), "{problem}");
    disk.set_read_only(false);
    wait_recovered(&agentd);
    let (began, last) = (agentd.began(), agentd.status().seq);
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert_history(&agentd, began, last);
}

#[test]
fn a_full_disk_costs_history_until_there_is_room_and_nothing_else() {
    if !can_mount() {
        return;
    }
    let scratch = one_good();
    let small = Small::mount(&scratch);
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    small.fill();
    let mut client = agentd.client();
    wait_for("the disk to be full for agentd too", LIMIT, || {
        for _ in 0..50 {
            let start = "org.agentos.Agents.Start";
            client
                .call::<serde_json::Value>(start, &serde_json::json!({ "name": "a" }))
                .expect("may be asked");
        }
        let problems = agentd.problems("store");
        if problems.contains("full") { Ok(()) } else { Err(problems) }
    });
    scratch.order("a", "exit:1");
    agentd.wait_replaced("a", first);
    assert_eq!(
        agentd.phases("a")[4..],
        ["waiting (exit status 1)", "spawning", "starting", "running"]
    );
    small.empty();
    wait_recovered(&agentd);
    let recovered = &agentd.events_of(kind::STORE_RECOVERED, None)[0];
    assert_eq!(recovered.fields["lost"], "0");
    let (began, last) = (agentd.began(), agentd.status().seq);
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert_history(&agentd, began, last);
}
