//! A disk that does not read some of its sectors: who looks at the volume goes on around them, and says where they are.
#![cfg(feature = "sim")]

mod support;

use ringpost_storage::check::{Broken, Report, check};
use ringpost_storage::overlay::Overlay;
use ringpost_storage::sim::SimDisk;
use ringpost_storage::unread::{FILL, Unread};
use ringpost_storage::{OpenError, Volume};
use support::*;

fn look(disk: &SimDisk) -> (Report, Vec<Broken>) {
    let mut broken = Vec::new();
    let report = block_on(check(disk.clone(), None, |what| broken.push(what), |_| {})).expect("it opens");
    assert_eq!(report.broken, broken.len() as u64);
    (report, broken)
}

fn unread(broken: &[Broken]) -> Vec<(String, u64, u64)> {
    let place = |what: &Broken| match what {
        Broken::Unread(Unread { file, offset, octets, .. }) => Some((file.clone(), *offset, *octets)),
        _ => None,
    };
    broken.iter().filter_map(place).collect()
}

#[test]
fn a_bad_sector_in_a_body_costs_that_message_alone() {
    let (disk, alice) = three_letters();
    let at = find(&disk.peek(FIRST).unwrap(), &text(3_000, 2)[..200]) + 1_024;
    let sector = at / 512 * 512;
    disk.wear_out(FIRST, sector, 512);
    let (report, broken) = look(&disk);
    assert_eq!(unread(&broken), [(FIRST.to_owned(), sector as u64, 512)]);
    let [Broken::Unread(_), Broken::Body { .. }, Broken::Message { uid: 2, .. }] = &broken[..] else {
        panic!("{broken:?}")
    };
    assert!(report.whole && report.messages == 3, "{report:?}");
    // What is left of it can be saved, from a volume that is only looked at.
    let over = Overlay::new(disk.clone(), |_| false);
    let (volume, _) = block_on(Volume::open(over, None, settings())).unwrap();
    let loaded = block_on(volume.load(alice)).unwrap().unwrap();
    let message = loaded.mailbox(INBOX, |m| m.by_uid(2).cloned()).flatten().unwrap();
    let left = block_on(volume.read_as_is(&message)).unwrap();
    let whole = prefixed(alice, &text(3_000, 2));
    assert_eq!(left.len(), whole.len());
    let lost: Vec<usize> = (0..whole.len()).filter(|n| left[*n] != whole[*n]).collect();
    assert!((500..=512).contains(&lost.len()) && lost.iter().all(|n| left[*n] == FILL), "{}", lost.len());
}

#[test]
fn a_bad_sector_in_a_batchs_records_costs_the_batch_and_the_walk_goes_on() {
    let (disk, _) = three_letters();
    let at = batches(&disk)[2];
    disk.wear_out(FIRST, at, 512);
    let (report, broken) = look(&disk);
    assert_eq!(unread(&broken), [(FIRST.to_owned(), at as u64, 512)]);
    assert!(broken.iter().any(|b| matches!(b, Broken::Log { segment: 1, offset, .. } if *offset == at as u64)));
    assert_eq!((report.whole, report.messages), (false, 2));
}

#[test]
fn bad_sectors_everywhere_are_named_one_by_one() {
    let (disk, _) = three_letters();
    let all = batches(&disk);
    disk.wear_out("superblock", 0, 512);
    disk.wear_out(FIRST, 100, 1);
    disk.wear_out(FIRST, all[1], 1);
    disk.wear_out(FIRST, all[3], 1);
    let (report, broken) = look(&disk);
    let places: Vec<(String, u64)> = unread(&broken).into_iter().map(|(file, offset, _)| (file, offset)).collect();
    let wanted =
        [("superblock", 0), (FIRST, 0), (FIRST, all[1] as u64), (FIRST, all[3] as u64)].map(|(f, o)| (f.to_owned(), o));
    for place in &wanted {
        assert!(places.contains(place), "{place:?} of {places:?}");
    }
    assert_eq!(places.len(), wanted.len(), "each of them once: {places:?}");
    assert_eq!((report.whole, report.messages), (false, 1), "the second letter is there");
}

#[test]
fn without_a_readable_superblock_it_says_so_and_where() {
    let (disk, _) = three_letters();
    for copy in 0..4 {
        disk.wear_out("superblock", copy << 16, 4_096);
    }
    let mut broken = Vec::new();
    let done = block_on(check(disk, None, |what| broken.push(what), |_| {}));
    assert!(matches!(done, Err(OpenError::Superblock(_))), "{done:?}");
    assert_eq!(unread(&broken).len(), 4, "{broken:?}");
}
