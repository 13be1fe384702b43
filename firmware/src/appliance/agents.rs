//! Replication as a service of the role *appliance*: what agents send goes into the spool, and out of it into the vault.
//!
//! It runs wherever a vault is named, and is begun anew where the vault's credentials, the spool or the way out changed. It
//! never opens a disk itself: the spool is lent to it, and without one a ring in memory is used, which keeps nothing.

use core::cell::Cell;
use core::fmt::Display;
use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpListener;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_io::Timer;
use hal::time::Clock;
use hal_linux::SystemClock;
use image_layout::command_line::Role;

use super::board::{Answer, Kind, Question};
use super::vault_place::{VaultPlace, Wanted};
use super::{Appliance, figures, page, roles, spool};
use crate::enrol::Grant;
use crate::enrol::issue::{self, issue};
use crate::ingest::budget::Budget;
use crate::ingest::roll::Listed;
use crate::ingest::roll::kept::KeptRoll;
use crate::ingest::roll::registrar::{Addresses, Registrar};
use crate::report::Span;
use crate::seeds;
use crate::serve::replication::{self, Run, Seen};
use crate::spool::Usage;
use crate::spool::memory::MemoryRing;
use crate::spool::records::Records;

use standing::{Figures, Standing};

/// A token's line in rows.
mod rows;
/// How replication stands.
mod standing;

/// Where agents connect.
pub(crate) const PORT: u16 = 9443;
/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_millis(500);
/// A disk that was given to the spool, and is not there, is waited for so long: what it holds is older than what comes now.
const DISK_PATIENCE: Duration = Duration::from_secs(20);
/// How long a token is good, and how long it stays on the console.
const TOKEN_SECONDS: u64 = 3600;
const TOKEN_SHOWN: Duration = Duration::from_secs(600);

/// Replication, as others of this machine see it.
#[derive(Default)]
pub(crate) struct Agents {
    seen: Seen,
    standing: Mutex<Standing>,
}

impl Agents {
    /// How it fares while it runs.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What puts servers on the roll, who are told to connect to these addresses.
    pub(crate) fn registrar(&self, addresses: Addresses) -> Registrar {
        self.seen.registrar(addresses, Arc::new(SystemClock))
    }

    /// How full the ring is that is in use.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.seen.view().map(|view| view.usage())
    }

    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes agents until the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Ok(());
    }
    while !appliance.stop.asked() {
        let wanted = Wanted::of(appliance);
        if !wanted.is_complete() {
            tell(appliance, Standing::NoVault);
            // Somebody may name one at the page.
            appliance.stop.rest(LOOK);
            continue;
        }
        // What failed stays in sight until it is mended.
        if !matches!(appliance.agents.standing(), Standing::Failed(_)) {
            tell(appliance, Standing::Begins);
        }
        run(appliance, &wanted)
            .inspect_err(|words| tell(appliance, Standing::Failed(words.clone())))?;
    }
    Ok(())
}

/// One run, with the vault and the spool as they are now. It ends in good order where one of them changed.
fn run(appliance: &Appliance, wanted: &Wanted) -> Result<(), String> {
    let place = VaultPlace::prepare(appliance, wanted)?;
    let Some(roll) = open(appliance, &place)? else { return Ok(()) };
    await_spool(appliance);
    if appliance.stop.asked() {
        return Ok(());
    }
    let budget = Budget::of_machine(figures::memory_bytes());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (address, host) = (address()?, host(appliance)?);
    let (records, loan): (Box<dyn Records>, _) = match appliance.spool.lend() {
        Some((spool, loan)) => (Box::new(spool), Some(loan)),
        None => {
            // The console says so as long as it is so.
            log::info!("replication: no spool: nothing is acknowledged before the vault has it");
            (Box::new(MemoryRing::new(budget.ring)), None)
        }
    };
    let on_disk = loan.is_some();
    let listens = Cell::new(false);
    let listening = |address: SocketAddr| {
        log::info!("agents connect to port {}", address.port());
        listens.set(true);
    };
    let over = async {
        loop {
            if listens.get()
                && let Some(view) = appliance.agents.seen.view()
            {
                tell(appliance, Standing::Taken(Figures::of(&view, on_disk)));
            }
            let sight = Sight {
                stopping: appliance.stop.asked(),
                on_disk,
                recalled: appliance.spool.is_recalled(),
                spool_free: appliance.spool.is_free(),
                settings_changed: !place.is_current(appliance, wanted),
            };
            if let Some(why) = sight.ends() {
                log::info!("replication ends: {why}");
                return;
            }
            Timer::after(LOOK).await;
        }
    };
    let run = Run { roll, address, host, budget, clock, starter: page::KEEPER };
    let (end, seeds_end) = smol::channel::bounded(1);
    let (opening, machine) = place.opening();
    let ended = std::thread::scope(|scope| {
        // Beside it, what is in the vault by then follows in Azure, of servers whose profile wants that.
        scope.spawn(|| seeds::keep::keep(&opening, &machine, &seeds_end));
        let ended = run.go(records, &appliance.agents.seen, listening, over);
        end.close();
        ended
    });
    // Only now is nothing of the spool in use any more.
    drop(loan);
    ended.map_err(|error| error.to_string())
}

/// What may end a run in good order.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    /// The machine goes down.
    stopping: bool,
    /// It has the spool's disk, not the ring in memory.
    on_disk: bool,
    /// The spool is wanted back.
    recalled: bool,
    /// There is a spool that nobody has.
    spool_free: bool,
    /// Credentials or proxies are others now.
    settings_changed: bool,
}

impl Sight {
    fn ends(self) -> Option<&'static str> {
        if self.stopping {
            Some("the machine goes down")
        } else if self.on_disk && self.recalled {
            Some("the spool's disk is gone, or another one")
        } else if !self.on_disk && self.spool_free {
            Some("there is a disk for the spool now")
        } else if self.settings_changed {
            Some("the way to the vault is another now")
        } else {
            None
        }
    }
}

/// Opens the vault on a thread of its own: a store may take minutes to say that it is not there, and the machine may have to
/// go down meanwhile. `None` where it does.
fn open(appliance: &Appliance, place: &VaultPlace) -> Result<Option<Arc<KeptRoll>>, String> {
    let (opening, machine) = place.opening();
    let (tell, told) = channel();
    let open = move || drop(tell.send(replication::open(&opening, &machine)));
    std::thread::Builder::new()
        .name("vault".to_owned())
        .spawn(open)
        .map_err(|error| format!("the vault cannot be opened: {error}"))?;
    loop {
        match told.recv_timeout(LOOK) {
            Ok(opened) => return opened.map(Some).map_err(|error| error.to_string()),
            Err(RecvTimeoutError::Timeout) if appliance.stop.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the vault's opening came to a bad end".to_owned());
            }
        }
    }
}

/// Waits for the disk that was given to the spool, so long at most.
fn await_spool(appliance: &Appliance) {
    let began = Instant::now();
    while waits(
        appliance.spool.was_looked_for(),
        appliance.spool.is_free(),
        spool::is_given(appliance),
        began.elapsed(),
    ) {
        if appliance.stop.rest(LOOK) {
            return;
        }
    }
}

/// Whether a run waits for its spool: until somebody looked for it, and a while for one that is to be there.
fn waits(looked: bool, free: bool, given: bool, waited: Duration) -> bool {
    !free && (given || !looked) && waited < DISK_PATIENCE
}

/// On both kinds of addresses, or on the one kind that this kernel has.
fn address() -> Result<SocketAddr, String> {
    let mut last = String::new();
    for address in page::EVERYWHERE {
        match TcpListener::bind(SocketAddr::new(address, 0)) {
            Ok(_) => return Ok(SocketAddr::new(address, PORT)),
            Err(error) => last = format!("no agent can connect: {error}"),
        }
    }
    Err(last)
}

/// Who writes into the vault: the same at each start, and no other machine, as long as the state partition remembers it.
fn host(appliance: &Appliance) -> Result<String, String> {
    let name = appliance.settings.get().and_then(|settings| settings.name.clone());
    let name = name.unwrap_or_else(|| "lifeboat".to_owned());
    Ok(format!("{name} {}", page::identity(appliance)?.fingerprint()))
}

/// Says how replication stands where that changed: on the console each figure, to machines who is there.
fn tell(appliance: &Appliance, standing: Standing) {
    let before = {
        let mut told = appliance.agents.standing.lock().unwrap_or_else(PoisonError::into_inner);
        core::mem::replace(&mut *told, standing.clone())
    };
    let words = standing.words();
    appliance.board.update(|view| view.agents.clone_from(&words));
    if standing.is_like(&before) {
        return;
    }
    let figures = standing.figures();
    let oldest = figures.oldest_seconds.map_or_else(String::new, |seconds| seconds.to_string());
    let pairs: [(&str, &dyn Display); 7] = [
        ("state", &standing.word()),
        ("connected", &figures.connected),
        ("servers", &figures.servers),
        ("backlog", &figures.backlog_bytes),
        ("oldest", &oldest),
        ("spool", &standing.spool()),
        ("words", &words),
    ];
    appliance.events.say("agents", &pairs);
}

/// Makes a token for a person at the console, and shows the line that uses it.
pub(crate) fn let_in(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Err("only the role appliance lets servers in".to_owned());
    }
    // Only the roll is kept: the rest of a view would keep the spool.
    let Some(roll) = appliance.agents.seen.view().map(|view| view.roll()) else {
        let standing = appliance.agents.standing().words();
        return Err(format!("no server can be let in now: {standing}"));
    };
    let advertised = page::advertised(appliance);
    let addresses = page::reached_at(&appliance.network, &advertised, page::PORT);
    if addresses.is_empty() {
        return Err("no server can be let in now: this machine has no address yet".to_owned());
    }
    let Some(again) = ask_whom(appliance, &roll)? else { return Ok(()) };
    let identity = page::identity(appliance)?;
    let now = SystemClock.now().0 / 1000;
    let wanted =
        issue::Wanted { addresses, now, ends_at: now + TOKEN_SECONDS, again, readmit: true };
    let issued = issue(&roll, &identity, &wanted).map_err(|error| error.to_string())?;
    let good = Span(Duration::from_secs(TOKEN_SECONDS));
    let mut words = vec![format!("Good for one server, within {good}."), String::new()];
    words.extend(rows::in_rows(&issued.line, rows::COLUMNS));
    let title = "Run this on the server, as it stands, on as many rows:".to_owned();
    let kind = Kind::Choice(vec!["done".to_owned()]);
    appliance.board.ask_within(Question { title, words, kind }, TOKEN_SHOWN);
    Ok(())
}

/// Whom a token is for: a new server, or one that is on the roll and enrols anew. The outer `None` where the person goes back.
fn ask_whom(appliance: &Appliance, roll: &KeptRoll) -> Result<Option<Option<Grant>>, String> {
    let listed = roll.roll();
    let servers = &listed.servers;
    if servers.is_empty() {
        return Ok(Some(None));
    }
    let mut choices = vec!["a new server, which is called what it calls itself".to_owned()];
    // Who stands at the console may let in whom he chooses; he is told whom somebody turned away.
    let choice = |listed: &Listed| {
        let revoked = if listed.revoked { ", although it was revoked" } else { "" };
        format!("{}, enrolled anew{revoked}", listed.name)
    };
    choices.extend(servers.iter().map(choice));
    let title = "Which server is let in?".to_owned();
    let asked = Question { title, words: Vec::new(), kind: Kind::Choice(choices) };
    Ok(match appliance.board.ask(asked) {
        Answer::Chosen(0) => Some(None),
        Answer::Chosen(place) => servers
            .get(place - 1)
            .map(|listed| Some(Grant { server: listed.server, name: listed.name.clone() })),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_for_a_reason_only() {
        let ends = |sight: Sight| sight.ends().is_some();
        let disk = Sight { on_disk: true, ..Sight::default() };
        let ring = Sight::default();
        assert!(!ends(disk) && !ends(ring));
        assert!(ends(Sight { stopping: true, ..disk }) && ends(Sight { stopping: true, ..ring }));
        assert!(ends(Sight { recalled: true, ..disk }), "somebody wants the spool back");
        assert!(!ends(Sight { recalled: true, ..ring }), "that is somebody else's");
        assert!(ends(Sight { spool_free: true, ..ring }), "a disk is better than memory");
        assert!(ends(Sight { settings_changed: true, ..ring }));
    }

    #[test]
    fn a_given_disk_is_waited_for_a_while_and_no_other() {
        let soon = Duration::from_secs(1);
        assert!(waits(false, false, false, soon), "nobody has looked for it yet");
        assert!(!waits(true, false, false, soon), "there is none");
        assert!(waits(true, false, true, soon), "it may still come");
        assert!(!waits(true, true, true, soon), "it is there");
        assert!(!waits(true, false, true, DISK_PATIENCE), "nothing waits for it for ever");
    }
}
