//! What a planned failover asks of the server itself: its drain is ordered on the vault's roll, the appliance that its agent is
//! connected to has it done, and the answer is the proof that nothing was written after the last point.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use firmware_recovery::order::Order;
use firmware_recovery::order::hands::{SourceAct, no_source};
use pipeline_vault::{Error, Retry};
use pipeline_wire::message::Drained;

use crate::cli::Opening;
use crate::ingest::roll::kept::KeptRoll;
use crate::session::{Machine, Session};

/// Between two looks at the roll.
const LOOK: Duration = Duration::from_secs(2);
/// How long an agent has for its hooks, its last cut and the way into the vault.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Asks; the answer to `LastPoint` is that point.
pub(super) fn ask(
    opening: &Opening,
    machine: &Machine,
    stop: &AtomicBool,
    order: &Order,
    act: SourceAct,
) -> Result<Option<String>, Error> {
    let session = Session::open(opening, machine)?;
    let roll = KeptRoll::open(session, Arc::clone(&machine.clock))?;
    if roll.roll().server(order.server).is_none() {
        // Nobody was asked to stop, so nobody need be told to go on.
        return if act == SourceAct::Return { Ok(None) } else { Err(no_source(order)) };
    }
    let (name, id) = (&order.server_name, order.id.to_string());
    match act {
        SourceAct::Stop => {
            let now = machine.clock.now().0;
            roll.change(&mut |roll| roll.drain(name, &id, true, now))?;
            Ok(None)
        }
        SourceAct::LastPoint => {
            proof(&roll, stop, order).map(|drained| Some(drained.point.to_string()))
        }
        // The appliance has it switched off as soon as its answer is kept.
        SourceAct::PowerDown => proof(&roll, stop, order).map(|_| None),
        SourceAct::Return => {
            roll.change(&mut |roll| {
                roll.end_drain(order.server, &id);
                Ok(())
            })?;
            log::warn!(
                "server {name} goes on where it still runs; switched off, it is to be started by hand"
            );
            Ok(None)
        }
    }
}

/// Waits for the answer; only a proof counts.
fn proof(roll: &KeptRoll, stop: &AtomicBool, order: &Order) -> Result<Drained, Error> {
    let about = || format!("server {}", order.server_name);
    let id = order.id.to_string();
    let looks = PATIENCE.as_secs() / LOOK.as_secs();
    for _ in 0..looks {
        roll.refresh()?;
        let seen = roll.roll();
        let Some(drain) = seen.drain_of(order.server).filter(|drain| drain.order == id) else {
            return Err(Error::refused(about(), "goes on: its drain was called off")
                .remedy("cancel this order and give another"));
        };
        match &drain.answer {
            Some(Ok(drained)) if drained.is_proof() => {
                drained.remarks.iter().for_each(|remark| log::warn!("{}: {remark}", about()));
                return Ok(drained.clone());
            }
            Some(Ok(_)) => {
                return Err(Error::refused(about(), "was written to after its last point")
                    .remedy("cancel this order, find out what writes, and give another"));
            }
            Some(Err(words)) => {
                return Err(Error::refused(about(), format!("was not drained: {words}"))
                    .remedy("cancel this order, mend that, and give another"));
            }
            None if stop.load(Ordering::Relaxed) => {
                return Err(Error::refused(about(), "is still being drained").retry(Retry::Now));
            }
            None => thread::sleep(LOOK),
        }
    }
    let what = format!("was not drained within {} minutes", PATIENCE.as_secs() / 60);
    Err(Error::refused(about(), what)
        .retry(Retry::Later)
        .remedy("look whether lifeboat serve --agents runs and its agent is connected"))
}
