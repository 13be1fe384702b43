//! `drill --here`

use std::fs::File;
use std::path::Path;

use firmware_recovery::order::orders::{self, Wanted};
use firmware_recovery::order::run::Work;
use firmware_recovery::order::{Here, Kind, Order, State};
use firmware_recovery::profile::{Profile, Signal};
use firmware_recovery::target;
use pipeline_vault::Error;
use pipeline_vault::document::Name;

use super::Opened;
use super::order::{carry_on, estimated, tell_estimate};
use crate::cli::Drill;
use crate::cli::here::{Accel, HereOptions};
use crate::here::{Place, Wish};
use crate::recovery::acts::new_id;
use crate::recovery::person;
use crate::report::Ending;
use crate::verbs::{Context, host_name};

/// What a machine has where nobody says otherwise.
const MEMORY_MIB: u32 = 2048;
const CPUS: u32 = 2;

pub(super) fn drill(asked: &Drill, context: &Context) -> Ending {
    let wish = wish(&asked.here);
    let place = Place::new(wish.clone());
    let copies = !wish.to.is_empty() && !asked.order.dry_run;
    let (counters, painter) = context.progress("hydrate", asked.order.json || !copies);
    let opened = Opened::here(&asked.order.opening, context, asked.order.json, place, counters)?;
    let order = order(&opened, asked, &wish, context)?;
    if asked.order.dry_run {
        let estimate = estimated(&opened, order, |before| before.here.is_some())?;
        return tell_estimate(&estimate, asked.order.json);
    }
    end_what_was_cut_off(&opened, &order)?;
    let name = orders::give(&opened.vault, &order)?;
    let done = carry_on(&opened, &asked.order, name, |work| work.carry_on());
    painter.finish(done.is_ok());
    done
}

/// The drill that it comes to. A server needs no target profile for it.
fn order(opened: &Opened, asked: &Drill, wish: &Wish, context: &Context) -> Result<Order, Error> {
    let server_name = asked.order.server.clone().unwrap_or_default();
    let server = opened.vault.session().server(&server_name)?;
    let known = target::load(&opened.vault, server)?.profile;
    let mut profile = known.unwrap_or_else(Profile::nowhere);
    if !asked.here.console.is_empty() {
        profile.signals = asked.here.console.iter().cloned().map(Signal::Console).collect();
    }
    if let Some(within) = asked.here.within {
        profile.signal_within_s = u32::try_from(within.as_secs()).unwrap_or(u32::MAX);
    }
    let wanted = Wanted {
        server,
        server_name,
        kind: Kind::Drill,
        point: asked.point.clone(),
        by: person(&context.machine.settings),
        at_millis: context.machine.clock.now().0,
        reads_first: false,
        despite_obstacles: asked.order.despite_obstacles,
        keeps: false,
        shared: None,
    };
    let here = Here {
        host: host_name(),
        machine: wish.words(),
        copies: wish.to.iter().map(|to| to.path.display().to_string()).collect(),
    };
    let order = wanted.order(new_id(&context.machine)?, opened.vault_id.clone(), profile);
    Ok(order.on(here))
}

/// An earlier drill of this server here whose program is gone left nothing but its order, which ends now.
fn end_what_was_cut_off(opened: &Opened, order: &Order) -> Result<(), Error> {
    let open = orders::open_of(&opened.vault, order.server, Kind::Drill)?;
    let Some(open) = open.filter(|open| open.here.is_some() && open.state == State::Open) else {
        return Ok(());
    };
    let watch = |_: &Order| {};
    Work::take(opened.world(&watch), Name::Order(open.id), false)?.cancel()
}

fn wish(asked: &HereOptions) -> Wish {
    let overlay = asked.overlay.clone().filter(|folder| folder != Path::new("memory"));
    let may_use_kvm = || File::options().read(true).write(true).open("/dev/kvm").is_ok();
    Wish {
        memory_mib: asked.memory.unwrap_or(MEMORY_MIB),
        cpus: asked.cpus.unwrap_or(CPUS),
        accelerated: asked.accel.map_or_else(may_use_kvm, |accel| accel == Accel::Kvm),
        overlay,
        to: asked.to.clone(),
        pace: asked.pace.map(|kib| u64::from(kib) << 10),
        confirmed: asked.confirm.clone(),
    }
}
