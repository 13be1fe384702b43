//! `target`: where a server is recovered to.

use std::path::Path;

use firmware_recovery::profile::{Address, Profile, Signal};
use firmware_recovery::target;
use pipeline_azure::arm::id::GroupId;
use pipeline_azure::arm::role;
use pipeline_vault::Error;

use crate::cli::{AddressChoice, OneServer, TargetRole, TargetSet};
use crate::recovery::vault::Shared;
use crate::report::{Ending, Outcome, print, print_json};
use crate::session::Session;
use crate::verbs::Context;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A TOML file as a value.
pub(super) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| Error::misuse(name.clone(), format!("cannot be read: {error}"));
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Error::misuse(name, "is longer than 1 MiB, which no such file is"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text).map_err(|error| {
        Error::misuse(name, error.to_string().trim().replace('\n', " "))
            .remedy("--help shows what such a file holds")
    })
}

/// Prints the role for a person to give; nothing is asked and nothing opened.
pub(in crate::verbs) fn role(asked: &TargetRole) -> Ending {
    // A group's name stands in for the subscription's own check.
    let named = |group: &str| GroupId::new(&asked.subscription, group);
    named("any")?;
    let scopes: Vec<String> = if asked.group.is_empty() {
        vec![format!("/subscriptions/{}", asked.subscription)]
    } else {
        let groups: Result<Vec<_>, _> = asked.group.iter().map(|group| named(group)).collect();
        groups?.iter().map(ToString::to_string).collect()
    };
    print_json(&role::definition(&scopes))?;
    Ok(Outcome::Done)
}

pub(in crate::verbs) fn show(asked: &OneServer, context: &Context) -> Ending {
    let vault = Shared::new(Session::open(&asked.opening, &context.machine)?);
    let server = vault.session().server(&asked.server)?;
    let kept = target::load(&vault, server)?;
    let profile = kept.profile.as_ref().ok_or_else(|| {
        Error::misuse(format!("server {}", asked.server), "has no target profile").remedy(format!(
            "say where it is recovered to: lifeboat target set --server {} --file profile.toml",
            asked.server
        ))
    })?;
    tell(profile, asked.json)
}

pub(in crate::verbs) fn set(asked: &TargetSet, context: &Context) -> Ending {
    let vault = Shared::new(Session::open(&asked.opening, &context.machine)?);
    let server = vault.session().server(&asked.server)?;
    let before = match &asked.file {
        Some(file) => Some(read_toml(file)?),
        None => target::load(&vault, server)?.profile,
    };
    let profile = changed(before, asked)?;
    target::set_profile(&vault, server, &asked.server, &profile)?;
    tell(&profile, asked.json)
}

/// A profile with what the options say.
fn changed(before: Option<Profile>, asked: &TargetSet) -> Result<Profile, Error> {
    let needs = |text: &Option<String>, option: &str| {
        text.clone().ok_or_else(|| {
            Error::misuse(format!("server {}", asked.server), format!("has no target profile, and {option} is not given"))
                .remedy("give --file, or --subscription, --location, --group, --network, --subnet and --size")
        })
    };
    let mut profile = match before {
        Some(profile) => profile,
        None => serde_json::from_value(serde_json::json!({
            "subscription": needs(&asked.subscription, "--subscription")?,
            "location": needs(&asked.location, "--location")?,
            "group": needs(&asked.group, "--group")?,
            "network": needs(&asked.network, "--network")?,
            "subnet": needs(&asked.subnet, "--subnet")?,
            "sizes": asked.size,
        }))
        .map_err(|error| Error::misuse("target profile", error.to_string()))?,
    };
    let places = [
        (&asked.subscription, &mut profile.subscription),
        (&asked.location, &mut profile.location),
        (&asked.group, &mut profile.group),
        (&asked.network, &mut profile.network),
        (&asked.subnet, &mut profile.subnet),
    ];
    for (given, place) in places {
        if let Some(given) = given {
            place.clone_from(given);
        }
    }
    match asked.address {
        Some(AddressChoice::Dynamic) => profile.address = Address::Dynamic,
        Some(AddressChoice::Retained) => profile.address = Address::Retained(None),
        Some(AddressChoice::Given(address)) => profile.address = Address::Given(address),
        None => {}
    }
    if let Some(zone) = &asked.zone {
        profile.zone = Some(zone.clone()).filter(|zone| zone != "none");
    }
    if !asked.size.is_empty() {
        profile.sizes.clone_from(&asked.size);
    }
    if !asked.console.is_empty() {
        profile.signals = asked.console.iter().cloned().map(Signal::Console).collect();
    }
    Ok(profile)
}

fn tell(profile: &Profile, json: bool) -> Ending {
    if json {
        print_json(profile)?;
    } else {
        let text = toml::to_string_pretty(profile)
            .map_err(|error| Error::misuse("target profile", error.to_string()))?;
        print(&text)?;
    }
    Ok(Outcome::Done)
}
