//! What is below IP: open links, and the listener at them. It is part of this process, or another one's.

use core::time::Duration;
use std::collections::BTreeMap;

use hal::net::nic::{Event, FRAME_BYTES_MAX, NetError, NetErrorKind, Nic, Stack};
use hal::time::{Clock, Moment};

use crate::net::listener::{Frames, Listener, Order, Told};

/// Frames of one link in one go.
const FRAMES_MAX: u32 = 256;

/// What there is to know.
#[derive(Debug)]
pub enum News {
    /// Something was told.
    Told(Box<Told>),
    /// Who hears begins anew: he knows nothing, and has no link.
    Anew,
}

/// Who hears and speaks on links.
pub trait Below<S: Stack>: Send {
    /// Has an order carried out.
    fn order(&mut self, now: Moment, order: Order);

    /// Takes a link that was opened.
    fn open(&mut self, now: Moment, nic: S::Nic);

    /// Lets those links go that are not open any more.
    fn keep(&mut self, is_open: &dyn Fn(u32) -> bool);

    /// What there is to know by now; what is due is said on the links.
    fn news(&mut self, now: Moment) -> Vec<News>;

    /// He said what cannot be: he is not believed in anything any more.
    fn disbelieve(&mut self, now: Moment, why: &str);

    /// Waits for the system or for news, at most so long.
    fn wait(
        &mut self,
        stack: &mut S,
        clock: &dyn Clock,
        at_most: Duration,
    ) -> Result<Vec<Event>, NetError>;

    /// Gives leased addresses back, for an orderly end.
    fn release(&mut self, now: Moment);
}

/// Open links, by number.
pub type Nics<N> = BTreeMap<u32, N>;

/// The listener is in this process: for a program that keeps a network and nothing else.
#[derive(Debug)]
pub struct Here<N> {
    listener: Listener,
    nics: Nics<N>,
    deaf: Vec<u32>,
}

impl<N> Default for Here<N> {
    fn default() -> Self {
        Self { listener: Listener::default(), nics: Nics::new(), deaf: Vec::new() }
    }
}

impl<S: Stack<Nic = N>, N: Nic> Below<S> for Here<N> {
    fn order(&mut self, now: Moment, order: Order) {
        self.listener.take(now, order);
    }

    fn open(&mut self, _: Moment, nic: N) {
        self.nics.insert(nic.link(), nic);
    }

    fn keep(&mut self, is_open: &dyn Fn(u32) -> bool) {
        self.nics.retain(|link, _| is_open(*link));
    }

    fn news(&mut self, now: Moment) -> Vec<News> {
        say(&mut self.nics, self.listener.poll(now));
        let deaf = self.deaf.drain(..).map(|link| Told::Deaf { link });
        self.listener
            .news(now)
            .into_iter()
            .chain(deaf)
            .map(|told| News::Told(Box::new(told)))
            .collect()
    }

    fn disbelieve(&mut self, _: Moment, why: &str) {
        log::error!("the network: {why}");
    }

    fn wait(
        &mut self,
        stack: &mut S,
        clock: &dyn Clock,
        at_most: Duration,
    ) -> Result<Vec<Event>, NetError> {
        let patience = patience(&self.listener, clock.moment(), at_most);
        let nics: Vec<&N> = self.nics.values().collect();
        let events = stack.wait(&nics, patience)?;
        self.deaf.extend(hear(&mut self.nics, &mut self.listener, clock.moment()));
        Ok(events)
    }

    fn release(&mut self, now: Moment) {
        say(&mut self.nics, self.listener.release(now));
    }
}

/// How long nothing is to be said.
pub(crate) fn patience(listener: &Listener, now: Moment, at_most: Duration) -> Duration {
    let until = listener.deadline(now).map(|deadline| Duration::from_millis(deadline.since(now)));
    until.map_or(at_most, |until| at_most.min(until))
}

/// Hears what there is on every link; those on which nothing can be heard any more are gone.
pub(crate) fn hear<N: Nic>(nics: &mut Nics<N>, listener: &mut Listener, now: Moment) -> Vec<u32> {
    let mut deaf = Vec::new();
    let mut frame = [0; FRAME_BYTES_MAX];
    for (link, nic) in &mut *nics {
        for _ in 0..FRAMES_MAX {
            match nic.receive(&mut frame) {
                Ok(Some(length)) => {
                    listener.hear(now, *link, frame.get(..length).unwrap_or_default());
                }
                Ok(None) => break,
                // Told once when a link goes down; it is heard again when it is up.
                Err(error) if error.kind == NetErrorKind::Down => {}
                Err(error) => {
                    log::debug!("{error}");
                    deaf.push(*link);
                    break;
                }
            }
        }
    }
    deaf.iter().for_each(|link| drop(nics.remove(link)));
    deaf
}

/// Says what there is to say.
pub(crate) fn say<N: Nic>(nics: &mut Nics<N>, frames: Frames) {
    for (link, frame) in frames {
        let sent = nics.get_mut(&link).map(|nic| nic.send(&frame));
        // A frame that is lost is asked for again, whoever lost it.
        if let Some(Err(error)) = sent {
            log::debug!("{error}");
        }
    }
}
