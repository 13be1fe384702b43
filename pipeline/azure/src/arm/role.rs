//! The least role that recovery needs, as Azure reads it: the actions of all calls and nothing more.

use serde_json::{Value, json};

use super::action::Action;

/// The role's name.
pub const NAME: &str = "Lifeboat recovery";

/// What the role is for.
const DESCRIPTION: &str = "Makes machines of recovery points and takes them away again";

/// The names of all actions, sorted.
pub fn actions() -> Vec<&'static str> {
    let mut names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    names.sort_unstable();
    names
}

/// The role as `az role definition create --role-definition` takes it, to be given in these scopes: ids of
/// subscriptions or resource groups.
pub fn definition(scopes: &[String]) -> Value {
    json!({
        "Name": NAME,
        "IsCustom": true,
        "Description": DESCRIPTION,
        "Actions": actions(),
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": scopes,
    })
}

#[cfg(test)]
mod tests;
