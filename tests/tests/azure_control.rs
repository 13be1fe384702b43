//! Every request of the control plane's client is one that Microsoft's specifications allow, and what begins behind an
//! answer is followed to its end, whatever replies are lost on the way.

#[path = "azure_control/plane.rs"]
mod plane;
#[path = "azure_control/specification.rs"]
mod specification;

use core::net::IpAddr;
use core::time::Duration;

use pipeline_azure::Secret;
use pipeline_azure::arm::client::{Bearer, ControlPlane};
use pipeline_azure::arm::disk::{Access, DiskState, Generation, NewDisk, Source, System};
use pipeline_azure::arm::id::{GroupId, Kind, ResourceId, SubnetId};
use pipeline_azure::arm::interface::NewInterface;
use pipeline_azure::arm::machine::{AfterDelete, Console, NewMachine, Power};
use pipeline_azure::arm::network::Availability;
use pipeline_azure::arm::permission::Permissions;
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{
    Answer, Call, Progress, Refused, Why, disk, group, interface, machine, network, permission,
    size,
};
use pipeline_azure::cloud::COMMERCIAL;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::proxy::ProxyChoice;
use serde_json::Value;

use plane::Plane;
use tests::fault_proxy::{Action, FaultProxy, Rule};

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const HERE: &str = "westeurope";
const MIB: u64 = 1 << 20;

/// A client of the control plane at this authority.
fn client(authority: &str) -> ControlPlane {
    let options = TransportOptions { proxy: ProxyChoice::Never, ..TransportOptions::default() };
    let bearer = Bearer::Given(Secret::new("a-token"));
    ControlPlane::open(COMMERCIAL, Some(&format!("http://{authority}")), bearer, &options)
        .expect("a client")
}

/// Sends a call and follows what it begins, through its stored form, as an appliance that was restarted does.
fn finish(client: &ControlPlane, call: &Call) -> Result<Value, Refused> {
    let mut answer = client.call(call)?;
    for _ in 0..50 {
        let operation = match answer {
            Answer::Done(value) => return Ok(value),
            Answer::Begun(operation) => operation,
        };
        let stored = serde_json::to_string(&operation).expect("it can be stored");
        let operation = serde_json::from_str(&stored).expect("and read again");
        match client.look(&operation)? {
            Progress::Done(value) => return Ok(value),
            Progress::Running(wait) => client.pause(wait.min(Duration::from_millis(50))),
        }
        answer = Answer::Begun(operation);
    }
    panic!("{} does not end", call.act)
}

fn done(client: &ControlPlane, call: Result<Call, pipeline_vault::Error>) -> Value {
    let call = call.expect("a call that can be sent");
    finish(client, &call).unwrap_or_else(|refused| panic!("{refused}"))
}

fn place() -> GroupId {
    GroupId::new(SUBSCRIPTION, "lifeboat-drill").expect("a group")
}

fn named(kind: Kind, name: &str) -> ResourceId {
    place().resource(kind, name).expect("a name")
}

fn tags() -> Tags {
    Tags::new().with("lifeboat-order", "7").expect("a tag")
}

fn new_disk(source: Source, system: Option<(System, Generation)>) -> NewDisk {
    NewDisk {
        location: HERE.to_owned(),
        zone: Some("1".to_owned()),
        sku: "Premium_LRS".to_owned(),
        source,
        system,
        trusted_launch: matches!(system, Some((_, Generation::V2))),
        tags: tags(),
    }
}

/// What is asked before anything is made.
fn ask_first(client: &ControlPlane) {
    done(client, size::offered(SUBSCRIPTION, HERE));
    done(client, size::used(SUBSCRIPTION, HERE));
    let permitted = done(client, Ok(permission::list(&place())));
    let permissions = Permissions::of(&permitted);
    let missing = permissions.denied([pipeline_azure::arm::action::Action::DiskWrite]);
    assert!(missing.is_empty(), "{missing:?}");
    let made = done(client, group::create(&place(), HERE, &tags()));
    assert_eq!(group::location(&made), Some(HERE));
    done(client, Ok(group::look(&place())));
    assert_eq!(
        group::groups(&done(client, group::tagged(SUBSCRIPTION, "lifeboat-order", "7"))).len(),
        1
    );
}

/// Disks of every source, and a snapshot.
fn make_disks(client: &ControlPlane) {
    let linux = Some((System::Linux, Generation::V2));
    for (name, system) in [("os", linux), ("data", None)] {
        let id = named(Kind::Disk, name);
        done(client, disk::create(&id, &new_disk(Source::Upload { bytes: 64 * MIB }, system)));
        let granted = done(client, disk::begin_access(&id, Access::Write, 3600));
        let url = disk::signature(&granted).expect("a signature");
        assert!(url.expose().contains(name), "each disk gives its own");
        done(client, disk::end_access(&id));
        let made = done(client, Ok(group::look_at(&id)));
        assert_eq!(DiskState::of(&made), DiskState::Unattached);
    }
    let snapshot = named(Kind::Snapshot, "before");
    done(client, disk::create_snapshot(&snapshot, HERE, &named(Kind::Disk, "os"), &tags()));
    done(client, disk::begin_access(&snapshot, Access::Read, 60));
    done(client, disk::end_access(&snapshot));
    let copied = new_disk(Source::Copy { of: snapshot }, linux);
    done(client, disk::create(&named(Kind::Disk, "copied"), &copied));
    let imported = Source::Import {
        uri: "https://acc.blob.core.windows.net/seeds/os.vhd".to_owned(),
        account: format!("{}/providers/Microsoft.Storage/storageAccounts/acc", place()),
    };
    let windows = Some((System::Windows, Generation::V1));
    done(client, disk::create(&named(Kind::Disk, "imported"), &new_disk(imported, windows)));
}

/// A network that reaches nothing, a public address, interfaces with an address kept and one given.
fn make_network(client: &ControlPlane) {
    let closed = named(Kind::SecurityGroup, "closed");
    let net = named(Kind::Network, "net");
    let subnet = SubnetId::new(&net, "default").expect("a subnet");
    done(client, network::create_closed(&closed, HERE, &tags()));
    done(client, network::create(&subnet, HERE, "10.9.0.0/24", &closed, &tags()));
    done(client, Ok(network::look_at_subnet(&subnet)));
    let address = IpAddr::from([10, 9, 0, 9]);
    let free = done(client, network::check_address(&net, address));
    assert!(Availability::of(&free).free);
    let public = named(Kind::PublicAddress, "public");
    done(client, interface::create_public(&public, HERE, Some("1"), &tags()));
    for (name, address) in [("kept", Some(address)), ("given", None)] {
        let new = NewInterface {
            location: HERE.to_owned(),
            subnet: subnet.clone(),
            address,
            security: address.map(|_| closed.clone()),
            public: address.map(|_| public.clone()),
            accelerated: false,
            tags: tags(),
        };
        let made = done(client, interface::create(&named(Kind::Interface, name), &new));
        assert_eq!(interface::addresses(&made), address.into_iter().collect::<Vec<_>>());
    }
}

/// A machine of each generation, turned on and off.
fn make_machines(client: &ControlPlane) {
    let mut new = NewMachine {
        location: HERE.to_owned(),
        zone: Some("1".to_owned()),
        size: "Standard_D2s_v5".to_owned(),
        system: (System::Linux, Generation::V2),
        os_disk: named(Kind::Disk, "os"),
        data_disks: vec![named(Kind::Disk, "data"), named(Kind::Disk, "copied")],
        interfaces: vec![named(Kind::Interface, "kept"), named(Kind::Interface, "given")],
        trusted_launch: true,
        secure_boot: false,
        licence: None,
        after_delete: AfterDelete::Delete,
        tags: tags(),
    };
    let id = named(Kind::Machine, "web");
    done(client, machine::create(&id, &new));
    assert_eq!(Power::of(&done(client, machine::look(&id))), Power::Running);
    let console = Console::of(&done(client, machine::console(&id)));
    let log = console.log.expect("a link to the log");
    assert_eq!(client.read(&log, 7), Ok(b"console".to_vec()));
    for about in [machine::power_off, machine::start, machine::shut_down, machine::deallocate] {
        done(client, about(&id));
    }
    (new.system, new.trusted_launch) = ((System::Windows, Generation::V1), false);
    (new.zone, new.licence) = (None, Some("Windows_Server".to_owned()));
    (new.os_disk, new.data_disks) = (named(Kind::Disk, "imported"), Vec::new());
    done(client, machine::create(&named(Kind::Machine, "old"), &new));
}

/// Finds by the tag what was made and deletes it, in the order in which that goes.
fn sweep(client: &ControlPlane) -> usize {
    let found = group::found(&done(client, Ok(group::resources(&place(), "lifeboat-order", "7"))));
    for found in &found {
        let resource = found.resource.as_ref().expect("a kind that recovery makes");
        done(client, Ok(group::remove(resource)));
    }
    done(client, Ok(group::delete(&place())));
    found.len()
}

fn everything(client: &ControlPlane) {
    ask_first(client);
    make_disks(client);
    make_network(client);
    make_machines(client);
    assert_eq!(sweep(client), 13);
}

#[test]
fn every_request_is_one_that_microsofts_specifications_allow() {
    let plane = Plane::start().expect("a server");
    everything(&client(&plane.authority()));
    assert!(plane.is_empty(), "everything was deleted");
    let sent = plane.sent();
    assert!(sent.iter().all(|sent| sent["auth"] == "Bearer a-token"));
    specification::check(&sent);
}

#[test]
fn lost_replies_and_throttling_change_nothing() {
    let plane = Plane::start().expect("a server");
    let proxy = FaultProxy::start(plane.port()).expect("a proxy");
    proxy.set_seed(7);
    println!("seed 7");
    proxy.set_rules(vec![
        Rule::chance(60, Action::DropReply),
        Rule::chance(60, Action::Reset),
        Rule::chance(60, Action::busy(429, "TooManyRequests", 0)),
        Rule::chance(60, Action::status(503, "ServiceUnavailable")),
    ]);
    everything(&client(&proxy.authority()));
    assert!(plane.is_empty(), "everything was deleted");
    let hurt = proxy.seen().iter().filter(|seen| seen.action != "forward").count();
    assert!(hurt > 10, "only {hurt} requests met a fault");
}

#[test]
fn what_is_not_there_is_missing_and_already_deleted() {
    let plane = Plane::start().expect("a server");
    let client = client(&plane.authority());
    let nothing = named(Kind::Disk, "nothing");
    let refused = finish(&client, &group::look_at(&nothing)).expect_err("it is not there");
    assert_eq!(refused.why, Why::Missing);
    assert!(refused.to_string().contains("disk «nothing»"), "{refused}");
    assert_eq!(done(&client, Ok(group::remove(&nothing))), Value::Null);
}
