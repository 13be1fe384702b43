//! Leases and tiers: what Azure can do with an object beside keeping it.

use pipeline_vault::Error;
use pipeline_vault::store::check_name;

use super::AzureStore;
use crate::explain::Act;
use crate::request::Request;
use crate::request::blob::{self, AccessTier};
use crate::request::lease::{self, LeaseId, LeaseTerm};
use crate::surroundings::random_name;
use crate::transport::Reply;
use crate::wire::{Exchange, Trouble, refusal_of};

impl AzureStore {
    /// Takes a lease on an object; refused while somebody else has one.
    pub fn acquire_lease(&self, name: &str, term: LeaseTerm) -> Result<LeaseId, Error> {
        let id = LeaseId(random_name(&*self.wire.surroundings)?);
        let address = &self.wire.address;
        self.manage(name, Act::Lease, &|| lease::acquire(address, name, id, term))?;
        Ok(id)
    }

    /// Keeps a lease for another term.
    pub fn renew_lease(&self, name: &str, id: LeaseId) -> Result<(), Error> {
        self.manage(name, Act::Lease, &|| lease::renew(&self.wire.address, name, id))
    }

    /// Gives a lease back.
    pub fn release_lease(&self, name: &str, id: LeaseId) -> Result<(), Error> {
        self.manage(name, Act::Lease, &|| lease::release(&self.wire.address, name, id))
    }

    /// Ends whoever's lease there is, at the latest after `seconds`.
    pub fn break_lease(&self, name: &str, seconds: u8) -> Result<(), Error> {
        self.manage(name, Act::Lease, &|| lease::break_(&self.wire.address, name, seconds))
    }

    /// Moves an object to another tier; out of the archive it takes hours.
    pub fn set_tier(&self, name: &str, tier: AccessTier) -> Result<(), Error> {
        self.manage(name, Act::SetTier, &|| blob::set_tier(&self.wire.address, name, tier))
    }

    fn manage(
        &self,
        name: &str,
        act: Act,
        build: &dyn Fn() -> Request<'static>,
    ) -> Result<(), Error> {
        check_name(name)?;
        self.check_writable(&self.wire.address.object(name))?;
        self.wire.run(&mut Manage { store: self, name, act, build })
    }
}

struct Manage<'a> {
    store: &'a AzureStore,
    name: &'a str,
    act: Act,
    build: &'a dyn Fn() -> Request<'static>,
}

impl Exchange for Manage<'_> {
    type Output = ();

    fn act(&self) -> Act {
        self.act
    }

    fn object(&self) -> String {
        self.store.wire.address.object(self.name)
    }

    fn request(&self) -> Request<'_> {
        (self.build)()
    }

    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<(), Trouble> {
        if matches!(reply.head.status, 200..=202) && reply.head.is_from_storage() {
            reply.drain();
            return Ok(());
        }
        match refusal_of(reply) {
            Trouble::Refused(refusal) if refusal.status < 400 => {
                Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
            }
            trouble => Err(trouble),
        }
    }
}
