//! Giving an order, and finding it again.

use pipeline::ids::{OrderId, ServerId};
use pipeline_vault::document::{Class, Name, Replaced};
use pipeline_vault::{Error, Retry};

use super::{Evidence, Generation, Kind, Order, Shared, Standing, State, Step, StepRecord, System};
use crate::documents::{self, Documents, Kept};
use crate::profile::Profile;
use crate::target;

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The server.
    pub server: ServerId,
    /// Its name.
    pub server_name: String,
    /// Drill, failover, planned failover.
    pub kind: Kind,
    /// `latest`, `latest-app`, or an identity's first letters.
    pub point: String,
    /// By whom, as `USER@HOST`.
    pub by: String,
    /// When, by this machine's clock.
    pub at_millis: u64,
    /// Whether every byte of the point is read before anything is made.
    pub reads_first: bool,
    /// Whether obstacles that were found on its disks are passed over.
    pub despite_obstacles: bool,
    /// Whether what a drill makes stays.
    pub keeps: bool,
    /// The plan's run that it is part of, where its drill shares a network.
    pub shared: Option<Shared>,
}

impl StepRecord {
    /// Of a step that nobody has begun.
    pub(crate) fn waiting(step: Step) -> Self {
        Self { step, standing: Standing::Waits, began_millis: None, took_millis: 0, tries: 0 }
    }
}

impl Wanted {
    /// The order that it comes to.
    #[must_use]
    pub fn order(&self, id: OrderId, vault: String, profile: Profile) -> Order {
        Order {
            format: Order::FORMAT,
            id,
            vault,
            server: self.server,
            server_name: self.server_name.clone(),
            kind: self.kind,
            ordered_by: self.by.clone(),
            ordered_millis: self.at_millis,
            profile,
            wanted_point: self.point.clone(),
            point: None,
            disks: Vec::new(),
            changes: Vec::new(),
            generation: Generation::V2,
            system: System::Linux,
            reads_first: self.reads_first,
            despite_obstacles: self.despite_obstacles,
            keeps: self.keeps,
            state: State::Open,
            round: 0,
            sizes: Vec::new(),
            size: 0,
            steps: Step::of(self.kind).into_iter().map(StepRecord::waiting).collect(),
            made: Vec::new(),
            pending: None,
            evidence: Evidence::default(),
            notes: Vec::new(),
            trouble: None,
            holder: None,
            shared: self.shared.clone(),
            here: None,
        }
    }
}

/// The profile that an order of this server would have.
///
/// Errors: it has none, or this person may not order it.
pub fn profile_for(documents: &dyn Documents, wanted: &Wanted) -> Result<Profile, Error> {
    let target = target::load(documents, wanted.server)?;
    let name = &wanted.server_name;
    let profile = target.profile.ok_or_else(|| {
        Error::misuse(format!("server {name}"), "has no target profile").remedy(format!(
            "say where it is recovered to: lifeboat target set --server {name} --file profile.toml"
        ))
    })?;
    if wanted.kind != Kind::Drill && !profile.lets(&wanted.by) {
        let what = format!("may be failed over by {} only", profile.who_may.join(", "));
        return Err(Error::refused(format!("server {name}"), what)
            .remedy("ask one of them, or change who_may of its target profile"));
    }
    Ok(profile)
}

/// Gives an order: keeps it, and makes it the server's only one of its kind. Nothing is made in Azure yet.
///
/// Errors: another one is open; it says whose.
pub fn give(documents: &dyn Documents, order: &Order) -> Result<Name, Error> {
    let name = Name::Order(order.id);
    match documents.replace(name, 0, &documents::bytes_of(name, order)?)? {
        Replaced::Done(_) => {}
        Replaced::Moved => {
            return Err(Error::refused(name.to_string(), "is there already").retry(Retry::Now));
        }
    }
    if let Err(taken) = target::claim(documents, order) {
        // It never began: nobody shall find it open.
        documents::change::<Order, ()>(documents, name, &|| order.clone(), &mut |order| {
            order.state = State::Cancelled;
            order.stands(&taken);
            Ok(())
        })?;
        return Err(taken);
    }
    Ok(name)
}

/// All orders, the newest first; what cannot be read is handed over beside them.
pub fn all(documents: &dyn Documents) -> Result<(Vec<Order>, Vec<Error>), Error> {
    let (mut orders, mut troubles) = (Vec::new(), Vec::new());
    for name in documents.list(Class::Orders)? {
        match documents::load::<Order>(documents, name) {
            Ok((_, Some(order))) => orders.push(order),
            Ok((_, None)) => {}
            Err(error) => troubles.push(error),
        }
    }
    orders.sort_by_key(|order| core::cmp::Reverse(order.ordered_millis));
    Ok((orders, troubles))
}

/// The order that the first letters of an identity mean.
pub fn find(documents: &dyn Documents, text: &str) -> Result<Name, Error> {
    let lower = text.to_ascii_lowercase();
    let unknown = |what: &str| {
        Error::misuse(format!("order {text}"), what).remedy("lifeboat cleanup lists the open ones")
    };
    let starts = |name: &Name| match name {
        Name::Order(id) => !lower.is_empty() && id.to_string().starts_with(&lower),
        _ => false,
    };
    let mut found = documents.list(Class::Orders)?.into_iter().filter(starts);
    let first = found.next().ok_or_else(|| unknown("is not in the vault"))?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(unknown("is the start of several orders' identities")),
    }
}

/// The same, which is of this kind, or the other kind of failover.
///
/// Errors: as of [`find`]; it is something else. Who may go on with a drill may not go on with a failover by that.
pub fn find_of(documents: &dyn Documents, text: &str, kind: Kind) -> Result<Name, Error> {
    let name = find(documents, text)?;
    let (_, found) = documents::load::<Order>(documents, name)?;
    match found.filter(|order| order.kind.verb() != kind.verb()) {
        None => Ok(name),
        Some(Order { id, kind: other, .. }) => {
            let verb = other.verb();
            Err(Error::misuse(format!("order {id}"), format!("is no {}", kind.verb()))
                .remedy(format!("go on with it by lifeboat {verb} --resume {id}")))
        }
    }
}

/// The open order of a kind of a server.
pub fn open_of(
    documents: &dyn Documents,
    server: ServerId,
    kind: Kind,
) -> Result<Option<Order>, Error> {
    let target = target::load(documents, server)?;
    let is_open = kind == Kind::Drill || target.failover.is_some();
    let open = match kind {
        Kind::Drill => target.drill,
        // A cut in the middle of a commit leaves an order that is neither: it is still the one to go on with.
        Kind::Failover | Kind::Planned => target.failover.or(target.committed),
    };
    let Some(open) = open else { return Ok(None) };
    match documents::load::<Order>(documents, Name::Order(open.order)) {
        Ok((_, order)) => Ok(order.filter(|order| !order.is_over())),
        // What was committed long ago and cannot be read any more keeps nobody from a failover.
        Err(error) if !is_open => {
            log::warn!("{error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
