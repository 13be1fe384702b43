//! As whom this machine's disks go through an appliance: a token becomes an enrolment, which is remembered on the medium
//! that was booted.
//!
//! One medium may be carried from machine to machine, so each machine's enrolment is remembered with what that machine is
//! known by. The key is remembered before the token is shown: a power cut in between uses no token up for nothing.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hal::inventory::DiskFacts;
use pipeline_agent::binding::of_machine;
use pipeline_agent::enrol::{self, Facts};
use pipeline_agent::state::{Enrolment, State};
use pipeline_wire::binding::judge;
use pipeline_wire::enrol::Token;
use pipeline_wire::message::{Binding, DiskHello};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::memory::{FileLimits, read_files};
use super::vault_place::KNOWN_FOLDER;
use super::{Appliance, network};
use crate::child::Verb;
use crate::disk_facts::identity;

/// Where jobs find it, in memory.
const FOLDER: &str = "/run/enrolment";
/// A switch may take half a minute until it lets a link speak, and DHCP some more.
const ONLINE_PATIENCE: Duration = Duration::from_secs(90);
/// Machines that are remembered; of more, the one that was enrolled first is forgotten.
const MACHINES_MAX: usize = 32;
/// Files of one enrolment.
const FILES: FileLimits = FileLimits { files: 4, bytes: 16 * 1024, all_bytes: 32 * 1024 };
/// Bytes of all machines' files together: what else is remembered must fit beside them.
const ALL_BYTES_MAX: usize = 96 * 1024;

/// One machine's enrolment as it is remembered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    binding: Binding,
    /// The files of its folder, keys among them.
    files: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.files.values_mut().for_each(Zeroize::zeroize);
    }
}

/// What lets this machine in.
pub(crate) struct Ticket {
    /// A token; without one, what is remembered of this machine.
    pub(crate) token: Option<String>,
    /// What the machine is to be called, unless the token says so.
    pub(crate) name: String,
}

/// This machine as a server of an appliance.
pub(crate) struct Enrolled {
    /// Its name there.
    pub(crate) name: String,
    /// Where appliances are, for people.
    pub(crate) shown: String,
    binding: Binding,
}

/// Whether a text is a whole token, and not the address of a vault.
pub(crate) fn is_token(text: &str) -> bool {
    text.parse::<Token>().is_ok()
}

/// As whom this machine is remembered, and where; nothing where it is not.
pub(crate) fn remembered(appliance: &Appliance, disks: &[DiskFacts]) -> Option<(String, String)> {
    lay_out(appliance, &binding(disks)).ok()?;
    let enrolment = State::at(FOLDER).enrolment().ok().flatten()?;
    let shown = shown(&enrolment);
    Some((enrolment.name, shown))
}

impl Enrolled {
    /// Makes it ready: enrolled where it was not, and laid out where jobs find it.
    pub(crate) fn prepare(
        appliance: &Appliance,
        ticket: &Ticket,
        disks: &[DiskFacts],
    ) -> Result<Self, String> {
        let binding = binding(disks);
        lay_out(appliance, &binding)?;
        if !network::wait_online(appliance, ONLINE_PATIENCE) {
            return Err("no network: no link has an address yet; check the cable, or whether there is DHCP, or set addresses in lifeboat.toml".to_owned());
        }
        let state = State::at(FOLDER);
        let enrolment = match &ticket.token {
            Some(token) => {
                let said =
                    |error: enrol::NotEnrolled| format!("this machine is not enrolled: {error}");
                enrol::prepare(&state, token).map_err(said)?;
                keep(appliance, &binding);
                let facts = facts(&ticket.name, &binding, disks);
                let enrolled = enrol::enrol_once(&state, token, facts).map_err(said)?;
                keep(appliance, &binding);
                enrolled
            }
            None => state.enrolment()?.ok_or("this machine is not enrolled at an appliance")?,
        };
        Ok(Self { shown: shown(&enrolment), name: enrolment.name.clone(), binding })
    }

    /// Sends these disks.
    pub(crate) fn verb(&self, disks: &[DiskFacts]) -> Verb {
        let mut words: Vec<OsString> = ["send", "--enrolment", FOLDER].map(OsString::from).to_vec();
        words.extend(disks.iter().map(|disk| OsString::from(&disk.path)));
        let environment = vec![("LIFEBOAT_STATE".to_owned(), KNOWN_FOLDER.to_owned())];
        Verb { words, environment, program: None }
    }

    /// After a job: it may have been given another certificate.
    pub(crate) fn keep(&self, appliance: &Appliance) {
        keep(appliance, &self.binding);
    }
}

fn shown(enrolment: &Enrolment) -> String {
    format!("the appliance at {}", enrolment.addresses.join(", "))
}

fn binding(disks: &[DiskFacts]) -> Binding {
    let identities: Vec<String> = disks.iter().map(identity).collect();
    of_machine(Path::new("/"), identities.iter().map(String::as_str))
}

fn facts(name: &str, binding: &Binding, disks: &[DiskFacts]) -> Facts {
    let hello = |disk: &DiskFacts| DiskHello {
        name: disk.kernel_name().to_owned(),
        identity: identity(disk),
        bytes: disk.geometry.bytes,
        sector_bytes: disk.geometry.logical_sector_bytes,
    };
    Facts {
        binding: binding.clone(),
        host: name.to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        disks: disks.iter().map(hello).collect(),
    }
}

/// Puts what is remembered of this machine where jobs find it, and nothing else.
fn lay_out(appliance: &Appliance, binding: &Binding) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{FOLDER}: {error}");
    let folder = Path::new(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, bytes) in of(&appliance.memory.kept().enrolments, binding) {
        fs::write(folder.join(name), bytes).map_err(failed)?;
    }
    Ok(())
}

/// The files of the machine that is known by this.
fn of<'a>(kept: &'a [Kept], binding: &Binding) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
    let newest = kept.iter().rfind(|kept| !judge(&kept.binding, binding).is_copy());
    newest.into_iter().flat_map(|kept| &kept.files)
}

/// Remembers what jobs and enrolment left in the folder. A medium that takes no writes costs the memory only.
fn keep(appliance: &Appliance, binding: &Binding) {
    let files = read_files(Path::new(FOLDER), FILES);
    if let Err(words) = appliance.memory.change(|kept| note(&mut kept.enrolments, binding, files)) {
        log::warn!("{words}; after a restart this machine needs another token");
        appliance.board.update(|view| view.state = format!("not kept: {words}"));
    }
}

fn note(kept: &mut Vec<Kept>, binding: &Binding, files: BTreeMap<String, Vec<u8>>) {
    let same = kept.iter().rposition(|kept| !judge(&kept.binding, binding).is_copy());
    let fresh = Kept { binding: binding.clone(), files };
    match same.and_then(|place| kept.get_mut(place)) {
        Some(place) => *place = fresh,
        None => kept.push(fresh),
    }
    let bytes = |kept: &Kept| kept.files.values().map(Vec::len).sum::<usize>();
    while kept.len() > MACHINES_MAX || kept.iter().map(bytes).sum::<usize>() > ALL_BYTES_MAX {
        kept.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(board: &str, disk: &str) -> Binding {
        Binding::of([board], [disk])
    }

    fn files(content: &[u8]) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("enrolment".to_owned(), content.to_vec())])
    }

    fn found(kept: &[Kept], binding: &Binding) -> Option<Vec<u8>> {
        of(kept, binding).map(|(_, bytes)| bytes.clone()).next()
    }

    #[test]
    fn each_machine_that_a_medium_was_carried_to_finds_its_own_enrolment() {
        let (one, two) = (binding("B5TM633", "S1"), binding("C7QQ910", "S2"));
        let mut kept = Vec::new();
        note(&mut kept, &one, files(b"one"));
        assert_eq!(found(&kept, &two), None, "a machine that was never enrolled");
        note(&mut kept, &two, files(b"two"));
        assert_eq!(found(&kept, &one), Some(b"one".to_vec()));
        assert_eq!(found(&kept, &two), Some(b"two".to_vec()));
        // A disk more is the same machine, and is remembered as it is now.
        let more = Binding::of(["B5TM633"], ["S1", "S9"]);
        note(&mut kept, &more, files(b"renewed"));
        assert_eq!(kept.len(), 2);
        assert_eq!(found(&kept, &Binding::of(["B5TM633"], ["S9"])), Some(b"renewed".to_vec()));
        assert!(!format!("{kept:?}").contains("renewed"));
    }

    #[test]
    fn of_too_many_machines_the_first_is_forgotten() {
        let mut kept = Vec::new();
        for number in 0..=MACHINES_MAX {
            note(&mut kept, &binding(&format!("board-{number}"), "S"), files(&[1]));
        }
        assert_eq!(kept.len(), MACHINES_MAX);
        assert_eq!(found(&kept, &binding("board-0", "S")), None);
        assert!(found(&kept, &binding("board-1", "S")).is_some());
        for number in 0..9 {
            note(&mut kept, &binding(&format!("large-{number}"), "S"), files(&[1; 16 * 1024]));
        }
        assert_eq!(kept.len(), 6, "as many as have room");
        assert!(found(&kept, &binding("large-8", "S")).is_some());
    }

    #[test]
    fn a_token_is_told_from_the_address_of_a_vault() {
        let token = Token::generate(vec!["192.0.2.1:443".to_owned()], [7; 32], 9).unwrap();
        assert!(is_token(&token.to_string()) && is_token(&format!(" {token}\n").to_lowercase()));
        let text = token.to_string();
        for other in ["azure://account/container", "disk:backups/site", "", &text[1..]] {
            assert!(!is_token(other), "{other}");
        }
    }
}
