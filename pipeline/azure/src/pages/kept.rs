//! What a page blob in a container of one's own can do beside its bytes: be held by one writer, be copied as it was at an
//! instant, be taken away.
//!
//! Whoever holds it writes with the name of his lease. A writer who was silent for longer than that is refused, so that two
//! never write into each other's pages.

use core::time::Duration;

use pipeline_vault::Error;
use pipeline_vault::error::Retry;

use super::{PageBlob, PageError, Place};
use crate::request::lease::{self, LeaseId, LeaseTerm};
use crate::request::{Method, container, page};
use crate::response::Refusal;
use crate::surroundings::random_name;
use crate::transport::Reply;
use crate::wire::{Trouble, Wire, refusal_of};

/// For how long a writer may be silent, in seconds: the longest that Azure lets a lease hold.
pub const HOLD_SECONDS: u8 = 60;
/// Between two looks at a copy.
const COPY_LOOK: Duration = Duration::from_millis(500);
/// So long is a copy waited for. Within one account it is there at once, as nothing is moved.
const COPY_LOOKS_MAX: u32 = 7200;
/// Longest refusal that is read.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// How far a copy is.
enum Copying {
    Done,
    Runs,
    Ended(String),
}

impl PageBlob {
    fn kept_place(&self) -> Result<(&Wire, &str), Error> {
        match &self.place {
            Place::Kept { wire, name, .. } => Ok((wire, name)),
            Place::Signed(_) => {
                Err(Error::misuse(self.shown(), "is reached by a signature, and is not ours"))
            }
        }
    }

    /// Where it is on the wire, without a signature: what Azure is told where it shall make a disk of it.
    pub fn url(&self) -> Result<String, Error> {
        let (wire, name) = self.kept_place()?;
        Ok(format!("{}{}", wire.address.origin(), wire.address.blob_path(name)))
    }

    /// Makes the container where it is not there.
    pub fn make_container(&self) -> Result<(), PageError> {
        let (wire, _) = self.kept_place()?;
        let address = wire.address.clone();
        self.run(
            Method::Put,
            |_| container::create(&address),
            |reply| match refusal_or(reply, 201)? {
                None => Ok(()),
                Some(refusal) if refusal.code == "ContainerAlreadyExists" => Ok(()),
                Some(refusal) => Err(Trouble::Refused(refusal)),
            },
        )
    }

    /// Its length; `None` where it is not there.
    pub fn look(&self) -> Result<Option<u64>, PageError> {
        match self.bytes() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(PageError::Other(error)) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From here on nobody else may write to it, until it is let go or this one is silent for [`HOLD_SECONDS`].
    ///
    /// Errors: somebody else holds it.
    pub fn hold(&self) -> Result<(), PageError> {
        let (wire, name) = self.kept_place()?;
        let id = LeaseId(random_name(&*self.surroundings)?);
        let term = LeaseTerm::Seconds(HOLD_SECONDS);
        let held = self.run(
            Method::Put,
            |_| lease::acquire(&wire.address, name, id, term),
            |reply| match refusal_or(reply, 201)? {
                None => Ok(true),
                Some(refusal) if refusal.code == "LeaseAlreadyPresent" => Ok(false),
                Some(refusal) => Err(Trouble::Refused(refusal)),
            },
        )?;
        if !held {
            return Err(Error::refused(self.shown(), "is written to by somebody else")
                .retry(Retry::Later)
                .remedy("wait a minute: whoever died lets go of it by then")
                .into());
        }
        self.set_lease(Some(id));
        Ok(())
    }

    /// A sign of life of the one who holds it.
    ///
    /// Errors: it is another's by now; every write is refused from then on.
    pub fn hold_on(&self) -> Result<(), PageError> {
        let (wire, name) = self.kept_place()?;
        let Some(id) = self.lease() else {
            return Err(Error::misuse(self.shown(), "is not held").into());
        };
        self.run(Method::Put, |_| lease::renew(&wire.address, name, id), fine)
    }

    /// Lets others write.
    pub fn let_go(&self) -> Result<(), PageError> {
        let (wire, name) = self.kept_place()?;
        let Some(id) = self.lease() else { return Ok(()) };
        self.set_lease(None);
        self.run(
            Method::Put,
            |_| lease::release(&wire.address, name, id),
            |reply| match refusal_or(reply, 200)? {
                // It is another's, or nobody's: that is what was wanted.
                Some(refusal) if refusal.status != 409 => Err(Trouble::Refused(refusal)),
                _ => Ok(()),
            },
        )
    }

    pub(super) fn lease(&self) -> Option<LeaseId> {
        match &self.place {
            Place::Kept { lease, .. } => {
                *lease.read().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
            Place::Signed(_) => None,
        }
    }

    fn set_lease(&self, id: Option<LeaseId>) {
        if let Place::Kept { lease, .. } = &self.place {
            *lease.write().unwrap_or_else(std::sync::PoisonError::into_inner) = id;
        }
    }

    /// Keeps it as it is at this instant; the instant's name.
    pub fn snapshot(&self) -> Result<String, PageError> {
        self.run(Method::Put, page::snapshot, |reply| {
            if reply.head.status != 201 {
                return Err(refusal_of(reply));
            }
            let name = reply.head.header("x-ms-snapshot").map(str::to_owned);
            reply.drain();
            name.ok_or_else(|| Trouble::Odd("the answer names no snapshot".to_owned()))
        })
    }

    /// Becomes what another one of the same account was at an instant, and waits until it is. One that is there already
    /// stays as it is: `false`.
    pub fn become_copy_of(&self, other: &Self, instant: &str) -> Result<bool, PageError> {
        let source = other.source_at(instant)?;
        let begun = self.run(
            Method::Put,
            |place| page::copy(place, &source),
            |reply| match refusal_or(reply, 202)? {
                None => Ok(true),
                Some(refusal) if matches!(refusal.status, 409 | 412) => Ok(false),
                Some(refusal) => Err(Trouble::Refused(refusal)),
            },
        )?;
        self.await_copy()?;
        Ok(begun)
    }

    /// Waits until it is the copy that it was begun as; what is no copy is whole.
    ///
    /// Errors: the copy came to nothing.
    pub fn await_copy(&self) -> Result<(), PageError> {
        for _ in 0..COPY_LOOKS_MAX {
            match self.copying()? {
                Copying::Done => return Ok(()),
                Copying::Runs => self.surroundings.pause(COPY_LOOK),
                Copying::Ended(how) => {
                    return Err(Error::refused(self.shown(), format!("was not copied: {how}"))
                        .retry(Retry::Later)
                        .remedy("run the same again")
                        .into());
                }
            }
        }
        let what = format!("is not copied within {} s", COPY_LOOKS_MAX / 2);
        Err(Error::refused(self.shown(), what).retry(Retry::Later).into())
    }

    /// Where it was at an instant, for whoever copies it with the same credentials. Holds a signature where that is what
    /// opens the account.
    fn source_at(&self, instant: &str) -> Result<String, Error> {
        let (wire, _) = self.kept_place()?;
        let plain = format!("{}?snapshot={}", self.url()?, crate::encode::percent_query(instant));
        Ok(match &wire.credentials {
            crate::credentials::Credentials::Sas(token) => {
                format!("{plain}&{}", token.query().expose())
            }
            _ => plain,
        })
    }

    fn copying(&self) -> Result<Copying, PageError> {
        self.run(
            Method::Head,
            |place| place,
            |reply| {
                if reply.head.status != 200 {
                    return Err(refusal_of(reply));
                }
                Ok(match reply.head.header("x-ms-copy-status") {
                    Some("pending") => Copying::Runs,
                    Some("success") | None => Copying::Done,
                    Some(other) => Copying::Ended(other.to_owned()),
                })
            },
        )
    }

    /// Takes it away with all its snapshots; one that is not there is gone.
    pub fn remove(&self) -> Result<(), PageError> {
        self.run(Method::Delete, page::remove, gone)
    }

    /// Takes one snapshot away.
    pub fn remove_snapshot(&self, instant: &str) -> Result<(), PageError> {
        self.run(Method::Delete, |place| page::remove_snapshot(place, instant), gone)
    }

    /// Takes all of its snapshots away, and leaves it as it is.
    pub fn remove_snapshots(&self) -> Result<(), PageError> {
        self.run(Method::Delete, page::remove_snapshots, gone)
    }
}

/// What an answer of another status says; `None` where it is this one.
fn refusal_or(mut reply: Reply, wanted: u16) -> Result<Option<Refusal>, Trouble> {
    if reply.head.status == wanted {
        reply.drain();
        return Ok(None);
    }
    let body = reply.read_all(REFUSAL_BYTES_MAX).unwrap_or_default();
    let refusal = Refusal::new(&reply.head, &body);
    if refusal.status < 400 {
        return Err(Trouble::Odd(format!("the answer has status {}", refusal.status)));
    }
    Ok(Some(refusal))
}

fn fine(reply: Reply) -> Result<(), Trouble> {
    refusal_or(reply, 200)?.map_or(Ok(()), |refusal| Err(Trouble::Refused(refusal)))
}

fn gone(reply: Reply) -> Result<(), Trouble> {
    match refusal_or(reply, 202)? {
        Some(refusal) if refusal.status != 404 => Err(Trouble::Refused(refusal)),
        _ => Ok(()),
    }
}
