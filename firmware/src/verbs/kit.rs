//! `vault kit`: the page that starts a recovery.

use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::kit::{self, KitHead};

use crate::cli::Kit;
use crate::report::{Ending, Outcome, print};
use crate::session::{Session, passphrase};
use crate::verbs::Context;

pub(super) fn run(asked: Kit, context: &Context) -> Ending {
    let opening = asked.opening.opening();
    let mut session = Session::open(&opening, &context.machine)?;
    let words = passphrase(opening.passphrase_file.as_deref(), &context.machine.settings)?;
    let words = words.as_ref().map(|words| words.as_str());
    let key = match asked.with_key {
        true => Some(KeyFile::read(&opening.key_file)?.open(words)?),
        false => None,
    };
    let vault = session.vault()?.id();
    let mut heads = Vec::new();
    for (name, server) in session.servers() {
        let view = session.chain(server)?;
        if let Some(point) = view.points().next_back().and_then(|link| link.record.point()) {
            let name = asked.with_names.then_some(name);
            heads.push(KitHead { server, name, point: point.id, time: point.started });
        }
    }
    let page = kit::Kit {
        place: &opening.vault.to_string(),
        vault,
        key: key.as_ref(),
        heads: &heads,
        made: context.machine.clock.now().0,
    };
    let text = if asked.html { page.html() } else { page.text() };
    match &asked.out {
        Some(path) => {
            KeyFile::write(path, &text)?;
            print(&format!(
                "The recovery kit is in {}: print it, keep it off site, delete the file.\n",
                path.display()
            ))?;
        }
        None => print(&text)?,
    }
    Ok(Outcome::Done)
}
