//! Storage accounts: whatever they are called, the storage behind all of them is the one that the stand-in has.

use serde_json::{Value, json};

use super::Region;
use super::http::Response;
use super::place::Id;
use super::refusal::Refusal;
use super::resource::{Facts, Provisioning, properties, set};

impl Region {
    /// Makes an account, at once.
    pub(crate) fn put_storage_account(
        &mut self,
        id: &Id,
        body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(3..=24).contains(&id.name.len()) || !id.name.chars().all(fits) {
            let words = format!(
                "{} is not a valid storage account name: 3 to 24 lower-case letters and digits.",
                id.name
            );
            return Err(Refusal::new(400, "AccountNameInvalid", words));
        }
        self.keep(id, body, Facts::None, now_ms);
        if let Some(account) = self.resources.get_mut(&id.key()) {
            account.state = Provisioning::Succeeded;
        }
        self.shown(id)
    }

    pub(crate) fn list_keys(&self) -> Response {
        let key = self.settings.storage.as_ref().map_or("bm9uZQ==", |account| account.key.as_str());
        let keys = ["key1", "key2"]
            .map(|name| json!({ "keyName": name, "value": key, "permissions": "Full" }));
        Response::json(200, &json!({ "keys": keys }))
    }

    pub(crate) fn describe_storage_account(&self, shown: &mut Value) {
        let endpoint =
            self.settings.storage.as_ref().map(|account| format!("{}/", account.endpoint));
        let endpoint = endpoint.unwrap_or_else(|| "https://storage.invalid/".to_owned());
        set(properties(shown), "primaryEndpoints", json!({ "blob": endpoint }));
    }
}
