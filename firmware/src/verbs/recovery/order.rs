//! `drill`, `failover` and `commit`.

use firmware_recovery::order::estimate::{Estimate, estimate};
use firmware_recovery::order::orders::{self, Wanted};
use firmware_recovery::order::run::Work;
use firmware_recovery::order::{Kind, Order, State};
use firmware_recovery::{report, target};
use pipeline_vault::Error;
use pipeline_vault::document::Name;

use super::{Opened, page_of, write_page};
use crate::cli::{Drill, Failover, OneServer, OrderOptions};
use crate::recovery::acts::new_id;
use crate::recovery::person;
use crate::report::{Ending, Failure, Outcome, Span, Utc, print, print_json, table};
use crate::verbs::Context;

pub(in crate::verbs) fn drill(asked: &Drill, context: &Context) -> Ending {
    if asked.here.here {
        return super::here::drill(asked, context);
    }
    let opened = Opened::open(&asked.order.opening, context, asked.order.json)?;
    let found = find(&opened, &asked.order, Kind::Drill)?;
    let name = match found {
        Some(name) => name,
        None => {
            match give(&opened, &asked.order, Kind::Drill, &asked.point, asked.keep, context)? {
                Given::Order(name) => name,
                Given::Estimate(estimate) => return tell_estimate(&estimate, asked.order.json),
            }
        }
    };
    carry_on(&opened, &asked.order, name, |work| work.carry_on())
}

pub(in crate::verbs) fn failover(asked: &Failover, context: &Context) -> Ending {
    let kind = if asked.planned { Kind::Planned } else { Kind::Failover };
    let opened = Opened::open(&asked.order.opening, context, asked.order.json)?;
    let point = asked.point.as_deref().unwrap_or("latest");
    let Some(name) = find(&opened, &asked.order, kind)? else {
        if asked.cancel {
            let server = asked.order.server.as_deref().unwrap_or_default();
            return Err(Error::misuse(format!("server {server}"), "has no open failover").into());
        }
        return match give(&opened, &asked.order, kind, point, false, context)? {
            Given::Order(name) => carry_on(&opened, &asked.order, name, |work| work.carry_on()),
            Given::Estimate(estimate) => tell_estimate(&estimate, asked.order.json),
        };
    };
    carry_on(&opened, &asked.order, name, |work| match &asked.point {
        _ if asked.cancel => work.cancel(),
        // The same line given twice takes nothing down: a point that came since is meant by its identity.
        Some(point) if work.order().wanted_point != *point => work.change_point(point),
        _ => work.carry_on(),
    })
}

pub(in crate::verbs) fn commit(asked: &OneServer, context: &Context) -> Ending {
    let opened = Opened::open(&asked.opening, context, asked.json)?;
    let server = opened.vault.session().server(&asked.server)?;
    let open = orders::open_of(&opened.vault, server, Kind::Failover)?.ok_or_else(|| {
        Error::misuse(format!("server {}", asked.server), "has no failover to commit")
            .remedy("lifeboat failover brings it up first")
    })?;
    let watch = |order: &Order| opened.teller.tell(order);
    let mut work = Work::take(opened.world(&watch), Name::Order(open.id), false)?;
    let done = work.commit();
    // Others may go on at once, whatever came of it.
    done.and_then(|()| tell(work.order(), asked.json))?;
    Ok(Outcome::Done)
}

/// The order that is meant: the one named, or the server's open one.
fn find(opened: &Opened, asked: &OrderOptions, kind: Kind) -> Result<Option<Name>, Error> {
    if asked.dry_run {
        // What is open stays as it is; it is told what a new order would be.
        return Ok(None);
    }
    if let Some(text) = &asked.resume {
        return orders::find_of(&opened.vault, text, kind).map(Some);
    }
    let name = asked.server.as_deref().unwrap_or_default();
    let server = opened.vault.session().server(name)?;
    Ok(orders::open_of(&opened.vault, server, kind)?.map(|order| Name::Order(order.id)))
}

enum Given {
    Order(Name),
    Estimate(Box<Estimate>),
}

fn give(
    opened: &Opened,
    asked: &OrderOptions,
    kind: Kind,
    point: &str,
    keeps: bool,
    context: &Context,
) -> Result<Given, Error> {
    let server_name = asked.server.clone().unwrap_or_default();
    let server = opened.vault.session().server(&server_name)?;
    let wanted = Wanted {
        server,
        server_name,
        kind,
        point: point.to_owned(),
        by: person(&context.machine.settings),
        at_millis: context.machine.clock.now().0,
        reads_first: !asked.fast,
        despite_obstacles: asked.despite_obstacles,
        keeps,
        shared: None,
    };
    let profile = orders::profile_for(&opened.vault, &wanted)?;
    let order = wanted.order(new_id(&context.machine)?, opened.vault_id.clone(), profile);
    if asked.dry_run {
        let estimate = estimated(opened, order, |before| before.here.is_none())?;
        return Ok(Given::Estimate(Box::new(estimate)));
    }
    orders::give(&opened.vault, &order).map(Given::Order)
}

/// What an order would make; the times are those of the last one that is like it.
pub(super) fn estimated(
    opened: &Opened,
    order: Order,
    is_like_it: impl Fn(&Order) -> bool,
) -> Result<Estimate, Error> {
    let target = target::load(&opened.vault, order.server)?;
    let (before, _) = orders::all(&opened.vault)?;
    let same = |before: &Order| before.server == order.server && before.kind == order.kind;
    let last = before.into_iter().find(|before| same(before) && is_like_it(before));
    estimate(opened.world(&|_| {}), order, &target, last.as_ref())
}

pub(super) fn carry_on(
    opened: &Opened,
    asked: &OrderOptions,
    name: Name,
    act: impl FnOnce(&mut Work<'_>) -> Result<(), Error>,
) -> Ending {
    let watch = |order: &Order| opened.teller.tell(order);
    let mut work = Work::take(opened.world(&watch), name, asked.take_over)?;
    let done = act(&mut work);
    let order = work.order();
    let written = write_page(asked.report.as_deref(), || page_of(order));
    // Of two failures the one of the server is told.
    done?;
    written?;
    tell(order, asked.json)?;
    if order.drilled() == Some(false) {
        let why = order.notes.iter().rev().map(|note| note.text.as_str());
        let why = why
            .into_iter()
            .find(|text| text.contains("did not come"))
            .unwrap_or("it did not come up");
        return Err(Failure::Failed(
            Error::refused(format!("drill of {}", order.server_name), why)
                .remedy("the report has the end of its console log"),
        ));
    }
    Ok(Outcome::Done)
}

fn tell(order: &Order, json: bool) -> Result<(), Error> {
    if json {
        return print_json(&report::order_facts(order));
    }
    let millis = |millis: u64| Span(core::time::Duration::from_millis(millis)).to_string();
    let rows: Vec<Vec<String>> = order
        .steps
        .iter()
        .filter(|record| record.tries > 0)
        .map(|record| vec![record.step.name().to_owned(), millis(record.took_millis)])
        .collect();
    let mut text = table(&["step", "took"], &[false, true], &rows);
    text += &match order.state {
        State::Drilled if order.here.is_some() && order.evidence.up == Some(true) => {
            let copies: Vec<&str> =
                order.here.iter().flat_map(|here| &here.copies).map(String::as_str).collect();
            let stays = match copies.is_empty() {
                true => String::new(),
                false => format!(" The point is in {}.", copies.join(", ")),
            };
            format!(
                "{} came up here in {}; nothing that it wrote is left.{stays}\n",
                order.server_name,
                millis(order.rto_millis())
            )
        }
        State::Drilled if order.evidence.up == Some(true) => {
            format!(
                "{} came up in {}; all that the drill made is taken away again.\n",
                order.server_name,
                millis(order.rto_millis())
            )
        }
        State::Open if order.keeps && order.evidence.up.is_some() => {
            format!("{} stays until: lifeboat cleanup --order {}\n", order.server_name, order.id)
        }
        State::Up => format!(
            "{name} came up in {} and runs in Azure at {}. lifeboat commit --server {name} keeps it, lifeboat failover \
             --server {name} --cancel takes it back.\n",
            millis(order.rto_millis()),
            order.evidence.address.as_deref().unwrap_or("an address that Azure gave"),
            name = order.server_name
        ),
        State::Committed => format!("The failover of {} is kept.\n", order.server_name),
        State::Cancelled => format!(
            "The {} of {} is taken back; nothing of it stays.\n",
            order.kind, order.server_name
        ),
        _ => format!("The {} of {} is over.\n", order.kind, order.server_name),
    };
    print(&text)
}

pub(super) fn tell_estimate(estimate: &Estimate, json: bool) -> Ending {
    if json {
        print_json(estimate)?;
        return Ok(Outcome::Done);
    }
    let makes = estimate.makes.iter();
    let makes: Vec<Vec<String>> = makes
        .map(|piece| vec![piece.what.to_owned(), piece.name.clone(), piece.detail.clone()])
        .collect();
    let mut text = format!(
        "A {} of {} to point {} of {} would make:\n",
        estimate.kind,
        estimate.server,
        estimate.point,
        Utc(estimate.point_millis)
    );
    text += &table(&["what", "name", "like"], &[false; 3], &makes);
    let steps: Vec<Vec<String>> = estimate
        .steps
        .iter()
        .map(|expected| {
            let time = Span(core::time::Duration::from_millis(expected.millis)).to_string();
            vec![expected.step.name().to_owned(), time, expected.from.to_owned()]
        })
        .collect();
    text += "\n";
    text += &table(&["step", "about", "by"], &[false, true, false], &steps);
    for note in estimate.seeds.iter().chain(&estimate.notes) {
        text += &format!("{note}\n");
    }
    let total = Span(core::time::Duration::from_millis(estimate.total_millis));
    text += &format!("In all about {total}. Nothing was made.\n");
    print(&text)?;
    Ok(Outcome::Done)
}
