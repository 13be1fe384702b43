//! `vault ticket`: a key for one server and point only.

use pipeline_vault::keys::ticket::Ticket;
use pipeline_vault::tickets::{Request, fill};

use crate::cli;
use crate::report::{Ending, Outcome, print};
use crate::session::Session;
use crate::verbs::Context;
use crate::verbs::choose::find_point;

pub(super) fn run(asked: cli::Ticket, context: &Context) -> Ending {
    let opening = asked.opening.opening();
    let mut session = Session::open(&opening, &context.machine)?;
    session.vault()?;
    let server = session.server(&asked.server)?;
    let view = session.chain(server)?;
    let point = find_point(&view, &asked.point, &asked.server)?;
    let expires = asked.expires.map(|time| {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        context.machine.clock.now().0.saturating_add(millis)
    });
    let place = opening.vault.to_string();
    let request = Request { place: &place, server_name: &asked.server, expires };
    let ticket = fill(&session.access(), &view, point, &request)?;
    let text = ticket.text(None, &*context.machine.entropy)?;
    match &asked.out {
        Some(path) => {
            Ticket::write(path, &text)?;
            print(&format!(
                "The ticket for {} and point {} is in {}. It opens nothing else; prune may remove the point.\n",
                asked.server,
                ticket.point,
                path.display()
            ))?;
        }
        None => print(&text)?,
    }
    Ok(Outcome::Done)
}
