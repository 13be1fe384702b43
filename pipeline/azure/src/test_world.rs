//! A clock that is held and dice that are loaded, and a peer that follows a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use core::time::Duration;

use pipeline_vault::Error;

use crate::address::Origin;
use crate::request::Request;
use crate::response::Head;
use crate::surroundings::Surroundings;
use crate::transport::failure::Failure;
use crate::transport::{Reply, Transport};

/// Time moves only by pauses; the dice always show the same.
pub(crate) struct World {
    pub(crate) unix_ms: Mutex<u64>,
    elapsed: Mutex<Duration>,
    dice: u64,
}

impl World {
    pub(crate) fn with_dice(dice: u64) -> Self {
        Self {
            unix_ms: Mutex::new(1_795_351_475_000),
            elapsed: Mutex::new(Duration::from_secs(1000)),
            dice,
        }
    }
}

impl Surroundings for World {
    fn unix_ms(&self) -> u64 {
        *self.unix_ms.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }

    fn pause(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
        *self.unix_ms.lock().unwrap() += u64::try_from(time.as_millis()).unwrap();
    }

    fn random(&self, into: &mut [u8]) -> Result<(), Error> {
        let dice = self.dice.to_le_bytes();
        into.iter_mut().zip(dice.iter().cycle()).for_each(|(byte, dice)| *byte = *dice);
        Ok(())
    }
}

/// What a scripted peer does next.
pub(crate) type Step = Result<(u16, Vec<(&'static str, String)>, Vec<u8>), Failure>;

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) origin: String,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(has, _)| has.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A peer that gives its answers in order, whatever is asked.
#[derive(Default)]
pub(crate) struct Script {
    steps: Mutex<VecDeque<Step>>,
    sent: Mutex<Vec<Sent>>,
}

impl Script {
    pub(crate) fn new(steps: Vec<Step>) -> Arc<Self> {
        Arc::new(Self { steps: Mutex::new(steps.into()), sent: Mutex::default() })
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub(crate) fn push(&self, step: Step) {
        self.steps.lock().unwrap().push_back(step);
    }
}

impl Transport for Script {
    fn send(
        &self,
        origin: &Origin,
        request: &Request<'_>,
        _patience: Duration,
    ) -> Result<Reply, Failure> {
        self.sent.lock().unwrap().push(Sent {
            origin: origin.to_string(),
            method: request.method.name(),
            target: request.target().expose().to_owned(),
            headers: request.headers.clone(),
            body: request.body.as_deref().unwrap_or_default().to_vec(),
        });
        let step = self.steps.lock().unwrap().pop_front().expect("the script has no more answers");
        let (status, headers, body) = step?;
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut headers: Vec<_> = headers.into_iter().map(owned).collect();
        if !headers.iter().any(|(name, _)| name == "content-length") {
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        Ok(Reply::canned(Head { status, headers }, body))
    }
}

/// An answer of Azure's storage.
pub(crate) fn answers(status: u16, code: &str, body: &[u8]) -> Step {
    let mut headers = vec![("x-ms-request-id", "r".to_owned())];
    if !code.is_empty() {
        headers.push(("x-ms-error-code", code.to_owned()));
    }
    Ok((status, headers, body.to_vec()))
}
