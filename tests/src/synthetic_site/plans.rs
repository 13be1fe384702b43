//! Recovery plans of a made-up appliance: read as the real one reads them, run at once, waiting where a person is asked to do
//! something.

use firmware_recovery::plan::{Action, Text};
use firmware_web::api::views::recovery::{OrderView, PlanEntry, PlanRunView, PlanView};
use firmware_web::api::views::vault::JobView;
use firmware_web::api::{Answer, Caller, Refusal};

use super::{State, SyntheticSite, missing, now};

fn plan<'a>(state: &'a mut State, name: &str) -> Answer<&'a mut PlanView> {
    state.plans.get_mut(name).ok_or_else(|| missing("plan", name))
}

impl SyntheticSite {
    pub(super) fn change_plan(&self, name: &str, text: &str) -> Answer<PlanView> {
        let refused =
            |words: String| Refusal::new(422, format!("plan {name}"), words).at(String::new());
        let read: Text = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        if read.name != name {
            return Err(refused(format!("is called {} in its text", read.name)));
        }
        let mut state = self.state();
        let problems =
            read.problems(&|wanted| state.servers.iter().any(|it| it.row.name == wanted));
        if !problems.is_empty() {
            return Err(refused(problems.join("; ")));
        }
        let names = |group: &firmware_recovery::plan::Group| {
            group.servers.iter().map(|server| server.name.clone()).collect()
        };
        let held = state.plans.entry(name.to_owned()).or_default();
        name.clone_into(&mut held.name);
        text.clone_into(&mut held.text);
        held.groups = read.groups.iter().map(names).collect();
        Ok(held.clone())
    }

    /// Everything up to the first thing that a person has to do, or all of it.
    pub(super) fn begin_plan(&self, by: &Caller, name: &str, drill: bool) -> Answer<PlanRunView> {
        let mut state = self.state();
        let run = format!("{:032x}", state.random.number());
        let held = plan(&mut state, name)?;
        let text: Text = toml::from_str(&held.text).map_err(|_| missing("plan", name))?;
        let asked = text.groups.iter().flat_map(|group| group.before.iter().chain(&group.after));
        let waits_for = asked.into_iter().find_map(|action| match action {
            Action::Manual(words) => Some(words.clone()),
            _ => None,
        });
        let (kind, up) = if drill { ("drill", "drilled") } else { ("failover", "up") };
        let order = |server: &String| OrderView {
            order: format!("{run}{server}"),
            server: server.clone(),
            kind: kind.into(),
            state: up.into(),
            up: Some(true),
            ..OrderView::default()
        };
        let entry = |group: &Vec<String>| PlanEntry {
            what: format!("{} recovered", group.join(", ")),
            began_millis: now(),
            took_millis: 61_000,
            failed: None,
        };
        let view = PlanRunView {
            plan: name.into(),
            drill,
            state: if waits_for.is_some() { "waits" } else { "done" }.into(),
            by: by.name.clone(),
            began_millis: now(),
            waits_for,
            trouble: None,
            entries: held.groups.iter().map(entry).collect(),
            orders: held.groups.iter().flatten().map(order).collect(),
            run,
        };
        held.last_run = Some(view.clone());
        Ok(view)
    }

    pub(super) fn go_on(&self, name: &str) -> Answer<PlanRunView> {
        let mut state = self.state();
        let held = plan(&mut state, name)?;
        let run = held.last_run.as_mut().filter(|run| run.waits_for.is_some());
        let run = run.ok_or_else(|| missing("run that waits, of plan", name))?;
        run.waits_for = None;
        run.state = "done".into();
        Ok(run.clone())
    }

    pub(super) fn keep_plan(&self, by: &Caller, name: &str) -> Answer<JobView> {
        let mut state = self.state();
        let held = plan(&mut state, name)?;
        let run = held.last_run.as_mut().filter(|run| !run.drill && run.state == "done");
        let run = run.ok_or_else(|| missing("failover to keep, of plan", name))?;
        run.orders.iter_mut().for_each(|order| order.state = "committed".into());
        drop(state);
        Ok(self.begin(by, "plan commit", "keeps what was failed over"))
    }
}
