//! `serve-nbd`: a disk of a point as an NBD export, which can be written to where what is written has a place.

use pipeline_vault::Error;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::reader::{CACHE_BYTES, PointReader};
use smol::channel::Receiver;
use smol::future;

use crate::cli::ServeNbd;
use crate::nbd::listen::Listener;
use crate::nbd::server::serve;
use crate::nbd::source::{BlockSource, Export};
use crate::report::{Ending, Outcome, Utc, print};
use crate::session::Session;
use crate::verbs::Context;
use crate::verbs::choose::choose;

impl BlockSource for PointReader {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        Self::read_at(self, offset, into)
    }
}

/// Bytes of map pages and frame tables kept in memory beside the opened frames.
const PAGE_CACHE_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn run(serve_nbd: ServeNbd, stopped: &Receiver<()>, context: &Context) -> Ending {
    let mut session = Session::open(&serve_nbd.opening, &context.machine)?;
    let chosen = &serve_nbd.chosen;
    let found = choose(&mut session, chosen)?;
    let disk = found.disk(&chosen.disk)?.clone();
    let access = session.access();
    let frames = FrameReader::new(&access, found.server, &found.upkeep, PAGE_CACHE_BYTES)?;
    let (id, time) = (found.point().id, Utc(found.point().started));
    let description = format!("{} of {} at {time}", chosen.disk, chosen.server);
    let reader = PointReader::new(frames, disk, CACHE_BYTES);
    let export = Export {
        name: chosen.disk.clone(),
        description: description.clone(),
        source: match &serve_nbd.overlay {
            Some(place) => Box::new(place.over(reader)?),
            None => Box::new(reader),
        },
    };
    let writable = export.source.sink().is_some();
    let rights = if writable { "writable, the point stays as it is" } else { "read-only" };
    let address = serve_nbd.listen;
    if !address.is_local() {
        log::warn!("{address}: whoever can connect reads the disk in the clear");
    }
    smol::block_on(async {
        let (listener, bound) = Listener::bind(&address).await?;
        print(&format!(
            "Serving {description} (point {id}), {rights}: {}\nStop it with Ctrl-C.\n",
            bound.uri(&chosen.disk)
        ))?;
        // The pin and the socket's file go when this ends.
        let told = async {
            // The other end lives as long as the program does; either answer means to stop.
            let _ = stopped.recv().await;
        };
        future::or(serve(&listener, export), told).await;
        Ok(Outcome::Done)
    })
}
