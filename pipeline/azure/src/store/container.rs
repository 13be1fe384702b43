//! The container: made where it is missing, listed page by page, asked for Azure's time.

use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use pipeline_vault::store::Listing;

use super::AzureStore;
use crate::explain::{Act, explain};
use crate::request::Request;
use crate::request::container;
use crate::response::Refusal;
use crate::response::listing::{self, PAGE_BYTES_MAX, PAGE_OBJECTS_MAX, Page};
use crate::transport::Reply;
use crate::wire::{Exchange, Trouble, is_passing, refusal_of};

/// The object that every vault has from its first moment on.
const MARKER: &str = "vault";

impl AzureStore {
    /// Makes the container where it is missing and this identity may; one that exists is enough.
    pub(super) fn make_container(&self) -> Result<(), Error> {
        let object = self.wire.address.container_object();
        self.check_writable(&object)?;
        let Some(refusal) = self.wire.run(&mut Make { store: self })? else { return Ok(()) };
        // An identity that may not make containers can still use one that is there.
        match self.list_page("", None, 1) {
            Ok(_) => Ok(()),
            Err(error) if error.object == object && refusal.status == 403 => {
                let what = "does not exist, and these credentials may not make it";
                Err(Error::refused(object, what).remedy(
                    "make the container in Azure's portal, or run vault create with credentials that may",
                ))
            }
            Err(_) => Err(explain(&refusal, &self.wire.scene(Act::MakeContainer, &object))),
        }
    }

    /// Refuses a container, or a prefix in one, that holds something else than a vault.
    pub(super) fn refuse_foreign_content(&self) -> Result<(), Error> {
        if self.look_at(MARKER)?.is_some() {
            return Ok(());
        }
        let page = match self.list_page("", None, 1) {
            Ok(page) => page,
            // Who may not list cannot know; creating the vault's marker still decides who was first.
            Err(error) if error.blame == Blame::Refused => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(found) = page.objects.first() else { return Ok(()) };
        let what = format!("is no vault and not empty (it holds «{}»)", found.name);
        Err(Error::misuse(self.wire.address.to_string(), what)
            .remedy("name an empty container, a new one, or an existing vault"))
    }

    pub(super) fn list_page(
        &self,
        prefix: &str,
        next: Option<&str>,
        limit: usize,
    ) -> Result<Listing, Error> {
        let full = self.wire.address.full_name(prefix);
        let limit = limit.clamp(1, PAGE_OBJECTS_MAX);
        let page = self.wire.run(&mut List { store: self, prefix: &full, next, limit })?;
        let own = |mut facts: pipeline_vault::store::ObjectFacts| {
            facts.name = self.wire.address.own_name(&facts.name)?.to_owned();
            Some(facts)
        };
        let objects = page.objects.into_iter().filter_map(own).collect();
        Ok(Listing { objects, next: page.next })
    }

    pub(super) fn ask_time(&self) -> Result<u64, Error> {
        self.wire.run(&mut Time { store: self })
    }
}

/// Makes the container; answers the refusal where that is not allowed.
struct Make<'a> {
    store: &'a AzureStore,
}

impl Exchange for Make<'_> {
    type Output = Option<Refusal>;

    fn act(&self) -> Act {
        Act::MakeContainer
    }

    fn object(&self) -> String {
        self.store.wire.address.container_object()
    }

    fn request(&self) -> Request<'_> {
        container::create(&self.store.wire.address)
    }

    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<Self::Output, Trouble> {
        if reply.head.status == 201 && reply.head.is_from_storage() {
            reply.drain();
            return Ok(None);
        }
        match refusal_of(reply) {
            Trouble::Refused(refusal) if refusal.code == "ContainerAlreadyExists" => Ok(None),
            Trouble::Refused(refusal) if refusal.status == 403 && refusal.from_storage => {
                Ok(Some(refusal))
            }
            Trouble::Refused(refusal) if refusal.status < 400 => {
                Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
            }
            trouble => Err(trouble),
        }
    }
}

struct List<'a> {
    store: &'a AzureStore,
    prefix: &'a str,
    next: Option<&'a str>,
    limit: usize,
}

impl List<'_> {
    /// The page, if it is one that Azure could have given to this question.
    fn check(&self, page: Page) -> Result<Page, Trouble> {
        let ours = page.objects.iter().all(|facts| facts.name.starts_with(self.prefix));
        let ascending = page.objects.is_sorted_by(|a, b| a.name < b.name);
        let stuck = page.next.is_some() && page.next.as_deref() == self.next;
        if ours && ascending && !stuck && page.objects.len() <= self.limit {
            return Ok(page);
        }
        Err(Trouble::Odd("the endpoint's listing is not what was asked for".to_owned()))
    }
}

impl Exchange for List<'_> {
    type Output = Page;

    fn act(&self) -> Act {
        Act::List
    }

    fn object(&self) -> String {
        self.store.wire.address.container_object()
    }

    fn request(&self) -> Request<'_> {
        container::list(&self.store.wire.address, self.prefix, self.next, self.limit)
    }

    fn accept(&mut self, mut reply: Reply, _uncertain: bool) -> Result<Page, Trouble> {
        if reply.head.status != 200 {
            return match refusal_of(reply) {
                Trouble::Refused(refusal) if refusal.status < 400 => {
                    Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
                }
                trouble => Err(trouble),
            };
        }
        if !reply.head.is_from_storage() {
            return Err(Trouble::Odd("something that is not Azure answered for it".to_owned()));
        }
        let body = reply.read_all(PAGE_BYTES_MAX).map_err(Trouble::Way)?;
        let page = listing::parse(&body).map_err(|malformed| {
            Trouble::Odd(format!("the endpoint's listing cannot be read: {}", malformed.0))
        })?;
        reply.drain();
        self.check(page)
    }
}

struct Time<'a> {
    store: &'a AzureStore,
}

impl Exchange for Time<'_> {
    type Output = u64;

    fn act(&self) -> Act {
        Act::List
    }

    fn object(&self) -> String {
        self.store.wire.address.container_object()
    }

    fn request(&self) -> Request<'_> {
        container::head(&self.store.wire.address)
    }

    /// Any answer of Azure's carries its date, a refusal too: who may only create is told the time as well.
    fn accept(&mut self, reply: Reply, _uncertain: bool) -> Result<u64, Trouble> {
        let (date, from_storage) = (reply.head.date(), reply.head.is_from_storage());
        let refusal = match refusal_of(reply) {
            Trouble::Refused(refusal) => refusal,
            trouble => return Err(trouble),
        };
        match date {
            Some(date) if from_storage && !is_passing(&refusal) => Ok(date),
            None if from_storage && refusal.status < 400 => {
                Err(Trouble::Odd("the endpoint does not tell the time".to_owned()))
            }
            _ if refusal.status < 400 => {
                Err(Trouble::Odd("something that is not Azure answered for it".to_owned()))
            }
            _ => Err(Trouble::Refused(refusal)),
        }
    }
}
