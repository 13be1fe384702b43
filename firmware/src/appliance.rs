//! The program as the first process of a machine that runs nothing else: it starts the machine, keeps its services running,
//! and takes it down in order.
//!
//! Nothing here ends the process: a panic is a failure of one phase or service, and the worst end is a machine that stays
//! up and says why. It starts no other program than itself.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use hal::net::config::Network as NetworkPage;
use hal::time::Clock;
use hal_linux::SystemClock;
use image_layout::command_line::CommandLine;
use image_layout::configuration::Configuration;

use board::Board;
use console::Console;
use console::dialogue::Wish;
use events::Events;
use medium::Medium;
use memory::Memory;
use modules::Loader;
use orders::{Ending, Inbox, Order, Orders};
use phases::{Around, Step, Verdict};
use power_button::Buttons;
use supervise::{Service, Stop};
use uevents::Uevents;
use watchdog::Pulse;

pub use clock::sntp;

use crate::admin::accounts::Accounts;
use crate::chip::Signed;
use crate::courier;
use crate::net::state::State;
use crate::serve::identity::Identity;
use crate::serve::watch::Watched;
use crate::setup::first_run::FirstRun;
use crate::site::facts::Vaulted;

/// Replication.
mod agents;
/// What the console shows and asks.
mod board;
/// The phases of the boot.
mod boot;
/// The role *capture*.
mod capture;
/// The wall clock.
pub(crate) mod clock;
/// Screen and serial line.
mod console;
/// What a crashed kernel left behind.
mod crash;
/// Devices as they come and go.
mod devices;
/// As whom this machine's disks go through an appliance.
mod enrolment;
/// Lines for machines.
mod events;
/// What a test has the machine do.
mod exercise;
/// What the machine uses of itself.
pub(crate) mod figures;
/// First run.
mod first_run;
/// What is said, and where to.
mod journal;
/// What opens what is remembered.
mod keyring;
/// The API behind the page.
mod managed;
/// What was booted from.
mod medium;
/// What is remembered across restarts.
mod memory;
/// Drivers.
mod modules;
/// What is mounted where.
mod mounts;
/// The network as a service.
mod network;
/// Orders to the first process.
mod orders;
/// The machine's page.
mod page;
/// Boot as data.
mod phases;
/// The power button.
mod power_button;
/// Children and orphans.
pub(crate) mod processes;
/// The role *recover*.
mod recover;
/// What the machine is to be.
mod roles;
/// What vouches for the system.
mod secure_boot;
/// Ctrl-Alt-Del and its relatives.
mod signals;
/// The disk for what the vault does not have yet.
mod spool;
/// Services that are kept running.
pub(crate) mod supervise;
/// The kernel's switches.
mod sysctls;
/// A new version proves itself, or the machine goes back.
mod trial;
/// What the kernel says of devices.
mod uevents;
/// New versions: where they are found, and how they are put in.
mod update;
/// Where the vault is, and what opens it.
mod vault_place;
/// The hardware watchdog.
mod watchdog;

/// What services may take to end in order.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);
/// How often the first process looks around when nobody orders anything.
const TICK: Duration = Duration::from_secs(1);

/// Everything that phases and services share.
pub(crate) struct Appliance {
    /// How mounting went, before anything else could be told.
    mounted: Result<String, String>,
    line: CommandLine,
    events: Events,
    board: Arc<Board>,
    console: Console,
    orders: Orders,
    stop: Arc<Stop>,
    loader: OnceLock<Loader>,
    uevents: OnceLock<Uevents>,
    /// What was booted from; the same stick may come back under another name.
    medium: Mutex<Arc<Medium>>,
    settings: OnceLock<Configuration<NetworkPage>>,
    /// What was signed of the slot that runs; none where it was started in another way.
    signed: OnceLock<Signed>,
    /// Whether the chip opened something that it sealed for that: tried before it is locked, or never.
    chip_opens: OnceLock<bool>,
    memory: Arc<Memory>,
    /// Who may manage the machine.
    accounts: OnceLock<Arc<Accounts>>,
    /// What it is asked at first; none in a role that asks nothing.
    first_run: OnceLock<Arc<FirstRun>>,
    /// What the page manages the machine by; none in a role that is not managed.
    managed: OnceLock<managed::Managed>,
    /// The vault as it was made ready last.
    vaulted: Mutex<Option<Vaulted>>,
    /// Time servers beside those that DHCP names.
    time_servers: Mutex<Vec<IpAddr>>,
    /// How the network stands.
    network: Arc<Mutex<State>>,
    /// Who the machine is to browsers and agents, once somebody asked.
    identity: Mutex<Option<Arc<Identity>>>,
    agents: agents::Agents,
    /// How the vault fared at the last look.
    watched: Arc<Watched>,
    /// Settings of the network that nobody has confirmed yet.
    trial: Mutex<Option<NetworkPage>>,
    /// The same where a browser said so, and until when.
    network_trial: Mutex<Option<network::trial::Trial>>,
    pulse: Pulse,
    /// The power buttons that are listened to.
    buttons: Mutex<Buttons>,
    belief: clock::Belief,
    sightings: devices::Sightings,
    spool: spool::Place,
    proof: trial::Trial,
    /// Held by the one job that runs.
    at_work: Mutex<()>,
}

impl Appliance {
    fn new(mounted: Result<String, String>, orders: Orders) -> Self {
        let text = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let line = CommandLine::parse(&text);
        let board: Arc<Board> = Arc::default();
        board.update(|view| {
            view.version = boot::version();
            view.status = "starting".to_owned();
        });
        let wish = {
            let orders = orders.clone();
            Arc::new(move |wish| orders.give(Order::Wish(wish)))
        };
        Self {
            mounted,
            events: Events::new(line.test),
            line,
            console: Console::new(&board, wish),
            board,
            orders,
            stop: Arc::default(),
            loader: OnceLock::new(),
            uevents: OnceLock::new(),
            medium: Mutex::default(),
            settings: OnceLock::new(),
            signed: OnceLock::new(),
            chip_opens: OnceLock::new(),
            memory: Arc::default(),
            accounts: OnceLock::new(),
            first_run: OnceLock::new(),
            managed: OnceLock::new(),
            vaulted: Mutex::default(),
            time_servers: Mutex::default(),
            network: Arc::default(),
            identity: Mutex::default(),
            agents: agents::Agents::default(),
            watched: Arc::default(),
            trial: Mutex::default(),
            network_trial: Mutex::default(),
            pulse: Pulse::default(),
            buttons: Mutex::default(),
            belief: clock::Belief::default(),
            sightings: devices::Sightings::default(),
            spool: spool::Place::default(),
            proof: trial::Trial::default(),
            at_work: Mutex::new(()),
        }
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn medium(&self) -> Arc<Medium> {
        Arc::clone(&self.medium.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_medium(&self, medium: Medium) {
        *self.medium.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(medium);
    }
}

/// What is kept running.
const SERVICES: [Service<Appliance>; 13] = [
    Service { name: "questions", run: roles::tell_questions, drained: false, disks: false },
    Service { name: "watchdog", run: watchdog::serve, drained: false, disks: false },
    Service { name: "power button", run: power_button::serve, drained: false, disks: false },
    Service { name: "clock", run: clock::serve, drained: false, disks: false },
    Service { name: "devices", run: devices::follow, drained: false, disks: false },
    Service { name: "network", run: network::serve, drained: true, disks: false },
    Service { name: "page", run: page::serve, drained: false, disks: false },
    Service { name: "spool", run: spool::serve, drained: true, disks: true },
    Service { name: "agents", run: agents::serve, drained: true, disks: true },
    Service { name: "role", run: roles::serve, drained: true, disks: true },
    Service { name: "update", run: update::serve, drained: false, disks: true },
    Service { name: "exercise", run: exercise::serve, drained: false, disks: true },
    Service { name: "figures", run: figures::serve, drained: false, disks: false },
];

/// Whether this process is the first of a machine that was started from the image. In a container it is a process number
/// 1 too, but nobody starts it there by the name that the kernel uses.
#[must_use]
pub fn is_first_process() -> bool {
    let name = std::env::args_os().next();
    std::process::id() == 1 && name.is_some_and(|name| name == image_layout::initrd::INIT)
}

/// Runs the machine. It ends only with it.
pub fn run() -> ! {
    let (orders, inbox) = Orders::new();
    let mounted = mounts::early();
    let appliance = Arc::new(Appliance::new(mounted, orders));
    remember_panics(&appliance);
    trial::guard(&appliance);
    let began = Watch::new(&appliance);
    let verdict = phases::run(&boot::PLAN, &*appliance, &began);
    match verdict {
        Verdict::Ready => {
            courier::keep(page::KEEPER);
            first_run::begin(&appliance);
            for service in &SERVICES {
                supervise::start(service, &appliance, &appliance.stop);
            }
            appliance.board.update(|view| view.status = "ready".to_owned());
            let millis = began.millis();
            let since = appliance.sightings.millis_ago().unwrap_or(millis);
            let view = appliance.board.view();
            appliance.events.say(
                "ready",
                &[
                    ("ms", &millis),
                    ("after_device", &since),
                    ("disks", &view.disks.len()),
                    ("nics", &view.nics.len()),
                ],
            );
        }
        Verdict::Stay(why) => {
            log::error!("{why}");
            appliance.board.update(|view| view.status = "needs a person".to_owned());
            appliance.events.say("stay", &[("why", &why)]);
        }
        Verdict::Reboot(why, pause) => {
            log::error!("{why}; the machine starts again in {} s", pause.as_secs());
            appliance.events.say("stay", &[("why", &why)]);
            std::thread::sleep(pause);
            appliance.orders.give(Order::End(Ending::Restart, why));
        }
    }
    obey(&appliance, &inbox)
}

/// A panic ends a phase or a service at most; its words outlive the machine.
fn remember_panics(appliance: &Arc<Appliance>) {
    let appliance = Arc::clone(appliance);
    std::panic::set_hook(Box::new(move |panic| {
        log::error!("a fault of Lifeboat itself: {panic}");
        appliance.memory.keep_words(&format!("fault of Lifeboat itself: {panic}"));
    }));
}

/// Takes orders until one ends the machine.
fn obey(appliance: &Arc<Appliance>, inbox: &Inbox) -> ! {
    loop {
        appliance.pulse.beat();
        match inbox.next(TICK) {
            Some(Order::End(ending, why)) => end(appliance, ending, &why),
            Some(Order::Wish(wish)) => grant(appliance, wish),
            Some(Order::Hang) => loop {
                std::thread::park();
            },
            None => {}
        }
    }
}

/// Takes the machine down in order.
fn end(appliance: &Appliance, ending: Ending, why: &str) {
    log::info!("going down: {why}");
    appliance.board.update(|view| view.status = format!("going down: {why}"));
    appliance.board.close();
    appliance.stop.ask();
    managed::end(appliance);
    let left = appliance.stop.drain(DRAIN_PATIENCE);
    if left > 0 {
        log::warn!("{left} services did not end in time");
    }
    appliance.events.say("end", &[("how", &ending.word()), ("why", &why), ("left", &left)]);
    memory::take_notes(appliance);
    vault_place::release();
    appliance.memory.keep_words(&format!("{}: {why}", ending.word()));
    // The console's threads draw the last screen.
    std::thread::sleep(Duration::from_millis(600));
    let why = ending.carry_out();
    log::error!("{why}");
}

/// What a person at the console wishes is done on a thread of its own: it asks back.
fn grant(appliance: &Arc<Appliance>, wish: Wish) {
    let appliance = Arc::clone(appliance);
    let talk = move || roles::grant(&appliance, wish);
    if let Err(error) = std::thread::Builder::new().name("dialogue".to_owned()).spawn(talk) {
        log::error!("the console cannot ask: {error}");
    }
}

/// Time since the process began, and what is told of the boot.
struct Watch {
    began: Instant,
    clock: SystemClock,
    appliance: Arc<Appliance>,
}

impl Watch {
    fn new(appliance: &Arc<Appliance>) -> Self {
        Self { began: Instant::now(), clock: SystemClock, appliance: Arc::clone(appliance) }
    }
}

impl Around for Watch {
    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rest(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn begins(&self, name: &'static str) {
        self.appliance.board.update(|view| view.status = format!("starting: {name}"));
    }

    fn ended(&self, step: &Step) {
        let at = self.clock.monotonic_nanos() / 1_000_000;
        if step.state == phases::State::Done {
            log::info!("{}: {}", step.name, step.words);
        } else {
            log::warn!("{}: {}", step.name, step.words);
        }
        self.appliance.events.say(
            "phase",
            &[
                ("name", &step.name),
                ("state", &step.state.word()),
                ("ms", &step.millis),
                ("at", &at),
                ("words", &step.words),
            ],
        );
    }
}
