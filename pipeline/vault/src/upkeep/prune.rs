//! Takes points out of the chain: what the policy does not keep, never the newest, and nothing that looks like a
//! mistake without a confirmation.

use super::session::{Session, Stop};
use super::{Plan, Planned, Report};
use crate::error::Error;
use crate::pins;
use crate::record::{Action, RemovedPoint, Upkeep};
use crate::retain::{Dated, Reason};

/// Clocks that differ by more than this are not believed without a confirmation, milliseconds.
const JUMP: u64 = 3_600_000;

impl Session<'_> {
    /// What pruning would do now.
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let (local, store) = (self.access.clock.now().0, self.access.store.now()?);
        let now = local.min(store);
        let dated: Vec<Dated> = self
            .roster
            .points()
            .map(|(entry, _)| Dated { time: entry.time(), slot: entry.slot })
            .collect();
        let mut fates = self.policy.keep(&dated, now);
        let fork = self.chain.fork()?.map(|fork| fork.slot);
        let holds = pins::holds(&self.access, &self.server)?;
        for (point, fate) in dated.iter().zip(&mut fates) {
            for hold in holds.iter().filter(|hold| hold.slot == point.slot) {
                if !fate.reasons.contains(&Reason::Held) {
                    fate.reasons.push(Reason::Held);
                }
                fate.until = fate.until.max(hold.expires);
            }
            if fork == Some(point.slot) {
                fate.reasons.push(Reason::Fork);
                fate.until = u64::MAX;
            }
        }
        let points: Vec<Planned> = self
            .roster
            .points()
            .zip(fates)
            .map(|((entry, summary), fate)| Planned {
                slot: entry.slot,
                id: summary.id,
                time: entry.time(),
                fate,
            })
            .collect();
        let mut plan = Plan { now, points, refusal: None };
        plan.refusal = self.refusal(&plan, local, store);
        Ok(plan)
    }

    /// Why a plan looks like a mistake.
    fn refusal(&self, plan: &Plan, local: u64, store: u64) -> Option<Error> {
        let removed = plan.removed().count();
        if removed == 0 {
            return None;
        }
        let about = |what: String| Error::refused(format!("server {}", self.server), what);
        if local.abs_diff(store) > JUMP {
            let minutes = local.abs_diff(store) / 60_000;
            return Some(
                about(format!("{removed} points would go, but this machine's clock and the store's differ by {minutes} minutes"))
                    .remedy("set the clock right, or look at it with --dry-run and confirm; nothing was pruned"),
            );
        }
        let newest =
            self.chain.head().map_or(0, |link| link.record.local_time.max(link.record.store_time));
        if plan.now.saturating_add(JUMP) < newest {
            return Some(
                about(format!("{removed} points would go, but the clock is before the newest record: it jumped"))
                    .remedy("set the clock right, or look at it with --dry-run and confirm; nothing was pruned"),
            );
        }
        let all = plan.points.len();
        (removed * 2 > all).then(|| {
            about(format!("{removed} of {all} points would go, which is more than half"))
                .remedy("look at it with --dry-run and confirm if it is meant; nothing was pruned")
        })
    }

    /// Prunes, in one record.
    pub(super) fn prune(&mut self, report: &mut Report) -> Result<(), Stop> {
        let options = self.options;
        if options.dry_run {
            let plan = self.plan()?;
            report.points_removed = plan.removed().count() as u64;
            report.points_kept = plan.points.len() as u64 - report.points_removed;
            if let Some(refusal) = plan.refusal.filter(|_| !options.confirmed) {
                report.trouble(&refusal);
            }
            return Ok(());
        }
        let (mut kept, mut removed) = (0, 0);
        let covered = self.publish(&mut |session| {
            let plan = session.plan()?;
            if let Some(refusal) = plan.refusal.clone().filter(|_| !options.confirmed) {
                return Err(Stop::Failed(refusal));
            }
            removed = plan.removed().count() as u64;
            kept = plan.points.len() as u64 - removed;
            Ok(if removed == 0 { None } else { Some(session.without(&plan)?) })
        })?;
        report.points_kept = kept;
        if let Some(covered) = covered {
            report.points_removed += removed;
            report.records_covered += covered;
        }
        Ok(())
    }

    /// The state of upkeep with the plan's points gone.
    fn without(&self, plan: &Plan) -> Result<Upkeep, Error> {
        let mut next = self.roster.upkeep.clone();
        let now = self.access.store.now()?;
        let mut removed = Vec::new();
        for point in plan.removed() {
            // `Policy::keep` never gives the newest away; a bug there must not cost a server its last point.
            assert_ne!(Some(point.slot), self.chain.trail().point, "the newest point is kept");
            let Some(entry) = self.roster.entries.get(&point.slot) else { continue };
            removed.push(RemovedPoint { slot: point.slot, id: point.id, digest: entry.digest });
            next.cover(point.slot, entry.digest);
            next.leave(point.slot, now);
        }
        next.action = Action::Prune { removed };
        Ok(next)
    }
}
