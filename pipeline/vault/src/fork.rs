//! A server that was failed over: its original publishes nothing into its chain until a person says so.
//!
//! The record *fork* stands where an epoch-open stands: it takes the chain over from every writer, and as long as it is
//! the newest of its kind nobody can open an epoch behind it. The point that was failed over to is kept by it. It is
//! ended by a record of the same place, *fork ended*: the failover was cancelled, or the original is the server again.
//! It refuses to know how a failover is done.

use pipeline::ids::{PointId, ServerId};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::chain::{Chain, Published};
use crate::error::{Error, Retry};
use crate::points::{ChainView, read_chain};
use crate::record::Body;

/// What an original wrote since it was failed over, kept as a server of its own.
pub mod branch;
/// A disk of a point, behind the trait that writers read.
mod point_disk;

/// Longest name of an order, in bytes.
pub const ORDER_BYTES_MAX: usize = 64;
/// How often a record that found its slot taken is tried again.
const TRIES: u32 = 50;

/// A failover stands: what its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// One more than the epoch before: the chain is held by nobody who writes points.
    pub epoch: u64,
    /// The order that failed the server over: letters, digits and dashes.
    pub order: String,
    /// The point that it was failed over to. It is not pruned while the fork stands.
    pub point: PointId,
    /// The slot of that point.
    pub slot: u64,
    /// When, by the clock of who published it, milliseconds since 1970.
    pub time: u64,
}

/// A failover stands no more: what its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkEnded {
    /// One more than the fork's.
    pub epoch: u64,
    /// The order whose fork it was.
    pub order: String,
    /// How it ended.
    pub how: End,
    /// When, by the clock of who published it, milliseconds since 1970.
    pub time: u64,
}

/// How a fork ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum End {
    /// The failover was cancelled: the original had never ceased to be the server.
    Cancelled,
    /// The original is the server again: it was failed back, or a person decided so.
    Accepted,
}

/// Publishes that a server was failed over to a point; from then on its original's points are refused.
///
/// The same order may say it again, with another point too: the newest counts. Errors: the point is not in the
/// chain; another order's fork stands.
pub fn publish(
    access: &Access,
    server: ServerId,
    order: &str,
    point: PointId,
) -> Result<Fork, Error> {
    check_order(order)?;
    let view = read_chain(access, server)?;
    let slot = view.find(&point.to_string())?.record.slot;
    let mut chain = Chain::open(access, server)?;
    for _ in 0..TRIES {
        if let Some(standing) = chain.fork()? {
            if standing.order != order {
                return Err(stands(server, &standing));
            }
            if standing.point == point {
                return Ok(standing);
            }
        }
        if chain.upkeep()?.gap_of(slot).is_some() {
            let what = "was pruned while it was failed over to";
            return Err(Error::refused(format!("point {point}"), what)
                .retry(Retry::Never)
                .remedy("choose another point; nothing was published"));
        }
        let epoch = chain.newest_epoch()? + 1;
        let time = access.clock.now().0;
        let fork = Fork { epoch, order: order.to_owned(), point, slot, time };
        chain.set_writer_epoch(epoch);
        if let Published::Slot(_) = chain.publish(Body::Fork(fork.clone()))? {
            return Ok(fork);
        }
    }
    Err(busy(server))
}

/// Publishes that an order's fork stands no more: from then on the original's points are taken again. Says `false`
/// where it was ended before.
///
/// Errors: the server is not failed over, or by another order.
pub fn end(access: &Access, server: ServerId, order: &str, how: End) -> Result<bool, Error> {
    let mut chain = Chain::open(access, server)?;
    for _ in 0..TRIES {
        match chain.fork()? {
            Some(standing) if standing.order == order => {}
            Some(standing) => return Err(stands(server, &standing)),
            None if was_ended(&chain, order)? => return Ok(false),
            None => {
                let what = format!("was not failed over by order {order}");
                return Err(Error::misuse(format!("server {server}"), what)
                    .remedy("`lifeboat points --json` shows which failover stands"));
            }
        }
        let epoch = chain.newest_epoch()? + 1;
        let time = access.clock.now().0;
        chain.set_writer_epoch(epoch);
        let ended = ForkEnded { epoch, order: order.to_owned(), how, time };
        if let Published::Slot(_) = chain.publish(Body::ForkEnded(ended))? {
            return Ok(true);
        }
    }
    Err(busy(server))
}

/// The failover that stands in a chain, if one does.
#[must_use]
pub fn standing(view: &ChainView) -> Option<Fork> {
    let slot = view.links.last()?.record.trail_after().epoch?;
    let at = view.links.binary_search_by_key(&slot, |link| link.record.slot).ok()?;
    match &view.links.get(at)?.record.body {
        Body::Fork(fork) => Some(fork.clone()),
        _ => None,
    }
}

/// What a writer is told that would write into the chain of a server that was failed over.
#[must_use]
pub fn stands(server: ServerId, fork: &Fork) -> Error {
    let what = format!(
        "was failed over to point {} by order {}: its chain takes no point of the original",
        fork.point, fork.order
    );
    Error::refused(format!("server {server}"), what).retry(Retry::Never).remedy(
        "cancel that failover, or, where the original is the server again, say `lifeboat server accept --after-failover`",
    )
}

/// Whether the newest of its kind is the end of this order's fork.
fn was_ended(chain: &Chain, order: &str) -> Result<bool, Error> {
    let Some(slot) = chain.trail().epoch else { return Ok(false) };
    Ok(matches!(&chain.read(slot)?.record.body, Body::ForkEnded(ended) if ended.order == order))
}

/// Refuses what cannot stand in the name of a branch.
fn check_order(order: &str) -> Result<(), Error> {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
    if !order.is_empty() && order.len() <= ORDER_BYTES_MAX && order.bytes().all(is_plain) {
        return Ok(());
    }
    Err(Error::misuse(format!("order {order:?}"), "is no name of an order")
        .remedy("take 1 to 64 letters, digits and dashes"))
}

fn busy(server: ServerId) -> Error {
    Error::refused(format!("server {server}"), "its chain moves on without end")
        .retry(Retry::Later)
        .remedy("stop other programs that protect or prune this server, then run again")
}

#[cfg(test)]
mod tests;
