//! Reading. What a broken connection already brought is kept: the next try asks for the rest of the same object.

use pipeline_vault::Error;
use pipeline_vault::store::ObjectFacts;

use super::AzureStore;
use crate::explain::Act;
use crate::request::Request;
use crate::request::blob;
use crate::response::{self, Refusal, content_range};
use crate::transport::Reply;
use crate::transport::failure::{Failure, Kind};
use crate::wire::{Exchange, Trouble, refusal_of};

impl AzureStore {
    pub(super) fn read_range(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        if into.is_empty() {
            // No range can ask for nothing, but a missing or shorter object must still be told.
            return self.check_length(name, offset);
        }
        let end = offset.checked_add(length(into));
        if end.is_none_or(|end| end > i64::MAX.unsigned_abs()) {
            return Err(shorter(&self.wire.address.object(name), None, offset, length(into)));
        }
        self.wire.run(&mut Range {
            store: self,
            name,
            offset,
            into,
            filled: 0,
            progressed: false,
            etag: None,
        })
    }

    pub(super) fn read_whole(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.wire.run(&mut Whole {
            store: self,
            name,
            bytes_max,
            buffer: Vec::new(),
            filled: 0,
            progressed: false,
            etag: None,
        })
    }

    pub(super) fn look_at(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.wire.run(&mut Look { store: self, name })
    }

    fn check_length(&self, name: &str, offset: u64) -> Result<(), Error> {
        let object = self.wire.address.object(name);
        match self.look_at(name)? {
            None => Err(Error::missing(object)),
            Some(facts) if facts.bytes < offset => {
                Err(shorter(&object, Some(facts.bytes), offset, 0))
            }
            Some(_) => Ok(()),
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn shorter(object: &str, total: Option<u64>, offset: u64, wanted: u64) -> Error {
    let has = total.map_or_else(String::new, |total| format!("has {total} bytes and "));
    Error::corrupt(
        object,
        format!("{has}is shorter than the {wanted} bytes at {offset} read of it"),
    )
}

/// What a refused read means where it is about the object and not about the way.
fn refused_read(refusal: Refusal, object: &str, offset: u64, wanted: u64) -> Trouble {
    if !refusal.from_storage {
        return Trouble::Refused(refusal);
    }
    match refusal.status {
        416 => Trouble::Final(shorter(object, None, offset, wanted)),
        412 => Trouble::Final(Error::corrupt(object, "was replaced while it was read")),
        404 if refusal.code != "ContainerNotFound" => Trouble::Final(Error::missing(object)),
        _ => Trouble::Refused(refusal),
    }
}

fn cut(came: u64, of: u64) -> Trouble {
    Trouble::Way(Failure::new(Kind::Broken, format!("the answer ended after {came} of {of} bytes")))
}

struct Range<'a, 'b> {
    store: &'a AzureStore,
    name: &'a str,
    offset: u64,
    into: &'b mut [u8],
    filled: usize,
    progressed: bool,
    etag: Option<String>,
}

impl Range<'_, '_> {
    fn position(&self) -> u64 {
        self.offset.saturating_add(u64::try_from(self.filled).unwrap_or(u64::MAX))
    }

    fn wanted(&self) -> u64 {
        length(&self.into[self.filled..])
    }
}

impl Exchange for Range<'_, '_> {
    type Output = ();

    fn act(&self) -> Act {
        Act::Read
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        let address = &self.store.wire.address;
        blob::get_range(address, self.name, self.position(), self.wanted(), self.etag.as_deref())
    }

    fn answer_bytes(&self) -> u64 {
        self.wanted()
    }

    fn brought(&self) -> u64 {
        u64::try_from(self.filled).unwrap_or(u64::MAX)
    }

    fn progressed(&mut self) -> bool {
        core::mem::take(&mut self.progressed)
    }

    fn accept(&mut self, mut reply: Reply, _uncertain: bool) -> Result<(), Trouble> {
        let (position, wanted) = (self.position(), self.wanted());
        if reply.head.status != 206 {
            return Err(match refusal_of(reply) {
                Trouble::Refused(refusal) if refusal.status >= 400 => {
                    refused_read(refusal, &self.object(), self.offset, length(self.into))
                }
                _ => Trouble::Odd("the endpoint answers a read with something else".to_owned()),
            });
        }
        let range = reply.head.header("content-range").and_then(content_range);
        let Some(range) = range.filter(|_| reply.head.is_from_storage()) else {
            return Err(Trouble::Odd("the endpoint answers a read with something else".to_owned()));
        };
        let fits = range.first == position && range.last >= position && range.last < range.total;
        let comes = if fits { range.last - position + 1 } else { 0 };
        let to_the_end = !fits || range.last + 1 == range.total;
        if range.total < position.saturating_add(wanted) && to_the_end {
            let whole = length(self.into);
            return Err(Trouble::Final(shorter(
                &self.object(),
                Some(range.total),
                self.offset,
                whole,
            )));
        }
        if !fits || comes > wanted {
            return Err(Trouble::Odd("the endpoint answers with another part of it".to_owned()));
        }
        if self.etag.is_none() {
            self.etag = reply.head.header("etag").map(str::to_owned);
        }
        let end = self.filled + usize::try_from(comes).unwrap_or(usize::MAX).min(self.into.len());
        let target = &mut self.into[self.filled..end];
        let (came, failure) = reply.read_into(target);
        self.filled += came;
        self.progressed = came > 0;
        match failure {
            Some(failure) => Err(Trouble::Way(failure)),
            None if self.filled == self.into.len() => {
                reply.drain();
                Ok(())
            }
            None => Err(cut(u64::try_from(came).unwrap_or(u64::MAX), comes)),
        }
    }
}

struct Whole<'a> {
    store: &'a AzureStore,
    name: &'a str,
    bytes_max: u64,
    /// Has the object's full length once that is known.
    buffer: Vec<u8>,
    filled: usize,
    progressed: bool,
    etag: Option<String>,
}

impl Whole<'_> {
    fn left(&self) -> u64 {
        length(&self.buffer[self.filled..])
    }

    /// Takes the length that the first answer claims, if it may be that long.
    fn size(&mut self, reply: &Reply) -> Result<(), Trouble> {
        let Some(bytes) = reply.head.content_length() else {
            return Err(Trouble::Odd("the endpoint does not say how long it is".to_owned()));
        };
        if bytes > self.bytes_max {
            let what = format!("has {bytes} bytes; at most {} are expected", self.bytes_max);
            return Err(Trouble::Final(Error::corrupt(self.object(), what)));
        }
        self.etag = reply.head.header("etag").map(str::to_owned);
        self.buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        Ok(())
    }
}

impl Exchange for Whole<'_> {
    type Output = Vec<u8>;

    fn act(&self) -> Act {
        Act::Read
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        let address = &self.store.wire.address;
        if self.left() == 0 {
            return blob::get(address, self.name);
        }
        let position = u64::try_from(self.filled).unwrap_or(u64::MAX);
        blob::get_range(address, self.name, position, self.left(), self.etag.as_deref())
    }

    fn answer_bytes(&self) -> u64 {
        self.bytes_max
    }

    fn brought(&self) -> u64 {
        u64::try_from(self.filled).unwrap_or(u64::MAX)
    }

    fn progressed(&mut self) -> bool {
        core::mem::take(&mut self.progressed)
    }

    fn accept(&mut self, mut reply: Reply, _uncertain: bool) -> Result<Vec<u8>, Trouble> {
        let resumed = self.left() > 0;
        let good = if resumed { 206 } else { 200 };
        if reply.head.status != good {
            return Err(match refusal_of(reply) {
                Trouble::Refused(refusal) if refusal.status >= 400 => {
                    refused_read(refusal, &self.object(), 0, self.left())
                }
                _ => Trouble::Odd("the endpoint answers a read with something else".to_owned()),
            });
        }
        if !reply.head.is_from_storage() {
            return Err(Trouble::Odd("something that is not Azure answered for it".to_owned()));
        }
        if resumed {
            let range = reply.head.header("content-range").and_then(content_range);
            let position = u64::try_from(self.filled).unwrap_or(u64::MAX);
            if range
                .is_none_or(|range| range.first != position || range.total != length(&self.buffer))
            {
                return Err(Trouble::Odd(
                    "the endpoint answers with another part of it".to_owned(),
                ));
            }
        } else {
            self.size(&reply)?;
            self.filled = 0;
        }
        let left = self.left();
        let (came, failure) = reply.read_into(&mut self.buffer[self.filled..]);
        self.filled += came;
        self.progressed = came > 0;
        match failure {
            Some(failure) => Err(Trouble::Way(failure)),
            None if self.left() == 0 => {
                reply.drain();
                Ok(core::mem::take(&mut self.buffer))
            }
            None => Err(cut(u64::try_from(came).unwrap_or(u64::MAX), left)),
        }
    }
}

struct Look<'a> {
    store: &'a AzureStore,
    name: &'a str,
}

impl Exchange for Look<'_> {
    type Output = Option<ObjectFacts>;

    fn act(&self) -> Act {
        Act::Read
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        blob::head(&self.store.wire.address, self.name)
    }

    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<Self::Output, Trouble> {
        if reply.head.status == 200 && reply.head.is_from_storage() {
            let facts = response::facts(self.name, &reply.head);
            return facts.map(Some).map_err(|malformed| {
                Trouble::Odd(format!("the endpoint describes it wrongly: {}", malformed.0))
            });
        }
        match refusal_of(reply) {
            Trouble::Refused(refusal)
                if refusal.status == 404
                    && refusal.from_storage
                    && refusal.code != "ContainerNotFound" =>
            {
                Ok(None)
            }
            Trouble::Refused(refusal) if refusal.status < 400 => {
                Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
            }
            trouble => Err(trouble),
        }
    }
}
