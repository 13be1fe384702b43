//! The point that a command line means, pinned so that nobody deletes it while it is read.

use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::pins::{Pin, pin_and_check};
use pipeline_vault::points::ChainView;
use pipeline_vault::record::{DiskState, Manifest, Upkeep};

use crate::cli::{Chosen, PointChoice};
use crate::session::Session;

/// A point, safe to read for as long as this is kept.
pub(super) struct Found {
    pub(super) server: ServerId,
    pub(super) link: Link,
    pub(super) upkeep: Upkeep,
    _pin: Option<Pin>,
}

impl Found {
    pub(super) fn point(&self) -> &Manifest {
        self.link.record.point().expect("choose found a point")
    }

    pub(super) fn disk(&self, name: &str) -> Result<&DiskState, Error> {
        let disks = &self.point().disks;
        disks.iter().find(|disk| disk.name == name).ok_or_else(|| {
            let known: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
            let what = format!("is not in point {}", self.point().id);
            Error::misuse(format!("disk {name}"), what)
                .remedy(format!("its disks are: {}", known.join(", ")))
        })
    }
}

/// Finds and pins the point that the command line means, and makes sure that the vault knows the one that it must know.
pub(super) fn choose(session: &mut Session, chosen: &Chosen) -> Result<Found, Error> {
    let server = session.server(&chosen.server)?;
    let view = session.chain(server)?;
    if let Some(expected) = &chosen.expect_point {
        expect(&view, expected)?;
    }
    let text = match &chosen.point {
        PointChoice::Latest => "latest",
        PointChoice::Id(id) => id,
    };
    let slot = view.find(text).map_err(|error| name_server(error, &chosen.server))?.record.slot;
    let reader = format!("{} {}", crate::verbs::host_name(), std::process::id());
    let pinned = pin_and_check(&session.access(), server, slot, &reader)?;
    if let Some(reason) = pinned.unpinned {
        log::info!("the point is not pinned: {reason}");
    }
    Ok(Found { server, link: pinned.point, upkeep: pinned.upkeep, _pin: pinned.pin })
}

/// The chain calls a server by its identity; a person knows its name.
fn name_server(mut error: Error, name: &str) -> Error {
    if error.object.starts_with("server ") {
        error.object = format!("server {name}");
    }
    error
}

/// Fails unless the chain has this point: somebody outside the vault saw it.
pub(super) fn expect(view: &ChainView, expected: &str) -> Result<(), Error> {
    match view.find(expected) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::corrupt(
            format!("point {expected}"),
            "is expected but not in the vault: the vault was rolled back to an older copy, or the point was pruned",
        )
        .remedy("find out which; without --expect-point the vault's own newest point counts")),
    }
}
