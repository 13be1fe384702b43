//! Disks of orders by way of their warm seeds: how a seed stands, a copy of it brought to the order's point, the copy's end.

use std::sync::Arc;

use firmware_recovery::hydrate::fill::{How, OnTop, Source};
use firmware_recovery::hydrate::pages::Pages;
use firmware_recovery::hydrate::seed::{self, Line, Standing};
use firmware_recovery::hydrate::seed_place::SeedPlace;
use firmware_recovery::hydrate::vhd::whole;
use firmware_recovery::order::hands::Seeded;
use firmware_recovery::order::{Import, Order};
use pipeline_azure::pages::PageBlob;
use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::points::ChainView;
use pipeline_vault::record::{DiskState, Manifest};
use pipeline_vault::writer::Progress;

use crate::report::Utc;
use crate::seeds::{blob, place_of, stops};
use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// One disk of an order, and what a seed of it is looked for with.
pub(super) struct Wanted<'a> {
    pub(super) order: &'a Order,
    /// Its place in the order.
    pub(super) place: usize,
    pub(super) vault: &'a VaultUri,
    pub(super) machine: &'a Machine,
}

/// The same with the point that it is brought to.
pub(super) struct At<'a> {
    pub(super) view: &'a ChainView,
    pub(super) frames: &'a FrameReader,
    pub(super) manifest: &'a Manifest,
    pub(super) disk: &'a DiskState,
}

impl Wanted<'_> {
    fn seeds(&self) -> Result<SeedPlace, Error> {
        place_of(&self.order.profile, self.vault)
    }

    fn copy(&self) -> Result<Arc<PageBlob>, Error> {
        let name = SeedPlace::copy_name(self.order.id, self.place, self.order.round);
        blob(&self.seeds()?, &name, self.machine)
    }

    /// How the seed stands.
    pub(super) fn seeded(&self, at: &At<'_>) -> Result<Seeded, Error> {
        let seeds = self.seeds()?;
        let name = SeedPlace::seed_name(self.order.server, at.disk.id);
        let seed = blob(&seeds, &name, self.machine)?;
        let cold = |words: &str| Seeded { import: None, words: words.to_owned() };
        match seed.look()? {
            None => return Ok(cold("is not there yet: lifeboat serve makes it")),
            Some(bytes) if bytes != whole(at.disk.bytes) => {
                return Ok(cold("is that of a disk of another size: lifeboat serve makes it anew"));
            }
            Some(_) => {}
        }
        let stops = stops(at.view, &at.disk.name);
        let line = Line { frames: at.frames, stops: &stops };
        let behind = |time: u64| stops.iter().filter(|stop| stop.time > time).count();
        let words = match line.standing(&*seed, at.disk)? {
            Standing::Empty => return Ok(cold("is still being made by lifeboat serve")),
            Standing::Lost => {
                return Ok(cold(
                    "is at a point that the vault has no more: lifeboat serve makes it anew",
                ));
            }
            Standing::At { time, .. } if behind(time) == 0 => {
                format!("is at its newest point, of {}", Utc(time))
            }
            Standing::At { time, .. } => {
                format!("is at the point of {}, {} points behind", Utc(time), behind(time))
            }
            Standing::Moving { to, .. } => format!("is on its way to point {to}"),
        };
        let import = Import { uri: self.copy()?.url()?, account: seeds.account };
        Ok(Seeded { import: Some(import), words })
    }

    /// Makes the copy what the disk shall be; bytes that were written to it.
    pub(super) fn dress(
        &self,
        at: &At<'_>,
        on_top: &OnTop<'_>,
        how: &How,
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let copy = self.copy()?;
        self.copied(at, &copy)?;
        let stops = stops(at.view, &at.disk.name);
        let line = Line { frames: at.frames, stops: &stops };
        let Manifest { id, started, .. } = at.manifest;
        let source = Source { frames: at.frames, disk: at.disk, point: *id, time: *started };
        let pages: Arc<dyn Pages> = copy;
        let done = seed::dress_copy(&pages, &line, &source, on_top, how, progress)?;
        Ok(done.sent.put_bytes + done.on_top_blocks * pipeline::limits::BLOCK_BYTES as u64)
    }

    /// Makes the copy where an earlier try has not.
    fn copied(&self, at: &At<'_>, copy: &PageBlob) -> Result<(), Error> {
        if copy.look()?.is_some() {
            match copy.await_copy() {
                Ok(()) => return Ok(()),
                // It came to nothing: another one may do.
                Err(error) => log::warn!("{error}"),
            }
            copy.remove()?;
        }
        let name = SeedPlace::seed_name(self.order.server, at.disk.id);
        let seed = blob(&self.seeds()?, &name, self.machine)?;
        let instant = seed.snapshot()?;
        let copied = copy.become_copy_of(&seed, &instant);
        // Whoever keeps the seed takes away what this leaves.
        if let Err(error) = seed.remove_snapshot(&instant) {
            log::warn!("{error}");
        }
        copied?;
        Ok(())
    }

    /// Takes the copy away.
    pub(super) fn undress(&self) -> Result<(), Error> {
        Ok(self.copy()?.remove()?)
    }
}
