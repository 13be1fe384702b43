//! Deleting, up to 256 objects in one call; one by one where the endpoint or the credentials allow no batches.

use core::sync::atomic::Ordering;

use pipeline_vault::Error;
use pipeline_vault::store::check_name;

use super::AzureStore;
use crate::encode::hex;
use crate::explain::{Act, explain};
use crate::request::Request;
use crate::request::batch::{self, BATCH_REQUESTS_MAX};
use crate::request::blob;
use crate::response::Refusal;
use crate::response::batch::{BATCH_BYTES_MAX, Part};
use crate::surroundings::random_name;
use crate::transport::Reply;
use crate::wire::{Exchange, Trouble, is_passing, refusal_of};

/// What became of one object of a batch.
enum Fate {
    Answered(Result<bool, Error>),
    /// It has to be asked for again, alone.
    Open,
}

impl AzureStore {
    pub(super) fn delete_objects(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        let mut answers = Vec::with_capacity(names.len());
        for chunk in names.chunks(BATCH_REQUESTS_MAX) {
            let fates = self.try_batch(chunk);
            for (number, name) in chunk.iter().enumerate() {
                let fate = fates.as_ref().and_then(|fates| fates.get(number));
                answers.push(match fate {
                    Some(Fate::Answered(answer)) => answer.clone(),
                    Some(Fate::Open) | None => self.delete_one(name),
                });
            }
        }
        answers
    }

    /// One call for many; `None` where that is not possible and each has to be asked for alone.
    fn try_batch(&self, names: &[String]) -> Option<Vec<Fate>> {
        let possible = names.len() > 1
            && !self.batches_refused.load(Ordering::Relaxed)
            && !self.wire.address.is_secondary()
            && names.iter().all(|name| check_name(name).is_ok());
        if !possible {
            return None;
        }
        let boundary = format!("batch_{}", hex(&random_name(&*self.wire.surroundings).ok()?));
        let parts: Result<Vec<Request<'_>>, Error> = names
            .iter()
            .map(|name| self.wire.authorize(batch::part(&self.wire.address, name)))
            .collect();
        let parts = parts.ok()?;
        let mut exchange =
            Batch { store: self, parts: &parts, boundary: &boundary, uncertain: false };
        match self.wire.run(&mut exchange) {
            Ok(Some(answered)) => {
                let uncertain = exchange.uncertain;
                Some(self.sort(names, answered, uncertain))
            }
            Ok(None) => {
                self.batches_refused.store(true, Ordering::Relaxed);
                None
            }
            // Each object alone says better what is wrong than the batch as a whole.
            Err(_) => None,
        }
    }

    fn sort(&self, names: &[String], answered: Vec<Part>, uncertain: bool) -> Vec<Fate> {
        let mut fates: Vec<Fate> = names.iter().map(|_| Fate::Open).collect();
        for part in answered {
            let (Some(fate), Some(name)) = (fates.get_mut(part.number), names.get(part.number))
            else {
                continue;
            };
            *fate = self.judge(name, &part.refusal, uncertain).map_or(Fate::Open, Fate::Answered);
        }
        fates
    }

    /// What an answer about one object means; `None` where it has to be asked again.
    fn judge(&self, name: &str, refusal: &Refusal, uncertain: bool) -> Option<Result<bool, Error>> {
        // Parts of a batch carry the marks of the storage only on the whole.
        let refusal = Refusal { from_storage: true, ..refusal.clone() };
        match refusal.status {
            200 | 202 => Some(Ok(true)),
            404 if refusal.code != "ContainerNotFound" => Some(Ok(uncertain)),
            401 => None,
            _ if is_passing(&refusal) => None,
            _ => {
                let object = self.wire.address.object(name);
                Some(Err(explain(&refusal, &self.wire.scene(Act::Delete, &object))))
            }
        }
    }

    fn delete_one(&self, name: &str) -> Result<bool, Error> {
        check_name(name)?;
        self.check_writable(&self.wire.address.object(name))?;
        self.wire.run(&mut One { store: self, name })
    }
}

/// Deletes many; `None` where batches are not possible here.
struct Batch<'a> {
    store: &'a AzureStore,
    parts: &'a [Request<'a>],
    boundary: &'a str,
    uncertain: bool,
}

impl Exchange for Batch<'_> {
    type Output = Option<Vec<Part>>;

    fn act(&self) -> Act {
        Act::Delete
    }

    fn object(&self) -> String {
        self.store.wire.address.container_object()
    }

    fn request(&self) -> Request<'_> {
        batch::delete(&self.store.wire.address, self.parts, self.boundary)
    }

    fn accept(&mut self, mut reply: Reply, uncertain: bool) -> Result<Self::Output, Trouble> {
        self.uncertain = uncertain;
        if reply.head.status == 202 && reply.head.is_from_storage() {
            let kind = reply.head.header("content-type").unwrap_or_default().to_owned();
            let body = reply.read_all(BATCH_BYTES_MAX).map_err(Trouble::Way)?;
            reply.drain();
            let parts = crate::response::batch::parse(&kind, &body).map_err(|malformed| {
                Trouble::Odd(format!("the endpoint's batch cannot be read: {}", malformed.0))
            })?;
            return Ok(Some(parts));
        }
        match refusal_of(reply) {
            Trouble::Refused(refusal)
                if refusal.from_storage
                    && matches!(refusal.status, 400 | 403 | 404 | 405 | 501)
                    && refusal.code != "ContainerNotFound" =>
            {
                Ok(None)
            }
            trouble => Err(trouble),
        }
    }
}

struct One<'a> {
    store: &'a AzureStore,
    name: &'a str,
}

impl Exchange for One<'_> {
    type Output = bool;

    fn act(&self) -> Act {
        Act::Delete
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        blob::delete(&self.store.wire.address, self.name)
    }

    fn accept(&mut self, reply: Reply, uncertain: bool) -> Result<bool, Trouble> {
        if reply.head.status == 202 && reply.head.is_from_storage() {
            reply.drain();
            return Ok(true);
        }
        match refusal_of(reply) {
            Trouble::Refused(refusal)
                if refusal.status == 404
                    && refusal.from_storage
                    && refusal.code != "ContainerNotFound" =>
            {
                // After a lost reply it was most likely our own delete that removed it.
                Ok(uncertain)
            }
            Trouble::Refused(refusal) if refusal.status < 400 => {
                Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
            }
            trouble => Err(trouble),
        }
    }
}
