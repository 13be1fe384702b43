//! DHCP of IPv6 on one link: asked only where routers say so, and only once the link has its own address of the cable.

use hal::net::dhcp6::client::{Client, Identity};
use hal::time::Moment;

use crate::net::listener::{BeginSix, Look, Six};

/// DHCP of IPv6 on one link.
#[derive(Debug)]
pub(super) struct Port6 {
    look: Look,
    /// Whether frames flowed when that was looked at last.
    flowed: bool,
    client: Client,
}

impl Port6 {
    pub(super) fn new(six: BeginSix) -> Self {
        let BeginSix { mac, tag, host_name, seed } = six;
        // VLANs of one card have its hardware address: a server must tell them apart.
        let identity = Identity { mac, link: tag, host_name };
        Self { look: Look::default(), flowed: false, client: Client::new(identity, seed) }
    }

    /// So it stands from now on, as the system says.
    pub(super) fn look(&mut self, look: Look) {
        self.look = look;
    }

    /// Hears a frame.
    pub(super) fn hear(&mut self, now: Moment, frame: &[u8]) {
        self.client.hear(now, frame);
    }

    /// Frames to send now.
    pub(super) fn poll(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let own = self.client.lease(now).map(|lease| lease.address);
        if own.is_some_and(|own| self.look.taken.contains(&own)) {
            self.client.decline(now);
        }
        self.client.want(now, self.look.managed);
        if self.look.carrier && !self.flowed {
            self.client.resume(now);
        }
        self.flowed = self.look.carrier;
        let Some(source) = self.look.source.filter(|_| self.flowed) else { return Vec::new() };
        core::iter::from_fn(|| self.client.poll(now, source)).collect()
    }

    /// When `poll` has something to do at the latest, or the lease ends.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        match self.look.source.filter(|_| self.look.carrier) {
            Some(_) => self.client.deadline(),
            None => self.client.end().filter(|end| *end > now),
        }
    }

    /// How it stands.
    pub(super) fn told(&self, now: Moment) -> Six {
        let lease = self.client.lease(now);
        Six {
            phase: self.client.phase(),
            address: lease.map(|lease| lease.address),
            end: self.client.end().filter(|_| lease.is_some()),
            information: self.client.information(now).cloned(),
            trouble: self.client.trouble(),
        }
    }

    /// Gives a leased address back: the frame that says so.
    pub(super) fn release(&mut self, now: Moment) -> Option<Vec<u8>> {
        self.client.release(now, self.look.source?)
    }
}
