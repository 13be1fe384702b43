//! `files`: which files a server has otherwise at one point than at another.

use pipeline_vault::Error;
use pipeline_vault::chain::Link;
use pipeline_vault::points::ChainView;
use serde::Serialize;

use crate::cli::{self, PointChoice};
use crate::files::blocks::Blocks;
use crate::files::{Care, Difference, differences};
use crate::guest_disks::{each_file_system, numbered_disks};
use crate::report::{Ending, Outcome, Size, print, print_json, printable};
use crate::session::Session;
use crate::verbs::Context;

/// Files that are listed; beyond that they are counted.
const LISTED_MAX: usize = 100_000;

/// A file as JSON.
#[derive(Serialize)]
struct File {
    file_system: String,
    path: String,
    became: &'static str,
    bytes_before: Option<u64>,
    bytes_after: Option<u64>,
}

/// The answer as JSON.
#[derive(Serialize)]
struct Answer {
    server: String,
    from: String,
    to: String,
    files: Vec<File>,
    not_listed: u64,
    not_compared: Vec<String>,
    /// Files that were taken for unchanged by their size and time alone.
    by_times: u64,
}

pub(super) fn run(asked: &cli::Files, context: &Context) -> Ending {
    let mut session = Session::open(&asked.opening, &context.machine)?;
    let server = session.server(&asked.server)?;
    let view = session.chain(server)?;
    let from = match &asked.from {
        Some(point) => chosen(&view, point)?,
        None => view.points().next().ok_or_else(|| nothing(&asked.server))?,
    };
    let to = chosen(&view, &asked.to)?;
    let care = if asked.content { Care::Content } else { Care::Times };
    let mut answer = Answer {
        server: asked.server.clone(),
        from: id(from),
        to: id(to),
        files: Vec::new(),
        not_listed: 0,
        not_compared: Vec::new(),
        by_times: 0,
    };
    let blocks = Blocks::between(&session, &view, [from, to])?;
    let before = numbered_disks(&session, &view, (from, to))?;
    let after = numbered_disks(&session, &view, (to, to))?;
    each_file_system(&before, &after, &mut |name, both| {
        let both = match both {
            Ok(both) => both,
            Err(words) => {
                answer.not_compared.push(format!("{name} {words}"));
                return Ok(());
            }
        };
        let are_same = |path: &str| blocks.are_same(&both, path);
        let by_times = differences(&both.trees, care, &are_same, &mut |one| answer.take(name, one))
            .map_err(|error| Error::device(format!("file system {name}"), error.to_string()))?;
        answer.by_times += by_times;
        Ok(())
    })?;
    if asked.json {
        print_json(&answer)?;
    } else {
        print(&text(&answer))?;
    }
    Ok(Outcome::Done)
}

fn chosen<'a>(view: &'a ChainView, point: &PointChoice) -> Result<&'a Link, Error> {
    match point {
        PointChoice::Latest => view.find("latest"),
        PointChoice::Id(id) => view.find(id),
    }
}

fn id(link: &Link) -> String {
    link.record.point().map(|point| point.id.to_string()).unwrap_or_default()
}

fn nothing(server: &str) -> Error {
    Error::misuse(format!("server {server}"), "has no recovery point yet")
        .remedy("protect it first")
}

impl Answer {
    fn take(&mut self, file_system: &str, one: Difference) {
        if self.files.len() >= LISTED_MAX {
            self.not_listed += 1;
            return;
        }
        let [bytes_before, bytes_after] = one.bytes;
        self.files.push(File {
            file_system: file_system.to_owned(),
            path: one.path,
            became: one.became.word(),
            bytes_before,
            bytes_after,
        });
    }
}

fn text(answer: &Answer) -> String {
    let size =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string());
    let mut text = String::new();
    for file in &answer.files {
        let (before, after) = (size(file.bytes_before), size(file.bytes_after));
        let path = printable(&file.path);
        text += &format!("{:8} {}:/{path} ({before} > {after})\n", file.became, file.file_system);
    }
    if answer.files.is_empty() {
        text += "no file differs\n";
    }
    if answer.not_listed > 0 {
        text += &format!("and {} more\n", answer.not_listed);
    }
    if answer.by_times > 0 {
        text += &format!(
            "{} files were taken for unchanged by their size and time alone, as it is not known in which blocks they lie: --content reads them\n",
            answer.by_times
        );
    }
    for words in &answer.not_compared {
        text += &format!("not compared: {}\n", printable(words));
    }
    text
}
