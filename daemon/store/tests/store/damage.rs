//! Power cuts, damaged files and files that are not ours.

use std::fs;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use agentd_store::{ErrorKind, Reader, Store};

use crate::bed::{begin, events_of, reopen, sample, seqs};

#[test]
fn a_writer_that_was_cut_off_is_told_and_loses_nothing_it_was_promised() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=20)).unwrap();
    // Its files as they lie on the disk at this moment, as after a power cut: no close, no
    // checkpoint, a WAL that holds everything.
    let after = tempfile::tempdir().unwrap();
    for file in ["agentd.db", "agentd.db-wal", "metrics.db", "metrics.db-wal"] {
        fs::copy(dir.path().join(file), after.path().join(file)).unwrap();
    }
    assert!(fs::metadata(after.path().join("agentd.db-wal")).unwrap().len() > 0);
    let (_, opened) = reopen(after.path());
    assert_eq!((opened.last_seq, opened.was_unclean), (20, true));
    assert_eq!(opened.set_aside, Vec::<PathBuf>::new());
    drop(store);
    assert!(reopen(dir.path()).1.was_unclean);
}

#[test]
fn half_a_transaction_is_none() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=3)).unwrap();
    let before = fs::metadata(dir.path().join("agentd.db-wal")).unwrap().len();
    store.write(&events_of(4..=9)).unwrap();
    let after = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("agentd.db"), after.path().join("agentd.db")).unwrap();
    let wal = fs::read(dir.path().join("agentd.db-wal")).unwrap();
    // The power went while the second was being written: cut at every 512 bytes of it.
    let first = usize::try_from(before).unwrap();
    for end in (first..wal.len()).step_by(512) {
        fs::write(after.path().join("agentd.db-wal"), &wal[..end]).unwrap();
        let reader = Reader::open(after.path()).unwrap();
        let seen = seqs(&reader.events(0, None, None, 100).unwrap());
        assert_eq!(seen, [1, 2, 3], "cut at {end} of {}", wal.len());
        drop(reader);
        fs::remove_file(after.path().join("agentd.db-shm")).unwrap();
    }
}

/// Overwrites `length` bytes at `offset`.
fn damage(file: &Path, offset: u64, length: usize) {
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&vec![0xa5; length]).unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    // The header and the pages that opening reads are looked at always; all of it after an unclean
    // end. Page 3 is the root of the events.
    let places = [(0_usize, true), (4096 * 2, true), (4096 * 3, false)];
    for (round, (offset, clean)) in places.into_iter().enumerate() {
        let (mut store, _) = reopen(dir.path());
        store.write(&events_of(1..=500)).unwrap();
        store.close().unwrap();
        if !clean {
            drop(reopen(dir.path()));
        }
        let file = dir.path().join("agentd.db");
        damage(&file, offset as u64, 4096);
        let length = fs::read(&file).unwrap().len();

        let (mut store, opened) = reopen(dir.path());
        let aside = dir.path().join(format!("agentd.db.corrupt-{}", round + 1));
        assert_eq!(opened.set_aside, std::slice::from_ref(&aside));
        assert_eq!((opened.last_seq, opened.was_unclean), (0, true));
        let kept = fs::read(&aside).unwrap();
        assert_eq!(kept.len(), length, "kept whole");
        assert!(kept[offset..offset + 4096].iter().all(|byte| *byte == 0xa5), "and unmended");
        store.write(&events_of([1])).unwrap();
        store.close().unwrap();
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn what_belongs_to_a_damaged_file_goes_with_it() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=500)).unwrap();
    store.close().unwrap();
    let (mut store, _) = reopen(dir.path());
    store.write(&events_of([501])).unwrap();
    // As a power cut would leave it, and the middle of the file damaged.
    let after = tempfile::tempdir().unwrap();
    for file in ["agentd.db", "agentd.db-wal"] {
        fs::copy(dir.path().join(file), after.path().join(file)).unwrap();
    }
    damage(&after.path().join("agentd.db"), 4096 * 6, 4096);
    let wal = fs::read(after.path().join("agentd.db-wal")).unwrap();
    let (_store, opened) = reopen(after.path());
    assert_eq!(opened.set_aside, [after.path().join("agentd.db.corrupt-1")]);
    let kept = fs::read(after.path().join("agentd.db.corrupt-1-wal")).unwrap();
    assert!(kept == wal, "{} bytes kept of {}", kept.len(), wal.len());
}

#[test]
fn damage_found_while_running_is_named_and_gone_after_opening_again() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=500)).unwrap();
    store.close().unwrap();
    let (mut store, _) = reopen(dir.path());
    // Page 4 is the root of an index of events: not looked at before the next one is written.
    damage(&dir.path().join("agentd.db"), 4096 * 3, 4096);
    let error = store.write(&events_of([501])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    drop(store);
    let (mut store, opened) = reopen(dir.path());
    assert_eq!(opened.set_aside, [dir.path().join("agentd.db.corrupt-1")]);
    store.write(&events_of([1])).unwrap();
}

#[test]
fn a_foreign_or_newer_file_is_refused_untouched() {
    for (pragma, text) in [
        ("application_id = 77", "is not a database of agentd (its application id is 0x4d)"),
        ("user_version = 99", "has schema 99, this agentd knows 1"),
    ] {
        let (dir, store) = begin();
        store.close().unwrap();
        let file = dir.path().join("agentd.db");
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch(&format!("PRAGMA {pragma}")).unwrap();
        other.close().unwrap();
        let before = fs::read(&file).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), ErrorKind::Foreign);
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    // A database of someone who never set an id is not ours either.
    let dir = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(dir.path().join("agentd.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    other.close().unwrap();
    assert_eq!(Store::open(dir.path()).unwrap_err().kind(), ErrorKind::Foreign);
}

#[test]
fn metrics_that_cannot_be_opened_do_not_hold_up_the_state() {
    let (dir, store) = begin();
    store.close().unwrap();
    let file = dir.path().join("metrics.db");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (mut store, opened) = Store::open(dir.path()).unwrap();
    assert!(opened.metrics_failed.is_some());
    assert!(store.samples(0, &[sample("cpu", &[1.0], 1)]).is_err());
    store.write(&events_of([1])).unwrap();
    fs::remove_dir(&file).unwrap();
    store.samples(0, &[sample("cpu", &[1.0], 1)]).unwrap();
    store.close().unwrap();
}
