//! `ringpost-loadtest cut`: the power is cut under load, again and again, and a ledger that forgets nothing.
//!
//! ```text
//!   server ─► ext4 or xfs ─► loop device ─► FUSE ─► platter (in memory, with a volatile write cache)
//! ```
//!
//! As `kill` does, but with the process goes what the disk was not told to flush: of the sectors written since, any may be
//! left as they were, in any combination. The file system replays its journal, the server its log, and what was
//! acknowledged has to be there. For root, on Linux with FUSE and loop devices; elsewhere it says that it is skipped ([`crate::ended`]).
//!
//! The tool is tested with a disk that lies (`--disk-lies`: flushes are acknowledged and not quite done) and with a server that
//! does (one built with the store's feature `bugs`, and `RINGPOST_BUG=ack-before-sync`): with `--expect-loss` all is well
//! when something that was acknowledged is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

mod fuse;
mod platter;
pub(crate) mod stack;

use crate::ended::{Ended, Hindrance};
use crate::kill::options::Options;
use crate::kill::rounds::{self, Ground};
use crate::kill::server::Server;
use fuse::Fuse;
use platter::Platter;
use stack::{Kind, Mounted};

/// How often a file system that is still in use is asked to go.
const UNMOUNT_TRIES: u32 = 200;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(25);

/// Options of `cut`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What it has in common with other campaigns.
    #[command(flatten)]
    pub options: Options,
    /// Rounds.
    #[arg(long, default_value_t = 20)]
    pub cuts: u32,
    /// The file system.
    #[arg(long, value_enum, default_value_t = Kind::Ext4)]
    pub fs: Kind,
    /// Size of the disk, which is kept in memory.
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u64).range(320..=16_384))]
    pub disk_mib: u64,
    /// The disk acknowledges flushes, and what was written last is in doubt all the same.
    #[arg(long)]
    pub disk_lies: bool,
    /// All is well when something acknowledged is lost, and only then.
    #[arg(long)]
    pub expect_loss: bool,
    /// Added to the server's default ports.
    #[arg(long, default_value_t = 21_000, value_parser = clap::value_parser!(u16).range(..=60_000))]
    pub port_offset: u16,
}

/// Runs the rounds. `Err`: the server or the disk could not be set up.
pub fn run(args: &Args) -> Result<Ended, String> {
    if let Some(why) = hindrance(args.fs) {
        return why.skip(&format!("no power can be cut here under {}", args.fs.name()));
    }
    let options = &args.options;
    let seed = options.seed();
    let home = std::env::temp_dir().join(format!("ringpost-cut-{seed:016x}"));
    fs::create_dir(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let config = home.join("ringpost.toml");
    fs::write(&config, stack::CONFIG).map_err(|e| format!("{}: {e}", config.display()))?;
    println!("seed {seed}, {} on a disk of {} MiB, server log in {}", args.fs.name(), args.disk_mib, home.display());
    let platter = Platter::new((args.disk_mib << 20) as usize, args.disk_lies);
    let mut power = Power::on(&home, &home.join("mnt"), args.fs, platter, seed)?;
    let more = vec!["--config".into(), config.display().to_string()];
    let recipe = options.recipe(home.join("mnt/data"), home.join("server.log"), args.port_offset, more);
    let plan = options.plan(if args.disk_lies { "cut, on a disk that lies" } else { "cut" }, seed, args.cuts);
    let played = rounds::play(&plan, &recipe, &home, &mut power);
    let cuts = power.cuts;
    drop(power);
    let mut summary = match played {
        Err(why) if args.disk_lies && cuts > 0 => {
            println!("lost, the file system and all: {why}");
            let _ = fs::remove_dir_all(&home);
            return Ok(Ended::of(args.expect_loss));
        }
        played => played?,
    };
    summary.shards = options.shards;
    summary.fs = Some(args.fs.name());
    summary.tell(options.json.as_deref(), options.ledger.as_deref())?;
    if summary.is_well() || args.expect_loss {
        fs::remove_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    Ok(Ended::of(summary.is_well() != args.expect_loss))
}

pub(crate) fn hindrance(kind: Kind) -> Option<Hindrance> {
    let fuse = Path::new("/dev/fuse").exists();
    stack::hindrance(kind).or_else(|| (!fuse).then(|| Hindrance::Machine("there is no /dev/fuse".to_owned())))
}

/// A disk that can be cut, with a file system on it.
pub(crate) struct Power {
    home: PathBuf,
    mount_point: PathBuf,
    kind: Kind,
    chance: StdRng,
    // Dropped in this order: the file system before its disk.
    mounted: Option<Mounted>,
    fuse: Option<Fuse>,
    cuts: u64,
    doubts: u64,
    lost: u64,
    flushes: u64,
}

impl Power {
    /// An honest disk of so many octets, mounted there.
    pub(crate) fn at(home: &Path, mount_point: &Path, kind: Kind, bytes: usize, seed: u64) -> Result<Power, String> {
        Power::on(home, mount_point, kind, Platter::new(bytes, false), seed)
    }

    fn on(home: &Path, mount_point: &Path, kind: Kind, platter: Platter, seed: u64) -> Result<Power, String> {
        let chance = StdRng::seed_from_u64(seed ^ 0x0070_6c61_7474_6572);
        let (home, mount_point) = (home.to_owned(), mount_point.to_owned());
        let (mounted, fuse) = (None, None);
        let mut power =
            Power { home, mount_point, kind, chance, mounted, fuse, cuts: 0, doubts: 0, lost: 0, flushes: 0 };
        power.attach(platter, true)?;
        Ok(power)
    }

    /// From now on writes and flushes fail, and reads do not.
    pub(crate) fn refuse_writes(&self) {
        self.fuse.iter().for_each(Fuse::refuse_writes);
    }

    fn attach(&mut self, platter: Platter, make: bool) -> Result<(), String> {
        let disk = self.home.join("disk");
        self.fuse = Some(Fuse::mount(&disk, platter)?);
        self.mounted = Some(stack::mount(&disk, self.kind, make, &self.mount_point)?);
        Ok(())
    }
}

impl Ground for Power {
    fn end(&mut self, server: &mut Server) {
        if let Some(fuse) = &self.fuse {
            let cut = fuse.cut(&mut self.chance);
            self.cuts += 1;
            self.doubts += cut.doubts;
            self.lost += cut.lost;
            // It can hear nothing from the disk any more, and once it is to die it can say nothing of its errors.
            server.shoot();
            fuse.release();
        }
        server.kill();
    }

    fn mend(&mut self) -> Result<(), String> {
        let (Some(mounted), Some(fuse)) = (self.mounted.take(), self.fuse.take()) else {
            return Err("the disk is gone".to_owned());
        };
        mounted.unmount(UNMOUNT_TRIES, UNMOUNT_PAUSE)?;
        let platter = fuse.unmount()?;
        self.flushes = platter.flushes;
        self.attach(platter, false)
    }

    fn told(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("cuts", self.cuts),
            ("sectors_in_doubt", self.doubts),
            ("sectors_lost", self.lost),
            ("flushes", self.flushes),
        ])
    }
}
