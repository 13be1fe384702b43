//! Servers that were switched off for a planned failover, and are to be switched on where it is taken back: by what their cards
//! are woken is kept here, since who takes it back need not be on their network. The appliance that is does it.

use pipeline::ids::ServerId;
use serde::{Deserialize, Serialize};

use super::Roll;

/// A card's hardware address.
pub type Card = [u8; 6];

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// Which server.
    pub server: ServerId,
    /// The order of the failover.
    pub order: String,
    /// Its cards, as its agent told them; none where it is too old to tell, or has none.
    pub cards: Vec<Card>,
    /// It is to be woken.
    pub asked: bool,
    /// What came of that.
    pub woken: Option<Woken>,
}

/// What came of waking a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Woken {
    /// Its agent is connected again.
    Back,
    /// Nothing was heard of it.
    Silent,
}

impl Wake {
    /// Whether it is at turn.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.asked && self.woken.is_none()
    }
}

impl Roll {
    /// A server answered the drain that it was asked by with a proof, and is switched off where that was ordered.
    pub fn goes_down(&mut self, server: ServerId, asked_as: &str, cards: &[Card]) {
        let drain = self.drains.iter().find(|known| known.server == server);
        let Some(drain) = drain.filter(|known| known.power_off && known.asked_as() == asked_as)
        else {
            return;
        };
        let (order, cards) = (drain.order.clone(), cards.to_vec());
        self.wakes.retain(|known| known.server != server);
        self.wakes.push(Wake { server, order, cards, asked: false, woken: None });
    }

    /// Asks whoever is on its network to wake a server; whether anybody can: it went down by this order, and its cards are known.
    pub fn ask_to_wake(&mut self, server: ServerId, order: &str) -> bool {
        let mut wakes = self.wakes.iter_mut();
        let wake = wakes.find(|known| known.server == server && known.order == order);
        let Some(wake) = wake.filter(|known| !known.cards.is_empty()) else { return false };
        wake.asked = true;
        true
    }

    /// Notes what came of waking a server.
    pub fn note_woken(&mut self, server: ServerId, order: &str, woken: Woken) {
        let mut wakes = self.wakes.iter_mut();
        let wake = wakes.find(|known| known.server == server && known.order == order);
        if let Some(wake) = wake {
            wake.woken = Some(woken);
        }
    }

    /// What is kept for waking a server.
    #[must_use]
    pub fn wake_of(&self, server: ServerId) -> Option<&Wake> {
        self.wakes.iter().find(|known| known.server == server)
    }

    /// Nobody needs to wake a server any more.
    pub fn end_wake(&mut self, server: ServerId) {
        self.wakes.retain(|known| known.server != server);
    }
}

#[cfg(test)]
mod tests {
    use pipeline_wire::message::Binding;

    use super::*;

    const WEB: ServerId = ServerId([5; 16]);
    const CARD: Card = [2, 0, 0, 0, 0, 7];

    #[test]
    fn who_was_switched_off_is_woken_by_the_cards_that_it_told_and_that_survives_its_bytes() {
        let mut roll = Roll::new().unwrap();
        roll.enrol(WEB, "web", &Binding::default(), [6; 32]);
        roll.drain("web", "f-1", true, 1).unwrap();
        let asked = roll.drain_of(WEB).unwrap().asked_as();
        roll.goes_down(WEB, "f-1", &[CARD]);
        assert_eq!(roll.wake_of(WEB), None, "that is another asking");
        roll.goes_down(WEB, &asked, &[CARD]);
        roll.end_drain(WEB, "f-1");
        assert!(!roll.ask_to_wake(WEB, "f-2") && roll.ask_to_wake(WEB, "f-1"));
        let bytes = roll.to_bytes().unwrap();
        // A program that knows nothing of it must not undo it by writing its own.
        assert_eq!((bytes[0], Roll::parse(&bytes)), (6, Ok(roll.clone())));
        assert!(roll.wake_of(WEB).unwrap().is_open());
        roll.note_woken(WEB, "f-1", Woken::Back);
        assert!(!roll.wake_of(WEB).unwrap().is_open());
        roll.end_wake(WEB);
        assert_eq!(roll.to_bytes().unwrap()[0], 1);
    }

    #[test]
    fn who_runs_on_or_told_no_cards_is_not_woken() {
        let mut roll = Roll::new().unwrap();
        roll.enrol(WEB, "web", &Binding::default(), [6; 32]);
        roll.drain("web", "f-1", false, 1).unwrap();
        let asked = roll.drain_of(WEB).unwrap().asked_as();
        roll.goes_down(WEB, &asked, &[CARD]);
        assert_eq!(roll.wake_of(WEB), None, "it was not to be switched off");
        roll.call_off("web").unwrap();
        roll.drain("web", "f-1", true, 1).unwrap();
        let asked = roll.drain_of(WEB).unwrap().asked_as();
        roll.goes_down(WEB, &asked, &[]);
        assert!(roll.wake_of(WEB).is_some() && !roll.ask_to_wake(WEB, "f-1"));
        // Drained once more, what was kept of the last time means nothing.
        roll.call_off("web").unwrap();
        roll.drain("web", "f-3", true, 1).unwrap();
        assert_eq!(roll.wake_of(WEB), None);
    }
}
