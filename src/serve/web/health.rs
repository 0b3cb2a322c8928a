//! How it is with every shard: asked of each over the mesh, within a time.

use crate::limits;
use crate::office::{Office, Reply, Request};

/// What is amiss, a sentence each; nothing is: every shard accepts now and every volume takes mail.
pub async fn amiss(office: &Office) -> Vec<String> {
    let mut amiss = Vec::new();
    for (shard, answer) in office.ask_all(|| Request::Health).await {
        let Some(Reply::Health(health)) = answer else {
            amiss.push(format!("shard {shard} does not answer within {} s", limits::SHARD_ANSWER_S));
            continue;
        };
        if health.doors_shut > 0 {
            amiss.push(format!("shard {shard} has doors that are not open ({})", health.doors_shut));
        }
        if health.accept_paused {
            amiss.push(format!("shard {shard} cannot accept: the limit of open files is reached"));
        }
        if health.places_taken {
            let places = office.settings.connections_max;
            amiss.push(format!("shard {shard} cannot accept: its places for connections are all taken ({places})"));
        }
        amiss.extend(health.volumes_failed.iter().map(|volume| format!("volume {volume} of shard {shard} has failed")));
        let full = |volume| format!("volume {volume} of shard {shard} has no room: its disk is full");
        amiss.extend(health.volumes_full.iter().map(full));
    }
    amiss
}
