//! Making objects that did not exist. Whoever finds the name taken reads it back and compares:
//! the same bytes mean that the reply to our own request was lost.

use pipeline_vault::Error;
use pipeline_vault::store::{Created, Tier, check_name};

use super::AzureStore;
use crate::crc64::{crc64, header_value};
use crate::explain::{Act, explain};
use crate::request::Request;
use crate::request::blob::{self, BlockId};
use crate::response::Refusal;
use crate::surroundings::random_name;
use crate::transport::Reply;
use crate::wire::{Exchange, Trouble, refusal_of};

/// Piece that is compared at a time.
const COMPARE_BYTES: usize = 1024 * 1024;
/// An object that appears and vanishes again is tried for this often.
const ROUNDS_MAX: u32 = 3;
/// Blocks that one object may have: Azure's own limit.
const BLOCKS_MAX: usize = 50_000;

/// What an attempt to create found.
enum Made {
    New,
    /// The name is taken, by whatever.
    Exists,
    /// The blocks that were put are gone: another writer of the same object committed, or a week passed.
    BlocksGone,
    /// These credentials may not: at all, or only because the name is taken and they may not overwrite.
    Forbidden(Refusal),
}

impl AzureStore {
    pub(super) fn create_object(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        for _ in 0..ROUNDS_MAX {
            let made = if body.len() > self.options.single_put_bytes_max {
                self.put_in_blocks(name, body)?
            } else {
                let content = Content::Bytes(body);
                self.wire.run(&mut Make { store: self, name, content })?
            };
            match made {
                Made::New => return Ok(Created::New),
                Made::Forbidden(refusal) => return self.compare_forbidden(name, body, &refusal),
                Made::Exists | Made::BlocksGone => {}
            }
            if let Some(created) = self.compare(name, body)? {
                return Ok(created);
            }
        }
        let object = self.wire.address.object(name);
        Err(Error::refused(object, "is made and deleted by somebody at the same time")
            .remedy("stop whatever else writes into this vault"))
    }

    /// Whether objects may be made here, with nothing coming of it: a block that no object ever names, which Azure itself
    /// forgets within a week. For whoever may not delete what it makes.
    pub fn try_create(&self, name: &str, body: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        let id = BlockId::new(random_name(&*self.wire.surroundings)?, 0);
        self.wire.run(&mut PutBlock { store: self, name, id: &id, body })
    }

    /// Puts the blocks one after another, then makes the object of them at once.
    fn put_in_blocks(&self, name: &str, body: &[u8]) -> Result<Made, Error> {
        let upload = random_name(&*self.wire.surroundings)?;
        let least = body.len().div_ceil(BLOCKS_MAX);
        let block_bytes = self.options.block_bytes.max(least).max(1);
        let mut ids = Vec::new();
        for (number, bytes) in (0_u32..).zip(body.chunks(block_bytes)) {
            let id = BlockId::new(upload, number);
            self.wire.run(&mut PutBlock { store: self, name, id: &id, body: bytes })?;
            ids.push(id);
        }
        self.wire.run(&mut Make { store: self, name, content: Content::Blocks(&ids) })
    }

    /// Credentials that may create, but not overwrite, are refused in the same words as those that may do
    /// neither. An object that exists tells which it was.
    fn compare_forbidden(
        &self,
        name: &str,
        body: &[u8],
        refusal: &Refusal,
    ) -> Result<Created, Error> {
        if let Ok(Some(created)) = self.compare(name, body) {
            return Ok(created);
        }
        let object = self.wire.address.object(name);
        Err(explain(refusal, &self.wire.scene(Act::Create, &object)))
    }

    /// Whether the object there is the one that was to be made; `None` if it is gone again.
    fn compare(&self, name: &str, body: &[u8]) -> Result<Option<Created>, Error> {
        let Some(facts) = self.look_at(name)? else { return Ok(None) };
        if facts.bytes != u64::try_from(body.len()).unwrap_or(u64::MAX) {
            return Ok(Some(Created::Taken));
        }
        if facts.tier == Tier::Archive {
            let object = self.wire.address.object(name);
            let what =
                "exists in the archive tier and cannot be compared with what is to be written";
            return Err(Error::refused(object, what).remedy("bring it back to the tier Hot first"));
        }
        let mut piece = vec![0; COMPARE_BYTES.min(body.len())];
        let mut offset = 0;
        for expected in body.chunks(COMPARE_BYTES) {
            let piece = &mut piece[..expected.len()];
            match self.read_range(name, offset, piece) {
                Ok(()) => {}
                Err(error) if error.is_missing() => return Ok(None),
                Err(error) => return Err(error),
            }
            if piece != expected {
                return Ok(Some(Created::Taken));
            }
            offset = offset.saturating_add(u64::try_from(expected.len()).unwrap_or(u64::MAX));
        }
        Ok(Some(Created::Same))
    }
}

/// Whether a refusal to create means that the name is taken.
fn means_exists(refusal: &Refusal) -> bool {
    let code = refusal.code.as_str();
    match refusal.status {
        409 => matches!(
            code,
            "BlobAlreadyExists"
                | "BlobImmutableDueToPolicy"
                | "BlobArchived"
                | "BlobBeingRehydrated"
                | "InvalidBlobType"
                | "LeaseIdMissing"
        ),
        412 => matches!(
            code,
            "ConditionNotMet" | "TargetConditionNotMet" | "LeaseIdMissing" | "BlobAlreadyExists"
        ),
        // What an identity that may create, but not overwrite, is told of an object that exists.
        403 => code == "UnauthorizedBlobOverwrite",
        _ => false,
    }
}

/// Fails where Azure says that it stored other bytes than were sent.
fn check_stored(reply: &Reply, sent: u64) -> Result<(), Trouble> {
    if !reply.head.is_from_storage() {
        return Err(Trouble::Odd("something that is not Azure answered for it".to_owned()));
    }
    match reply.head.header("x-ms-content-crc64") {
        Some(stored) if stored != header_value(sent) => {
            let what = "the endpoint stored other bytes than were sent".to_owned();
            Err(Trouble::Odd(what))
        }
        _ => Ok(()),
    }
}

/// What an object is made of.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Blocks that were put before.
    Blocks(&'a [BlockId]),
}

/// Makes an object.
struct Make<'a> {
    store: &'a AzureStore,
    name: &'a str,
    content: Content<'a>,
}

impl Exchange for Make<'_> {
    type Output = Made;

    fn act(&self) -> Act {
        Act::Create
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        let (address, tier) = (&self.store.wire.address, self.store.options.tier);
        match self.content {
            Content::Bytes(body) => blob::put(address, self.name, body, tier),
            Content::Blocks(ids) => blob::put_block_list(address, self.name, ids, tier),
        }
    }

    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<Made, Trouble> {
        take_made(reply, || match self.content {
            Content::Bytes(body) => crc64(body),
            Content::Blocks(_) => self.request().body.as_deref().map_or(0, crc64),
        })
    }
}

/// What the answer to a create means.
fn take_made(reply: Reply, sent: impl Fn() -> u64) -> Result<Made, Trouble> {
    if reply.head.status == 201 {
        check_stored(&reply, sent())?;
        reply.drain();
        return Ok(Made::New);
    }
    match refusal_of(reply) {
        Trouble::Refused(refusal) if refusal.from_storage && means_exists(&refusal) => {
            Ok(Made::Exists)
        }
        Trouble::Refused(refusal) if refusal.code == "InvalidBlockList" => Ok(Made::BlocksGone),
        Trouble::Refused(refusal) if refusal.code == "AuthorizationPermissionMismatch" => {
            Ok(Made::Forbidden(refusal))
        }
        trouble => Err(trouble),
    }
}

struct PutBlock<'a> {
    store: &'a AzureStore,
    name: &'a str,
    id: &'a BlockId,
    body: &'a [u8],
}

impl Exchange for PutBlock<'_> {
    type Output = ();

    fn act(&self) -> Act {
        Act::Create
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        blob::put_block(&self.store.wire.address, self.name, self.id, self.body)
    }

    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<(), Trouble> {
        if reply.head.status != 201 {
            return Err(refusal_of(reply));
        }
        check_stored(&reply, crc64(self.body))?;
        reply.drain();
        Ok(())
    }
}
