//! Keeps the seeds of a site behind its vault: one disk after the other, each brought to its newest point by what differs, at
//! the pace that the target profile sets. Whatever cuts it off, the next one goes on from there.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use async_io::Timer;
use firmware_recovery::hydrate::fill::{How, Hydrated};
use firmware_recovery::hydrate::paced::Paced;
use firmware_recovery::hydrate::pages::Pages;
use firmware_recovery::hydrate::seed::{Line, Moved};
use firmware_recovery::hydrate::seed_place::{SeedPlace, takes};
use firmware_recovery::hydrate::vhd::whole;
use firmware_recovery::target::{self, Target};
use pipeline::ids::ServerId;
use pipeline_azure::pages::PageBlob;
use pipeline_vault::Error;
use pipeline_vault::document::{Class, Name};
use pipeline_vault::frames::FrameReader;
use pipeline_vault::pins::pin_of_view;
use pipeline_vault::points::ChainView;
use pipeline_vault::record::DiskState;
use pipeline_vault::writer::Silent;
use smol::channel::Receiver;
use smol::future;

use super::held::Held;
use super::{Stands, blob, place_of, stops, tell};
use crate::cli::Opening;
use crate::recovery::vault::Shared;
use crate::report::{Size, Utc};
use crate::session::{Machine, Session};

/// Between two looks for new points.
const PACE: Duration = Duration::from_secs(60);
/// Between two looks whether somebody wants a seed, while nobody does.
const IDLE: Duration = Duration::from_secs(600);
/// Few requests at once: what is urgent goes first.
const IN_FLIGHT: usize = 4;
/// Threads that fetch and open.
const WORKERS: usize = 2;
/// Bytes of map pages and frame tables kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// Keeps seeds until the other end of `ended` is gone.
pub fn keep(opening: &Opening, machine: &Machine, ended: &Receiver<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let keeper = Keeper { opening, machine, stop: Arc::clone(&stop) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Nobody ever sends: an answer means that it is closed.
            let _ = smol::block_on(ended.recv());
            stop.store(true, Ordering::Relaxed);
        });
        while !ended.is_closed() {
            let pause = match keeper.one_round() {
                Ok(0) => IDLE,
                Ok(_) => PACE,
                Err(error) => {
                    log::warn!("warm seeds: {error}");
                    PACE
                }
            };
            smol::block_on(future::or(
                async {
                    let _ = ended.recv().await;
                },
                async {
                    Timer::after(pause).await;
                },
            ));
        }
    });
}

struct Keeper<'a> {
    opening: &'a Opening,
    machine: &'a Machine,
    stop: Arc<AtomicBool>,
}

/// A server whose seeds are kept, as it is now.
struct Followed {
    server: ServerId,
    name: String,
    target: Target,
    place: SeedPlace,
    view: ChainView,
}

impl Keeper<'_> {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many servers have seeds.
    fn one_round(&self) -> Result<usize, Error> {
        let vault = Shared::new(Session::open(self.opening, self.machine)?);
        let servers = vault.session().servers();
        let profiles = firmware_recovery::documents::Documents::list(&vault, Class::Profiles)?;
        let mut kept = 0;
        for (name, server) in servers {
            if self.stops() || !profiles.contains(&Name::Profile(server)) {
                continue;
            }
            // One server's trouble is not another's.
            let (words, trouble) = match self.one_server(&vault, &name, server) {
                Ok(true) => ("its seed is at the newest point of the vault", None),
                Ok(false) => {
                    tell(server, None);
                    continue;
                }
                Err(error) => ("its seed does not follow the vault", Some(error.to_string())),
            };
            kept += 1;
            if self.stops() {
                continue;
            }
            if let Some(trouble) = &trouble {
                log::warn!("seed of {name}: {trouble}");
            }
            let at_millis = self.machine.clock.now().0;
            tell(server, Some(Stands { at_millis, words: words.to_owned(), trouble }));
        }
        Ok(kept)
    }

    /// Whether the server has seeds.
    fn one_server(&self, vault: &Shared, name: &str, server: ServerId) -> Result<bool, Error> {
        let target = target::load(vault, server)?;
        let Some(profile) = target.profile.clone().filter(|profile| profile.seed) else {
            return Ok(false);
        };
        let place = place_of(&profile, &self.opening.vault)?;
        let view = vault.session().chain(server)?;
        let Some(newest) = view.points().next_back() else { return Ok(true) };
        let access = vault.session().access();
        let reader = format!("{} {} (seed)", crate::verbs::host_name(), std::process::id());
        // Nobody deletes it while it is brought over.
        let _pinned = pin_of_view(&access, &view, newest.clone(), &reader, access.store.now()?)?;
        let frames = FrameReader::new(&access, server, &view.upkeep, CACHE_BYTES)?;
        let disks = newest.record.point().map(|point| point.disks.clone()).unwrap_or_default();
        let followed = Followed { server, name: name.to_owned(), target, place, view };
        let mut failed = Ok(());
        for disk in disks.iter().filter(|disk| takes(disk.bytes)) {
            if self.stops() {
                break;
            }
            let done = self.one_disk(&followed, &frames, disk);
            failed = failed.and(done);
        }
        failed.map(|()| true)
    }

    fn one_disk(
        &self,
        followed: &Followed,
        frames: &FrameReader,
        disk: &DiskState,
    ) -> Result<(), Error> {
        let stops = stops(&followed.view, &disk.name);
        let Some(newest) = stops.last() else { return Ok(()) };
        let name = SeedPlace::seed_name(followed.server, disk.id);
        let seed = blob(&followed.place, &name, self.machine)?;
        make(&seed, whole(disk.bytes))?;
        let line = Line { frames, stops: &stops };
        let _held = Held::take(&seed)?;
        let bytes_per_second = followed
            .target
            .profile
            .as_ref()
            .map_or(0, |profile| u64::from(profile.seed_mib_per_s) << 20);
        let pages: Arc<dyn Pages> =
            Arc::new(Paced::new(Arc::clone(&seed) as Arc<dyn Pages>, bytes_per_second));
        let how = How {
            workers: WORKERS,
            in_flight: IN_FLIGHT,
            // The blob is a seed by its name, whatever is in it.
            overwrite: true,
            stop: Arc::clone(&self.stop),
            ..How::new(format!("seed of disk {} of {}", disk.name, followed.name))
        };
        let (moved, done) = line.bring(&pages, newest.point, &how, &Silent)?;
        if moved == Moved::There {
            return Ok(());
        }
        say(&how.name, newest.time, moved, &done);
        // What an order that was cut off left of it; an order that is on may still need its own.
        if followed.target.drill.is_none() && followed.target.failover.is_none() {
            seed.remove_snapshots()?;
        }
        Ok(())
    }
}

/// Makes the blob where it is not there, or is that of a disk of another size.
fn make(seed: &PageBlob, bytes: u64) -> Result<(), Error> {
    match seed.look()? {
        Some(has) if has == bytes => return Ok(()),
        Some(_) => {
            log::warn!("{}: the disk has another size by now; its seed is made anew", seed.shown());
            seed.remove()?;
        }
        None => seed.make_container()?,
    }
    seed.create(bytes)?;
    log::info!("{}: made, {}", seed.shown(), Size(bytes));
    Ok(())
}

fn say(name: &str, time: u64, moved: Moved, done: &Hydrated) {
    let how = match moved {
        Moved::From(_) => "by what differs",
        _ => "by all of it",
    };
    log::info!("{name} is at the point of {} {how}: {} sent", Utc(time), Size(done.sent.put_bytes));
}
