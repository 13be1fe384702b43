//! Settings of the network that somebody at a browser changes: in force at once, kept only when the browser came back and says
//! so, taken back after a minute otherwise.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use firmware_web::api::setup::NetworkView;
use firmware_web::api::site::Answer;
use hal::net::config::Network as Page;

use super::{Source, TRIAL, form, keep, wanted};
use crate::appliance::Appliance;
use crate::setup::network::{Change, of_text, view as shown, with_link};
use crate::setup::refused;

const TITLE: &str = "the network";

/// What is tried now, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    page: Page,
    until: Instant,
}

/// The network as a page shows it.
pub(crate) fn view(appliance: &Appliance) -> NetworkView {
    let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (page, source) = wanted(appliance);
    let trial = trial(appliance);
    let left = trial.map(|trial| trial.until.saturating_duration_since(Instant::now()).as_secs());
    NetworkView { trial_seconds_left: left, ..shown(&state, &page, source.name()) }
}

/// Does what is asked for.
pub(crate) fn change(appliance: &Arc<Appliance>, change: &Change<'_>) -> Answer<NetworkView> {
    match change {
        Change::Keep => {}
        Change::Link(asked) => {
            let state = appliance.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
            attempt(appliance, with_link(form::whole(&wanted(appliance).0, &state), asked)?)?;
        }
        Change::Settings(text) => attempt(appliance, of_text(text)?)?,
        Change::Confirm => {
            let Some(trial) = trial(appliance) else {
                let late = refused::conflict(
                    TITLE,
                    "is not tried any more: what was there before is in force again",
                );
                return Err(refused::remedy(late, "try it again, and confirm within a minute"));
            };
            keep_it(appliance, Some(&trial.page))?;
            end(appliance);
        }
        Change::Forget => {
            end(appliance);
            keep_it(appliance, None)?;
        }
    }
    Ok(view(appliance))
}

fn trial(appliance: &Appliance) -> Option<Trial> {
    appliance.network_trial.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn keep_it(appliance: &Appliance, page: Option<&Page>) -> Answer<()> {
    let text = page.map(toml::to_string).transpose();
    let text =
        text.map_err(|error| refused::conflict(TITLE, format!("cannot be kept: {error}")))?;
    keep(appliance, text).map_err(|words| refused::conflict(TITLE, words))
}

/// In force from now on, for a minute.
fn attempt(appliance: &Arc<Appliance>, page: Page) -> Answer<()> {
    if wanted(appliance).1 == Source::Trial {
        return Err(refused::conflict(
            TITLE,
            "is being tried already: confirm that, or wait a minute",
        ));
    }
    let until = Instant::now() + TRIAL;
    let watch = {
        let appliance = Arc::clone(appliance);
        move || {
            while trial(&appliance).is_some_and(|trial| trial.until == until) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    log::info!("the network's settings are taken back: nobody confirmed them");
                    return end(&appliance);
                }
                if appliance.stop.rest(left.min(core::time::Duration::from_secs(1))) {
                    return;
                }
            }
        }
    };
    let set = |trial: Option<Trial>| {
        *appliance.network_trial.lock().unwrap_or_else(PoisonError::into_inner) = trial;
    };
    set(Some(Trial { page: page.clone(), until }));
    // Nothing is tried that nobody would take back.
    if let Err(error) = std::thread::Builder::new().name("network trial".to_owned()).spawn(watch) {
        set(None);
        return Err(refused::conflict(TITLE, format!("cannot be tried: {error}")));
    }
    *appliance.trial.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
    Ok(())
}

fn end(appliance: &Appliance) {
    *appliance.network_trial.lock().unwrap_or_else(PoisonError::into_inner) = None;
    *appliance.trial.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
