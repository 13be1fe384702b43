//! Resource groups, and what is in them: made, looked at, listed by tag, deleted.

use pipeline_vault::Error;
use serde_json::{Value, json};

use super::Call;
use super::action::Action;
use super::id::{GroupId, ResourceId, check_location};
use super::tags::Tags;
use crate::request::Method;

/// The version that calls of the resource manager itself are written for.
const API_VERSION: &str = "2024-07-01";

/// Makes a group, or sets the tags of the one that is there.
pub fn create(group: &GroupId, location: &str, tags: &Tags) -> Result<Call, Error> {
    check_location(location)?;
    let act = format!("creating resource group «{}»", group.name());
    let call = Call::new(Method::Put, group.path(), API_VERSION, &[Action::GroupWrite], act);
    Ok(call.with_body(json!({"location": location, "tags": tags.to_json()})))
}

/// Looks at a group; `Why::Missing` where it does not exist.
pub fn look(group: &GroupId) -> Call {
    let act = format!("looking at resource group «{}»", group.name());
    Call::new(Method::Get, group.path(), API_VERSION, &[Action::GroupRead], act)
}

/// Deletes a group and all that is in it.
pub fn delete(group: &GroupId) -> Call {
    let act = format!("deleting resource group «{}»", group.name());
    Call::new(Method::Delete, group.path(), API_VERSION, &[Action::GroupDelete], act)
}

/// Lists what in a group carries a tag with this value.
pub fn resources(group: &GroupId, tag: &str, value: &str) -> Call {
    let act = format!("listing what is in resource group «{}»", group.name());
    let path = format!("{}/resources", group.path());
    let call = Call::new(Method::Get, path, API_VERSION, &[Action::ResourcesRead], act);
    call.with_query("$filter", by_tag(tag, value))
}

/// Lists the groups of a subscription that carry a tag with this value.
pub fn tagged(subscription: &str, tag: &str, value: &str) -> Result<Call, Error> {
    super::id::check_subscription(subscription)?;
    let act = format!("listing the resource groups of subscription «{subscription}»");
    let path = format!("/subscriptions/{subscription}/resourcegroups");
    let call = Call::new(Method::Get, path, API_VERSION, &[Action::GroupRead], act);
    Ok(call.with_query("$filter", by_tag(tag, value)))
}

fn by_tag(tag: &str, value: &str) -> String {
    let quoted = |text: &str| text.replace('\'', "''");
    format!("tagName eq '{}' and tagValue eq '{}'", quoted(tag), quoted(value))
}

/// Looks at a resource.
pub fn look_at(resource: &ResourceId) -> Call {
    let kind = resource.kind();
    let act = format!("looking at {}", resource.shown());
    Call::new(Method::Get, resource.path(), kind.api_version(), kind.read_actions(), act)
}

/// Deletes a resource; one that is not there is deleted.
pub fn remove(resource: &ResourceId) -> Call {
    let kind = resource.kind();
    let act = format!("deleting {}", resource.shown());
    Call::new(Method::Delete, resource.path(), kind.api_version(), kind.delete_actions(), act)
}

/// Something in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id as Azure writes it.
    pub id: String,
    /// The same taken apart, where it is of a kind that recovery makes.
    pub resource: Option<ResourceId>,
    /// Its tags.
    pub tags: Tags,
}

/// What a list says, in the order in which it can be deleted; other kinds last.
pub fn found(answer: &Value) -> Vec<Found> {
    let mut all: Vec<Found> = items(answer)
        .filter_map(|item| {
            let id = item.get("id")?.as_str()?.to_owned();
            let resource = ResourceId::parse(&id).ok();
            Some(Found { id, resource, tags: Tags::of(item) })
        })
        .collect();
    all.sort_by_key(|found| {
        let kind = found.resource.as_ref().map(ResourceId::kind);
        (kind.is_none(), kind)
    });
    all
}

/// The groups that a list names, with their tags.
pub fn groups(answer: &Value) -> Vec<(GroupId, Tags)> {
    items(answer)
        .filter_map(|item| {
            let id = GroupId::try_from(item.get("id")?.as_str()?.to_owned()).ok()?;
            Some((id, Tags::of(item)))
        })
        .collect()
}

/// Where a group or another resource is: its location.
pub fn location(answer: &Value) -> Option<&str> {
    answer.get("location")?.as_str()
}

/// What is in a list of Azure's.
pub(crate) fn items(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("value").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::id::Kind;
    use super::*;

    const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

    #[test]
    fn what_was_found_comes_in_the_order_in_which_it_can_be_deleted() {
        let group = GroupId::new(SUBSCRIPTION, "rg").unwrap();
        let mut ids: Vec<String> =
            Kind::ALL.iter().map(|kind| group.resource(*kind, "ab").unwrap().to_string()).collect();
        ids.push(format!("{group}/providers/Microsoft.Web/sites/other"));
        let listed: Vec<Value> = ids.iter().rev().map(|id| json!({"id": id, "new": 1})).collect();
        let answer = json!({"value": listed, "more": [{"id": 7}]});
        let found: Vec<String> = found(&answer).into_iter().map(|found| found.id).collect();
        assert_eq!(found, ids);
        assert!(super::found(&json!({"value": [{"id": 7}, 8, {}]})).is_empty());
    }

    #[test]
    fn a_quote_in_a_tag_cannot_end_the_filter() {
        let group = GroupId::new(SUBSCRIPTION, "rg").unwrap();
        let call = resources(&group, "o'rder", "a' or 'b");
        assert_eq!(call.query[0].1, "tagName eq 'o''rder' and tagValue eq 'a'' or ''b'");
    }
}
