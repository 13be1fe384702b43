//! `server drain`: a server stops for a planned failover, or goes on after all.

use core::time::Duration;
use std::thread;

use pipeline_vault::{Error, Retry};
use pipeline_wire::message::Drained;
use serde::Serialize;

use crate::cli::ServerDrain;
use crate::ingest::roll::kept::KeptRoll;
use crate::report::{Ending, Outcome, print, print_json, printable};
use crate::verbs::Context;

/// How often the roll is looked at: as often as the appliance does.
const LOOK: Duration = Duration::from_secs(1);

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    server: &'a str,
    order: &'a str,
    point: String,
    epoch: u64,
    written_bytes: u64,
    written_after_bytes: u64,
    changed_blocks: u64,
    read_only: bool,
    remarks: &'a [String],
}

pub(in crate::verbs) fn run(asked: &ServerDrain, context: &Context) -> Ending {
    let kept = super::open(&asked.opening, context)?;
    if asked.abort {
        let there = kept.change(&mut |roll| roll.call_off(&asked.name))?;
        let words = if there { "is called off: it goes on as before" } else { "was not ordered" };
        print(&format!("The drain of {} {words}.\n", asked.name))?;
        return Ok(Outcome::Done);
    }
    let now = context.machine.clock.now().0;
    kept.change(&mut |roll| roll.drain(&asked.name, &asked.order, asked.power_off, now))?;
    let drained = wait(&kept, asked)?;
    if asked.json {
        print_json(&Answer {
            server: &asked.name,
            order: &drained.order,
            point: drained.point.to_string(),
            epoch: drained.epoch,
            written_bytes: drained.written_at_cut,
            written_after_bytes: drained.written_after,
            changed_blocks: drained.changed_blocks,
            read_only: drained.read_only,
            remarks: &drained.remarks,
        })?;
        return Ok(Outcome::Done);
    }
    print(&format!(
        "{} is drained: point {} is its disks to the last byte. It stays so until --abort.\n",
        asked.name, drained.point
    ))?;
    for remark in &drained.remarks {
        print(&format!("  {}\n", printable(remark)))?;
    }
    Ok(Outcome::Done)
}

/// Waits until the agent has answered, by way of the appliance that it talks to.
fn wait(kept: &KeptRoll, asked: &ServerDrain) -> Result<Drained, Error> {
    let about = |what: String| Error::refused(format!("server {}", asked.name), what);
    let mut left = asked.wait;
    loop {
        let roll = kept.roll();
        let server = roll.servers.iter().find(|listed| listed.name == asked.name);
        let drain = server.and_then(|listed| roll.drain_of(listed.server));
        match drain.filter(|drain| drain.order == asked.order).map(|drain| &drain.answer) {
            None => return Err(about("its drain was called off by somebody else".to_owned())),
            Some(Some(Ok(drained))) => return Ok(drained.clone()),
            Some(Some(Err(words))) => {
                let what = format!("was not drained, and goes on as before: {words}");
                return Err(about(what)
                    .retry(Retry::Later)
                    .remedy("mend that, then order it again"));
            }
            Some(None) if left.is_zero() => {
                return Err(about("did not answer in time; its drain stays ordered".to_owned())
                    .retry(Retry::Later)
                    .remedy("see that lifeboat serve runs and its agent is connected; run this again to go on waiting, or --abort"));
            }
            Some(None) => {}
        }
        let rest = left.min(LOOK);
        thread::sleep(rest);
        left = left.saturating_sub(rest);
        if let Err(error) = kept.refresh() {
            log::warn!("{error}");
        }
    }
}
