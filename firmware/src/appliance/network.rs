//! The machine's network as a service: what a person typed at the console, or the page of `lifeboat.toml`, or DHCP on every
//! link; its state on the board.
//!
//! Name servers and the host table go to where /etc leads, as the verbs look for them there.

use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use form::{Form, Turn};
use hal::net::config::{Checked, Network as Page};
use hal::time::{Clock, Entropy};
use hal_linux::{LinuxStack, SystemClock, SystemEntropy};
use pipeline_azure::address::AzureAddress;

use super::board::{Answer, Kind, Question};
use super::{Appliance, mounts, page};
use crate::net::apart::Apart;
use crate::net::machine::Machine;
use crate::net::names::Files;
use crate::net::path::Target;
use crate::net::proxies::environment;
use crate::net::service::{Keeper, Network};
use crate::net::state::{LinkState, State};

/// Where the verbs look for name servers and the host table.
const FILES: &str = mounts::NAMES;
/// What links of several parts need.
const MODULES: [&str; 2] = ["8021q", "bonding"];

/// How long typed settings are in force before somebody confirms them.
const TRIAL: Duration = Duration::from_secs(60);
/// How soon after a change a person is told what came of it.
const SETTLING: Duration = Duration::from_secs(4);

/// Network settings as a person types them.
mod form;
/// Network settings that a browser changes.
pub(crate) mod trial;

/// Who said how the network is to be. What a person typed last counts most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody: DHCP on every link.
    Default,
    /// `lifeboat.toml`.
    File,
    /// A person at the console, and it is remembered.
    Console,
    /// A person at the console, who has not confirmed it.
    Trial,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Console => "console",
            Self::Trial => "trial",
        }
    }

    /// The end of the sentence «these settings are».
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Default => "nobody's: every link asks by DHCP",
            Self::File => "those of lifeboat.toml on the medium",
            Self::Console => "those typed at this console, which count more than lifeboat.toml",
            Self::Trial => "on trial",
        }
    }
}

/// Brings links up and keeps them so; ends when the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let files = Files::new(Path::new(FILES)).map_err(|error| error.to_string())?;
    let mut used = wanted(appliance);
    let first = prepare(appliance, &files, &used);
    let stack = LinuxStack::open().map_err(|error| error.to_string())?;
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed).map_err(|error| error.to_string())?;
    let machine = Machine::new(first, &host_name(appliance), u64::from_le_bytes(seed));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keeper = Keeper::new(stack, Apart::new(page::KEEPER), machine, Some(files.clone()));
    let network = Network::start(keeper, clock).map_err(|error| error.to_string())?;
    let mut seen = 0;
    while !appliance.stop.asked() {
        let now = wanted(appliance);
        let changed = now != used;
        if changed {
            network.configure(prepare(appliance, &files, &now));
            used = now;
        }
        let (version, state) = network.state_after(seen, Duration::from_millis(500));
        if version != seen || changed {
            seen = version;
            show(appliance, state, used.1);
        }
    }
    network.stop();
    Ok(())
}

/// The network as it is to be, and who says so.
fn wanted(appliance: &Appliance) -> (Page, Source) {
    let trial = appliance.trial.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let kept = appliance.memory.kept().network.clone();
    let file = appliance.settings.get().and_then(|settings| settings.network.clone());
    choose(trial, kept.as_deref(), file)
}

/// The page that counts. What was kept by another version and cannot be read any more counts for nothing.
fn choose(trial: Option<Page>, kept: Option<&str>, file: Option<Page>) -> (Page, Source) {
    if let Some(page) = trial {
        return (page, Source::Trial);
    }
    let kept = kept.and_then(|text| toml::from_str::<Page>(text).ok());
    if let Some(page) = kept.filter(|page| page.clone().check().is_ok()) {
        return (page, Source::Console);
    }
    file.map_or_else(|| (Page::default(), Source::Default), |page| (page, Source::File))
}

/// Makes everything ready for a page. One that does not hold together is told and not used: DHCP on every link leaves a way to
/// reach the machine, and a person at the console can set it right.
fn prepare(appliance: &Appliance, files: &Files, (page, source): &(Page, Source)) -> Checked {
    if let (Some(loader), false) = (appliance.loader.get(), page.links.is_empty()) {
        for module in MODULES {
            // What the page does not use is not missed; what it does is told by the link.
            let _ = loader.need(module);
        }
    }
    let checked = page.clone().check().unwrap_or_else(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        log::error!(
            "the network's settings, {}, do not hold together: {}; every link asks by DHCP instead",
            source.words(),
            told.join("; ")
        );
        Checked::default()
    });
    log::info!("the network's settings are {}", source.words());
    if let Err(error) = files.write_hosts(&checked) {
        log::error!("{error}");
    }
    checked
}

fn host_name(appliance: &Appliance) -> String {
    let name = appliance.settings.get().and_then(|settings| settings.name.clone());
    name.unwrap_or_else(|| "lifeboat".to_owned())
}

fn show(appliance: &Appliance, state: State, source: Source) {
    let lines: Vec<String> = state.links.iter().map(LinkState::line).collect();
    let (online, addresses) = (state.online, lines.join("; "));
    let dns = state.dns.join(" ");
    let from = source.name();
    appliance.events.say(
        "network",
        &[("online", &online), ("links", &addresses), ("dns", &dns), ("from", &from)],
    );
    *appliance.network.lock().unwrap_or_else(PoisonError::into_inner) = state;
    appliance.board.update(|view| view.addresses = lines);
    // Cables and speeds changed too, of which the kernel sends no device message.
    super::devices::show(appliance);
}

/// What a job that talks to this vault has to know of proxies, as its environment.
pub(crate) fn proxies(
    appliance: &Appliance,
    vault: &AzureAddress,
) -> Result<Vec<(String, String)>, String> {
    let targets = Target::of_vault(vault);
    let hosts: Vec<&str> = targets.iter().map(|target| target.origin.authority.as_str()).collect();
    environment(&wanted(appliance).0.proxies, &hosts)
        .map_err(|error| format!("the network's proxies: {error}"))
}

/// What a job that talks to this host alone gets as its environment.
pub(crate) fn proxies_to(
    appliance: &Appliance,
    host: &str,
) -> Result<Vec<(String, String)>, String> {
    environment(&wanted(appliance).0.proxies, &[host])
        .map_err(|error| format!("the network's proxies: {error}"))
}

/// Waits until a link has an address that reaches further than its cable, so long at most; whether one has.
pub(crate) fn wait_online(appliance: &Appliance, patience: Duration) -> bool {
    let until = std::time::Instant::now() + patience;
    loop {
        let online = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).online;
        let late = std::time::Instant::now() >= until;
        if online || late || appliance.stop.rest(Duration::from_millis(200)) {
            return online;
        }
    }
}

/// Settings as a person types them at the console: asked for, tried, and kept where they are confirmed.
pub(crate) fn settings(appliance: &Appliance) -> Result<(), String> {
    let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (page, source) = wanted(appliance);
    let mut form = Form::new(&page, source, &state);
    loop {
        match form.take(appliance.board.ask(form.question())) {
            Turn::Ask => {}
            Turn::Leave => return Ok(()),
            Turn::Forget => return keep(appliance, None),
            Turn::Try(page) => return attempt(appliance, *page),
        }
    }
}

/// Uses settings for as long as a person needs to see what comes of them, and keeps them where they are confirmed.
fn attempt(appliance: &Appliance, page: Page) -> Result<(), String> {
    let text = toml::to_string(&page)
        .map_err(|error| format!("these settings cannot be kept: {error}"))?;
    let set = |trial: Option<Page>| {
        *appliance.trial.lock().unwrap_or_else(PoisonError::into_inner) = trial;
    };
    set(Some(page));
    appliance.stop.rest(SETTLING);
    let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let warning = "Without an answer they are taken back in a minute.".to_owned();
    let words = state.links.iter().map(LinkState::line).chain([warning]).collect();
    let kind = Kind::Choice(["keep them", "take them back"].map(str::to_owned).into());
    let title = "They are in use. Keep these settings?".to_owned();
    let answer = appliance.board.ask_within(Question { title, words, kind }, TRIAL);
    let kept = match answer {
        Answer::Chosen(0) => keep(appliance, Some(text)),
        _ => {
            log::info!("the network's settings are taken back");
            Ok(())
        }
    };
    set(None);
    kept
}

/// Remembers what was typed, or forgets it.
fn keep(appliance: &Appliance, text: Option<String>) -> Result<(), String> {
    let kept = appliance.memory.change(|memory| memory.network = text);
    kept.map_err(|error| {
        format!("the network's settings hold until the next start and are not kept: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_last_counts_most() {
        let page = |server: &str| Page { dns: vec![server.parse().unwrap()], ..Page::default() };
        let (trial, file) = (page("10.0.0.1"), page("10.0.0.3"));
        let kept = "dns = [\"10.0.0.2\"]\n";
        let all = choose(Some(trial.clone()), Some(kept), Some(file.clone()));
        assert_eq!(all, (trial, Source::Trial));
        assert_eq!(
            choose(None, Some(kept), Some(file.clone())),
            (page("10.0.0.2"), Source::Console)
        );
        assert_eq!(choose(None, None, Some(file.clone())), (file.clone(), Source::File));
        assert_eq!(choose(None, None, None), (Page::default(), Source::Default));
        for lost in ["", "dns = 5", "[[link]]\nname = \"a\"", "unknown = 1"] {
            let expected = match lost {
                "" => (Page::default(), Source::Console),
                _ => (file.clone(), Source::File),
            };
            assert_eq!(choose(None, Some(lost), Some(file.clone())), expected, "{lost}");
        }
    }
}
