//! What waits for a second person: in memory, for an hour. Whoever asked never agrees to it.

use core::mem;
use std::collections::VecDeque;

use firmware_web::api::admin::{Deed, Permission};
use firmware_web::api::views::admin::{ApprovalState, ApprovalView};
use firmware_web::api::{Answer, Refusal, Who};

const HOUR_MILLIS: u64 = 60 * 60 * 1000;
/// Approvals that are remembered, those that are over included; and those of one user that wait.
const ALL_MAX: usize = 64;
const OF_USER_MAX: usize = 16;

/// Approvals, the oldest first.
#[derive(Debug, Default)]
pub struct Approvals(VecDeque<Approval>);

#[derive(Debug)]
struct Approval {
    view: ApprovalView,
    deed: Deed,
    /// It was agreed to, and who asked may send the same again, once.
    left_to_asker: bool,
}

impl Approvals {
    /// Whether a deed may be done at `now`; where it may not, it waits from now on under the identity `id`.
    pub fn permit(&mut self, deed: Deed, id: String, now: u64) -> Answer<Permission> {
        self.end_stale(now);
        for approval in self.0.iter_mut().rev() {
            if !approval.is_for(&deed) {
                continue;
            }
            if mem::take(&mut approval.left_to_asker) {
                return Ok(Permission::Given);
            }
            if approval.view.state == ApprovalState::Waits {
                return Ok(Permission::Waits(approval.view.clone()));
            }
        }
        let waiting = |approval: &&Approval| approval.view.state == ApprovalState::Waits;
        let of_user =
            self.0.iter().filter(waiting).filter(|it| it.deed.by.user == deed.by.user).count();
        if of_user >= OF_USER_MAX {
            return Err(full());
        }
        if self.0.len() >= ALL_MAX {
            let over = self.0.iter().position(|it| !waiting(&it) && !it.left_to_asker);
            self.0.remove(over.ok_or_else(full)?);
        }
        let view = ApprovalView {
            id,
            operation: deed.operation.clone(),
            object: deed.object.clone(),
            words: deed.words.clone(),
            by: deed.by.caller.name.clone(),
            asked_millis: now,
            ends_millis: now.saturating_add(HOUR_MILLIS),
            state: ApprovalState::Waits,
            settled_by: None,
            outcome: None,
        };
        self.0.push_back(Approval { view: view.clone(), deed, left_to_asker: false });
        Ok(Permission::Waits(view))
    }

    /// All of them, the newest first.
    pub fn all(&mut self, now: u64) -> Vec<ApprovalView> {
        self.end_stale(now);
        self.0.iter().rev().map(|approval| approval.view.clone()).collect()
    }

    /// Another person agrees or refuses.
    pub fn settle(
        &mut self,
        by: &Who,
        id: &str,
        grant: bool,
        now: u64,
    ) -> Answer<(ApprovalView, Option<Deed>)> {
        self.end_stale(now);
        let object = || format!("approval {id}");
        let approval = self.0.iter_mut().find(|approval| approval.view.id == id);
        let approval = approval.ok_or_else(|| Refusal::new(404, object(), "is not there"))?;
        // Whoever asked may take it back, but never agree: neither himself nor by a token that he made.
        if by.user == approval.deed.by.user && grant {
            return Err(Refusal::new(403, object(), "needs another person than who asked"));
        }
        if approval.view.state != ApprovalState::Waits {
            return Err(Refusal::new(409, object(), "does not wait any more"));
        }
        approval.view.state = if grant { ApprovalState::Granted } else { ApprovalState::Refused };
        approval.view.settled_by = Some(by.caller.name.clone());
        Ok((approval.view.clone(), grant.then(|| approval.deed.clone())))
    }

    /// Who asked sends the same again, once.
    pub fn leave_to_asker(&mut self, id: &str) {
        if let Some(approval) = self.0.iter_mut().find(|approval| approval.view.id == id) {
            approval.left_to_asker = true;
        }
    }

    /// What came of it.
    pub fn came_of(&mut self, id: &str, outcome: u16) -> Option<ApprovalView> {
        let approval = self.0.iter_mut().find(|approval| approval.view.id == id)?;
        approval.view.outcome = Some(outcome);
        Some(approval.view.clone())
    }

    /// Who asked, and as whom, of something that waits.
    #[must_use]
    pub fn asked_by(&self, id: &str) -> Option<&Who> {
        self.0.iter().find(|approval| approval.view.id == id).map(|approval| &approval.deed.by)
    }

    fn end_stale(&mut self, now: u64) {
        for approval in &mut self.0 {
            if now >= approval.view.ends_millis {
                approval.left_to_asker = false;
                if approval.view.state == ApprovalState::Waits {
                    approval.view.state = ApprovalState::Over;
                }
            }
        }
    }
}

impl Approval {
    /// Whether it is for this very request, by the same.
    fn is_for(&self, deed: &Deed) -> bool {
        let same = |one: &Deed, other: &Deed| {
            (&one.operation, &one.path, &one.query, &one.body, &one.words)
                == (&other.operation, &other.path, &other.query, &other.body, &other.words)
                && (&one.by.user, &one.by.caller) == (&other.by.user, &other.by.caller)
        };
        same(&self.deed, deed)
    }
}

fn full() -> Refusal {
    Refusal::new(409, "approvals", "wait already, too many of them")
        .remedy("have some of them settled")
}

#[cfg(test)]
mod tests {
    use firmware_web::api::{Caller, Role};

    use super::*;

    fn who(user: &str, is_person: bool) -> Who {
        Who {
            caller: Caller { name: user.to_owned(), role: Role::Administrator },
            user: user.to_owned(),
            session: is_person.then(|| "s".to_owned()),
            csrf: String::new(),
        }
    }

    fn deed(user: &str, body: &str) -> Deed {
        Deed {
            operation: "order".into(),
            object: "server web1".into(),
            words: "server web1 fails over".into(),
            path: "/orders".into(),
            query: String::new(),
            body: body.as_bytes().to_vec(),
            by: who(user, true),
        }
    }

    fn waits(permission: Answer<Permission>) -> String {
        match permission {
            Ok(Permission::Waits(view)) => view.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_person_agrees_once_and_nobody_else() {
        let mut all = Approvals::default();
        let id = waits(all.permit(deed("anna", "x"), "1".into(), 0));
        assert_eq!(waits(all.permit(deed("anna", "x"), "2".into(), 0)), id, "asked twice");
        for wrong in [who("anna", true), who("anna", false)] {
            assert_eq!(all.settle(&wrong, &id, true, 0).unwrap_err().status, 403);
        }
        let (view, granted) = all.settle(&who("bert", true), &id, true, 0).unwrap();
        assert_eq!((view.state, granted), (ApprovalState::Granted, Some(deed("anna", "x"))));
        assert_eq!(all.settle(&who("carl", true), &id, true, 0).unwrap_err().status, 409);
        assert_eq!(all.came_of(&id, 200).unwrap().outcome, Some(200));
        let next = waits(all.permit(deed("anna", "x"), "3".into(), 0));
        assert_ne!(next, id, "once is once");
        // From the command line another person agrees by a token of his own.
        let (view, _) = all.settle(&who("bert", false), &next, true, 0).unwrap();
        assert_eq!(view.state, ApprovalState::Granted);
    }

    #[test]
    fn what_is_left_to_the_asker_is_for_this_request_alone_and_once() {
        let mut all = Approvals::default();
        let id = waits(all.permit(deed("anna", "x"), "1".into(), 0));
        all.settle(&who("bert", true), &id, true, 0).unwrap();
        all.leave_to_asker(&id);
        waits(all.permit(deed("anna", "y"), "2".into(), 1));
        waits(all.permit(deed("bert", "x"), "3".into(), 1));
        assert_eq!(all.permit(deed("anna", "x"), "4".into(), 1), Ok(Permission::Given));
        waits(all.permit(deed("anna", "x"), "5".into(), 1));
    }

    #[test]
    fn it_is_too_late_after_an_hour_and_refused_is_refused() {
        let mut all = Approvals::default();
        let id = waits(all.permit(deed("anna", "x"), "1".into(), 0));
        let late = all.settle(&who("bert", true), &id, true, HOUR_MILLIS).unwrap_err();
        assert_eq!((late.status, all.all(HOUR_MILLIS)[0].state), (409, ApprovalState::Over));
        let id = waits(all.permit(deed("anna", "x"), "2".into(), HOUR_MILLIS));
        let taken_back = all.settle(&who("anna", true), &id, false, HOUR_MILLIS).unwrap();
        assert_eq!((taken_back.0.state, taken_back.1), (ApprovalState::Refused, None));
    }

    #[test]
    fn approvals_are_few_and_one_user_does_not_take_all_places() {
        let mut all = Approvals::default();
        for number in 0..40 {
            let asked = all.permit(deed("anna", &number.to_string()), number.to_string(), 0);
            assert_eq!(asked.is_ok(), number < OF_USER_MAX);
        }
        for number in 0..200 {
            let user = format!("user{number}");
            if let Ok(Permission::Waits(view)) =
                all.permit(deed(&user, "x"), format!("u{number}"), 0)
            {
                let settled = all.settle(&who("judge", true), &view.id, false, 0);
                assert!(settled.is_ok());
            }
        }
        assert!(all.all(0).len() <= ALL_MAX);
    }
}
