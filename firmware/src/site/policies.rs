//! Policies, pins, and who comes in: what is kept on the roll.

use firmware_web::api::Caller;
use firmware_web::api::site::Answer;
use firmware_web::api::views::servers::{Install, PointView, PolicyView, ServerView};
use firmware_web::api::views::vault::{Retention, VaultView};
use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use pipeline_vault::fork::{self, End};
use pipeline_vault::pins;
use pipeline_vault::retain::Policy as Keep;
use pipeline_wire::policy::{FREEZE_LIMIT_MILLIS_MAX, INTERVAL_SECONDS_MIN, Policy};

use super::refuse::{in_the_way, not_now, refusal, wrong};
use super::servers::point_view;
use super::{LiveSite, Refusal};
use crate::disk_argument::check_name;
use crate::enrol::Grant;
use crate::enrol::issue::{Wanted, issue};
use crate::ingest::roll::Roll;

/// How long a token is good.
const TOKEN_SECONDS: u64 = 3600;
/// A person's pin ends by a person's word.
const FOR_EVER_MILLIS: u64 = 100 * 366 * 86_400_000;
const INTERVAL_SECONDS_MAX: u32 = 86_400;
/// Names of disks and of groups.
const NAME_BYTES_MAX: usize = 100;
/// Longest reason of a pin.
const WHY_BYTES_MAX: usize = 500;
const LEFT_OUT_MAX: usize = 64;

impl LiveSite {
    /// What is on the roll now is what everybody sees.
    pub(super) fn look_at_roll_now(&self) {
        if let Ok(roll) = self.kept_roll() {
            let mut sight = self.sight.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut fresh = super::Sight::clone(&sight);
            fresh.roll = Some(roll.roll());
            *sight = std::sync::Arc::new(fresh);
        }
        self.wake();
    }

    fn change_roll<T>(&self, change: &mut dyn FnMut(&mut Roll) -> Result<T, Error>) -> Answer<T> {
        let done = self.kept_roll()?.change(change).map_err(refusal)?;
        self.look_at_roll_now();
        Ok(done)
    }

    pub(super) fn change_policy(
        &self,
        by: &Caller,
        name: &str,
        view: &PolicyView,
    ) -> Answer<ServerView> {
        let server = self.server_id(name)?;
        let policy = policy_of(view)?;
        let keep = view.keep.as_deref().map(kept_as).transpose()?;
        self.change_roll(&mut |roll| {
            let listed = roll.named(name)?;
            listed.policy = policy.clone();
            listed.keep.clone_from(&keep);
            listed.group.clone_from(&view.group);
            roll.rules.second_person.retain(|known| *known != server);
            if view.second_person {
                roll.rules.second_person.push(server);
            }
            Ok(())
        })?;
        let object = format!("server {name}");
        self.tell_of(by, "policy_set", object, "Its policy was changed.".to_owned());
        self.server_view(name)
    }

    pub(super) fn change_retention(&self, by: &Caller, retention: &Retention) -> Answer<VaultView> {
        let keep = retention.keep.as_deref().map(kept_as).transpose()?;
        let object = match &retention.server {
            Some(name) => {
                self.server_id(name)?;
                format!("server {name}")
            }
            None => "vault".to_owned(),
        };
        self.change_roll(&mut |roll| {
            match &retention.server {
                Some(name) => roll.named(name)?.keep.clone_from(&keep),
                None => roll.rules.keep.clone_from(&keep),
            }
            Ok(())
        })?;
        let words = match &keep {
            Some(keep) => format!("Points are kept {keep}."),
            None => "Points are kept as is said for all, or for ever.".to_owned(),
        };
        self.tell_of(by, "retention_set", object, words);
        self.vault_view()
    }

    /// Holds a point, or lets it go where no reason is given.
    pub(super) fn hold(
        &self,
        by: &Caller,
        name: &str,
        point: &str,
        why: Option<&str>,
    ) -> Answer<PointView> {
        let server = self.server_id(name)?;
        let found = self.point(name, server, point)?;
        let why = why.map(str::trim);
        if why.is_some_and(|why| why.is_empty() || why.len() > WHY_BYTES_MAX) {
            let words = format!("has no reason, or one longer than {WHY_BYTES_MAX} bytes");
            return Err(wrong("/why", "a pin", words));
        }
        let access = self.opened()?.vault.session().access();
        match why {
            Some(why) => {
                // Pinned again, it is pinned for the newer reason.
                let why = format!("{why} ({})", by.name);
                pins::hold_instead(&access, server, found.slot, &why, FOR_EVER_MILLIS)
                    .map_err(refusal)?;
            }
            None => drop(pins::release(&access, &server, found.id).map_err(refusal)?),
        }
        self.look_at_holds(server)?;
        let (kind, words) = match why {
            Some(why) => ("point_pinned", format!("Point {point} is pinned: {why}")),
            None => ("point_unpinned", format!("Point {point} is pinned no more.")),
        };
        self.tell_of(by, kind, format!("server {name}"), words);
        let sight = self.sight();
        Ok(point_view(sight.chains.get(&server).map(std::sync::Arc::as_ref), &found))
    }

    pub(super) fn let_in(&self, by: &Caller, name: Option<&str>, readmit: bool) -> Answer<Install> {
        if !self.facts.takes_agents {
            return Err(not_now("this program", "takes no agents", "start serve with --agents"));
        }
        let addresses = (self.facts.pages)();
        if addresses.is_empty() {
            let remedy = "connect the machine to its network, or set an address";
            return Err(not_now(
                "this machine",
                "has no address that a server could reach",
                remedy,
            ));
        }
        let kept = self.kept_roll()?;
        let again = match name {
            Some(name) => {
                check_name(name).map_err(|what| wrong("/name", format!("server {name}"), what))?;
                let mut session = kept.session();
                let server =
                    session.vault().and_then(|vault| vault.enrol(name)).map_err(refusal)?.id;
                session.note_ring();
                Some(Grant { server, name: name.to_owned() })
            }
            None => None,
        };
        let now = self.now() / 1000;
        let ends_at = now + TOKEN_SECONDS;
        let wanted = Wanted { addresses, now, ends_at, again, readmit };
        let issued = issue(&kept, &self.facts.identity, &wanted).map_err(|error| {
            let is_name = error.blame == Blame::Misuse;
            let refusal = refusal(error);
            if is_name { refusal.at("/name") } else { refusal }
        })?;
        let object = name.map_or_else(|| "appliance".to_owned(), |name| format!("server {name}"));
        let words = match readmit {
            true => "A line that lets it in again, although it was revoked, was made.".to_owned(),
            false => "A line that lets one server in was made.".to_owned(),
        };
        self.tell_of(by, "token_made", object, words);
        self.wake();
        Ok(Install { line: issued.line, ends_millis: ends_at * 1000 })
    }

    pub(super) fn turn_away(&self, by: &Caller, name: &str) -> Answer<ServerView> {
        self.server_id(name)?;
        self.change_roll(&mut |roll| roll.revoke(name))?;
        let words = "It was revoked: no agent comes in as it any more.".to_owned();
        self.tell_of(by, "server_revoked", format!("server {name}"), words);
        self.server_view(name)
    }

    pub(super) fn take_in(
        &self,
        by: &Caller,
        name: &str,
        after_failover: bool,
    ) -> Answer<ServerView> {
        let server = self.server_id(name)?;
        let object = format!("server {name}");
        if after_failover {
            let opened = self.opened()?;
            let chain = opened.vault.session().chain(server).map_err(refusal)?;
            let standing = fork::standing(&chain).ok_or_else(|| {
                let words = "was not failed over, or that has ended";
                in_the_way(object.clone(), words, "accept another machine instead")
            })?;
            self.change_roll(&mut |roll| {
                roll.end_drain(server, &standing.order);
                Ok(())
            })?;
            let access = opened.vault.session().access();
            fork::end(&access, server, &standing.order, End::Accepted).map_err(refusal)?;
            let words = format!(
                "The failover by order {} has ended: it is the server again.",
                standing.order
            );
            self.tell_of(by, "failover_ended", object, words);
        } else {
            self.change_roll(&mut |roll| {
                roll.named(name)?.accepts = true;
                Ok(())
            })?;
            let words = "The next machine that shows up as it is accepted.".to_owned();
            self.tell_of(by, "machine_accepted", object, words);
        }
        self.wake();
        self.server_view(name)
    }
}

/// A retention as a person wrote it.
fn kept_as(text: &str) -> Result<String, Refusal> {
    match Keep::parse(text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => {
            let mut refusal = wrong("/keep", error.object, error.what);
            refusal.remedy = Some(error.remedy);
            Err(refusal)
        }
    }
}

fn policy_of(view: &PolicyView) -> Result<Policy, Refusal> {
    let bad = |field: &str, what: String| Err(wrong(field, "policy", what));
    if !(INTERVAL_SECONDS_MIN..=INTERVAL_SECONDS_MAX).contains(&view.interval_seconds) {
        let what = format!("is not from {INTERVAL_SECONDS_MIN} s to {INTERVAL_SECONDS_MAX} s");
        return bad("/interval_seconds", what);
    }
    if !(1..=FREEZE_LIMIT_MILLIS_MAX).contains(&view.freeze_limit_millis) {
        let what = format!("is not from 1 ms to {FREEZE_LIMIT_MILLIS_MAX} ms");
        return bad("/freeze_limit_millis", what);
    }
    if view.freeze_budget_millis > view.freeze_limit_millis {
        return bad("/freeze_budget_millis", "is more than the limit".to_owned());
    }
    if view.left_out.len() > LEFT_OUT_MAX {
        return bad("/left_out", format!("names more than {LEFT_OUT_MAX} disks"));
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
    };
    if let Some(name) = view.left_out.iter().find(|name| !is_name(name)) {
        return bad("/left_out", format!("{name:?} is no name of a disk"));
    }
    if let Some(group) = view.group.as_deref().filter(|group| !is_name(group)) {
        return bad("/group", format!("{group:?} is no name of a group"));
    }
    Ok(Policy {
        interval_seconds: view.interval_seconds,
        freeze_budget_millis: view.freeze_budget_millis,
        freeze_limit_millis: view.freeze_limit_millis,
        application_every: view.application_every,
        left_out: view.left_out.clone(),
        compare_bytes_per_second: view.compare_bytes_per_second,
        send_bytes_per_second: view.send_bytes_per_second,
        paused: view.paused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> PolicyView {
        PolicyView {
            interval_seconds: 60,
            freeze_budget_millis: 250,
            freeze_limit_millis: 5000,
            ..PolicyView::default()
        }
    }

    #[test]
    fn what_no_policy_can_be_is_told_beside_its_field() {
        assert_eq!(policy_of(&view()), Ok(Policy::default()));
        let cases = [
            (PolicyView { interval_seconds: 9, ..view() }, "/interval_seconds"),
            (PolicyView { interval_seconds: 86_401, ..view() }, "/interval_seconds"),
            (PolicyView { freeze_limit_millis: 0, ..view() }, "/freeze_limit_millis"),
            (PolicyView { freeze_limit_millis: 30_001, ..view() }, "/freeze_limit_millis"),
            (PolicyView { freeze_budget_millis: 5001, ..view() }, "/freeze_budget_millis"),
            (PolicyView { left_out: vec![String::new()], ..view() }, "/left_out"),
            (PolicyView { left_out: vec!["sda".to_owned(); 65], ..view() }, "/left_out"),
            (PolicyView { group: Some("a\nb".to_owned()), ..view() }, "/group"),
        ];
        for (view, field) in cases {
            let refusal = policy_of(&view).unwrap_err();
            assert_eq!((refusal.status, refusal.field.as_deref()), (422, Some(field)));
        }
        let refusal = kept_as("72h,soon").unwrap_err();
        assert!(refusal.detail.contains("«soon»") && refusal.remedy.is_some(), "{refusal:?}");
        assert_eq!(kept_as(" 72h,daily=30d "), Ok("72h,daily=30d".to_owned()));
    }
}
