//! The way to a place for a vault, walked live and told step by step: clock, name, route, TLS, container, permissions, speed.
//!
//! Nothing of it stays behind: what is written is deleted, and where the credential may not delete, only a block is put that
//! no object ever names. A container that is not there is not made: a name that was just deleted cannot be used for a while.

use core::time::Duration;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use firmware_web::api::setup::{TestRow, VaultTest};
use firmware_web::api::site::Answer;
use pipeline_azure::address::AzureAddress;
use pipeline_azure::credentials::Credentials;
use pipeline_azure::retry::RetryPolicy;
use pipeline_azure::store::{AzureOptions, AzureStore};
use pipeline_azure::transport::TransportOptions;
use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use pipeline_vault::store::BlobStore;
use pipeline_vault::store::directory::DirectoryStore;

use super::credential::Credential;
use super::ground::Ground;
use super::refused;
use crate::net::path::{Report, Target, Tester};
use crate::net::speed;
use crate::report::Size;
use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// What one host may take for each step.
const PATIENCE: Duration = Duration::from_secs(10);
/// A person waits for the answer: what fails is told, not tried for minutes.
pub(super) const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    total: Duration::from_secs(20),
    first_wait: Duration::from_millis(250),
    wait_max: Duration::from_secs(2),
};
/// Four of them go up and down at once.
const SPEED_OBJECT_BYTES: usize = 1024 * 1024;
/// Slower than this, a first copy takes longer than anybody thinks.
const SLOW_BYTES_PER_SECOND: u64 = 1_000_000;
/// What makes a place a vault.
const MARKER: &str = "vault";

/// A store to be asked things by a person who waits.
pub(super) enum Place {
    Folder(PathBuf, Arc<DirectoryStore>),
    Azure(Arc<AzureStore>),
}

impl Place {
    /// Opens it; nothing is sent yet.
    pub(super) fn open(uri: &VaultUri, machine: &Machine) -> Result<Self, Error> {
        Ok(match uri {
            VaultUri::Directory(path) => {
                let store = DirectoryStore::new(path, Arc::clone(&machine.clock));
                Self::Folder(path.clone(), Arc::new(store))
            }
            VaultUri::Azure(address) => {
                let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
                let (credentials, address) = Credentials::from_lookup(address, &lookup)?;
                let transport = TransportOptions::from_lookup(&lookup)?;
                let options = AzureOptions { transport, retry: RETRY, ..AzureOptions::default() };
                Self::Azure(Arc::new(AzureStore::open(&address, credentials, options)?))
            }
        })
    }

    pub(super) fn store(&self) -> Arc<dyn BlobStore> {
        match self {
            Self::Folder(_, store) => Arc::clone(store) as Arc<dyn BlobStore>,
            Self::Azure(store) => Arc::clone(store) as Arc<dyn BlobStore>,
        }
    }
}

/// Walks the way.
pub(super) fn walk(
    ground: &dyn Ground,
    uri: &VaultUri,
    credential: &Credential,
    machine: &Machine,
) -> Answer<VaultTest> {
    let mut rows = Rows::default();
    if let VaultUri::Azure(address) = uri {
        if let Err(words) = ground.clock() {
            let remedy = "set date and time in the firmware's settings, or name a time server";
            rows.bad("clock", "this machine", words, remedy);
            return Ok(rows.told("unknown"));
        }
        walk_to_hosts(address, credential, machine, &mut rows)?;
        if !rows.good {
            return Ok(rows.told("unknown"));
        }
    }
    let place =
        Place::open(uri, machine).map_err(|error| refused::of(error, "/credential/value"))?;
    let holds = match &place {
        Place::Azure(store) => inside_azure(store, machine, &mut rows),
        Place::Folder(folder, store) => inside_folder(folder, store, machine, &mut rows),
    };
    Ok(rows.told(holds))
}

/// The rows as they come.
struct Rows {
    rows: Vec<TestRow>,
    good: bool,
}

impl Default for Rows {
    fn default() -> Self {
        Self { rows: Vec::new(), good: true }
    }
}

impl Rows {
    fn row(
        &mut self,
        step: &str,
        object: &str,
        standing: &str,
        verdict: impl Into<String>,
    ) -> &mut TestRow {
        self.rows.push(TestRow {
            step: step.to_owned(),
            object: object.to_owned(),
            standing: standing.to_owned(),
            verdict: verdict.into(),
            ..TestRow::default()
        });
        self.rows.last_mut().expect("it was pushed a moment ago")
    }

    fn good(&mut self, step: &str, object: &str, verdict: impl Into<String>) -> &mut TestRow {
        self.row(step, object, "good", verdict)
    }

    fn warn(&mut self, step: &str, object: &str, verdict: impl Into<String>, remedy: &str) {
        remedy.clone_into(&mut self.row(step, object, "warning", verdict).remedy);
    }

    fn bad(&mut self, step: &str, object: &str, verdict: impl Into<String>, remedy: &str) {
        self.good = false;
        remedy.clone_into(&mut self.row(step, object, "bad", verdict).remedy);
    }

    fn failed(&mut self, step: &str, error: &Error) {
        self.bad(step, &error.object, error.what.clone(), &error.remedy);
    }

    /// One step that is right where this comes to be.
    fn step<T>(
        &mut self,
        step: &str,
        object: &str,
        verdict: &str,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Option<T> {
        let began = Instant::now();
        match act() {
            Ok(made) => {
                self.good(step, object, verdict).took_millis = Some(millis(began));
                Some(made)
            }
            Err(error) => {
                self.failed(step, &error);
                None
            }
        }
    }

    fn told(self, holds: &str) -> VaultTest {
        VaultTest { good: self.good, rows: self.rows, holds: holds.to_owned() }
    }
}

/// Names, routes and certificates of the hosts that this vault needs.
fn walk_to_hosts(
    address: &AzureAddress,
    credential: &Credential,
    machine: &Machine,
    rows: &mut Rows,
) -> Answer<()> {
    let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
    let tester =
        TransportOptions::from_lookup(&lookup).and_then(|options| Tester::new(&options, PATIENCE));
    let mut tester = tester.map_err(refused::plain)?;
    for target in Target::of_vault(address) {
        let wanted = target.purpose == "blob"
            || (target.purpose == "login"
                && credential.is_application()
                && lookup("AZURE_AUTHORITY_HOST").is_none());
        if wanted {
            tell_host(&tester.test(&target), target.origin.https, rows);
        }
    }
    Ok(())
}

/// One host in rows, as far as the way led.
fn tell_host(report: &Report, https: bool, rows: &mut Rows) {
    let host = format!("{}:{}", report.host, report.port);
    let fails =
        |rows: &mut Rows, step: &str| rows.bad(step, &host, report.verdict.clone(), &report.remedy);
    if report.addresses.is_empty() {
        return fails(rows, "name");
    }
    let all: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let kind = match (&report.proxy, report.private) {
        (Some(proxy), _) => format!("the proxy {proxy} is at"),
        (None, true) => "private:".to_owned(),
        (None, false) => "public:".to_owned(),
    };
    rows.good("name", &host, format!("{kind} {}", all.join(" "))).took_millis = report.name_millis;
    let Some(connected) = report.connected else { return fails(rows, "route") };
    let link = report.link.as_deref().map(|link| format!(" on {link}")).unwrap_or_default();
    let via = report.via.map(|via| format!(" by {via}")).unwrap_or_default();
    let verdict = format!("{connected} takes the connection{link}{via}");
    rows.good("route", &host, verdict).took_millis = report.connect_millis;
    match (report.good, https) {
        (false, _) => fails(rows, "tls"),
        (true, false) => rows.warn("tls", &host, "no TLS: for a test on this machine only", ""),
        (true, true) => {
            let issuer = report.issuer.as_deref().unwrap_or("somebody who is trusted");
            let verdict = format!("signed by {issuer}; {}", report.verdict);
            rows.good("tls", &host, verdict).took_millis = report.tls_millis;
        }
    }
}

/// What may be done in a container. What it holds.
fn inside_azure(store: &Arc<AzureStore>, machine: &Machine, rows: &mut Rows) -> &'static str {
    let place = store.place();
    let listed = match store.list("", None, 2) {
        Ok(listed) => listed.objects,
        // Only a container that is not there is told so.
        Err(error) if error.blame == Blame::Misuse && error.what == "does not exist" => {
            rows.warn(
                "container",
                &place,
                "is not there: it is made with the vault, and what may be done in it is seen then",
                "make it before, to have it tested here",
            );
            return "nothing";
        }
        Err(error) => {
            rows.failed("list", &error);
            return "unknown";
        }
    };
    rows.good("list", &place, "may be listed");
    let holds = match store.facts(MARKER) {
        Ok(Some(_)) => "vault",
        _ if listed.is_empty() => "nothing",
        _ => "other",
    };
    tell_content(&place, holds, rows);
    let Ok(bodies) = speed::bodies(&*machine.entropy, SPEED_OBJECT_BYTES) else { return holds };
    let Some((name, _)) = bodies.first() else { return holds };
    // Somebody who may not read is told so of an object that is not there too.
    match store.facts(name) {
        Ok(_) => {
            rows.good("read", &place, "may be read");
        }
        Err(error) => rows.failed("read", &error),
    }
    let deletes =
        store.delete(core::slice::from_ref(name)).into_iter().all(|answer| answer.is_ok());
    if deletes {
        let written = rows.step("create", &place, "objects may be made", || {
            speed::measure(&**store, &*machine.entropy, SPEED_OBJECT_BYTES)
        });
        rows.good("delete", &place, "objects may be deleted: pruning works from here");
        if let Some(measured) = written {
            tell_speed(
                &place,
                measured.upload_bytes_per_second,
                Some(measured.download_bytes_per_second),
                rows,
            );
        }
    } else {
        let began = rows.step("create", &place, "objects may be made", || {
            speed::timed(&bodies, |name, body| store.try_create(name, body))
        });
        rows.good(
            "delete",
            &place,
            "objects may not be deleted, which is enough: prune with another identity",
        );
        if let Some(rate) = began {
            tell_speed(&place, rate, None, rows);
        }
    }
    holds
}

/// What may be done in a folder. Whatever folders came to be go again.
fn inside_folder(
    folder: &Path,
    store: &Arc<DirectoryStore>,
    machine: &Machine,
    rows: &mut Rows,
) -> &'static str {
    let place = store.place();
    let before = Before::of(folder);
    let prepared = store.prepare();
    let holds = match (store.facts(MARKER), store.list("", None, 1)) {
        (Ok(Some(_)), _) => "vault",
        (_, Ok(listed)) if prepared.is_ok() && listed.objects.is_empty() => "nothing",
        _ if before.names.is_empty() => "unknown",
        _ => "other",
    };
    match prepared {
        Err(error) => rows.failed("container", &error),
        Ok(()) => tell_content(&place, holds, rows),
    }
    if rows.good {
        let measured = rows.step("create", &place, "objects may be made, read and deleted", || {
            speed::measure(&**store, &*machine.entropy, SPEED_OBJECT_BYTES)
        });
        if let Some(measured) = measured {
            let down = Some(measured.download_bytes_per_second);
            tell_speed(&place, measured.upload_bytes_per_second, down, rows);
        }
    }
    before.restore(folder);
    holds
}

fn tell_content(place: &str, holds: &str, rows: &mut Rows) {
    match holds {
        "vault" => {
            rows.good("container", place, "holds a vault: adopt it with its recovery key");
        }
        "other" => rows.bad(
            "container",
            place,
            "holds other things, and is no vault",
            "name an empty place or a new one",
        ),
        _ => {
            rows.good("container", place, "is empty");
        }
    }
}

fn tell_speed(place: &str, up: u64, down: Option<u64>, rows: &mut Rows) {
    let down = match down {
        Some(down) => format!("{} a second down", Size(down)),
        None => "down not measured, since nothing may be deleted".to_owned(),
    };
    let verdict = format!("{} a second up, {down}", Size(up));
    if up < SLOW_BYTES_PER_SECOND {
        rows.warn(
            "speed",
            place,
            verdict,
            "a first copy of a TiB takes more than eleven days at this rate",
        );
    } else {
        rows.good("speed", place, verdict);
    }
}

/// What there was before the test.
struct Before {
    names: Vec<OsString>,
    was_there: bool,
}

impl Before {
    fn of(folder: &Path) -> Self {
        Self { names: names(folder), was_there: folder.exists() }
    }

    /// Removes empty folders that came to be, and nothing else: a folder with something in it cannot be removed so.
    fn restore(&self, folder: &Path) {
        for name in names(folder).iter().filter(|name| !self.names.contains(name)) {
            let _ = std::fs::remove_dir(folder.join(name));
        }
        if !self.was_there {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn names(folder: &Path) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name()).collect()
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
