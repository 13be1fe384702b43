//! A bond by LACP, judged by another kernel's own bonding: a machine at each end of two cables, and what they say to each
//! other on them.

use std::path::PathBuf;

use tests::appliance::{ANSWER, await_ready, medium, recovery_key, start};
use tests::azurite::Scratch;
use tests::lan::peers::LacpWatch;
use tests::lan::until;
use tests::program::Place;

use qemu::{Disk, Event, Mac, Model, Network, Nic, Running};

use super::await_link;

/// One end: its cards, and its `lifeboat.toml`.
struct End {
    cards: [Mac; 2],
    medium: PathBuf,
    _scratch: Scratch,
}

impl End {
    /// `more` goes before the links.
    fn new(label: &str, address: &str, more: &str) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let cards = [Mac::fresh(), Mac::fresh()];
        let [one, two] = &cards;
        let page = format!(
            r#"
{more}
[[network.link]]
name = "both"
bond = {{ nics = ["{one}", "{two}"], mode = "802.3ad" }}
addresses = ["{address}/24"]
"#
        );
        let medium = medium(scratch.path(), &page);
        Self { cards, medium, _scratch: scratch }
    }

    fn start(&self, cables: &[Network; 2]) -> Running {
        // LACP works only where a card says how fast it is, which a virtio card does not. The first of a bond keeps its own
        // address, the other gets that too, of which QEMU's vmxnet3 hears nothing; its e1000e hears of no pulled cable.
        let card = |at: usize, model: Model| {
            let port = cables[at].port().unwrap();
            Nic::new().model(model).mac(self.cards[at]).plugged(port)
        };
        let running = start("", |machine| {
            let machine = machine.disk(Disk::new(&self.medium)).headless();
            machine.nic(card(0, Model::Vmxnet3)).nic(card(1, Model::E1000e))
        });
        await_ready(&running);
        running
    }
}

/// An end whose vault is said to be at the other one: it looks there again and again, and finds a page that is no Azure.
fn asking(other: &str) -> End {
    let scratch = Scratch::new("lacp-key").unwrap();
    let key = recovery_key(&Place::in_folder(scratch.path()));
    let vault = format!(
        r#"[vault]
address = "azure://account/container"
server = "web1"
token = "sv=2024-11-04&sig=bm90aGluZw%3D%3D"
recovery-key = "{key}"
[network.hosts]
"account.blob.core.windows.net" = ["{other}"]"#
    );
    End::new("lacp-asks", "10.4.0.6", &vault)
}

/// Waits until this machine says once more that it reached the other one's page, which proves to be nobody's that it trusts.
#[track_caller]
fn await_reached(running: &Running) {
    let reached =
        |event: &Event| event.field("words").is_some_and(|words| words.contains("certificate"));
    let said = running.console().event_where("vault", ANSWER, reached);
    assert!(said.is_ok(), "{}", said.unwrap_err());
}

#[test]
fn a_bond_by_lacp_is_one_with_another_kernel_and_outlives_a_cable() {
    let cables = [Network::new().unwrap(), Network::new().unwrap()];
    let watches = [0, 1].map(|at: usize| LacpWatch::start(cables[at].mirror()));
    let (answering, asking) = (End::new("lacp", "10.4.0.5", ""), asking("10.4.0.5"));
    let (answering, asking) = std::thread::scope(|scope| {
        let one = scope.spawn(|| answering.start(&cables));
        let two = scope.spawn(|| asking.start(&cables));
        (one.join().unwrap(), two.join().unwrap())
    });
    until("both ends use both cables", ANSWER, || watches.iter().all(LacpWatch::agreed));
    await_reached(&asking);

    for end in [&answering, &asking] {
        end.set_link("nic0", false).unwrap();
    }
    watches.iter().for_each(LacpWatch::forget);
    until("both ends use the other cable", ANSWER, || watches[1].agreed());
    assert!(!watches[0].agreed(), "nothing passes a cable that is pulled");
    await_reached(&asking);
    for end in [&answering, &asking] {
        await_link(end, "both", |words| words.contains("10.4.0.") && !words.contains("carrier"));
        end.set_link("nic0", true).unwrap();
    }
    watches.iter().for_each(LacpWatch::forget);
    until("both ends use both cables again", ANSWER, || watches.iter().all(LacpWatch::agreed));
}
