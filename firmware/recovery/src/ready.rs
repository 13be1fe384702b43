//! Whether a server could be recovered now: what is known without asking anybody, and what Azure says where it is asked.

use pipeline_vault::{Error, Retry};
use serde::Serialize;

use crate::order::estimate::{Estimate, estimate};
use crate::order::hands::Survey;
use crate::order::orders::Wanted;
use crate::order::run::{Work, World};
use crate::order::{Kind, Order};
use crate::profile::Profile;
use crate::target::{self, Drilled};

/// A point older than this is told.
const AGE_MILLIS_MAX: u64 = 24 * 3_600_000;
/// A drill older than this is told.
const DRILL_MILLIS_MAX: u64 = 90 * 86_400_000;

/// One server's readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The server's name.
    pub server: String,
    /// Nothing is in the way.
    pub ready: bool,
    /// What is in the way, each with what to do.
    pub problems: Vec<String>,
    /// What is no obstacle and should be known.
    pub warnings: Vec<String>,
    /// Whether it has a target profile.
    pub has_profile: bool,
    /// The newest point.
    pub point: Option<String>,
    /// Its instant, milliseconds since 1970.
    pub point_millis: Option<u64>,
    /// The firmware that it needs, and what it runs.
    pub starts: Option<String>,
    /// What would be changed on a copy so that it starts.
    pub repairs: Vec<String>,
    /// How the warm seed of each disk stands, where its profile wants seeds.
    pub seeds: Vec<String>,
    /// How its last drill in Azure went.
    pub last_drill: Option<Drilled>,
    /// How its last drill on somebody's own machine went.
    pub last_drill_here: Option<Drilled>,
    /// Whether Azure was asked.
    pub asked_azure: bool,
    /// Azure was asked and could not be reached: what it would say is not known.
    pub azure_unreached: bool,
    /// What a failover would take by measured figures, where Azure was asked.
    pub about_millis: Option<u64>,
}

/// Judges a server. With `azure` all that a failover would check there is checked.
///
/// Errors: the vault cannot be asked. What is wrong with the server is in the answer.
pub fn judge(
    world: World<'_>,
    wanted: &Wanted,
    vault: &str,
    azure: bool,
) -> Result<Readiness, Error> {
    let target = target::load(world.documents, wanted.server)?;
    let mut ready = Readiness {
        server: wanted.server_name.clone(),
        ready: false,
        problems: Vec::new(),
        warnings: Vec::new(),
        has_profile: target.profile.is_some(),
        point: None,
        point_millis: None,
        starts: None,
        repairs: Vec::new(),
        seeds: Vec::new(),
        last_drill: target.last_drill().cloned(),
        last_drill_here: target.drills.iter().rfind(|drill| drill.here).cloned(),
        asked_azure: false,
        azure_unreached: false,
        about_millis: None,
    };
    let now = world.hands.wall_millis();
    // A server is judged from its first point on; where it shall go may be said later.
    let profile = match target.profile.clone() {
        Some(profile) => {
            ready.problems.extend(profile.problems());
            let blind = profile.cannot_be_drilled();
            ready.warnings.extend(blind.map(|why| format!("cannot be drilled: {why}")));
            profile
        }
        None => {
            ready.problems.push(format!(
                "has no target profile: lifeboat target set --server {} --file profile.toml",
                wanted.server_name
            ));
            Profile::nowhere()
        }
    };
    let order = wanted.order(pipeline::ids::OrderId([0; 16]), vault.to_owned(), profile);
    match world.hands.survey(&order) {
        Ok(survey) => {
            if now.saturating_sub(survey.point.time_millis) > AGE_MILLIS_MAX {
                let hours = now.saturating_sub(survey.point.time_millis) / 3_600_000;
                ready.warnings.push(format!("its newest point is {hours} hours old"));
            }
            tell_seeds(world, &order, &survey, &mut ready);
            ready.point = Some(survey.point.id);
            ready.point_millis = Some(survey.point.time_millis);
            ready.starts = Some(format!("{:?}, generation {:?}", survey.system, survey.generation));
            ready.problems.extend(survey.obstacles);
            ready.repairs = survey.repairs;
        }
        Err(error) => ready.problems.push(error.to_string()),
    }
    if azure && ready.problems.is_empty() {
        ask(world, order, &target, &mut ready);
    }
    match &ready.last_drill {
        None => ready.warnings.push("was never drilled: lifeboat drill".to_owned()),
        Some(drill) if !drill.up => {
            ready.problems.push("did not come up in its last drill: lifeboat drill".to_owned());
        }
        Some(drill) if now.saturating_sub(drill.at_millis) > DRILL_MILLIS_MAX => {
            ready.warnings.push("was drilled more than 90 days ago".to_owned());
        }
        Some(_) => {}
    }
    ready.ready = ready.problems.is_empty();
    Ok(ready)
}

/// How the warm seeds of its disks stand. One that is of no use makes a failover slow, not impossible.
fn tell_seeds(world: World<'_>, order: &Order, survey: &Survey, ready: &mut Readiness) {
    let mut work = Work::rehearsal(world, order.clone());
    work.take_up(survey);
    if let Err(stop) = work.look_for_seeds() {
        ready.warnings.push(work.told(stop).to_string());
    }
    for disk in &work.order().disks {
        let cold = disk.seed.clone().filter(|_| disk.import.is_none());
        ready.warnings.extend(cold);
        ready.seeds.extend(disk.seed.clone());
    }
}

/// What the step check of a failover says.
fn ask(world: World<'_>, order: Order, target: &target::Target, ready: &mut Readiness) {
    ready.asked_azure = true;
    debug_assert!(order.kind == Kind::Failover);
    match estimate(world, order, target, None) {
        Ok(Estimate { total_millis, notes, .. }) => {
            ready.about_millis = Some(total_millis);
            ready.warnings.extend(notes);
        }
        Err(error) => {
            ready.azure_unreached = error.retry == Retry::Later;
            ready.problems.push(error.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::orders::Wanted;
    use crate::test_world::region::Trouble;
    use crate::test_world::{Site, profile, wanted};
    use pipeline_azure::arm::Why;

    fn judged(site: &Site, wanted: &Wanted, azure: bool) -> Readiness {
        judge(site.process(1).world(), wanted, "vault-1", azure).expect("a vault")
    }

    #[test]
    fn a_server_is_ready_when_its_point_its_profile_and_azure_are() {
        let site = Site::new();
        let failover = wanted(Kind::Failover);
        let first = judged(&site, &failover, true);
        assert!(first.ready && first.asked_azure && first.about_millis.is_some(), "{first:?}");
        assert!(first.warnings.iter().any(|warning| warning.contains("never drilled")));
        site.process(1).order(7, &wanted(Kind::Drill)).expect("a drill");
        let drilled = judged(&site, &failover, false);
        assert!(drilled.ready && drilled.last_drill.is_some_and(|drill| drill.up));
        site.clock.advance(91 * 86_400_000);
        let old = judged(&site, &failover, false);
        assert_eq!(old.warnings.len(), 2, "{:?}", old.warnings);
        assert!(site.region.log().iter().all(|call| !call.contains("virtualmachines/web1 ")));
    }

    #[test]
    fn how_its_seeds_stand_is_told_and_a_missing_one_is_no_obstacle() {
        let site = Site::warm();
        for azure in [false, true] {
            let ready = judged(&site, &wanted(Kind::Failover), azure);
            assert!(ready.ready && ready.seeds.len() == 2, "{ready:?}");
            assert!(ready.seeds[0].contains("sda is made of its seed, which is at"));
            let told =
                |piece: &str| ready.warnings.iter().filter(|one| one.contains(piece)).count();
            assert_eq!((told("sda"), told("sdb is uploaded")), (0, 1), "{:?}", ready.warnings);
        }
        assert!(judged(&Site::new(), &wanted(Kind::Failover), false).seeds.is_empty());
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let site = Site::new();
        let failover = wanted(Kind::Failover);
        let stranger = Wanted { server: pipeline::ids::ServerId([9; 16]), ..failover.clone() };
        let unsaid = judged(&site, &stranger, true);
        assert!(unsaid.problems[0].contains("lifeboat target set"), "{:?}", unsaid.problems);
        assert!(
            unsaid.starts.is_some() && !unsaid.asked_azure,
            "its disks are judged all the same"
        );
        let damaged = Wanted { point: "damaged".to_owned(), ..failover.clone() };
        assert!(judged(&site, &damaged, true).problems[0].contains("segment 7"));
        let mut other = profile();
        other.zone = Some("3".to_owned());
        target::set_profile(&site.process(1).documents, failover.server, "web1", &other).unwrap();
        let zone = judged(&site, &failover, true);
        assert!(!zone.ready && zone.problems[0].contains("zone 3"), "{:?}", zone.problems);
        assert!(judged(&site, &failover, false).ready, "nobody asked Azure");
    }

    #[test]
    fn an_azure_that_cannot_be_reached_is_told_apart_from_one_that_says_no() {
        for (why, unreached) in [(Why::Way, true), (Why::Denied, false)] {
            let site = Site::new();
            let at = "/usages".to_owned();
            site.region.trouble(Trouble { at, why, late: false, done: false, times: 1000 });
            let ready = judged(&site, &wanted(Kind::Failover), true);
            assert!(!ready.ready && ready.asked_azure, "{ready:?}");
            assert_eq!(ready.azure_unreached, unreached, "{ready:?}");
        }
    }
}
