//! Alerts: what is wrong is looked for in what the API tells, told to whoever is to know, and told to be over.
//!
//! Rules and the board are pure. It refuses to mend anything, and to tell anybody a secret of a channel.

use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_io::Timer;
use firmware_web::api::site::{Answer, Caller, Site};
use firmware_web::api::views::alerts::{
    AlertView, AlertsSet, AlertsView, ChannelTest, MailTls, SyslogBy, Way,
};
use firmware_web::api::views::servers::Health;
use firmware_web::api::{Refusal, alarm};
use hal::time::{Clock, Entropy};
use pipeline_azure::transport::{TransportOptions, carrier, tls};
use pipeline_vault::Error;
use smol::channel::Receiver;
use smol::future;

use crate::admin::keep::{Keep, end_within};
use crate::courier::errand::{self, Errand, Letter, Password, Task};
use crate::session::Machine;

use board::{Board, News, Times, Turn};
use message::{Message, Told};
use post::Post;
use rules::{Reading, Seen};
use settings::{Channel, Settings, host_and_port};

/// What stands.
pub mod board;
/// What is told.
mod message;
/// Messages on their way.
mod post;
/// What is wrong.
pub mod rules;
/// Beside the API.
pub mod service;
/// Who is told, and when.
mod settings;
/// Ransomware.
pub mod tripwire;
/// By a webhook.
mod webhook;

/// How often it is looked whether something is wrong.
const PACE: Duration = Duration::from_secs(15);
/// Every so many-th look asks for each server and disk too.
const WHOLE_LOOKS: u64 = 20;
/// For all of one message.
const PATIENCE: Duration = Duration::from_secs(20);
/// Alerts of one kind that are told one by one; beyond that, one message tells of all.
const SINGLE_MAX: usize = 5;
const SETTINGS: &str = "alerts";
const STANDING: &str = "alerts-standing";
const HOUR_MILLIS: u64 = 3_600_000;

/// All that alerts are made of.
pub struct Alerts {
    state: Mutex<State>,
    post: Arc<Post>,
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What the appliance is called.
    name: String,
}

#[derive(Default)]
struct State {
    settings: Settings,
    board: Board,
    /// As it is kept.
    kept: Vec<board::Kept>,
}

impl Alerts {
    /// As they were left. What cannot be read of them is told and begun anew: an appliance without alerts still protects.
    ///
    /// Errors: the certificates that the machine's settings name are no good.
    pub fn open(keep: Arc<dyn Keep>, machine: &Machine, name: &str) -> Result<Arc<Self>, Error> {
        Self::open_with(keep, machine, name, PATIENCE)
    }

    fn open_with(
        keep: Arc<dyn Keep>,
        machine: &Machine,
        name: &str,
        patience: Duration,
    ) -> Result<Arc<Self>, Error> {
        let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
        let options = TransportOptions::from_lookup(&lookup)?;
        let deliver = deliverer(&options, Arc::clone(&machine.clock), patience)?;
        let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
        let post = Post::open(Arc::clone(&keep), Arc::clone(&clock), Arc::clone(&entropy), deliver);
        let settings = read(&*keep, SETTINGS, &Settings::read).unwrap_or_default();
        let kept: Vec<board::Kept> = read(&*keep, STANDING, &|bytes| {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        })
        .unwrap_or_default();
        post.set_channels(settings.channels.clone());
        let board = Board::remembered(kept.clone());
        let state = Mutex::new(State { settings, board, kept });
        Ok(Arc::new(Self { state, post, keep, clock, entropy, name: name.to_owned() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When alerts are raised.
    #[must_use]
    pub fn rules(&self) -> firmware_web::api::views::alerts::AlertRules {
        self.lock().settings.rules.clone()
    }

    /// What stands.
    #[must_use]
    pub fn standing(&self) -> Vec<AlertView> {
        self.lock().board.standing()
    }

    /// Looks at the site until the other end of `ended` is gone. `beside` reads what the API does not tell; what stands is
    /// handed to `hear` whenever it changed.
    pub fn watch(
        &self,
        site: &dyn Site,
        beside: &mut dyn FnMut() -> Vec<Reading>,
        hear: &mut dyn FnMut(&News),
        ended: &Receiver<()>,
    ) {
        let mut seen = Seen::default();
        let mut looks = 0;
        while !ended.is_closed() {
            // A site that tells nothing says nothing about what is wrong: what stands, stands.
            if let Ok(overview) = site.overview() {
                if looks % WHOLE_LOOKS == 0 {
                    let views = overview.servers.iter().map(|row| site.server(&row.name));
                    seen.servers = views.filter_map(Result::ok).collect();
                    seen.disks = site.appliance().map(|machine| machine.disks).unwrap_or_default();
                }
                seen.servers
                    .retain(|view| overview.servers.iter().any(|row| row.name == view.row.name));
                seen.overview = overview;
                looks += 1;
                let mut readings = rules::readings(&seen, &self.rules());
                readings.extend(beside());
                self.take(&readings).iter().for_each(&mut *hear);
            }
            smol::block_on(future::or(
                async {
                    let _ = ended.recv().await;
                },
                async {
                    Timer::after(PACE).await;
                },
            ));
        }
        self.post.end();
    }

    /// Takes what the rules say; what is news is told to the channels, and answered.
    pub fn take(&self, readings: &[Reading]) -> Vec<News> {
        let times = Times { now: self.clock.now().0, moment: self.clock.moment().0 };
        let mut state = self.lock();
        let again = u64::from(state.settings.rules.again_hours) * HOUR_MILLIS;
        let news = state.board.take(readings, times, again, &mut || self.identity());
        let kept = state.board.kept();
        if kept != state.kept {
            match end_within(self.keep.room(STANDING), &kept) {
                Ok(bytes) => match self.keep.write(STANDING, &bytes) {
                    Ok(()) => state.kept = kept,
                    Err(error) => log::warn!("alerts that stand do not outlive a restart: {error}"),
                },
                Err(error) => log::warn!("alerts that stand do not outlive a restart: {error}"),
            }
        }
        drop(state);
        for message in self.messages(&news, times.now) {
            self.post.tell(&message);
        }
        news
    }

    fn identity(&self) -> String {
        let mut bytes = [0; 8];
        match self.entropy.fill(&mut bytes) {
            Ok(()) => pipeline_azure::encode::hex(&bytes),
            Err(_) => format!("{:016x}", self.clock.monotonic_nanos()),
        }
    }

    /// A message for each piece of news; one for all of a kind where they are many at once: a switch that is out.
    fn messages(&self, news: &[News], at: u64) -> Vec<Message> {
        let mut kinds: BTreeMap<(Turn, &str), Vec<&News>> = BTreeMap::new();
        for one in news {
            kinds.entry((one.turn, &one.alert.kind)).or_default().push(one);
        }
        let mut messages = Vec::new();
        for (_, mut all) in kinds {
            all.sort_by_key(|one| core::cmp::Reverse(one.alert.health));
            let more = if all.len() > SINGLE_MAX { all.len() - 1 } else { 0 };
            let told = if more > 0 { &all[..1] } else { &all[..] };
            let message = |one: &&News| self.message(one.turn, one.alert.clone().into(), at, more);
            messages.extend(told.iter().map(message));
        }
        messages
    }

    fn message(&self, turn: Turn, alert: Told, at: u64, more: usize) -> Message {
        Message {
            id: self.identity(),
            appliance: self.name.clone(),
            at,
            turn,
            alert,
            more: u64::try_from(more).unwrap_or(u64::MAX),
        }
    }
}

impl alarm::Alarm for Alerts {
    fn alerts(&self) -> Answer<AlertsView> {
        let (waiting, given_up) = self.post.counts();
        let state = self.lock();
        let view = |channel: &Channel| {
            let last = self.post.last(&channel.name);
            let mut view = channel.view();
            view.last = last.words;
            view.last_millis = last.at;
            view
        };
        Ok(AlertsView {
            channels: state.settings.channels.iter().map(view).collect(),
            rules: state.settings.rules.clone(),
            standing: state.board.standing(),
            waiting,
            given_up,
        })
    }

    fn set_alerts(&self, by: &Caller, set: &AlertsSet) -> Answer<AlertsView> {
        let mut state = self.lock();
        let settings = state.settings.replaced(set)?;
        let kept = settings.write().map_err(|words| not_now(&words))?;
        self.keep.write(SETTINGS, &kept).map_err(|error| not_now(&error.to_string()))?;
        let channels = settings.channels.clone();
        state.settings = settings;
        drop(state);
        log::info!("alerts: {} set {} channels", by.name, channels.len());
        self.post.set_channels(channels);
        self.alerts()
    }

    fn test(&self, by: &Caller) -> Answer<Vec<ChannelTest>> {
        let channels = self.lock().settings.channels.clone();
        let now = self.clock.now().0;
        let alert = Told {
            id: self.identity(),
            kind: "test".to_owned(),
            object: "alerts".to_owned(),
            health: Health::Good,
            words: format!("{} tries whether alerts come: this is a test", by.name),
            remedy: String::new(),
            since: now,
        };
        let message = self.message(Turn::Test, alert, now, 0);
        let tests = std::thread::scope(|scope| {
            let message = &message;
            let begin =
                |channel| (channel, scope.spawn(move || self.post.try_now(channel, message)));
            // All at once: the slowest is waited for once.
            let begun: Vec<_> = channels.iter().map(begin).collect();
            let end = |(channel, thread): (&Channel, std::thread::ScopedJoinHandle<'_, _>)| {
                let answer = thread.join().unwrap_or_else(|_| Err("the try crashed".to_owned()));
                let taken = answer.is_ok();
                let words = match answer {
                    Ok(words) | Err(words) => words,
                };
                ChannelTest { name: channel.name.clone(), taken, words }
            };
            begun.into_iter().map(end).collect()
        });
        Ok(tests)
    }
}

fn not_now(words: &str) -> Refusal {
    Refusal {
        status: 503,
        title: "alerts".to_owned(),
        detail: format!("cannot be kept: {words}"),
        remedy: Some("nothing was changed: try again".to_owned()),
        field: None,
        ..Refusal::default()
    }
}

fn read<T>(keep: &dyn Keep, name: &str, parse: &dyn Fn(&[u8]) -> Result<T, String>) -> Option<T> {
    let bytes = match keep.read(name) {
        Ok(bytes) => bytes?,
        Err(error) => {
            log::warn!("{error}");
            return None;
        }
    };
    let parsed = parse(&bytes);
    parsed.map_err(|words| log::warn!("document {name} is passed over: {words}")).ok()
}

/// What sends messages, with the machine's names, proxies and certificates.
fn deliverer(
    options: &TransportOptions,
    clock: Arc<dyn Clock>,
    patience: Duration,
) -> Result<Box<post::Deliver>, Error> {
    let transport = carrier::open(&TransportOptions {
        kept_connections: 4,
        answer: patience,
        ..options.clone()
    })?;
    let authorities = tls::authorities(&options.ca_files)?;
    let hand_over = move |task: Task<'_>| {
        errand::send(&Errand { task, patience, authorities: Cow::Borrowed(&*authorities) })
    };
    Ok(Box::new(move |channel, message| match &channel.way {
        Way::Webhook { url } => {
            let (secret, now) = (channel.secret.as_ref(), clock.now().0);
            webhook::send(&*transport, patience, url, secret, message, now)
        }
        Way::Syslog { host, by } => hand_over(record(host, *by, message)?),
        Way::Mail { .. } => hand_over(letter(channel, message)?),
    }))
}

fn record<'a>(host: &str, by: SyslogBy, message: &Message) -> Result<Task<'a>, String> {
    let default = if by == SyslogBy::Tls { 6514 } else { 514 };
    let (host, port) = host_and_port(host, default)?;
    let record = message.syslog(std::process::id());
    Ok(Task::Syslog { host: host.into(), port, by, record: record.into() })
}

/// The mail, and with it what its server wants to know.
fn letter<'a>(channel: &'a Channel, message: &Message) -> Result<Task<'a>, String> {
    let Way::Mail { host, tls, user, from, to } = &channel.way else {
        return Err(format!("{} is no channel for mail", channel.name));
    };
    let default = if *tls == MailTls::Tls { 465 } else { 587 };
    let (host, port) = host_and_port(host, default)?;
    let user = user.as_deref().filter(|_| *tls != MailTls::None);
    let password = channel.secret.as_ref().filter(|_| user.is_some());
    let letter = Letter {
        tls: *tls,
        user: user.map(Cow::Borrowed),
        password: password.map(|password| Password(Cow::Borrowed(&*password.0))),
        from: Cow::Borrowed(&**from),
        to: Cow::Borrowed(&**to),
        mail: message.mail(from, to).into(),
    };
    Ok(Task::Mail { host: host.into(), port, letter })
}

#[cfg(test)]
mod tests;
