//! What stands behind the API of `serve`: the site, who may manage it, first run.

use std::path::Path;
use std::sync::Arc;

use pipeline_vault::Error;

use crate::admin::accounts::Accounts;
use crate::admin::audit::Room;
use crate::admin::keep::{FolderKeep, Keep};
use crate::alerts::service::{self, Service};
use crate::cli::Serve;
use crate::remote::run::Runner;
use crate::report::print;
use crate::serve::identity::Identity;
use crate::serve::listen::api::Api;
use crate::serve::replication::Seen;
use crate::setup::first_run::{FirstRun, Parts};
use crate::setup::ground::Administrators;
use crate::setup::in_use::InUse;
use crate::setup::program::Program;
use crate::site::LiveSite;
use crate::site::events::Events;
use crate::site::program::{self, Listening};
use crate::verbs::Context;

/// It, running.
pub(super) struct Behind {
    /// The API.
    pub(super) api: Arc<Api>,
    /// Who may manage it.
    pub(super) accounts: Arc<Accounts>,
    /// The site.
    pub(super) site: Arc<LiveSite>,
    /// Looks at the site until it is dropped.
    _alerts: Service,
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.site.end();
    }
}

/// What it is put together of.
pub(super) struct Around<'a> {
    /// The command line.
    pub(super) serve: &'a Serve,
    /// Clock, randomness, settings.
    pub(super) context: &'a Context,
    /// The folder of state.
    pub(super) folder: &'a Path,
    /// What the machine is called.
    pub(super) name: &'a str,
    /// Its certificates.
    pub(super) identity: &'a Arc<Identity>,
    /// The vault, once there is one.
    pub(super) in_use: &'a InUse,
    /// What agents do.
    pub(super) agents: &'a Seen,
    /// Where the page is, once it listens.
    pub(super) listening: &'a Listening,
}

/// Puts it together.
pub(super) fn open(around: &Around<'_>) -> Result<Behind, Error> {
    let machine = &around.context.machine;
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    let keep: Arc<dyn Keep> = Arc::new(FolderKeep::open(around.folder)?);
    let accounts = Accounts::new(Arc::clone(&keep), clock.clone(), entropy.clone(), Room::FOLDER);
    let accounts = Arc::new(accounts);
    let opening = around.serve.named.opening();
    let ground = Program::new(opening, machine, around.folder, around.in_use, Box::new(tell_code));
    let first_run = Arc::new(FirstRun::open(Parts {
        keep: Arc::clone(&keep),
        ground: Arc::new(ground),
        administrators: Arc::clone(&accounts) as Arc<dyn Administrators>,
        identity: Arc::clone(around.identity),
        clock: clock.clone(),
        entropy,
    })?);
    let events = Arc::new(Events::open(Arc::clone(&machine.clock), &*keep));
    let zone = Arc::clone(&first_run);
    let site = LiveSite::start(program::facts(
        around.serve,
        program::Parts {
            name: around.name,
            machine,
            in_use: around.in_use,
            agents: around.agents,
            identity: around.identity,
            keep: &keep,
            events: &events,
            listening: around.listening,
            zone_minutes: Arc::new(move || zone.zone_minutes()),
        },
    ))?;
    let parts = service::Parts {
        keep,
        machine: machine.clone(),
        name: around.name.to_owned(),
        in_use: around.in_use.clone(),
        events,
    };
    let alerts = Service::start(Arc::clone(&site) as Arc<_>, parts)?;
    let api = Api::new(Arc::clone(&site) as Arc<_>, Arc::clone(&accounts))
        .with_setup(first_run)
        .with_alarm(alerts.alerts())
        .with_measure(alerts.measure(&machine.clock))
        .with_verbs(Arc::new(verbs(around)));
    Ok(Behind { api: Arc::new(api), accounts, site, _alerts: alerts })
}

/// Verbs for command lines elsewhere: with all that this program was started with.
fn verbs(around: &Around<'_>) -> Runner {
    // What is no text is no setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (state, entropy) = (around.folder.to_path_buf(), &around.context.machine.entropy);
    let (in_use, scratch) = (around.in_use.clone(), state.clone());
    Runner::new(in_use, environment.collect(), Some(state), scratch, Arc::clone(entropy))
}

/// Whoever started the program may pair a browser with it.
fn tell_code(code: Option<&str>) {
    let Some(code) = code else { return };
    let told = print(&format!("Pairing code: {code}   for a browser that opens the page\n"));
    if let Err(error) = told {
        log::debug!("{error}");
    }
}
