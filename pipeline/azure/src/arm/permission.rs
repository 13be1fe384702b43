//! Asking beforehand what will be denied: what the identity may do in a resource group.

use serde_json::Value;

use super::Call;
use super::action::Action;
use super::group::items;
use super::id::GroupId;
use crate::request::Method;

/// The version that calls about permissions are written for.
const API_VERSION: &str = "2022-04-01";

/// Lists what the identity may do in a group.
pub fn list(group: &GroupId) -> Call {
    let path = format!("{}/providers/Microsoft.Authorization/permissions", group.path());
    let act = format!("asking what is permitted in resource group «{}»", group.name());
    Call::new(Method::Get, path, API_VERSION, &[Action::PermissionsRead], act)
}

/// One grant: what is in `actions` and not in `not_actions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Grant {
    actions: Vec<String>,
    not_actions: Vec<String>,
}

/// What an identity may do in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(Vec<Grant>);

impl Permissions {
    /// What `list` was answered with.
    pub fn of(answer: &Value) -> Self {
        let texts = |item: &Value, name: &str| {
            let list = item.get(name).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
        };
        let grants = items(answer).map(|item| Grant {
            actions: texts(item, "actions"),
            not_actions: texts(item, "notActions"),
        });
        Self(grants.collect())
    }

    /// Whether any grant allows it. Locks and policies are another matter.
    pub fn allow(&self, action: Action) -> bool {
        let named = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| matches(&pattern.to_lowercase(), &action.name().to_lowercase()))
        };
        self.0.iter().any(|grant| named(&grant.actions) && !named(&grant.not_actions))
    }

    /// Those of the actions that are not allowed, each once.
    pub fn denied(&self, actions: impl IntoIterator<Item = Action>) -> Vec<Action> {
        let mut denied: Vec<Action> =
            actions.into_iter().filter(|action| !self.allow(*action)).collect();
        denied.sort_unstable();
        denied.dedup();
        denied
    }
}

/// Whether a name is one that the pattern means; `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, yes) in [
            ("*", "a/b", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("*/read", "a/b/read", true),
            ("*/read", "a/b/write", false),
            ("a/*/c/*", "a/b/c/d", true),
            ("a/*/c", "a/c", false),
            ("a*a", "a", false),
            ("", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn what_will_be_denied_is_known_beforehand() {
        let answer = json!({"value": [
            {"actions": ["*/read"], "notActions": []},
            {"actions": ["Microsoft.Compute/*"], "notActions": ["microsoft.compute/disks/*"], "new": 1},
        ]});
        let permissions = Permissions::of(&answer);
        assert!(permissions.allow(Action::DiskRead) && permissions.allow(Action::MachineWrite));
        let wanted =
            [Action::DiskWrite, Action::MachineWrite, Action::SubnetJoin, Action::DiskWrite];
        assert_eq!(permissions.denied(wanted), [Action::DiskWrite, Action::SubnetJoin]);
        assert!(!Permissions::of(&Value::Null).allow(Action::DiskRead));
    }
}
