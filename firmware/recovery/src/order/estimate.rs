//! What an order would make and how long that would take, before anything is made. Azure is asked; nothing is written.

use pipeline_vault::Error;
use serde::Serialize;

use super::run::{Work, World};
use super::{Kind, Order, Step};
use crate::target::Target;

/// Bytes a second into a disk where nothing was measured: what Azure gives the smallest disk that is uploaded into.
const FILL_BYTES_PER_SECOND: u64 = 60 << 20;
/// Disks that are all made of seeds, where nothing was measured.
const WARM_MILLIS: u64 = 180_000;

/// What would be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The order's kind.
    pub kind: Kind,
    /// The server's name.
    pub server: String,
    /// The point.
    pub point: String,
    /// Its instant, milliseconds since 1970.
    pub point_millis: u64,
    /// Everything that would be made, in that order.
    pub makes: Vec<Piece>,
    /// Sizes that could be had, the best first.
    pub sizes: Vec<String>,
    /// Steps and their time.
    pub steps: Vec<Expected>,
    /// All steps together.
    pub total_millis: u64,
    /// How the warm seed of each disk stands, where its profile wants seeds.
    pub seeds: Vec<String>,
    /// What else was noticed.
    pub notes: Vec<String>,
}

/// One thing that would be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// What: «disk», «network interface».
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// What it is like.
    pub detail: String,
}

/// How long a step would take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// Which.
    pub step: Step,
    /// How long.
    pub millis: u64,
    /// Where that is from.
    pub from: &'static str,
}

/// Looks an order through without keeping or making anything.
///
/// Errors: what the step check would say.
pub fn estimate(
    world: World<'_>,
    order: Order,
    target: &Target,
    last: Option<&Order>,
) -> Result<Estimate, Error> {
    let mut work = Work::rehearsal(world, order);
    let here = work.order().here.is_some();
    let checked = if here { work.check_here() } else { work.check() };
    checked.map_err(|stop| work.told(stop))?;
    let order = work.order();
    let steps = expected(order, target, last);
    let point = order.point.clone().unwrap_or_default();
    let seeds: Vec<String> = order.disks.iter().filter_map(|disk| disk.seed.clone()).collect();
    let notes = order.notes.iter().map(|note| note.text.clone());
    Ok(Estimate {
        kind: order.kind,
        server: order.server_name.clone(),
        point: point.id,
        point_millis: point.time_millis,
        makes: match world.hands.ground() {
            Some(ground) if here => ground.makes(order)?,
            _ => pieces(order)?,
        },
        sizes: order.sizes.clone(),
        total_millis: steps.iter().map(|expected| expected.millis).sum(),
        steps,
        notes: notes.filter(|note| !seeds.contains(note)).collect(),
        seeds,
    })
}

fn pieces(order: &Order) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut piece = |what: &'static str, name: &str, detail: String| {
        pieces.push(Piece { what, name: name.to_owned(), detail });
    };
    let group = order.group()?;
    if order.makes_group() {
        let detail = format!("in {}, taken away at the end", order.profile.location);
        piece("resource group", group.name(), detail);
    }
    for (place, disk) in order.disks.iter().enumerate() {
        let id = order.disk(place)?;
        let gib = disk.upload_bytes().div_ceil(1 << 30);
        let starts = if disk.starts { ", the machine starts from it" } else { "" };
        let seed = if disk.import.is_some() { ", of its seed" } else { "" };
        piece("disk", id.name(), format!("{gib} GiB, {}{starts}{seed}", disk.kind));
    }
    if let Some((network, rules)) = order.drill_network()? {
        piece("network security group", rules.name(), "lets nothing in or out".to_owned());
        piece(
            "network",
            network.name(),
            format!("{}, joined to nothing", order.profile.drill_range),
        );
    }
    if let Some(public) = order.public_address()? {
        piece("public address", public.name(), "fixed".to_owned());
    }
    let subnet = order.subnet()?;
    let address = order.wanted_address().map_or_else(
        || "an address that Azure gives".to_owned(),
        |address| format!("address {address}"),
    );
    piece(
        "network interface",
        order.interface()?.name(),
        format!("{address} in subnet {}", subnet.name()),
    );
    let detail = format!("{}, starts by {}", order.sizes.join(" or "), order.begins_by());
    piece("machine", order.machine()?.name(), detail);
    Ok(pieces)
}

/// Times of the last order of this server, the filling by its rate; else plain guesses, which say so.
fn expected(order: &Order, target: &Target, last: Option<&Order>) -> Vec<Expected> {
    // What is made of a seed is hardly written to.
    let uploaded = order.disks.iter().filter(|disk| disk.import.is_none());
    let all_warm = uploaded.clone().count() == 0 && !order.disks.is_empty();
    let bytes: u64 = uploaded.map(|disk| disk.bytes).sum();
    let mut drills = target
        .drills
        .iter()
        .rev()
        .filter(|drill| drill.fill_millis > 0 && drill.here == order.here.is_some());
    let measured = drills.find(|drill| drill.warm == all_warm);
    let mut steps = Vec::new();
    for step in order.steps.iter().map(|record| record.step) {
        let before = last.and_then(|last| last.step(step)).map(|record| record.took_millis);
        let (millis, from) = match (step, measured, before) {
            (Step::Hydrate, Some(drill), _) if all_warm => {
                (drill.fill_millis, "the last drill, of seeds too")
            }
            (Step::Hydrate, ..) if all_warm => {
                (WARM_MILLIS, "a guess: what changed since, and Azure's own copy of each seed")
            }
            (Step::Hydrate, Some(drill), _) if drill.filled_bytes > 0 => {
                let millis = u128::from(bytes) * u128::from(drill.fill_millis)
                    / u128::from(drill.filled_bytes);
                (
                    u64::try_from(millis).unwrap_or(u64::MAX),
                    "the rate of the last drill, every byte sent",
                )
            }
            (Step::Hydrate, ..) if order.here.is_some() => (
                0,
                "not measured yet: it goes on behind the start, and lasts as long as the disk takes",
            ),
            (Step::Hydrate, ..) => {
                let millis = bytes.saturating_mul(1000) / FILL_BYTES_PER_SECOND;
                (millis, "60 MiB/s, Azure's least for an upload, every byte sent")
            }
            (_, _, Some(before)) => (before, "the last order of this server"),
            (step, ..) => (guess(step), "a guess: nothing was measured yet"),
        };
        steps.push(Expected { step, millis, from });
    }
    steps
}

fn guess(step: Step) -> u64 {
    match step {
        Step::Machine | Step::Signal | Step::Cleanup => 120_000,
        Step::Stop | Step::LastPoint | Step::PowerDown => 60_000,
        _ => 10_000,
    }
}
