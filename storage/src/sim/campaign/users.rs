//! Users of bodies, as commits and recovery have added them up, held against a count.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::index::Segment;
use crate::volume::Volume;

/// Where a volume has added up something else than there is; `None`: nowhere. `whole`: the same, opened without its checkpoint
/// and with nothing at work. Bodies that large uploads have left are not counted so: a volume that has some is not for this.
pub async fn miscounted<D: Disk>(volume: &Volume<D>, whole: &Volume<D>) -> Option<String> {
    let (added, replayed) = (segments(volume), segments(whole));
    if let Err(why) = whole.0.recount().await {
        return Some(format!("they cannot be counted: {why}"));
    }
    let counted = segments(whole);
    differ(&added, &counted).or_else(|| differ(&replayed, &counted).map(|why| format!("without the checkpoint, {why}")))
}

fn segments<D: Disk>(volume: &Volume<D>) -> BTreeMap<u32, Segment> {
    volume.0.index.borrow().segments.iter().map(|(number, segment)| (*number, segment.clone())).collect()
}

fn differ(added: &BTreeMap<u32, Segment>, counted: &BTreeMap<u32, Segment>) -> Option<String> {
    counted.iter().find_map(|(number, counted)| {
        let nothing = Segment::default();
        let added = added.get(number).unwrap_or(&nothing);
        let facts = |s: &Segment| (s.live, s.bodies, s.blobs, s.kept, s.odd.clone());
        (facts(added) != facts(counted)).then(|| {
            let what = "(octets, bodies, runs, kept, users by place)";
            format!("segment {number}: {what} are {:?}, and added up {:?}", facts(counted), facts(added))
        })
    })
}
