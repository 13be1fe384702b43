//! `vault info`: what a vault holds and about what it costs.

use pipeline_vault::info::{Info, Prices, ServerInfo, collect};

use crate::cli;
use crate::report::{Ending, Outcome, Size, Utc, print, print_json, printable, table};
use crate::session::Session;
use crate::verbs::Context;

pub(super) fn run(info: cli::Info, context: &Context) -> Ending {
    let mut session = Session::open(&info.opening.opening(), &context.machine)?;
    session.vault()?;
    let servers: Vec<_> = session.servers().into_iter().map(|(name, id)| (id, name)).collect();
    let found = collect(&session.access(), &servers, &Prices::default())?;
    if info.json {
        print_json(&found)?;
    } else {
        print(&text(&found))?;
    }
    Ok(Outcome::Done)
}

fn text(info: &Info) -> String {
    let total = &info.total;
    let mut text = format!(
        "{} (vault {}): {} in {} objects\n\n",
        printable(&info.place),
        info.vault,
        Size(total.bytes),
        total.objects
    );
    let headings =
        ["SERVER", "POINTS", "NEWEST", "DISKS", "STORED", "OBJECTS", "COMPRESSION", "SAVING"];
    let right = [false, true, false, true, true, true, true, true];
    text += &table(&headings, &right, &info.servers.iter().map(row).collect::<Vec<_>>());
    for server in &info.servers {
        if let Some(trouble) = &server.trouble {
            text += &format!("damage: {}: {}\n", printable(&server.name), printable(trouble));
        }
    }
    if info.place.starts_with("azure:") {
        let cost = &info.cost;
        text += &format!(
            "\nAbout {:.2} {} a month: {:.2} for keeping it, {:.2} for writing as much as in the last 30 days;\n\
             {:.2} for the calls of reading all of it once. {}.\n",
            cost.month,
            cost.prices.currency,
            cost.storage_month,
            cost.writes_month,
            cost.read_all_once,
            cost.prices.source
        );
    }
    text
}

fn row(server: &ServerInfo) -> Vec<String> {
    let times =
        |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}"));
    vec![
        printable(&server.name),
        server.points.to_string(),
        server.newest_started.map_or_else(|| "-".to_owned(), |time| Utc(time).to_string()),
        Size(server.disk_bytes).to_string(),
        Size(server.stored.bytes).to_string(),
        server.stored.objects.to_string(),
        times(server.compression),
        times(server.saving),
    ]
}
