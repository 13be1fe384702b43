//! How we show who we are, and the next certificate before the present one ends.
//!
//! It is asked for without a look at any clock, a few times a day; the appliance answers where it is time. What was heard
//! waits for the loop, which alone writes to disk: whoever talks would stand still with a frozen file system.

use core::fmt;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pipeline_wire::authority::{Credentials, agent_request};
use pipeline_wire::certificate::Peer;
use pipeline_wire::message::FromAgent;
use pipeline_wire::tls;

use super::link::Tls;
use crate::state::{Enrolment, State};

/// Between two questions. In the 60 days before a certificate ends, that is often.
const PACE: Duration = Duration::from_secs(6 * 60 * 60);
/// Until the first: who was only just enrolled has other things to say.
const FIRST: Duration = Duration::from_secs(60);

/// Who we are.
pub struct Renewal(Mutex<Inner>);

struct Inner {
    tls: Tls,
    ask_at: Option<Instant>,
    key: Vec<u8>,
    heard: Option<Vec<u8>>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").finish_non_exhaustive()
    }
}

impl Renewal {
    /// As was enrolled.
    ///
    /// Errors: what was kept is of no use.
    pub fn new(enrolment: &Enrolment) -> Result<Self, String> {
        let inner = Inner { tls: of(enrolment)?, ask_at: None, key: Vec::new(), heard: None };
        Ok(Self(Mutex::new(inner)))
    }

    /// How the next connection is made.
    pub(super) fn tls(&self) -> Tls {
        self.lock().tls.clone()
    }

    /// The appliance gave a certificate.
    pub(super) fn hear(&self, certificate: Vec<u8>) {
        self.lock().heard = Some(certificate);
    }

    /// The next certificate is asked for at once: who is here only for a while has no later.
    pub fn hurry(&self, now: Instant) {
        self.lock().ask_at = Some(now);
    }

    /// Remembers what was heard, and gives what is to be asked now. Only the loop calls this, with nothing frozen.
    pub fn tend(&self, state: &State, now: Instant) -> Option<FromAgent> {
        let (heard, key) = {
            let mut inner = self.lock();
            (inner.heard.take(), inner.key.clone())
        };
        if let Some(certificate) = heard {
            match renewed(state, certificate, key) {
                Ok(tls) => {
                    log::info!("the appliance gave the next certificate");
                    self.lock().tls = tls;
                }
                Err(why) => log::warn!("the next certificate is of no use: {why}"),
            }
        }
        let mut inner = self.lock();
        let ask_at = *inner.ask_at.get_or_insert(now + FIRST);
        if now < ask_at {
            return None;
        }
        inner.ask_at = Some(now + PACE);
        let (key, request) = agent_request().ok()?;
        inner.key = key.to_vec();
        Some(FromAgent::Renew { request })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers a certificate that belongs to this key and names this server.
fn renewed(state: &State, certificate: Vec<u8>, key: Vec<u8>) -> Result<Tls, String> {
    let before = state.enrolment()?.ok_or("this server is not enrolled any more")?;
    let peer = Peer::of(&certificate).map_err(|error| error.to_string())?;
    if peer.server != before.server {
        return Err("it is another server's".to_owned());
    }
    let next = Enrolment { certificate, key, ..before };
    let tls = of(&next)?;
    state.remember(&next)?;
    Ok(tls)
}

fn of(enrolment: &Enrolment) -> Result<Tls, String> {
    let (certificate, key) = (enrolment.certificate.clone(), enrolment.key.clone().into());
    let broken = |error| {
        format!(
            "what was kept of the enrolment is of no use ({error}): enrol this server again with a new token"
        )
    };
    let credentials = Credentials { certificate, key };
    let config = tls::agent(&credentials, &enrolment.authority).map_err(broken)?;
    Ok(Tls { config, name: tls::appliance_name().map_err(broken)? })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipeline::ids::ServerId;
    use pipeline_wire::authority::Authority;

    use super::*;

    const SERVER: ServerId = ServerId([3; 16]);

    fn enrolled(authority: &Authority, folder: &str) -> (State, Enrolment) {
        let name = format!("lifeboat-renewal-{folder}-{}", std::process::id());
        let state = State::at(std::env::temp_dir().join(name));
        let (key, request) = agent_request().unwrap();
        let enrolment = Enrolment {
            server: SERVER,
            name: "web1".to_owned(),
            addresses: vec!["192.0.2.7:9443".to_owned()],
            authority: authority.certificate().to_vec(),
            certificate: authority.agent(&request, SERVER, 0).unwrap(),
            key: key.to_vec(),
        };
        state.remember(&enrolment).unwrap();
        (state, enrolment)
    }

    fn asked(renewal: &Renewal, state: &State, now: Instant) -> Vec<u8> {
        assert_eq!(renewal.tend(state, now), None);
        match renewal.tend(state, now + FIRST) {
            Some(FromAgent::Renew { request }) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_certificate_is_remembered_and_shown_from_then_on() {
        let authority = Authority::generate().unwrap();
        let (state, enrolment) = enrolled(&authority, "next");
        let renewal = Renewal::new(&enrolment).unwrap();
        let now = Instant::now();
        let request = asked(&renewal, &state, now);
        let before = renewal.tls();
        let certificate = authority.agent(&request, SERVER, 5).unwrap();
        renewal.hear(certificate.clone());
        assert_eq!(renewal.tend(&state, now + FIRST), None, "not asked twice");
        let kept = state.enrolment().unwrap().unwrap();
        assert!(kept.certificate == certificate && kept.key != enrolment.key);
        assert!(!Arc::ptr_eq(&before.config, &renewal.tls().config));
        assert!(renewal.tend(&state, now + FIRST + PACE).is_some());
        assert_eq!(renewal.tend(&state, now + FIRST + PACE), None);
        renewal.hurry(now + FIRST + PACE);
        assert!(renewal.tend(&state, now + FIRST + PACE).is_some(), "asked at once");
        state.forget().unwrap();
    }

    #[test]
    fn a_certificate_for_another_key_or_server_changes_nothing() {
        let authority = Authority::generate().unwrap();
        let (state, enrolment) = enrolled(&authority, "foreign");
        let renewal = Renewal::new(&enrolment).unwrap();
        let now = Instant::now();
        let request = asked(&renewal, &state, now);
        let (_, other) = agent_request().unwrap();
        for certificate in [
            authority.agent(&other, SERVER, 5).unwrap(),
            authority.agent(&request, ServerId([4; 16]), 5).unwrap(),
            vec![0x30, 0],
        ] {
            renewal.hear(certificate);
            assert_eq!(renewal.tend(&state, now + FIRST), None);
            assert_eq!(state.enrolment().unwrap().as_ref(), Some(&enrolment));
        }
        state.forget().unwrap();
    }
}
