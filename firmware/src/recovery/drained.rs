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
use crate::ingest::roll::wakes::Woken;
use crate::session::{Machine, Session};

/// Between two looks at the roll.
const LOOK: Duration = Duration::from_secs(2);
/// How long an agent has for its hooks, its last cut and the way into the vault.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How long an appliance has to say what came of waking a server: it gives up earlier.
const WAKE_PATIENCE: Duration = Duration::from_secs(12 * 60);

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
        SourceAct::Return => go_on(&roll, stop, order).map(Some),
    }
}

/// The server goes on where it still runs; one that was switched off is woken by the appliance on its network. What came of it,
/// in words.
fn go_on(roll: &KeptRoll, stop: &AtomicBool, order: &Order) -> Result<String, Error> {
    let (name, id) = (&order.server_name, order.id.to_string());
    let by_hand = format!("switch {name} on by hand, or by its management board");
    let (went_down, is_asked) = roll.change(&mut |roll| {
        roll.end_drain(order.server, &id);
        let wake = roll.wake_of(order.server).filter(|wake| wake.order == id);
        let went_down = wake.is_some();
        Ok((went_down, roll.ask_to_wake(order.server, &id)))
    })?;
    if !went_down {
        return Ok("the source goes on: it was not switched off".to_owned());
    }
    let words = match is_asked.then(|| woken(roll, stop, order)).transpose()? {
        None => format!(
            "the source was switched off, and its agent told no hardware address by which it could be woken: {by_hand}"
        ),
        Some(Some(Woken::Back)) => {
            "the source is back: it was switched off, and was woken over the network".to_owned()
        }
        Some(Some(Woken::Silent)) => format!(
            "the source was switched off, was woken over the network, and did not come back: {by_hand}"
        ),
        Some(None) => format!(
            "the source was switched off, and whether it was woken is not known, as no lifeboat serve --agents said so: {by_hand}"
        ),
    };
    roll.change(&mut |roll| {
        roll.end_wake(order.server);
        Ok(())
    })?;
    Ok(words)
}

/// Waits for what the appliance says of waking a server; nothing where it says nothing.
fn woken(roll: &KeptRoll, stop: &AtomicBool, order: &Order) -> Result<Option<Woken>, Error> {
    let looks = WAKE_PATIENCE.as_secs() / LOOK.as_secs();
    for _ in 0..looks {
        roll.refresh()?;
        let seen = roll.roll();
        let Some(wake) = seen.wake_of(order.server) else { return Ok(None) };
        if wake.woken.is_some() {
            return Ok(wake.woken);
        }
        if stop.load(Ordering::Relaxed) {
            let about = format!("server {}", order.server_name);
            return Err(Error::refused(about, "is being woken").retry(Retry::Now));
        }
        thread::sleep(LOOK);
    }
    Ok(None)
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
