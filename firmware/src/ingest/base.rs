//! What a server's pieces go on from in the vault: the point that its agent knows to be there, and what this appliance put
//! behind it. What somebody else put there meanwhile is no base: nobody knows what it changed.

use pipeline::ids::{PointId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::{Chain, Link};
use pipeline_vault::error::Blame;
use pipeline_vault::points::read_chain;
use pipeline_vault::record::Body;

/// Somebody else's newest maps.
const FOREIGN_POINT: &str =
    "somebody else made a point of it: what the spool has is not what came after that";
const FOREIGN_CHECKPOINT: &str =
    "somebody else began a point of it: what the spool has is not what came after that";

/// A failover ended, or the point was pruned behind newer ones of somebody else.
const GONE: &str = "the point that its agent goes on from is not in its chain: everything is compared with the newest";

/// What a server goes on from.
#[derive(Clone)]
pub struct Base {
    /// The point.
    pub point: Option<Link>,
    /// What this appliance put behind it.
    pub checkpoint: Option<Link>,
    /// Why that is not what is newest in the vault, in words.
    pub foreign: Option<&'static str>,
}

impl Base {
    /// As it is now in a chain, for a server of which this point is known. `host` is how this appliance calls itself.
    ///
    /// Errors: the vault.
    pub fn of(chain: &Chain, known: Option<PointId>, host: &str) -> Result<Self, Error> {
        let newest = chain.newest_point()?;
        let foreign = if id_of(newest.as_ref()) == known {
            let checkpoint = chain.newest_checkpoint()?;
            if is_ours(chain, checkpoint.as_ref(), host)? {
                return Ok(Self { point: newest, checkpoint, foreign: None });
            }
            return Ok(Self { point: newest, checkpoint: None, foreign: Some(FOREIGN_CHECKPOINT) });
        } else {
            Some(FOREIGN_POINT)
        };
        let Some(known) = known else { return Ok(Self { point: None, checkpoint: None, foreign }) };
        match find(chain.access(), chain.server(), known)? {
            Some(point) => Ok(Self { point: Some(point), checkpoint: None, foreign }),
            None => Ok(Self { point: newest, checkpoint: None, foreign: Some(GONE) }),
        }
    }

    /// Where a run begins of whose server nothing is known: the newest point, whoever made it.
    pub fn first(chain: &Chain, host: &str) -> Result<Self, Error> {
        let newest = id_of(chain.newest_point()?.as_ref());
        Self::of(chain, newest, host)
    }

    /// Whether the point that is known is not there: nobody knows what changed since this one.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.foreign == Some(GONE)
    }

    /// The point's identity.
    #[must_use]
    pub fn point_id(&self) -> Option<PointId> {
        id_of(self.point.as_ref())
    }
}

fn id_of(link: Option<&Link>) -> Option<PointId> {
    Some(link?.record.point()?.id)
}

fn find(access: &Access, server: ServerId, known: PointId) -> Result<Option<Link>, Error> {
    let view = read_chain(access, server)?;
    Ok(view.points().find(|link| id_of(Some(link)) == Some(known)).cloned())
}

/// Whether a checkpoint is this appliance's, or there is none.
fn is_ours(chain: &Chain, checkpoint: Option<&Link>, host: &str) -> Result<bool, Error> {
    let Some(checkpoint) = checkpoint else { return Ok(true) };
    let Some(opened) = checkpoint.record.trail.epoch else { return Ok(false) };
    match chain.read(opened) {
        Ok(link) => Ok(matches!(&link.record.body, Body::EpochOpen(open) if open.host == host)),
        // Pruned because somebody opened the chain after that: nobody can say any more whose it was.
        Err(error) if error.blame == Blame::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}
