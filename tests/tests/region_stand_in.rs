//! Promise: the region stand-in is what Microsoft's own SDK takes for Azure, answers in published shapes, and boots nothing
//! but what was uploaded.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use core::time::Duration;

use pipeline_azure::Secret;
use pipeline_azure::arm::client::ControlPlane;
use pipeline_azure::arm::disk::{Access, Generation, NewDisk, Source, System};
use pipeline_azure::arm::id::{GroupId, Kind, ResourceId, SubnetId};
use pipeline_azure::arm::interface::NewInterface;
use pipeline_azure::arm::machine::{AfterDelete, Console, NewMachine};
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{Answer, Call, Progress, disk, group, interface, machine, network};
use pipeline_azure::pages::piece::Zeros;
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::vhd::Footer;
use qemu::region::Settings;
use serde_json::{Value, json};

use tests::azurite::{Scratch, install_once, run};
use tests::debian::debian_disk;
use tests::guest::BOOT;
use tests::region::{CLIENT, CLIENT_SECRET, LOCATION, Machines, SUBSCRIPTION, StandIn, TENANT};

/// What the SDK is installed from, and what reads Microsoft's descriptions.
const PACKAGES: [&str; 6] = [
    "azure-mgmt-compute==39.0.0",
    "azure-mgmt-network==33.1.0",
    "azure-mgmt-resource==26.0.0",
    "azure-mgmt-storage==25.3.0",
    "azure-storage-blob==12.31.1",
    "jsonschema==4.26.0",
];
/// The folder of Microsoft's descriptions; it holds `specification`, and `validate_arm.py` lies in `../tools`.
const SPECS: &str = "LIFEBOAT_AZURE_SPECS";
/// An operation of the stand-in; starting a machine reads its disks first.
const OPERATION: Duration = Duration::from_secs(120);
const PIECE: usize = 4 << 20;

/// A Python with the SDK.
fn python() -> Result<PathBuf, String> {
    let folder = install_once("python-azure-mgmt-1", &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.args(PACKAGES)).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

/// A script of ours in its own language.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/region_stand_in").join(name)
}

#[test]
fn microsofts_sdk_recovers_a_server_into_it_and_every_answer_has_its_published_shape() {
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: Microsoft's SDK cannot be installed here: {error}");
            return;
        }
    };
    let settings = Settings { operation_ms: 20, ..Settings::default() };
    let region = StandIn::with(Machines::Told, settings).unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(&python);
    command.arg(script("drive.py")).args([&region.url(), TENANT, CLIENT, CLIENT_SECRET]);
    let said = run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    assert!(said.ends_with("all steps answered\n"), "{said}");
    assert_eq!(region.resources(), [json!(null); 0], "its group went with all that was in it");
    let requests = region.requests();
    assert!(requests.len() > 50, "{}", requests.len());
    let Some(specs) = std::env::var_os(SPECS) else {
        eprintln!("SKIPPED: without {SPECS} answers are not held against Microsoft's descriptions");
        return;
    };
    let folder = Scratch::new("region-log").unwrap_or_else(|error| panic!("{error}"));
    let log = folder.path().join("log.json");
    std::fs::write(&log, Value::Array(requests).to_string()).expect("room for a log");
    let mut command = Command::new(&python);
    command.arg(script("validate.py")).arg(specs).arg(&log);
    let said = run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    assert!(said.trim_end().ends_with("problems 0"), "{said}");
    eprintln!("{}", said.trim_end());
}

/// Sends a call and waits for what it begins.
fn done(plane: &ControlPlane, call: &Call) -> Value {
    let answer = plane.call(call).unwrap_or_else(|refused| panic!("{refused}"));
    let operation = match answer {
        Answer::Done(value) => return value,
        Answer::Begun(operation) => operation,
    };
    let deadline = Instant::now() + OPERATION;
    loop {
        match plane.look(&operation).unwrap_or_else(|refused| panic!("{refused}")) {
            Progress::Done(value) => return value,
            Progress::Running(_) => thread::sleep(Duration::from_millis(50)),
        }
        assert!(Instant::now() < deadline, "{} does not end", call.path);
    }
}

/// Uploads a disk of this machine, as it is.
fn upload(signature: &Secret, file: &Path) {
    let blob = PageBlob::signed(signature, &PageOptions::default()).expect("a page blob");
    let source = File::open(file).expect("a disk");
    let bytes = source.metadata().expect("a file").len();
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let piece = usize::try_from(bytes - at).map_or(PIECE, |left| left.min(PIECE));
        source.read_exact_at(&mut buffer[..piece], at).expect("a disk that can be read");
        let written = blob.write_sparse(at, &buffer[..piece], Zeros::Skip);
        written.unwrap_or_else(|error| panic!("{error}"));
        at += u64::try_from(piece).expect("a small number");
    }
    let footer = Footer::new(bytes, 1_764_000_000, [7; 16]).sector();
    blob.write(bytes, &footer).unwrap_or_else(|error| panic!("{error}"));
}

/// A disk of the region that holds what the file holds.
fn uploaded(plane: &ControlPlane, id: &ResourceId, file: &Path, generation: Generation) {
    let bytes = std::fs::metadata(file).expect("a disk").len();
    let new = NewDisk {
        location: LOCATION.to_owned(),
        zone: None,
        sku: "Premium_LRS".to_owned(),
        source: Source::Upload { bytes },
        system: Some((System::Linux, generation)),
        trusted_launch: false,
        tags: Tags::new(),
    };
    done(plane, &disk::create(id, &new).expect("a disk that Azure takes"));
    let access = disk::begin_access(id, Access::Write, 3600).expect("a disk");
    let signature = disk::signature(&done(plane, &access)).expect("a signature");
    upload(&signature, file);
    done(plane, &disk::end_access(id).expect("a disk"));
}

/// A machine in a closed network, from one disk.
fn machine_of(
    plane: &ControlPlane,
    in_group: &GroupId,
    os_disk: &ResourceId,
    generation: Generation,
) -> ResourceId {
    let id = |kind, name: &str| in_group.resource(kind, name).expect("a name");
    let tags = Tags::new();
    let rules = id(Kind::SecurityGroup, "closed");
    done(plane, &network::create_closed(&rules, LOCATION, &tags).expect("rules"));
    let subnet = SubnetId::new(&id(Kind::Network, "net"), "one").expect("a subnet");
    let made = network::create(&subnet, LOCATION, "10.77.1.0/24", &rules, &tags);
    done(plane, &made.expect("a network"));
    let nic = id(Kind::Interface, "nic");
    let new = NewInterface {
        location: LOCATION.to_owned(),
        subnet,
        address: Some("10.77.1.44".parse().expect("an address")),
        security: None,
        public: None,
        accelerated: false,
        tags: tags.clone(),
    };
    done(plane, &interface::create(&nic, &new).expect("an interface"));
    let vm = id(Kind::Machine, "web1");
    let new = NewMachine {
        location: LOCATION.to_owned(),
        zone: None,
        size: "Standard_D2s_v5".to_owned(),
        system: (System::Linux, generation),
        os_disk: os_disk.clone(),
        data_disks: Vec::new(),
        interfaces: vec![nic],
        trusted_launch: false,
        secure_boot: false,
        licence: None,
        after_delete: AfterDelete::Delete,
        tags,
    };
    done(plane, &machine::create(&vm, &new).expect("a machine"));
    vm
}

/// Waits until words are in what boot diagnostics tell of a machine's console.
fn said(plane: &ControlPlane, vm: &ResourceId, words: &str) -> String {
    let deadline = Instant::now() + BOOT;
    loop {
        let links = Console::of(&done(plane, &machine::console(vm).expect("a machine")));
        let log = plane.read(&links.log.expect("a log"), 1 << 20);
        let log = String::from_utf8_lossy(&log.unwrap_or_else(|refused| panic!("{refused}")))
            .into_owned();
        if log.contains(words) {
            return log;
        }
        assert!(Instant::now() < deadline, "«{words}» did not come; the console:\n{log}");
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_machine_boots_what_was_uploaded_and_nothing_else() {
    let settings = Settings { operation_ms: 20, ..Settings::default() };
    let region = StandIn::with(Machines::Real, settings).unwrap_or_else(|error| panic!("{error}"));
    let plane = region.control_plane();
    let in_group = GroupId::new(SUBSCRIPTION, "drill").expect("a name");
    done(&plane, &group::create(&in_group, LOCATION, &Tags::new()).expect("a group"));
    let file = debian_disk().unwrap_or_else(|error| panic!("{error}"));
    let os_disk = in_group.resource(Kind::Disk, "os").expect("a name");
    uploaded(&plane, &os_disk, &file, Generation::V2);
    let vm = machine_of(&plane, &in_group, &os_disk, Generation::V2);
    let log = said(&plane, &vm, "@lifeboat debian root=/dev/vda2 mode=rw");
    assert!(!log.contains("Kernel panic"), "{log}");
    let links = Console::of(&done(&plane, &machine::console(&vm).expect("a machine")));
    let screen = plane.read(&links.screenshot.expect("a picture"), 16 << 20);
    let screen = screen.unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(screen.get(..2), Some(&b"BM"[..]));
    done(&plane, &group::delete(&in_group));
    assert_eq!(region.billed(), [""; 0], "nothing that costs is left");
    assert_eq!(region.console(&String::from(vm)), "", "the machine is gone");
}
