//! Every request of the control plane's client is one that Microsoft's specifications allow; what begins behind an answer
//! is followed to its end, whatever replies are lost on the way; and what is refused is told in words.

use core::net::IpAddr;
use core::time::Duration;

use pipeline_azure::arm::action::Action;
use pipeline_azure::arm::client::ControlPlane;
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
use pipeline_azure::pages::piece::Zeros;
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::vhd::Footer;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::BlobStore as _;
use serde_json::{Value, json};

use qemu::region::Settings;
use qemu::region::faults::{Fault, Rule};
use tests::azurite::{ACCOUNT, KEY};
use tests::region::{
    CLIENT, CLIENT_SECRET, LOCATION as HERE, Machines, SUBSCRIPTION, StandIn, TENANT,
};
use tests::specifications::{Whose, hold};

const MIB: u64 = 1 << 20;
/// The length of every disk here.
const DISK_BYTES: u64 = 64 * MIB;

/// Most looks at one operation: what takes longer hangs.
const LOOKS_MAX: u32 = 1000;

/// A region whose machines are only said to run, with storage behind its disks.
fn region() -> StandIn {
    let consoles = vec![("web".to_owned(), "console log of a machine".to_owned())];
    let settings = Settings { consoles, page: 5, ..Settings::default() };
    StandIn::with(Machines::Told, settings).expect("a region")
}

/// A client of it that proves its identity by a secret, as the environment would say.
fn client(region: &StandIn) -> ControlPlane {
    let lookup = |name: &str| match name {
        "LIFEBOAT_AZURE_MANAGEMENT" | "AZURE_AUTHORITY_HOST" => Some(region.url()),
        "AZURE_TENANT_ID" => Some(TENANT.to_owned()),
        "AZURE_CLIENT_ID" => Some(CLIENT.to_owned()),
        "AZURE_CLIENT_SECRET" => Some(CLIENT_SECRET.to_owned()),
        _ => None,
    };
    ControlPlane::from_lookup(COMMERCIAL, &lookup).expect("a client")
}

/// Sends a call and follows what it begins, through its stored form, as an appliance that was restarted does.
fn finish(client: &ControlPlane, call: &Call) -> Result<Value, Refused> {
    let mut answer = client.call(call)?;
    for _ in 0..LOOKS_MAX {
        let operation = match answer {
            Answer::Done(value) => return Ok(value),
            Answer::Begun(operation) => operation,
        };
        let stored = serde_json::to_string(&operation).expect("it can be stored");
        let operation = serde_json::from_str(&stored).expect("and read again");
        match client.look(&operation)? {
            Progress::Done(value) => return Ok(value),
            Progress::Running(wait) => client.pause(wait.min(Duration::from_millis(100))),
            Progress::Failed(refused) => return Err(refused),
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
    let offered = size::sizes(&done(client, size::offered(SUBSCRIPTION, HERE)), HERE);
    let size = offered.iter().find(|size| size.name == "Standard_D2s_v5").expect("it is offered");
    assert_eq!((size.cores, size.refuses(Some("1")), size.generations), (2, None, [true, true]));
    let usages = size::usages(&done(client, size::used(SUBSCRIPTION, HERE)));
    assert_eq!(size::missing_cores(&usages, &size.family, 2), None);
    let made = done(client, group::create(&place(), HERE, &tags()));
    assert_eq!(group::location(&made), Some(HERE));
    done(client, Ok(group::look(&place())));
    let found = done(client, group::tagged(SUBSCRIPTION, "lifeboat-order", "7"));
    assert_eq!(group::groups(&found).len(), 1);
    let permissions = Permissions::of(&done(client, Ok(permission::list(&place()))));
    assert_eq!(permissions.denied(Action::ALL.iter().copied()), []);
}

/// Writes a disk with something in it, and its footer.
fn upload(blob: &PageBlob) {
    blob.write_sparse(MIB, &[7; 8192], Zeros::Skip).expect("uploaded");
    let footer = Footer::new(DISK_BYTES, 1_795_351_475, [7; 16]);
    blob.write(DISK_BYTES, &footer.sector()).expect("uploaded");
}

/// A fixed VHD as a page blob in a container of one's own, as a warm seed is; answers its URL.
fn seed(region: &StandIn) -> String {
    let azurite = region.azurite().expect("storage");
    let address = AzureAddress::parse(&azurite.vault("seeds")).expect("an address");
    let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
    let store = AzureStore::open(&address, key.clone(), AzureOptions::default()).expect("a store");
    store.prepare().expect("a container");
    let blob = PageBlob::kept(&address, "os.vhd", key, &PageOptions::default()).expect("a blob");
    blob.create(DISK_BYTES + 512).expect("made");
    upload(&blob);
    format!("{}/seeds/os.vhd", azurite.endpoint())
}

/// Disks of every source, and a snapshot.
fn make_disks(client: &ControlPlane, seed: &str) {
    let linux = Some((System::Linux, Generation::V2));
    for (name, system) in [("os", linux), ("data", None)] {
        let id = named(Kind::Disk, name);
        let source = Source::Upload { bytes: DISK_BYTES };
        let made = done(client, disk::create(&id, &new_disk(source, system)));
        assert_eq!(DiskState::of(&made), DiskState::ReadyToUpload);
        let granted = done(client, disk::begin_access(&id, Access::Write, 3600));
        let url = disk::signature(&granted).expect("a signature");
        let blob = PageBlob::signed(&url, &PageOptions::default()).expect("a blob");
        assert_eq!(blob.bytes(), Ok(DISK_BYTES + 512));
        upload(&blob);
        done(client, disk::end_access(&id));
        let made = done(client, Ok(group::look_at(&id)));
        assert_eq!(DiskState::of(&made), DiskState::Unattached);
        assert_eq!(disk::bytes(&made), Some(DISK_BYTES));
    }
    let snapshot = named(Kind::Snapshot, "before");
    done(client, disk::create_snapshot(&snapshot, HERE, &named(Kind::Disk, "os"), &tags()));
    done(client, disk::begin_access(&snapshot, Access::Read, 60));
    done(client, disk::end_access(&snapshot));
    let copied = new_disk(Source::Copy { of: snapshot }, linux);
    done(client, disk::create(&named(Kind::Disk, "copied"), &copied));
    let imported = Source::Import {
        uri: seed.to_owned(),
        account: format!("{}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}", place()),
    };
    let windows = Some((System::Windows, Generation::V1));
    // What is in no zone can only belong to a machine in none.
    let imported = NewDisk { zone: None, ..new_disk(imported, windows) };
    done(client, disk::create(&named(Kind::Disk, "imported"), &imported));
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
    for (name, address) in [("kept", Some(address)), ("given", None), ("other", None)] {
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
        let has = interface::addresses(&made);
        assert!(has.len() == 1 && address.is_none_or(|kept| has == [kept]), "{has:?}");
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
    new.interfaces = vec![named(Kind::Interface, "other")];
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

/// Everything that the client can ask for, and all of it taken away again.
fn everything(region: &StandIn) {
    let (client, seed) = (client(region), seed(region));
    ask_first(&client);
    make_disks(&client, &seed);
    make_network(&client);
    make_machines(&client);
    assert_eq!(sweep(&client), 13);
    assert!(region.resources().is_empty(), "{:?}", region.resources());
}

/// Requests that are wrong in one way each: what stands where a region belongs, a member that nobody knows, another version,
/// a word too many in the query, a name that is none.
fn spoilt(sent: &[Value]) -> Vec<Value> {
    let make = sent.iter().find(|one| {
        one["method"] == "PUT"
            && one["path"].as_str().is_some_and(|path| path.ends_with("/disks/os"))
    });
    let make = make.expect("a disk was made");
    let ways: [fn(&mut Value); 5] = [
        |one| one["body"]["location"] = json!(7),
        |one| one["body"]["properties"]["creationData"]["createMode"] = json!({ "as": "Upload" }),
        |one| one["body"]["properties"]["creationDate"] = json!("now"),
        |one| one["query"] = json!("api-version=2020-01-01"),
        |one| {
            one["query"] =
                json!(format!("{}&force=true", one["query"].as_str().unwrap_or_default()))
        },
    ];
    ways.iter()
        .map(|spoil| {
            let mut one = make.clone();
            spoil(&mut one);
            one
        })
        .collect()
}

#[test]
fn every_request_is_one_that_microsofts_specifications_allow() {
    let region = region();
    everything(&region);
    let sent = region.requests();
    assert!(sent.iter().all(|sent| sent["auth"] == "Bearer"));
    let Some(verdict) = hold(&sent, Whose::Ours) else { return };
    assert_eq!(verdict.wrong, [""; 0]);
    assert!(verdict.checked >= 50, "only {} were checked", verdict.checked);
    println!("{} of {:?}", verdict.checked, verdict.operations);
    // A validator that finds nothing wrong with anything proves nothing.
    for one in spoilt(&sent) {
        let verdict = hold(core::slice::from_ref(&one), Whose::Ours).expect("it was there");
        assert!(!verdict.wrong.is_empty(), "it passed a request that is wrong: {one}");
        println!("{}", verdict.wrong.join("\n"));
    }
}

#[test]
fn lost_replies_and_throttling_change_nothing() {
    let region = region();
    let chance = |fault| Rule { per_mille: 80, ..Rule::new("", "", u32::MAX, fault) };
    println!("seed {}", Settings::default().seed);
    region.set_faults(vec![
        chance(Fault::LoseReply),
        chance(Fault::throttled(0)),
        chance(Fault::unavailable()),
        chance(Fault::Slow(50)),
    ]);
    everything(&region);
    let sent = region.requests();
    let hurt = sent.iter().filter(|sent| {
        sent["lost"] == true || [429, 503].iter().any(|status| sent["status"] == *status)
    });
    assert!(hurt.count() > 10, "hardly a request met a fault");
}

#[test]
fn what_is_not_there_is_missing_and_already_deleted() {
    let region = StandIn::bare(Settings::default()).expect("a region");
    let client = client(&region);
    let nothing = named(Kind::Disk, "nothing");
    let refused = finish(&client, &group::look_at(&nothing)).expect_err("it is not there");
    assert_eq!(refused.why, Why::Missing);
    assert!(refused.to_string().contains("disk «nothing»"), "{refused}");
    assert_eq!(done(&client, Ok(group::remove(&nothing))), Value::Null);
    assert_eq!(done(&client, Ok(group::delete(&place()))), Value::Null);
}

/// One machine in one network, with a disk that is only said to exist.
fn small(client: &ControlPlane) -> (NewInterface, NewMachine) {
    done(client, group::create(&place(), HERE, &tags()));
    let closed = named(Kind::SecurityGroup, "closed");
    let subnet = SubnetId::new(&named(Kind::Network, "net"), "default").expect("a subnet");
    done(client, network::create_closed(&closed, HERE, &tags()));
    done(client, network::create(&subnet, HERE, "10.9.0.0/29", &closed, &tags()));
    let interface = NewInterface {
        location: HERE.to_owned(),
        subnet,
        address: Some(IpAddr::from([10, 9, 0, 4])),
        security: None,
        public: None,
        accelerated: false,
        tags: tags(),
    };
    done(client, interface::create(&named(Kind::Interface, "nic"), &interface));
    let linux = Some((System::Linux, Generation::V2));
    let id = named(Kind::Disk, "os");
    let upload = Source::Upload { bytes: DISK_BYTES };
    let new = NewDisk { trusted_launch: false, ..new_disk(upload, linux) };
    done(client, disk::create(&id, &new));
    let machine = NewMachine {
        location: HERE.to_owned(),
        zone: Some("1".to_owned()),
        size: "Standard_D4s_v5".to_owned(),
        system: (System::Linux, Generation::V2),
        os_disk: id,
        data_disks: Vec::new(),
        interfaces: vec![named(Kind::Interface, "nic")],
        trusted_launch: false,
        secure_boot: false,
        licence: None,
        after_delete: AfterDelete::Detach,
        tags: tags(),
    };
    (interface, machine)
}

/// The call is refused, for this reason, in words that hold all of these.
fn refused(
    client: &ControlPlane,
    call: Result<Call, pipeline_vault::Error>,
    why: Why,
    words: &[&str],
) {
    let call = call.expect("a call that can be sent");
    let refused = finish(client, &call).expect_err("it is refused");
    println!("{refused}");
    assert_eq!(refused.why, why, "{refused}");
    assert!(words.iter().all(|word| refused.to_string().contains(word)), "{refused}");
}

#[test]
fn refusals_of_a_region_say_what_to_change() {
    let region = StandIn::bare(Settings::default()).expect("a region");
    let client = client(&region);
    let (interface, machine) = small(&client);
    let create = || machine::create(&named(Kind::Machine, "web"), &machine);
    refused(&client, create(), Why::Conflict, &["machine «web»", "disk"]);
    done(&client, disk::begin_access(&machine.os_disk, Access::Write, 60));
    refused(&client, create(), Why::Conflict, &["end that access first"]);
    done(&client, disk::end_access(&machine.os_disk));

    region.set_limit("standardDSv5Family", 3);
    refused(&client, create(), Why::Quota, &["4 needed", "1 missing", "Quotas"]);
    region.set_limit("standardDSv5Family", 100);
    let zone = NewMachine { size: "Standard_F4s_v2".to_owned(), ..machine.clone() };
    let elsewhere = machine::create(&named(Kind::Machine, "web"), &zone);
    refused(&client, elsewhere, Why::NoRoom, &["another size"]);
    region.set_faults(vec![Rule::new("PUT", "virtualMachines", 1, Fault::no_room())]);
    refused(&client, create(), Why::NoRoom, &["machine «web»", "no room"]);
    done(&client, Ok(group::remove(&named(Kind::Machine, "web"))));
    region.set_faults(vec![Rule::new("PUT", "virtualMachines", 1, Fault::policy("Only small"))]);
    refused(&client, create(), Why::Policy, &["policy «Only small»"]);

    region.set_faults(vec![Rule::deny("Microsoft.Compute/virtualMachines/write")]);
    let permissions = Permissions::of(&done(&client, Ok(permission::list(&place()))));
    assert_eq!(permissions.denied(Action::ALL.iter().copied()), [Action::MachineWrite]);
    let words = ["«Microsoft.Compute/virtualMachines/write»", "«Lifeboat recovery»"];
    refused(&client, create(), Why::Denied, &words);
    region.set_faults(vec![Rule::deny("Microsoft.Network/virtualNetworks/subnets/join/action")]);
    let second = || interface::create(&named(Kind::Interface, "second"), &interface);
    refused(&client, second(), Why::Denied, &["subnets/join/action"]);
    region.set_faults(Vec::new());
    refused(&client, second(), Why::Address, &["taken"]);
    for number in 0..2 {
        let free = NewInterface { address: None, ..interface.clone() };
        let id = named(Kind::Interface, &format!("more-{number}"));
        done(&client, interface::create(&id, &free));
    }
    let free = NewInterface { address: None, ..interface.clone() };
    let call = interface::create(&named(Kind::Interface, "last"), &free);
    refused(&client, call, Why::Address, &["no address left"]);
    let look = done(&client, Ok(network::look_at_subnet(&interface.subnet)));
    assert_eq!(network::free_addresses(&look), Some(0));
}
