//! A bus that is late, goes, or has someone else in our place.

use harness::{LIMIT, descriptors_of, wait_for};
use zbus::fdo::RequestNameFlags;

use crate::bed::{Bed, STRANGER, has_others};
use crate::peer::{AGENT, NAME, path_of};

/// Waits until agentd's status has, or has not, such a problem with the bus.
#[track_caller]
fn wait_problem(bed: &Bed, part: &str) {
    wait_for(&format!("agentd to say {part:?} of the bus"), LIMIT, || {
        let problems = bed.agentd().problems("front");
        let is_so = if part.is_empty() { problems.is_empty() } else { problems.contains(part) };
        if is_so { Ok(()) } else { Err(problems) }
    });
}

#[test]
fn a_bus_that_comes_late_or_restarts_costs_nothing_but_itself() {
    let mut bed = Bed::without_agentd(&["web"]);
    bed.start();
    let pid = bed.agentd().wait_running("web");
    wait_problem(&bed, "cannot connect to the bus");
    bed.bus.start();
    bed.wait_name();
    wait_problem(&bed, "");
    let open = descriptors_of(bed.agentd().pid());
    for _ in 0..3 {
        let before = bed.root();
        bed.bus.kill();
        wait_problem(&bed, "trying again");
        drop(before);
        bed.bus.start();
        bed.wait_name();
        let phase = bed.root().get::<String>(&path_of("web"), AGENT, "Phase").unwrap();
        assert_eq!(phase, "running");
    }
    wait_problem(&bed, "");
    wait_for("nothing to be left of the connections before", LIMIT, || {
        let now = descriptors_of(bed.agentd().pid());
        if now <= open { Ok(()) } else { Err(format!("{now} open files, {open} before")) }
    });
    assert_eq!(bed.agentd().wait_running("web"), pid, "agents are not touched");
}

#[test]
fn a_name_that_is_taken_is_told_and_taken_over_when_it_is_free() {
    let mut bed = Bed::without_agentd(&["web"]);
    bed.bus.start();
    let other = bed.root();
    let request = other.connection().request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE);
    other.wait(request).unwrap();
    bed.start();
    bed.agentd().wait_running("web");
    wait_problem(&bed, &format!("belongs to process {}", std::process::id()));
    other.wait(other.connection().release_name(NAME)).unwrap();
    bed.wait_name();
    wait_problem(&bed, "");
}

#[test]
fn nobody_takes_the_name_from_agentd() {
    let bed = Bed::with(&["web"]);
    let thief = bed.root();
    let flags = RequestNameFlags::REPLACE_EXISTING | RequestNameFlags::DO_NOT_QUEUE;
    let taken = thief.wait(thief.connection().request_name_with_flags(NAME, flags));
    assert_eq!(taken.unwrap_err(), zbus::Error::NameTaken);
}

#[test]
fn a_stranger_cannot_have_the_name_even_while_it_is_free() {
    if !has_others("a_stranger_cannot_have_the_name") {
        return;
    }
    let mut bed = Bed::without_agentd(&[]);
    bed.bus.start();
    let stranger = bed.peer(STRANGER);
    let taken = stranger.wait(stranger.connection().request_name(NAME)).unwrap_err();
    assert!(taken.to_string().contains("AccessDenied"), "{taken}");
}
