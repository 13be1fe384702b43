//! `cleanup`: open orders, and what is in Azure of them.

use firmware_recovery::order::orders;
use firmware_recovery::order::run::Work;
use firmware_recovery::order::sweep::{self, Belongs, Swept};
use firmware_recovery::order::{Order, State};
use serde::Serialize;

use super::Opened;
use crate::cli::Cleanup;
use crate::report::{Ending, Outcome, print, print_json, table};
use crate::verbs::Context;

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    orders: Vec<Listed>,
    #[serde(flatten)]
    swept: Swept,
    removed: Vec<String>,
}

/// An order that is not over.
#[derive(Serialize)]
struct Listed {
    order: String,
    server: String,
    kind: String,
    state: State,
    step: Option<&'static str>,
    by: String,
    trouble: Option<String>,
}

impl From<&Order> for Listed {
    fn from(order: &Order) -> Self {
        Self {
            order: order.id.to_string(),
            server: order.server_name.clone(),
            kind: order.kind.to_string(),
            state: order.state,
            step: order.next_step().map(firmware_recovery::order::Step::name),
            by: order.ordered_by.clone(),
            trouble: order.trouble.clone(),
        }
    }
}

pub(in crate::verbs) fn run(asked: &Cleanup, context: &Context) -> Ending {
    let opened = Opened::open(&asked.opening, context, asked.json)?;
    let watch = |order: &Order| opened.teller.tell(order);
    let world = opened.world(&watch);
    let mut removed = Vec::new();
    if let Some(text) = &asked.order {
        let name = orders::find(&opened.vault, text)?;
        let mut work = Work::take(world, name, asked.take_over)?;
        let made = work.order().made.iter().map(ToString::to_string).collect();
        let kept_drill = work.order().keeps
            && work.order().state == State::Open
            && work.order().evidence.up.is_some();
        if kept_drill {
            work.end_drill()?
        } else {
            work.cancel()?
        }
        removed = made;
    }
    let mut swept = sweep::look(world, &opened.vault_id)?;
    let (known, _) = orders::all(&opened.vault)?;
    if asked.orphans
        && let Some(order) = known.first()
    {
        removed.extend(sweep::clear(world, &swept.found, order)?);
        swept = sweep::look(world, &opened.vault_id)?;
    }
    let open: Vec<Listed> =
        known.iter().filter(|order| !order.is_over()).map(Listed::from).collect();
    let answer = Answer { orders: open, swept, removed };
    if asked.json {
        print_json(&answer)?;
    } else {
        print(&words(&answer))?;
    }
    Ok(Outcome::Done)
}

fn words(answer: &Answer) -> String {
    let mut text = String::new();
    if answer.orders.is_empty() {
        text += "No order is open.\n";
    } else {
        let rows: Vec<Vec<String>> = answer
            .orders
            .iter()
            .map(|one| {
                vec![
                    one.order.clone(),
                    one.kind.clone(),
                    one.server.clone(),
                    one.step.unwrap_or("up").to_owned(),
                    one.by.clone(),
                ]
            })
            .collect();
        text += &table(&["order", "kind", "server", "at", "by"], &[false; 5], &rows);
    }
    let rows: Vec<Vec<String>> = answer
        .swept
        .found
        .iter()
        .map(|tagged| {
            let whose = match tagged.belongs {
                Belongs::Needed => "needed",
                Belongs::Orphan => "orphan",
                Belongs::Unknown => "unknown",
            };
            vec![whose.to_owned(), tagged.order.clone(), tagged.id.clone()]
        })
        .collect();
    if answer.swept.asked.is_empty() {
        text += "Azure was not asked: no order and no target profile names a subscription.\n";
    } else if rows.is_empty() {
        text += "Nothing in Azure carries this vault's tag.\n";
    } else {
        text += &table(&["whose", "order", "resource"], &[false; 3], &rows);
    }
    for gone in &answer.removed {
        text += &format!("taken away: {gone}\n");
    }
    text
}
