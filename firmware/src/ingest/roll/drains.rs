//! Servers that are drained for a planned failover: ordered here, done by the appliance that their agent talks to, answered here.

use hal::time::Entropy as _;
use hal_linux::SystemEntropy;
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_wire::message::Drained;
use serde::{Deserialize, Serialize};

use super::Roll;
use crate::ingest::hub::Draining;

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainOrder {
    /// Which server.
    pub server: ServerId,
    /// The order of the failover.
    pub order: String,
    /// Whether the machine is switched off once it is drained.
    pub power_off: bool,
    /// When it was ordered, milliseconds since 1970.
    pub ordered: u64,
    /// What its agent answered: the proof, or why it could not be done. Nothing yet.
    pub answer: Option<Result<Drained, String>>,
    /// Tells this asking from every other, of the same order too: nobody answers it who was not asked.
    pub nonce: [u8; 16],
    /// Whose answer it is: the fingerprint of the key of that agent's certificate.
    pub answered_by: Option<[u8; 32]>,
}

impl DrainOrder {
    /// What agents are asked by, and answer to.
    #[must_use]
    pub fn asked_as(&self) -> String {
        format!("{}.{:032x}", self.order, u128::from_be_bytes(self.nonce))
    }

    /// As the hub has it; nothing where it came to nothing.
    #[must_use]
    pub fn standing(&self) -> Option<Draining> {
        if matches!(self.answer, Some(Err(_))) {
            return None;
        }
        let answer = self.answer.clone();
        let is_noted = answer.is_some();
        let (order, power_off, by) = (self.asked_as(), self.power_off, self.answered_by);
        Some(Draining { order, power_off, answer, by, is_noted })
    }
}

impl Roll {
    /// Orders a drain. The same order may say it again.
    ///
    /// Errors: nobody of that name is enrolled, or another order drains it.
    pub fn drain(
        &mut self,
        name: &str,
        order: &str,
        power_off: bool,
        now: u64,
    ) -> Result<(), Error> {
        let server = self.named(name)?.server;
        match self.drain_of(server) {
            Some(known) if known.order == order => return Ok(()),
            Some(known) if known.standing().is_some() => {
                let what = format!("is drained by order {} already", known.order);
                return Err(Error::refused(format!("server {name}"), what)
                    .remedy("call that off first: lifeboat server drain --abort"));
            }
            _ => {}
        }
        self.drains.retain(|known| known.server != server);
        self.end_wake(server);
        let mut nonce = [0; 16];
        SystemEntropy
            .fill(&mut nonce)
            .map_err(|_| Error::device("the system", "has no randomness"))?;
        let (order, answer, answered_by) = (order.to_owned(), None, None);
        let ordered = now;
        let drain = DrainOrder { server, order, power_off, ordered, answer, nonce, answered_by };
        self.drains.push(drain);
        Ok(())
    }

    /// Calls a drain off; whether there was one.
    ///
    /// Errors: nobody of that name is enrolled.
    pub fn call_off(&mut self, name: &str) -> Result<bool, Error> {
        let server = self.named(name)?.server;
        let before = self.drains.len();
        self.drains.retain(|known| known.server != server);
        Ok(self.drains.len() < before)
    }

    /// An order needs its drain no more: it was taken back, or its failover has ended.
    pub fn end_drain(&mut self, server: ServerId, order: &str) {
        self.drains.retain(|known| known.server != server || known.order != order);
    }

    /// The drain of a server.
    #[must_use]
    pub fn drain_of(&self, server: ServerId) -> Option<&DrainOrder> {
        self.drains.iter().find(|known| known.server == server)
    }

    /// Keeps the answer to a drain, as it was asked; whether it is of one that still stands, and by a certificate that counts.
    /// Where no agent could be asked, nobody answers.
    pub fn answer(
        &mut self,
        server: ServerId,
        asked: &str,
        by: Option<[u8; 32]>,
        answer: &Result<Drained, String>,
    ) -> bool {
        let counts = |key: [u8; 32]| {
            let listed = self.server(server);
            listed.is_some_and(|listed| !listed.revoked && listed.keys.contains(&key))
        };
        let is_heard = match by {
            Some(key) => counts(key),
            None => answer.is_err(),
        };
        if !is_heard {
            return false;
        }
        let mut known = self.drains.iter_mut();
        let known = known.find(|known| known.server == server && known.asked_as() == asked);
        let Some(known) = known else { return false };
        let order = known.order.clone();
        known.answer = Some(answer.clone().map(|drained| Drained { order, ..drained }));
        known.answered_by = by;
        true
    }
}

#[cfg(test)]
mod tests {
    use pipeline::ids::PointId;
    use pipeline_wire::message::Binding;

    use super::*;

    const WEB: ServerId = ServerId([5; 16]);
    const KEY: [u8; 32] = [6; 32];

    fn proof() -> Drained {
        Drained {
            order: "f-1".to_owned(),
            epoch: 3,
            point: PointId([6; 16]),
            written_at_cut: 7,
            written_after: 7,
            changed_blocks: 0,
            read_only: true,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn a_drain_is_ordered_once_answered_and_called_off_and_survives_its_bytes() {
        let mut roll = Roll::new().unwrap();
        roll.enrol(WEB, "web", &Binding::default(), KEY);
        assert!(roll.drain("db", "f-1", false, 1).is_err());
        // Until somebody is drained, programs from before drains read it.
        assert_eq!(roll.to_bytes().unwrap()[0], 1);
        roll.drain("web", "f-1", true, 1).unwrap();
        roll.drain("web", "f-1", true, 2).unwrap();
        assert!(roll.drain("web", "f-2", true, 2).is_err());
        assert_eq!(roll.drain_of(WEB).unwrap().ordered, 1);
        let asked = roll.drain_of(WEB).unwrap().asked_as();
        assert!(asked.starts_with("f-1.") && asked.len() == 36);
        // Neither by the order's name alone, nor by anybody whose certificate does not count.
        assert!(!roll.answer(WEB, "f-1", Some(KEY), &Ok(proof())));
        assert!(!roll.answer(WEB, &asked, Some([7; 32]), &Ok(proof())));
        assert!(!roll.answer(WEB, &asked, None, &Ok(proof())));
        assert!(roll.answer(WEB, &asked, Some(KEY), &Ok(proof())));
        let bytes = roll.to_bytes().unwrap();
        assert_eq!((bytes[0], Roll::parse(&bytes)), (4, Ok(roll.clone())));
        let standing = roll.drain_of(WEB).unwrap().standing().unwrap();
        assert!(standing.is_noted && standing.answer == Some(Ok(proof())));
        // What came to nothing keeps nobody from another order.
        assert!(roll.answer(WEB, &asked, None, &Err("no".to_owned())));
        assert_eq!(roll.drain_of(WEB).unwrap().standing(), None);
        roll.drain("web", "f-2", false, 3).unwrap();
        // Asked once more, it is another asking.
        roll.call_off("web").unwrap();
        roll.drain("web", "f-1", true, 4).unwrap();
        assert!(!roll.answer(WEB, &asked, Some(KEY), &Ok(proof())));
        roll.call_off("web").unwrap();
        roll.drain("web", "f-2", false, 5).unwrap();
        roll.end_drain(WEB, "f-1");
        assert_eq!(roll.drain_of(WEB).unwrap().order, "f-2");
        assert!(roll.call_off("web").unwrap() && !roll.call_off("web").unwrap());
        assert_eq!(roll.to_bytes().unwrap()[0], 1);
    }
}
