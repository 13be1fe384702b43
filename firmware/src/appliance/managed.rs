//! The API behind the page of the role *appliance*: the site, who may manage it, first run.

use std::sync::{Arc, PoisonError};

use hal::time::Clock;
use hal_linux::SystemClock;

use super::update::Updater;
use super::{Appliance, page, vault_place};
use crate::admin::keep::Keep;
use crate::alerts::service::{self, Service};
use crate::remote::run::Runner;
use crate::serve::listen::Names;
use crate::serve::listen::api::Api;
use crate::session::Machine;
use crate::setup::first_run::FirstRun;
use crate::setup::network;
use crate::site::LiveSite;
use crate::site::events::Events;
use crate::site::facts::Facts;

/// Tells how warm SATA disks are; no device asks for it.
const SATA_TEMPERATURE: &str = "drivetemp";

/// It, running.
pub(crate) struct Managed {
    api: Arc<Api>,
    names: Names,
    site: Arc<LiveSite>,
    /// Looks at the site for as long as the machine runs.
    _alerts: Service,
}

impl Managed {
    /// The API.
    pub(super) fn api(&self) -> Arc<Api> {
        Arc::clone(&self.api)
    }

    /// What a browser may call the machine.
    pub(super) fn names(&self) -> Names {
        Arc::clone(&self.names)
    }
}

/// Begins it, once, before any service runs.
pub(super) fn begin(appliance: &Arc<Appliance>, first_run: &Arc<FirstRun>) -> Result<(), String> {
    let accounts = appliance.accounts.get().ok_or("nobody may manage this machine")?;
    if let Some(loader) = appliance.loader.get() {
        loader.wish(SATA_TEMPERATURE);
    }
    let facts = facts(appliance, first_run)?;
    let (name, identity) = (facts.name.clone(), Arc::clone(&facts.identity));
    let alerts = service::Parts {
        keep: Arc::clone(&facts.keep),
        machine: facts.machine.clone(),
        name: name.clone(),
        vault: Arc::clone(&facts.vault),
        events: Arc::clone(&facts.events),
    };
    // Files of verbs are in memory, as everything but the state partition is.
    let (vault, entropy) = (Arc::clone(&facts.vault), Arc::clone(&facts.machine.entropy));
    let verbs = Runner::new(vault, Vec::new(), None, "/run".into(), entropy);
    let site = LiveSite::start(facts).map_err(|error| error.to_string())?;
    let alerts =
        Service::start(Arc::clone(&site) as Arc<_>, alerts).map_err(|error| error.to_string())?;
    let api = Api::new(Arc::clone(&site) as Arc<_>, Arc::clone(accounts))
        .with_setup(Arc::clone(first_run) as Arc<_>)
        .with_alarm(alerts.alerts())
        .with_measure(alerts.measure(&(Arc::new(SystemClock) as Arc<dyn Clock>)))
        .with_verbs(Arc::new(verbs));
    let api = Arc::new(api);
    let accounts = Arc::clone(accounts);
    let names: Names = Arc::new(move |asked| {
        let own = || identity.own().is_some_and(|own| own.is_for(asked));
        asked.eq_ignore_ascii_case(&name) || own() || accounts.is_host(asked)
    });
    // Whoever was first is the one: it is begun once.
    let _ = appliance.managed.set(Managed { api, names, site, _alerts: alerts });
    Ok(())
}

/// The machine goes down: jobs are stopped, and what was measured is kept.
pub(super) fn end(appliance: &Appliance) {
    if let Some(managed) = appliance.managed.get() {
        managed.site.end();
    }
}

fn facts(appliance: &Arc<Appliance>, first_run: &Arc<FirstRun>) -> Result<Facts, String> {
    let keep = Arc::clone(&appliance.memory) as Arc<dyn Keep>;
    let events = Events::open(Arc::new(SystemClock), &*keep);
    let name = appliance.settings.get().and_then(|settings| settings.name.clone());
    // Each closure lives as long as the machine does.
    let here = || Arc::clone(appliance);
    let (vault, pages, links, spool, used) = (here(), here(), here(), here(), here());
    let (ailing, zone) = (here(), Arc::clone(first_run));
    Ok(Facts {
        name: name.unwrap_or_else(|| "lifeboat".to_owned()),
        role: "appliance",
        machine: Machine::with_table(Vec::new()),
        vault: Arc::new(move || {
            vault.vaulted.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }),
        agents: appliance.agents.seen().clone(),
        takes_agents: true,
        identity: page::identity(appliance)?,
        pages: Arc::new(move || {
            page::reached_at(&pages.network, &page::advertised(&pages), page::PORT)
        }),
        links: Arc::new(move || {
            let network = links.network.lock().unwrap_or_else(PoisonError::into_inner);
            network.links.iter().map(network::link).collect()
        }),
        spool: Arc::new(move || spool.board.view().spool),
        used: Arc::new(move |disk| used_for(&used, disk)),
        troubles: Arc::new(move || troubles(&ailing)),
        zone_minutes: Arc::new(move || zone.zone_minutes()),
        keep,
        events: Arc::new(events),
        updates: Some(Arc::new(Updater(here()))),
        program: None,
    })
}

/// What the machine misses: a medium that takes no state, a disk of the spool that is not here.
fn troubles(appliance: &Appliance) -> Vec<(String, String)> {
    let medium = appliance.medium().disk().unwrap_or("medium").to_owned();
    let state = appliance.memory.trouble().map(|words| (medium, words));
    let spool = appliance.board.view().spool_trouble.map(|words| ("spool".to_owned(), words));
    state.into_iter().chain(spool).collect()
}

/// What a disk is used for, by the kernel's name of it. Which one is the spool is told by the spool's own words.
fn used_for(appliance: &Appliance, disk: &str) -> &'static str {
    if appliance.medium().disk() == Some(disk) {
        "medium"
    } else if vault_place::disk().as_deref() == Some(disk) {
        "vault"
    } else {
        ""
    }
}
