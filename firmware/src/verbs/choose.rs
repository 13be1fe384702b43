//! The point that a command line means, pinned so that nobody deletes it while it is read.

use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::expect;
use pipeline_vault::pins::{Pin, pin_of_view};
use pipeline_vault::points::{ChainView, read_chain_leniently};
use pipeline_vault::record::{DiskState, Manifest, Upkeep};
use pipeline_vault::restore::Ahead;

use pipeline_vault::secondary::newest_complete_point;
use pipeline_vault::verify::{self, Depth};
use pipeline_vault::writer::Silent;

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
    let now = session.access().store.now()?;
    let view = session.chain(server)?;
    expect_point(&view, chosen)?;
    let link = find(&view, chosen)?;
    if session.has_ticket() {
        // A ticket opens no more than its point, and may not write.
        return Ok(Found { server, link: link.clone(), upkeep: view.upkeep, _pin: None });
    }
    let pinned = pin_of_view(&session.access(), &view, link.clone(), &reader(), now)?;
    tell_unpinned(pinned.unpinned.as_ref());
    Ok(Found { server, link: pinned.point, upkeep: pinned.upkeep, _pin: pinned.pin })
}

/// What pins say of who reads.
pub(super) fn reader() -> String {
    format!("{} {}", crate::verbs::host_name(), std::process::id())
}

pub(super) fn tell_unpinned(unpinned: Option<&Error>) {
    if let Some(reason) = unpinned {
        log::info!("the point is not pinned: {reason}");
    }
}

/// The same point with its server, neither pinned yet, and what a restore wants to know besides.
pub(super) fn choose_ahead(
    session: &mut Session,
    chosen: &Chosen,
) -> Result<(Found, ChainView, Ahead), Error> {
    let server = session.server(&chosen.server)?;
    let (view, ahead) = session.chain_ahead(server)?;
    expect_point(&view, chosen)?;
    let link = find(&view, chosen)?.clone();
    let found = Found { server, link, upkeep: view.upkeep.clone(), _pin: None };
    Ok((found, view, ahead))
}

/// The same on a copy without order: the newest point that is there whole, or what still stands of the one named.
pub(super) fn choose_on_secondary(session: &mut Session, chosen: &Chosen) -> Result<Found, Error> {
    let server = session.server(&chosen.server)?;
    let access = session.access();
    if chosen.point != PointChoice::Latest || chosen.expect_point.is_some() {
        let (view, problem) = read_chain_leniently(&access, server)?;
        if let Some(problem) = problem {
            log::warn!("the secondary is incomplete: {problem}");
        }
        expect_point(&view, chosen)?;
        if chosen.point != PointChoice::Latest {
            let link = find(&view, chosen)?.clone();
            return Ok(Found { server, link, upkeep: view.upkeep, _pin: None });
        }
    }
    let options = verify::Options::new(Depth::Shallow);
    let found = newest_complete_point(&access, server, &options, &Silent)?;
    for passed in &found.passed_over {
        log::warn!("a newer point is not whole on the secondary: {}", passed.why);
    }
    found.notes.iter().for_each(|note| log::info!("{note}"));
    Ok(Found { server, link: found.point, upkeep: found.view.upkeep, _pin: None })
}

fn find<'a>(view: &'a ChainView, chosen: &Chosen) -> Result<&'a Link, Error> {
    find_point(view, &chosen.point, &chosen.server)
}

/// The point of a chain that a person means; errors call the server by its name.
pub(super) fn find_point<'a>(
    view: &'a ChainView,
    point: &PointChoice,
    server: &str,
) -> Result<&'a Link, Error> {
    let text = match point {
        PointChoice::Latest => "latest",
        PointChoice::Id(id) => id,
    };
    view.find(text).map_err(|error| name_server(error, server))
}

fn expect_point(view: &ChainView, chosen: &Chosen) -> Result<(), Error> {
    match &chosen.expect_point {
        Some(expected) => expect::point(view, expected)
            .map(drop)
            .map_err(|error| name_server(error, &chosen.server)),
        None => Ok(()),
    }
}

/// The chain calls a server by its identity; a person knows its name.
pub(super) fn name_server(mut error: Error, name: &str) -> Error {
    if error.object.starts_with("server ") {
        error.object = format!("server {name}");
    }
    error
}
