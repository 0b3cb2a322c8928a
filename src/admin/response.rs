//! What is answered, as one JSON object on one line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AccountQuota, AppPasswordView, CertificateView, LoginView, Posted, Secret, VolumeView, routing};
use crate::office::jobs::Job;
use crate::office::sessions::SessionView;
use crate::office::tools;
use crate::shard;

/// The counters and measures of one shard.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShardCounters {
    /// Its number.
    pub shard: shard::ShardId,
    /// Name → value.
    pub counters: BTreeMap<String, u64>,
    /// As the sums have them.
    pub measures: BTreeMap<String, u64>,
}

/// An address and the password it is to have.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewAccount {
    /// `user@domain`.
    pub address: String,
    /// Absent: one is generated and told in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// In the place of a password: its hash, as another server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

impl NewAccount {
    /// With this password; `None`: one is generated.
    #[must_use]
    pub fn with(address: String, password: Option<Secret>) -> Self {
        NewAccount { address, password, hash: None }
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// It is done.
    Done,
    /// To `Stats`.
    Counters {
        /// Name → value.
        counters: BTreeMap<String, u64>,
        /// How many were measured of each kind, and what half of them, 99 % of them and all of them stayed below: microseconds
        /// (`_us`), octets, things. They do not add up as counters do.
        #[serde(default)]
        measures: BTreeMap<String, u64>,
        /// The same of each shard, if asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shards: Vec<ShardCounters>,
    },
    /// To `DomainList`.
    Domains {
        /// Sorted.
        domains: Vec<String>,
    },
    /// To `AccountAdd`, `AccountPasswd` (with generated passwords) and `AccountList` (without).
    Accounts {
        /// In the order asked for; sorted in a list.
        accounts: Vec<NewAccount>,
    },
    /// To `AccountLogin`: as it is then.
    Login {
        /// It.
        login: LoginView,
    },
    /// To `AppPasswordAdd`.
    AppPassword {
        /// The account.
        address: String,
        /// What it is called.
        name: String,
        /// It. Kept nowhere.
        password: Secret,
    },
    /// To `AppPasswordList`.
    AppPasswords {
        /// The oldest first.
        passwords: Vec<AppPasswordView>,
    },
    /// To `Who`.
    Sessions {
        /// The oldest first.
        sessions: Vec<SessionView>,
    },
    /// To `Kick`.
    Kicked {
        /// How many end.
        sessions: usize,
    },
    /// To `AccountQuota`: as it is then.
    Quota {
        /// It.
        quota: AccountQuota,
    },
    /// To `Routing`.
    Routing {
        /// What is told.
        told: Box<routing::Told>,
        /// It was done, and something is not as it should be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// To `Post`.
    Posted {
        /// What became of it.
        posted: Posted,
    },
    /// To `Store`. Octets of a message may follow the line, as many as it says.
    Store {
        /// What is told.
        told: tools::Told,
    },
    /// To `StoreHold`.
    Marked {
        /// By number.
        volumes: Vec<tools::MarkedVolume>,
    },
    /// To `StoreStat` and `StoreScrub`.
    Volumes {
        /// By number.
        volumes: Vec<tools::VolumeSpace>,
    },
    /// To `AccountMove` and `VolumeEvacuate`: it is under way.
    Begun {
        /// The job's number.
        job: u64,
    },
    /// To `VolumeList`, and of the new one to `VolumeAdd`.
    VolumeList {
        /// By number.
        volumes: Vec<VolumeView>,
    },
    /// To `Jobs`.
    Jobs {
        /// Of each shard the oldest first.
        jobs: Vec<Job>,
    },
    /// To `TlsList`, and to `TlsReload` when they are in force.
    Certificates {
        /// The default first.
        certificates: Vec<CertificateView>,
    },
    /// The request is wrong; nothing was done.
    Refused {
        /// A sentence.
        error: String,
    },
    /// It could not be done, or not wholly; asking again does no harm.
    Failed {
        /// A sentence.
        error: String,
    },
}
