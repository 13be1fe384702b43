//! `verify`: everything in the vault is there and whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline_vault::Error;
use pipeline_vault::expect;
use pipeline_vault::record::KnownHead;
use pipeline_vault::verify::{self, Depth, Options, Report, ServerReport};
use serde::Serialize;

use crate::cli::Verify;
use crate::report::{Ending, Failure, Outcome, Size, Span, print, print_json, printable, table};
use crate::session::Session;
use crate::verbs::Context;

/// Problems that are listed; `--json` has them all.
const LISTED_MAX: usize = 50;

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// Names of servers by their identity.
    names: BTreeMap<String, String>,
}

pub(super) fn run(verify: &Verify, context: &Context) -> Ending {
    let mut session = Session::open(&verify.opening, &context.machine)?;
    let servers = session.servers();
    if let Some(expected) = &verify.expect_point {
        expect_somewhere(&mut session, expected)?;
    }
    let options = options(verify, &mut session, context)?;
    let ids: Vec<_> = servers.iter().map(|(_, id)| *id).collect();
    let (counters, painter) = context.progress("verify", verify.json);
    let report = verify::run(&session.access(), &ids, &options, &*counters);
    painter.finish(report.is_ok());
    let report = report?;
    let names: BTreeMap<String, String> =
        servers.into_iter().map(|(name, id)| (id.to_string(), name)).collect();
    if verify.json {
        print_json(&Answer { report: &report, names })?;
    } else {
        print(&text(&report, &names))?;
    }
    // What is whole now is what a later rollback is measured by.
    for (_, id) in session.servers() {
        if report.ok {
            session.chain(id)?;
        }
    }
    ending(&report)
}

fn expect_somewhere(session: &mut Session, expected: &str) -> Result<(), Error> {
    let mut answer =
        Err(Error::misuse(format!("point {expected}"), "is expected, but the vault has no server"));
    for (_, id) in session.servers() {
        let (view, _) = session.chain_leniently(id)?;
        answer = expect::point(&view, expected).map(drop);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

fn options(verify: &Verify, session: &mut Session, context: &Context) -> Result<Options, Error> {
    let known = session.known().map(|known| known.heads().to_vec()).unwrap_or_default();
    let depth = if verify.deep { Depth::Deep } else { Depth::Shallow };
    Ok(Options {
        heads: known.iter().map(KnownHead::from).collect(),
        troubles: session.vault()?.audit()?,
        stop: Arc::clone(&context.stop),
        ..Options::new(depth)
    })
}

fn text(report: &Report, names: &BTreeMap<String, String>) -> String {
    let headings =
        ["SERVER", "POINTS", "WHOLE", "RECORDS", "SEGMENTS", "SIZE", "PROVED", "ORPHANS"];
    let right = [false, true, true, true, true, true, true, true];
    let row = |server: &ServerReport| {
        vec![
            printable(names.get(&server.server).unwrap_or(&server.server)),
            server.points.to_string(),
            server.whole_points.to_string(),
            server.records.to_string(),
            server.segments.to_string(),
            Size(server.bytes).to_string(),
            Size(server.read_bytes).to_string(),
            server.orphans.objects.to_string(),
        ]
    };
    let mut text = table(&headings, &right, &report.servers.iter().map(row).collect::<Vec<_>>());
    for notice in report.all_notices().take(LISTED_MAX) {
        text += &format!("note: {}\n", printable(&notice.to_string()));
    }
    let problems = report.all_problems().count();
    for problem in report.all_problems().take(LISTED_MAX) {
        text += &format!("damage: {}\n", printable(&problem.to_string()));
    }
    if problems > LISTED_MAX {
        text += &format!("and {} more; --json lists them all\n", problems - LISTED_MAX);
    }
    if report.ok {
        let depth = if report.depth == "deep" {
            "every seal was opened"
        } else {
            "structure and presence; --deep opens every seal"
        };
        let took = Span(core::time::Duration::from_millis(report.took_millis));
        let size = Size(report.bytes);
        text += &format!("All is well ({depth}): {} objects, {size}, {took}.\n", report.objects);
    }
    text
}

fn ending(report: &Report) -> Ending {
    if report.ok {
        return Ok(Outcome::Done);
    }
    let problems = report.all_problems().count();
    let error = match report.all_problems().next() {
        Some(first) if problems == 1 => {
            Error::corrupt(first.object.clone(), first.what.clone()).remedy(first.remedy.clone())
        }
        Some(first) => {
            let what = format!("{problems} objects are damaged; the first: {}", first.what);
            Error::corrupt(first.object.clone(), what)
                .remedy("points that no damage touches restore as before; make a new point soon")
        }
        None => {
            Error::corrupt(report.place.clone(), "could not be read whole: objects are archived")
                .remedy("bring them back from the archive tier, then verify again")
        }
    };
    Err(Failure::Failed(error))
}
