//! What the vault keeps of a server's recovery: its target profile, the orders that are open, how the last drill ended.
//!
//! It is one document, so that of two operators who order at once one wins and the other is told who has it.

use pipeline::ids::{OrderId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::document::Name;
use serde::{Deserialize, Serialize};

use crate::documents::{self, Documents, Kept};
use crate::order::{Kind, Order};
use crate::profile::Profile;

/// Drills that are remembered of one server.
const DRILLS_MAX: usize = 20;

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    format: u16,
    /// Where it is recovered to; none before a person said so.
    pub profile: Option<Profile>,
    /// The drill that is on.
    pub drill: Option<Open>,
    /// The failover that is on, until it is committed or cancelled.
    pub failover: Option<Open>,
    /// How drills ended, the newest last.
    pub drills: Vec<Drilled>,
    /// The failover that was committed last.
    pub committed: Option<Open>,
}

/// An order, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Which.
    #[serde(with = "crate::text")]
    pub order: OrderId,
    /// Who, as `USER@HOST`.
    pub by: String,
    /// When, by that machine's clock.
    pub at_millis: u64,
}

/// How a drill ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The order, which has the rest.
    #[serde(with = "crate::text")]
    pub order: OrderId,
    /// When it ended.
    pub at_millis: u64,
    /// Whether its signals came.
    pub up: bool,
    /// From the order to its last signal.
    pub rto_millis: u64,
    /// Bytes that were brought into its disks.
    pub filled_bytes: u64,
    /// Time that took.
    pub fill_millis: u64,
    /// Disks were made of warm seeds: its bytes and its time say nothing of what an upload takes.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub warm: bool,
    /// It was on the machine that ordered it, not in Azure: its times say nothing of a failover's.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub here: bool,
}

impl Kept for Target {
    const FORMAT: u16 = 1;
}

impl Target {
    fn fresh() -> Self {
        Self { format: Self::FORMAT, ..Self::default() }
    }

    /// The last drill in Azure: one on somebody's own machine proves nothing of it.
    #[must_use]
    pub fn last_drill(&self) -> Option<&Drilled> {
        self.drills.iter().rfind(|drill| !drill.here)
    }

    fn open(&mut self, kind: Kind) -> &mut Option<Open> {
        match kind {
            Kind::Drill => &mut self.drill,
            Kind::Failover | Kind::Planned => &mut self.failover,
        }
    }
}

/// What is kept of a server; an empty one where nothing is.
pub fn load(documents: &dyn Documents, server: ServerId) -> Result<Target, Error> {
    let (_, found) = documents::load(documents, Name::Profile(server))?;
    Ok(found.unwrap_or_else(Target::fresh))
}

/// Keeps a profile. Orders that are on keep the one that they began with.
///
/// Errors: it is not sound in itself.
pub fn set_profile(
    documents: &dyn Documents,
    server: ServerId,
    name: &str,
    profile: &Profile,
) -> Result<(), Error> {
    let problems = profile.problems();
    if let Some(first) = problems.first() {
        let more = match problems.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        return Err(Error::misuse(format!("target profile of {name}"), format!("{first}{more}"))
            .remedy("nothing was changed"));
    }
    documents::change(
        documents,
        Name::Profile(server),
        &Target::fresh,
        &mut |target: &mut Target| {
            target.profile = Some(profile.clone());
            Ok(())
        },
    )
}

/// Opens an order: from here on nobody else may order the same of this server.
///
/// Errors: one is open already; it says whose.
pub fn claim(documents: &dyn Documents, order: &Order) -> Result<(), Error> {
    let name = Name::Profile(order.server);
    documents::change(documents, name, &Target::fresh, &mut |target: &mut Target| {
        let place = target.open(order.kind);
        match place {
            Some(open) if open.order != order.id => Err(taken(order, open)),
            _ => {
                *place = Some(Open {
                    order: order.id,
                    by: order.ordered_by.clone(),
                    at_millis: order.ordered_millis,
                });
                Ok(())
            }
        }
    })
}

fn taken(order: &Order, open: &Open) -> Error {
    let what = format!("has an open {} {}, ordered by {}", order.kind, open.order, open.by);
    Error::refused(format!("server {}", order.server_name), what).remedy(format!(
        "lifeboat {} --resume {} goes on with it, lifeboat cleanup --order {} takes it back",
        order.kind.verb(),
        open.order,
        open.order
    ))
}

/// Closes an order, and remembers what came of it. Doing it twice is the same.
pub fn close(documents: &dyn Documents, order: &Order, at_millis: u64) -> Result<(), Error> {
    let name = Name::Profile(order.server);
    documents::change(documents, name, &Target::fresh, &mut |target: &mut Target| {
        let place = target.open(order.kind);
        let open = place.take_if(|open| open.order == order.id);
        if let (true, Some(open)) = (order.is_committed(), &open) {
            target.committed = Some(open.clone());
        }
        let told = target.drills.iter().any(|drilled| drilled.order == order.id);
        if let (Some(up), false) = (order.drilled(), told) {
            target.drills.push(Drilled {
                order: order.id,
                at_millis,
                up,
                rto_millis: order.rto_millis(),
                filled_bytes: order.filled_bytes(),
                fill_millis: order.fill_millis(),
                warm: order.is_warm(),
                here: order.here.is_some(),
            });
            let too_many = target.drills.len().saturating_sub(DRILLS_MAX);
            target.drills.drain(..too_many);
        }
        Ok(())
    })
}
