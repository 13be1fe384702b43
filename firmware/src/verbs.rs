//! The verbs: each takes its part of the command line and ends.

use core::sync::atomic::AtomicBool;
use std::sync::Arc;

use hal_linux::confine::give_up_rings;

use crate::cli::{
    CommandLine, NetVerb, PlanVerb, ServerVerb, SpoolVerb, TargetVerb, VaultVerb, Verb,
};
use crate::interrupt::{self, Meaning};
use crate::progress::{Counters, Mode, Painter};
use crate::report::{Ending, printable};
use crate::session::Machine;

/// The point that a command line means.
mod choose;
/// `vault create`
mod create;
/// `files`
mod files;
/// `hydrate`
mod hydrate;
/// `vault info`
mod info;
/// `vault kit`
mod kit;
/// `net`
mod net;
/// `net test`
mod net_test;
/// `points`
mod points;
/// `protect`
mod protect;
/// `prune`
mod prune;
/// `push`
mod push;
/// `drill`, `failover`, `commit`, `cleanup`, `plan`, `ready`, `target`
mod recovery;
/// `vault rekey`
mod rekey;
/// `restore`
mod restore;
/// `send`
mod send;
/// `serve`
mod serve;
/// `serve-nbd`
mod serve_nbd;
/// `server`
mod server;
/// `spool`
mod spool;
/// `vault ticket`
mod ticket;
/// `update`
mod update;
/// `user`, `approval`, `call`
pub(crate) mod user;
/// `verify`
mod verify;

/// What every verb is handed beside its own options.
pub struct Context {
    /// Clock and randomness.
    pub machine: Machine,
    /// Set when a signal asks to stop in order.
    pub stop: Arc<AtomicBool>,
    quiet: bool,
    progress_json: bool,
}

impl Context {
    /// Counters that are shown until the painter is dropped.
    fn progress(&self, label: &str, json: bool) -> (Arc<Counters>, Painter) {
        let counters = Arc::new(Counters::default());
        let mode = Mode::choose(self.quiet || json, self.progress_json);
        let painter = Painter::start(label, Arc::clone(&counters), mode);
        (counters, painter)
    }
}

/// What this machine calls itself, for whoever finds its traces in a vault.
pub(crate) fn host_name() -> String {
    printable(&rustix::system::uname().nodename().to_string_lossy())
}

/// Whether a verb reads or writes disks: only those may use io_uring.
fn reads_disks(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Protect(_) | Verb::Send(_) | Verb::Restore(_) | Verb::Hydrate(_) | Verb::Spool(_)
    ) || matches!(verb, Verb::Drill(drill) if drill.here.here)
}

/// Does what the command line says.
pub fn run(line: CommandLine) -> Ending {
    // Before anything else is started, which would not be held by it.
    if !reads_disks(&line.verb)
        && let Err(error) = give_up_rings()
    {
        log::debug!("this verb could use io_uring: {error}");
    }
    let context = Context {
        machine: Machine::real(),
        stop: Arc::default(),
        quiet: line.quiet,
        progress_json: line.progress_json,
    };
    let (stop, stopped) = smol::channel::bounded(1);
    interrupt::watch(match &line.verb {
        Verb::Protect(_)
        | Verb::Send(_)
        | Verb::Restore(_)
        | Verb::Drill(_)
        | Verb::Failover(_)
        | Verb::Cleanup(_)
        | Verb::Hydrate(_)
        | Verb::Update(_)
        | Verb::Plan(PlanVerb::Run(_) | PlanVerb::Continue(_)) => {
            Meaning::Ask(Arc::clone(&context.stop))
        }
        Verb::Serve(_) | Verb::ServeNbd(_) | Verb::Net(NetVerb::Keep(_)) => Meaning::Tell(stop),
        _ => Meaning::EndAtOnce,
    });
    match line.verb {
        Verb::Vault(VaultVerb::Create(create)) => create::run(&create, &context),
        Verb::Vault(VaultVerb::Rekey(rekey)) => rekey::run(rekey, &context),
        Verb::Protect(protect) => protect::run(protect, &context),
        Verb::Send(send) => send::run(&send, &context),
        Verb::Push(push) => push::run(&push),
        Verb::Points(points) => points::run(&points, &context),
        Verb::Files(files) => files::run(&files, &context),
        Verb::Restore(restore) => restore::run(&restore, &context),
        Verb::Hydrate(hydrate) => hydrate::run(&hydrate, &context),
        Verb::Serve(serve) => serve::run(&serve, &stopped, &context),
        Verb::ServeNbd(serve) => serve_nbd::run(serve, &stopped, &context),
        Verb::Net(NetVerb::Show(show)) => net::show(&show),
        Verb::Net(NetVerb::Test(test)) => net_test::run(&test, &context),
        Verb::Net(NetVerb::Keep(keep)) => net::keep(&keep, &stopped, &context),
        Verb::Server(ServerVerb::List(list)) => server::list(&list, &context),
        Verb::Server(ServerVerb::Token(token)) => server::token(&token, &context),
        Verb::Server(ServerVerb::Policy(policy)) => server::policy(&policy, &context),
        Verb::Server(ServerVerb::Revoke(name)) => server::revoke(&name, &context),
        Verb::Server(ServerVerb::Accept(name)) => server::accept(&name, &context),
        Verb::Server(ServerVerb::Drain(drain)) => server::drain::run(&drain, &context),
        Verb::Spool(SpoolVerb::Show(show)) => spool::show(&show),
        Verb::Spool(SpoolVerb::Format(format)) => spool::format(&format),
        Verb::User(user) => user::run(&user, &context),
        Verb::Approval(_) => user::approval(),
        Verb::Call(_) => user::call(),
        Verb::Update(update) => update::run(&update, &context),
        Verb::Drill(drill) => recovery::order::drill(&drill, &context),
        Verb::Failover(failover) => recovery::order::failover(&failover, &context),
        Verb::Commit(commit) => recovery::order::commit(&commit, &context),
        Verb::Cleanup(cleanup) => recovery::cleanup::run(&cleanup, &context),
        Verb::Plan(plan) => recovery::plan::run(&plan, &context),
        Verb::Ready(ready) => recovery::ready::run(&ready, &context),
        Verb::Target(TargetVerb::Show(show)) => recovery::target::show(&show, &context),
        Verb::Target(TargetVerb::Set(set)) => recovery::target::set(&set, &context),
        Verb::Target(TargetVerb::Role(role)) => recovery::target::role(&role),
        Verb::Verify(verify) => verify::run(&verify, &context),
        Verb::Prune(prune) => prune::run(&prune, &context),
        Verb::Vault(VaultVerb::Info(info)) => info::run(info, &context),
        Verb::Vault(VaultVerb::Kit(kit)) => kit::run(kit, &context),
        Verb::Vault(VaultVerb::Ticket(ticket)) => ticket::run(ticket, &context),
    }
}
