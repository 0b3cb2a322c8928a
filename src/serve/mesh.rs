//! What this office answers to the others. No answer here asks another office anything (DESIGN §7).

use std::rc::Rc;
use std::time::Duration;

use crate::admin;
use crate::courier;
use crate::intake::commit;
use crate::limits;
use crate::observe;
use crate::office::tools::VolumeSpace;
use crate::office::words::{Health, ShardStats};
use crate::office::{Office, Reply, Request};
use crate::office::{folder, level, quota, sending};
use crate::serve::handoff;
use crate::shard;

/// Answers one request of another shard.
pub async fn answer(office: Rc<Office>, request: Request) -> Reply {
    match request {
        Request::Deliver(letter) => {
            let (fate, buffers) = commit::store_and_return(&office, *letter).await;
            Reply::Delivered { fate, buffers }
        }
        Request::Adopt(piece) => courier::adopt(&office, *piece).await,
        Request::Move { volume, account, to } => Reply::Begun(courier::moving::begin(&office, volume, account, to)),
        Request::Evacuate { volume } => Reply::Begun(courier::moving::begin_to_evacuate(&office, volume)),
        Request::OpenVolume { volume } => {
            Reply::Volume(office.open_volume(volume).await.map(|told| Some(Box::new(told))))
        }
        Request::CloseVolume { volume } => Reply::Volume(office.close_volume(volume).await.map(|()| None)),
        Request::Owed => Reply::Owed(office.owed()),
        Request::Jobs => Reply::Jobs(office.jobs.list()),
        Request::Receive(load) => courier::land(&office, *load).await,
        Request::Quota { volume, account } => {
            Reply::Quota(office.volume(volume).and_then(|volume| volume.quota(account)))
        }
        Request::Folder { volume, account, name } => {
            Reply::Folder(folder::folder_here(&office, volume, account, &name).await)
        }
        Request::Send { account, limits, wanted } => {
            Reply::Sending(sending::ask_here(&office, account, &limits, wanted))
        }
        Request::Suspend { name } => {
            // It asks other offices, and is not waited for.
            shard::spawn("suspend", async move { admin::routing::suspend(&office, name).await });
            Reply::Done
        }
        Request::Reserve { volume, wanted } => Reply::Reserved(quota::reserve_here(&office, volume, &wanted)),
        Request::Expect { volume, source, coming } => {
            if let Some(volume) = office.volume(volume) {
                volume.expect(source, &coming);
            }
            Reply::Done
        }
        Request::Release { volume, wanted } => {
            quota::release_here(&office, volume, &wanted);
            Reply::Done
        }
        Request::Put(part) => Reply::Put(office.uploads.put(&office, *part).await),
        Request::PutOver(upload) => {
            office.uploads.over(upload);
            Reply::Done
        }
        Request::Secrets { volume, account } => {
            office.secrets(volume, account).await.map_or(Reply::Unreadable, Reply::Secrets)
        }
        Request::Attempt(asked) => Reply::Attempt(office.attempt_at_home(&asked)),
        Request::Greylist(asked) => Reply::Greylisted(office.filters.ask_greylist(asked)),
        Request::Sessions { account } => Reply::Sessions(office.sessions.list(account.as_deref())),
        Request::EndSessions { account, protocols } => {
            Reply::SessionsEnded(office.sessions.end(&account, protocols, shard::now()))
        }
        Request::Level => {
            level::level(&office).await;
            Reply::Done
        }
        Request::Hear(change) => {
            office.hear(change);
            Reply::Done
        }
        Request::OpenDoors => {
            office.let_doors_open();
            Reply::Done
        }
        Request::DoorsOpened => {
            office.doors_opened();
            Reply::Done
        }
        Request::Stats => Reply::Stats(Box::new(ShardStats {
            figures: observe::figures(),
            volumes: office.volumes().into_iter().map(|(id, volume)| (id, volume.stats())).collect(),
            bodies_in_flight_bytes: office.budget.octets(),
            greylist: office.filters.greylisted(),
            lists: office.filters.lists(),
        })),
        Request::Space { scrub } => {
            office.volumes().into_iter().filter(|_| scrub).for_each(|(_, volume)| volume.scrub_soon());
            let spaces = office.volumes().into_iter().map(|(id, volume)| VolumeSpace::of(id, &volume.space()));
            Reply::Space(spaces.collect())
        }
        Request::Hold { token, how } => Reply::Held(office.hold(token, how)),
        Request::Health => Reply::Health(Health {
            doors_shut: office.doors.shut(),
            accept_paused: shard::accept_paused()
                .is_some_and(|at| shard::now().since(at) < Duration::from_secs(limits::ACCEPT_PAUSE_SHOWN_S)),
            places_taken: office.census.is_full(),
            volumes_failed: office.volumes().into_iter().filter(|(_, v)| v.stats().failed).map(|(id, _)| id).collect(),
            volumes_full: office.volumes().into_iter().filter(|(_, v)| v.stats().full).map(|(id, _)| id).collect(),
        }),
        Request::Do { volume, deeds } => admin::do_deeds(&office, volume, deeds).await,
        Request::Tool { volume, account, ask, bodies } => {
            admin::answer_tool(&office, volume, account, ask, bodies).await
        }
        Request::Visit(visitor) => {
            handoff::receive(office.clone(), *visitor);
            Reply::Done
        }
    }
}
