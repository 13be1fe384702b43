//! Servers that were failed over: in which chain what their originals send goes, and what their agents are told.
//!
//! While a failover stands, everything of its original goes into a branch beside its server. The hub, the spool and the agent's
//! marks know nothing of that: the branch begins with the very point that they go on from.

use std::sync::Arc;

use pipeline::ids::{PointId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Chain;
use pipeline_vault::fork::{Fork, branch};
use pipeline_vault::writer::{Options, Silent};
use pipeline_wire::message::Demotion;

use super::base::Base;
use super::hub::Hub;

/// Puts a server's branch of an order into the key ring.
type Enrol = dyn Fn(ServerId, &str) -> Result<(), Error> + Send + Sync;

/// What is known of failovers.
pub struct Forks {
    hub: Arc<Hub>,
    access: Arc<dyn Fn(ServerId) -> Access + Send + Sync>,
    enrol: Box<Enrol>,
    name: Box<dyn Fn(ServerId) -> String + Send + Sync>,
    options: Options,
}

impl Forks {
    /// `access` gives the vault as it is used for a server, `enrol` puts its branch of an order into the key ring, `name` is what
    /// people call it.
    pub fn new(
        hub: Arc<Hub>,
        access: Arc<dyn Fn(ServerId) -> Access + Send + Sync>,
        enrol: impl Fn(ServerId, &str) -> Result<(), Error> + Send + Sync + 'static,
        name: impl Fn(ServerId) -> String + Send + Sync + 'static,
        options: Options,
    ) -> Self {
        Self { hub, access, enrol: Box::new(enrol), name: Box::new(name), options }
    }

    /// The failover of a server that stands now.
    pub fn look(&self, server: ServerId) -> Result<Option<Fork>, Error> {
        Chain::open(&(self.access)(server), server)?.fork()
    }

    /// What its agent is told.
    #[must_use]
    pub fn demotion(&self, server: ServerId, fork: &Fork) -> Demotion {
        Demotion {
            order: fork.order.clone(),
            point: fork.point,
            branch: branch::name(&(self.name)(server), &fork.order),
        }
    }

    /// Looks at servers whose failovers stood: those of which one ended go on as before.
    pub fn look_again(&self) {
        for server in self.hub.demoted() {
            match self.look(server) {
                Ok(None) => self.hub.promote(server),
                Ok(Some(fork)) => self.hub.demote(server, &self.demotion(server, &fork)),
                Err(error) => log::debug!("{error}"),
            }
        }
    }

    /// The chain that has what a server's agent was told is in the vault.
    pub fn reads(&self, server: ServerId) -> Result<ServerId, Error> {
        let Some(fork) = self.look(server)? else { return Ok(server) };
        let into = branch::identity(&server, &fork.order);
        let access = (self.access)(server);
        // Before it has begun, what it begins with is the original's.
        if access.keys.newest_record_key(&into).is_none() {
            return Ok(server);
        }
        let has_begun = Chain::open(&access, into)?.trail().point.is_some();
        Ok(if has_begun { into } else { server })
    }

    /// The chain that pieces go into which go on from this point: a branch is begun where there is none yet, which reads
    /// and writes everything that the point holds.
    pub fn writes(&self, server: ServerId, known: Option<PointId>) -> Result<ServerId, Error> {
        let access = (self.access)(server);
        let chain = Chain::open(&access, server)?;
        let Some(fork) = chain.fork()? else {
            self.hub.promote(server);
            return Ok(server);
        };
        let demotion = self.demotion(server, &fork);
        self.hub.demote(server, &demotion);
        (self.enrol)(server, &fork.order)?;
        let (into, access) = (branch::identity(&server, &fork.order), (self.access)(server));
        let Base { point, checkpoint, .. } = match known {
            Some(_) => Base::of(&chain, known, &self.options.host)?,
            None => Base::first(&chain, &self.options.host)?,
        };
        let Some(point) = point else {
            return Err(Error::corrupt(
                format!("server {server}"),
                "was failed over without a point",
            ));
        };
        let base = branch::Base { point, checkpoint };
        if branch::begin(&access, (server, into), &base, &self.options, &Silent)? {
            log::warn!(
                "server {server} was failed over by order {}: what its original writes is kept as {}, which begins with a whole copy of its last point",
                fork.order,
                demotion.branch
            );
        }
        Ok(into)
    }
}
