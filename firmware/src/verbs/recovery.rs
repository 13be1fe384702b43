//! The verbs of recovery into Azure, and what they share: an opened vault, Azure, hands, and words about how far an order is.

use core::sync::atomic::AtomicBool;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use firmware_recovery::order::run::World;
use firmware_recovery::order::{Order, Standing, Step};
use firmware_recovery::region::Region;
use firmware_recovery::report;
use pipeline_vault::Error;

use crate::cli::Opening;
use crate::here::Place;
use crate::progress::Counters;
use crate::recovery::hands::Program;
use crate::recovery::region::{Azure, Nowhere};
use crate::recovery::vault::Shared;
use crate::session::Session;
use crate::verbs::Context;

/// `cleanup`
pub(super) mod cleanup;
/// `drill --here`
mod here;
/// `drill`, `failover`, `commit`
pub(super) mod order;
/// `plan`
pub(super) mod plan;
/// `ready`
pub(super) mod ready;
/// `target`
pub(super) mod target;

/// Everything that an order needs, opened.
struct Opened {
    vault: Shared,
    vault_id: String,
    azure: Box<dyn Region>,
    hands: Program,
    stop: Arc<AtomicBool>,
    teller: Teller,
}

impl Opened {
    fn open(opening: &Opening, context: &Context, json: bool) -> Result<Self, Error> {
        let azure = Box::new(Azure::open(&opening.vault, &context.machine)?);
        Self::with(azure, opening, context, json, Arc::default(), |hands| hands)
    }

    /// The same for a drill on this machine: nothing is asked of Azure.
    fn here(
        opening: &Opening,
        context: &Context,
        json: bool,
        place: Place,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        Self::with(Box::new(Nowhere), opening, context, json, counters, |hands| hands.on(place))
    }

    fn with(
        azure: Box<dyn Region>,
        opening: &Opening,
        context: &Context,
        json: bool,
        counters: Arc<Counters>,
        placed: impl FnOnce(Program) -> Program,
    ) -> Result<Self, Error> {
        let mut session = Session::open(opening, &context.machine)?;
        let vault_id = session.vault()?.id().to_string();
        let vault = Shared::new(session);
        let stop = Arc::clone(&context.stop);
        let hands = Program::new(
            vault.clone(),
            opening.clone(),
            context.machine.clone(),
            Arc::clone(&stop),
            counters,
        );
        let hands = placed(hands);
        let teller = Teller::new(context, json);
        Ok(Self { vault, vault_id, azure, hands, stop, teller })
    }

    /// The world of an order; `watch` is told how far it is.
    fn world<'a>(&'a self, watch: &'a (dyn Fn(&Order) + Sync)) -> World<'a> {
        World {
            region: &*self.azure,
            documents: &self.vault,
            hands: &self.hands,
            stop: &self.stop,
            watch,
        }
    }
}

/// Says on standard error how far an order is.
struct Teller {
    as_json: bool,
    quiet: bool,
    last: Mutex<Option<(String, Step, Standing)>>,
}

impl Teller {
    fn new(context: &Context, json: bool) -> Self {
        let as_json = context.progress_json;
        Self { as_json, quiet: context.quiet || (json && !as_json), last: Mutex::default() }
    }

    fn tell(&self, order: &Order) {
        let Some(record) = order.steps.iter().rfind(|record| record.standing != Standing::Waits)
        else {
            return;
        };
        let now = (order.id.to_string(), record.step, record.standing);
        let Ok(mut last) = self.last.lock() else { return };
        if self.quiet || last.as_ref() == Some(&now) {
            return;
        }
        *last = Some(now);
        let place = order.steps.iter().position(|one| one.step == record.step).unwrap_or(0) + 1;
        let line = if self.as_json {
            serde_json::json!({
                "order": order.id.to_string(),
                "server": order.server_name,
                "step": record.step,
                "standing": record.standing,
                "took_millis": record.took_millis,
            })
            .to_string()
        } else {
            let how = match record.standing {
                Standing::Done => "done",
                Standing::Failed => "failed",
                Standing::Waits | Standing::Begun => "...",
            };
            let (name, count) = (record.step.name(), order.steps.len());
            format!("{}: {place}/{count} {name} {how}", order.server_name)
        };
        // Nobody is there to be told that standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

/// Writes the page of a report where a person asked for one.
fn write_page(path: Option<&Path>, page: impl FnOnce() -> String) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, page()).map_err(|error| {
        Error::device(path.display().to_string(), format!("cannot be written: {error}"))
            .remedy("give --report another file; the report is in the vault too")
    })
}

/// The report of an order as a page.
fn page_of(order: &Order) -> String {
    report::order_page(order)
}
