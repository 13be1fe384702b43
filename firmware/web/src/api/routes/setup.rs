//! First run. Before a machine is paired it tells how far it is, and nothing else.

use super::access::began;
use super::{ADMINISTRATOR, ANYBODY, Route, get, post, put};
use crate::api::call::Call;
use crate::api::reply::{Reply, json, json_of};
use crate::api::setup::{
    CertificateAsked, CertificateView, KeyAnswer, KeyTyped, NetworkAsked, NetworkView, Pairing,
    SetupView, TimeAsked, VaultAnswer, VaultAsked, VaultTest, VaultTestAsked,
};
use crate::api::site::{Answer, Role};
use crate::api::views::admin::SessionView;

/// A certificate with those behind it, and its key.
const CERTIFICATE_BYTES_MAX: usize = 128 * 1024;

pub(super) const ROUTES: &[Route] = &[
    get(
        "firstRun",
        "/setup",
        ANYBODY,
        "How far first run is; what was set, for administrators alone",
    )
    .gives::<SetupView>()
    .does(|call| {
        let setup = call.setup()?;
        match call.is(Role::Administrator) {
            true => json(setup.view()),
            false => json_of(200, &SetupView { stage: setup.stage(), set: None }),
        }
    }),
    post(
        "pair",
        "/setup/pair",
        ANYBODY,
        "Makes the first administrator, by the code on the console",
    )
    .takes::<Pairing>()
    .gives::<SessionView>()
    .does(pair),
    get("network", "/setup/network", ADMINISTRATOR, "The network of the machine")
        .gives::<NetworkView>()
        .does(|call| json(call.setup()?.network())),
    put(
        "setNetwork",
        "/setup/network",
        ADMINISTRATOR,
        "Keeps, tries, confirms or forgets settings of it",
    )
    .takes::<NetworkAsked>()
    .gives::<NetworkView>()
    .does(|call| json(call.setup()?.set_network(call.by()?, &call.json()?))),
    post(
        "testVault",
        "/setup/vault/test",
        ADMINISTRATOR,
        "Walks the way to a vault; nothing is kept",
    )
    .takes::<VaultTestAsked>()
    .gives::<VaultTest>()
    .does(|call| json(call.setup()?.test_vault(call.json()?))),
    post(
        "setVault",
        "/setup/vault",
        ADMINISTRATOR,
        "Makes a vault, takes one over, or has another credential open the one in use",
    )
    .takes::<VaultAsked>()
    .gives::<VaultAnswer>()
    .does(|call| json(call.setup()?.set_vault(call.by()?, call.json()?))),
    post(
        "confirmKey",
        "/setup/key",
        ADMINISTRATOR,
        "Takes the recovery key as it was written down",
    )
    .takes::<KeyTyped>()
    .gives::<KeyAnswer>()
    .does(|call| json(call.setup()?.confirm_key(call.by()?, call.json()?))),
    put("setTime", "/setup/time", ADMINISTRATOR, "Sets time zone, time servers and limits")
        .takes::<TimeAsked>()
        .gives::<SetupView>()
        .does(|call| json(call.setup()?.set_time(call.by()?, &call.json()?))),
    put(
        "setCertificate",
        "/setup/certificate",
        ADMINISTRATOR,
        "Installs a certificate of one's own",
    )
    .takes_up_to::<CertificateAsked>(CERTIFICATE_BYTES_MAX)
    .gives::<CertificateView>()
    .does(|call| json(call.setup()?.set_certificate(call.by()?, call.json()?))),
];

/// Whoever tries codes is held up as whoever tries passwords is.
fn pair(call: &Call<'_>) -> Answer<Reply> {
    let asked: Pairing = call.json()?;
    call.admin().may_try(call.from)?;
    match call.setup()?.pair(asked) {
        Ok(caller) => {
            call.admin().tried(call.from, true);
            began(&call.admin().begin(call.from, &caller)?)
        }
        Err(refusal) => {
            // Whatever else is refused shows no secret, and so makes up for no wrong one.
            if refusal.status == 403 {
                call.admin().tried(call.from, false);
            }
            Err(refusal)
        }
    }
}
