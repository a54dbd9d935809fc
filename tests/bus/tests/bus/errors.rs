//! Each kind of error by its name on the bus. `Forbidden` is in `access`; `Internal` is a bug of
//! ours that no caller can provoke: that it has its name is tested where the names are made.

use std::fs;

use harness::{LIMIT, wait_for};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use zbus::OwnedObjectPath;

use crate::bed::{Bed, idler};
use crate::peer::{AGENT, MANAGER, ROOT, Refusal, path_of};

type Metrics = Vec<(String, String, f64, i64)>;

fn name_of<T>(answer: Result<T, Refusal>) -> String {
    let Err(refusal) = answer else { panic!("not an error") };
    assert!(!refusal.message.is_empty(), "{refusal}");
    refusal.name
}

#[test]
fn what_is_not_there_is_not_found() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    let refusal = root.manager::<OwnedObjectPath>("GetAgent", &"nobody").unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.NotFound");
    assert_eq!(refusal.message, "no agent is called nobody");
    for verb in ["Start", "Stop", "Restart", "Enable", "Disable"] {
        assert_eq!(name_of(root.manager::<String>(verb, &"nobody")), "org.agentos.Error.NotFound");
    }
    let series =
        root.manager::<(String, Vec<(i64, u32, f64, f64, f64)>)>("ReadMetric", &("x", 0i64));
    assert_eq!(name_of(series), "org.agentos.Error.NotFound");
}

#[test]
fn what_makes_no_sense_is_invalid() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    assert_eq!(name_of(root.manager::<String>("Stop", &"No Name")), "org.agentos.Error.Invalid");
    let events = root.manager::<Vec<()>>("ListEvents", &(0u64, 0i64, "", 1001u32));
    assert_eq!(name_of(events), "org.agentos.Error.Invalid");
    bed.scratch.write(&bed.scratch.vendor_file("web"), "[agent]\nnmae = \"web\"\n");
    let refusal = root
        .manager::<(Vec<String>, Vec<String>, Vec<String>, bool)>("Reload", &false)
        .unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.Invalid");
    assert!(refusal.message.contains("web.toml:2:1"), "{refusal}");
    wait_for("the problem to be shown", LIMIT, || {
        let problems = root.get_all(ROOT, MANAGER).unwrap().remove("Problems");
        let problems = format!("{problems:?}");
        if problems.contains("web.toml:2:1") { Ok(()) } else { Err(problems) }
    });
    // What does not fit a method's signature is the bus's own error, as for any service.
    let wrong = root.manager::<String>("Stop", &(1u32, true)).unwrap_err();
    assert_eq!(wrong.name, "org.freedesktop.DBus.Error.InvalidArgs", "{wrong}");
}

#[test]
fn a_start_while_agentd_stops_is_a_conflict() {
    let mut bed = Bed::without_agentd(&[]);
    let stubborn = bed.scratch.fake("stubborn", &["ignore-sigterm", "hang"]);
    bed.scratch.add(&stubborn.agent("kit = false").restart("stop_grace = \"10s\""));
    bed.scratch.add(&idler("web"));
    bed.bus.start();
    bed.start();
    bed.wait_name();
    bed.agentd().wait_running("stubborn");
    wait_for("stubborn to be deaf", LIMIT, || {
        let log = bed.scratch.agent_log("stubborn");
        if log.contains("step hang") { Ok(()) } else { Err(log) }
    });
    bed.agentd().signal(Signal::SIGTERM);
    let root = bed.root();
    wait_for("agentd to be stopping", LIMIT, || {
        let phase = root.get::<String>(&path_of("stubborn"), AGENT, "Phase").unwrap();
        if phase == "stopping" { Ok(()) } else { Err(phase) }
    });
    let refusal = root.manager::<String>("Start", &"web").unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.Conflict", "{refusal}");
}

#[test]
fn a_store_that_cannot_be_read_is_unavailable() {
    let bed = Bed::with(&["web"]);
    let metrics = bed.scratch.paths().state().join("metrics.db");
    fs::remove_file(&metrics).unwrap();
    fs::create_dir(&metrics).unwrap();
    let refusal = bed.root().manager::<Metrics>("ListMetrics", &()).unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.Unavailable", "{refusal}");
}

#[test]
fn a_store_that_hangs_is_a_timeout_and_asking_on_exhausts_it() {
    let bed = Bed::with(&["web"]);
    let metrics = bed.scratch.paths().state().join("metrics.db");
    fs::remove_file(&metrics).unwrap();
    // Opening it hangs until someone writes to it (fifo(7)), as a disk may.
    mkfifo(&metrics, Mode::from_bits_truncate(0o600)).unwrap();
    let root = bed.root();
    let calls: Vec<_> =
        (0..40).map(|_| root.begin(ROOT, MANAGER, "ListMetrics", &[], &())).collect();
    // Everyone else is answered meanwhile.
    let other = bed.root();
    assert_eq!(other.get::<u32>(ROOT, MANAGER, "AgentsTotal").unwrap(), 1);
    let refusals: Vec<Refusal> =
        calls.into_iter().map(|call| call.answer::<Metrics>().unwrap_err()).collect();
    let count = |name: &str, part: &str| {
        let fits = |it: &&Refusal| it.name == name && it.message.contains(part);
        refusals.iter().filter(fits).count()
    };
    assert_eq!(count("org.agentos.Error.Timeout", "the store"), 4, "readers: {refusals:#?}");
    let exhausted = "org.agentos.Error.Exhausted";
    assert_eq!(
        count(exhausted, "wait for some of your replies"),
        8,
        "of one caller: {refusals:#?}"
    );
    assert_eq!(count(exhausted, "try again"), 28, "without a reader: {refusals:#?}");
}
