//! The vault and work that takes long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ADMINISTRATOR, Meant, OPERATOR, Route, VIEWER, get, post, put};
use crate::api::reply::json;
use crate::api::views::vault::{JobView, KitPage, Retention, VaultView};

/// How closely the vault is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VerifyAsked {
    /// Every seal too: the whole vault is read.
    pub deep: bool,
}

/// What the retention says goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneAsked {
    /// It is only told what would go.
    pub dry_run: bool,
}

pub(super) const ROUTES: &[Route] = &[
    get("vault", "/vault", VIEWER, "The vault")
        .gives::<VaultView>()
        .does(|call| json(call.site().vault())),
    post("verify", "/vault/verify", OPERATOR, "Checks every object of it")
        .takes::<VerifyAsked>()
        .gives::<JobView>()
        .does(|call| json(call.site().verify(call.by()?, call.json::<VerifyAsked>()?.deep))),
    post("prune", "/vault/prune", ADMINISTRATOR, "Deletes the points that the retention says go")
        .destroys()
        .takes::<PruneAsked>()
        .gives::<JobView>()
        .weighs(|call| {
            Ok(match call.json::<PruneAsked>()?.dry_run {
                true => Meant::Nothing,
                false => Meant::Everything("points that are past their time are deleted".into()),
            })
        })
        .does(|call| json(call.site().prune(call.by()?, call.json::<PruneAsked>()?.dry_run))),
    put("setRetention", "/vault/retention", ADMINISTRATOR, "Changes how long points are kept")
        .destroys()
        .takes::<Retention>()
        .gives::<VaultView>()
        .weighs(|call| {
            let Retention { server, keep } = call.json()?;
            let keep = keep.unwrap_or_else(|| "for ever".to_owned());
            Ok(match server {
                Some(server) => {
                    let words = format!("points of server {server} are kept {keep}");
                    Meant::Servers(vec![server], words)
                }
                None => Meant::Everything(format!("points are kept {keep}")),
            })
        })
        .about(|call| Some(format!("server {}", call.json::<Retention>().ok()?.server?)))
        .does(|call| json(call.site().set_retention(call.by()?, &call.json()?))),
    get("kit", "/vault/kit", VIEWER, "The recovery kit to print; it holds no key")
        .gives::<KitPage>()
        .does(|call| json(call.site().kit())),
    get("jobs", "/jobs", VIEWER, "Work that takes long, the newest first")
        .gives::<Vec<JobView>>()
        .does(|call| json(call.site().jobs())),
    get("job", "/jobs/{id}", VIEWER, "One piece of it")
        .gives::<JobView>()
        .does(|call| json(call.site().job(call.name()))),
];
