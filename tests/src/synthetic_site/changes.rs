//! What is changed in a made-up appliance, with the refusals that a person meets.

use firmware_recovery::profile::Profile;
use firmware_web::api::views::recovery::{OrderAsked, OrderView, StepView};
use firmware_web::api::views::servers::{Health, PointView, PolicyView, ServerView};
use firmware_web::api::views::vault::{Retention, VaultView};
use firmware_web::api::{Answer, Caller, Refusal};

use super::{SyntheticSite, find, find_mut, missing, now};

/// Steps of an order, as recovery names them.
const STEPS: [&str; 6] = ["check", "network", "disks", "fill", "machine", "prove"];

impl SyntheticSite {
    pub(super) fn change_policy(
        &self,
        by: &Caller,
        name: &str,
        policy: &PolicyView,
    ) -> Answer<ServerView> {
        let refuse = |field: &str, words: &str| {
            Err(Refusal::new(422, format!("policy of {name}"), words).at(format!("/{field}")))
        };
        if !(10..=86_400).contains(&policy.interval_seconds) {
            return refuse("interval_seconds", "an interval has 10 to 86 400 seconds");
        }
        if policy.freeze_limit_millis > 30_000 {
            return refuse("freeze_limit_millis", "nobody is frozen for more than 30 000 ms");
        }
        if policy.left_out.len() > 1 {
            return refuse("left_out", "one disk at least is protected");
        }
        Self::check_keep(policy.keep.as_deref())?;
        let mut state = self.state();
        let server = find_mut(&mut state, name)?;
        server.policy = policy.clone();
        server.row.rpo_target_seconds = u64::from(policy.interval_seconds);
        drop(state);
        let object = format!("server {name}");
        self.note(Health::Good, "policy_changed", &object, "its policy was changed", Some(by));
        self.told_server(name)
    }

    pub(super) fn change_pin(
        &self,
        by: &Caller,
        name: &str,
        point: &str,
        why: Option<&str>,
    ) -> Answer<PointView> {
        self.told_point(name, point)?;
        let mut state = self.state();
        let pins = &mut find_mut(&mut state, name)?.pins;
        match why {
            Some(why) => pins.insert(point.into(), format!("{why} ({})", by.name)),
            None => pins.remove(point),
        };
        drop(state);
        self.told_point(name, point)
    }

    /// Refused as the real one refuses it: the whole text is what is wrong.
    pub(super) fn change_target(&self, name: &str, text: &str) -> Answer<String> {
        let refused = |words: String| {
            Refusal::new(422, format!("target profile of {name}"), words).at(String::new())
        };
        let profile: Profile =
            toml::from_str(text).map_err(|error| refused(error.to_string().trim().to_owned()))?;
        let problems = profile.problems();
        if !problems.is_empty() {
            return Err(refused(problems.join("; ")));
        }
        find_mut(&mut self.state(), name)?.target = Some(text.into());
        Ok(text.into())
    }

    pub(super) fn change_retention(&self, by: &Caller, wanted: &Retention) -> Answer<VaultView> {
        Self::check_keep(wanted.keep.as_deref())?;
        let mut state = self.state();
        state.retention.retain(|rule| rule.server != wanted.server);
        state.retention.push(wanted.clone());
        drop(state);
        self.note(Health::Good, "retention_changed", "vault", "retention was changed", Some(by));
        Ok(self.told_vault())
    }

    pub(super) fn change_orders(&self, by: &Caller, asked: &OrderAsked) -> Answer<OrderView> {
        let mut state = self.state();
        let newest = find(&state, &asked.server)?.row.newest_point_millis;
        let Some(newest) = newest else {
            return Err(Refusal::new(409, format!("server {}", asked.server), "has no point yet"));
        };
        let step = |(at, name): (usize, &&str)| StepView {
            step: (*name).into(),
            standing: if at == 0 { "begun" } else { "waits" }.into(),
            took_millis: 0,
        };
        let order = OrderView {
            order: format!("{:032x}", state.random.number()),
            server: asked.server.clone(),
            kind: asked.kind.clone(),
            state: "open".into(),
            by: by.name.clone(),
            ordered_millis: now(),
            point: asked.point.clone(),
            point_millis: Some(newest),
            steps: STEPS.iter().enumerate().map(step).collect(),
            running: true,
            ..OrderView::default()
        };
        state.orders.insert(0, order.clone());
        Ok(order)
    }

    pub(super) fn change_order(
        &self,
        id: &str,
        change: impl FnOnce(&mut OrderView),
    ) -> Answer<OrderView> {
        let mut state = self.state();
        let found = state.orders.iter_mut().find(|order| order.order == id);
        let order = found.ok_or_else(|| missing("order", id))?;
        change(order);
        Ok(order.clone())
    }
}
