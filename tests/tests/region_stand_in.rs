//! Promise: the region stand-in is what Microsoft's own SDK takes for Azure, answers in published shapes, and boots nothing
//! but what was uploaded.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
use tests::guest::BOOT;
use tests::media::copy_disk;
use tests::program::built;
use tests::region::{CLIENT, CLIENT_SECRET, LOCATION, Machines, SUBSCRIPTION, StandIn, TENANT};
use tests::servers::Server;
use tests::specifications::{Whose, hold};

/// What the SDK is installed from.
const PACKAGES: [&str; 5] = [
    "azure-mgmt-compute==39.0.0",
    "azure-mgmt-network==33.1.0",
    "azure-mgmt-resource==26.0.0",
    "azure-mgmt-storage==25.3.0",
    "azure-storage-blob==12.31.1",
];
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
    let requests = region.take_requests();
    assert!(requests.len() > 50, "{}", requests.len());
    let Some(verdict) = hold(&requests, Whose::Others) else { return };
    assert_eq!(verdict.wrong, [""; 0]);
    assert!(verdict.checked >= 50, "only {} were checked", verdict.checked);
    eprintln!("{} of {:?}", verdict.checked, verdict.operations);
}

/// Sends a request as it is; what comes back until the connection ends.
fn raw(authority: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(authority).expect("somebody listens");
    stream.set_read_timeout(Some(OPERATION)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("a socket");
    stream.shutdown(Shutdown::Write).expect("a socket");
    let mut answer = String::new();
    // However it ends, what came counts.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn the_program_says_where_it_is_and_loses_replies_when_it_is_told_to() {
    let folder = Scratch::new("region-program").unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(built("region"));
    command.args(["--machines", "none", "--operation-ms", "0", "--folder"]).arg(folder.path());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    let authority = line.split("http://").nth(1).and_then(|rest| rest.split(',').next());
    let authority = authority.expect("an address").to_owned();
    let rules = r#"[{"method":"PUT","times":1,"lose_reply":true}]"#;
    let set = raw(&authority, &with_body("PUT", "/stand-in/faults", rules));
    assert!(set.starts_with("HTTP/1.1 204"), "{set}");
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg?api-version=2021-04-01");
    let make = with_body("PUT", &group, r#"{"location":"westeurope"}"#);
    assert_eq!(raw(&authority, &make), "", "the reply is lost");
    let there = raw(&authority, &with_body("GET", &group, ""));
    assert!(there.starts_with("HTTP/1.1 200"), "and it was done: {there}");
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
}

fn with_body(method: &str, target: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: region\r\nAuthorization: Bearer any\r\nContent-Length: {length}\r\n\r\n{body}"
    )
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
            Progress::Failed(refused) => panic!("{refused}"),
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

/// What a machine gives to whoever asks it by HTTP, over the port that the region leads to it.
fn asked_by_http(region: &StandIn, machine: &str) -> String {
    let led = region.forward(machine, 80).unwrap_or_else(|error| panic!("{error}"));
    let deadline = Instant::now() + BOOT;
    loop {
        let answer = TcpStream::connect(("127.0.0.1", led)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /marker HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        match answer {
            Ok(answer) if answer.contains("200 OK") => return answer,
            _ if Instant::now() > deadline => panic!("no answer, but {answer:?}"),
            _ => thread::sleep(Duration::from_millis(500)),
        }
    }
}

/// When the root of a server was last mounted, by the disk itself, read at an address that the region gives: never before it
/// ran, as it was made by a program.
fn mounted_at(plane: &ControlPlane, os_disk: &ResourceId, server: Server) -> u32 {
    let access = disk::begin_access(os_disk, Access::Read, 600).expect("a disk");
    let signature = disk::signature(&done(plane, &access)).expect("a signature");
    let blob = PageBlob::signed(&signature, &PageOptions::default()).expect("a page blob");
    let mut superblock = [0; 512];
    let read = blob.read((server.root_at_mib() << 20) + 1024, &mut superblock);
    read.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(superblock[0x38..0x3a], [0x53, 0xef], "an ext4");
    done(plane, &disk::end_access(os_disk).expect("a disk"));
    u32::from_le_bytes([superblock[0x2c], superblock[0x2d], superblock[0x2e], superblock[0x2f]])
}

/// Uploads a server's disk with a marker of this test, makes a machine of it, and reads on its console and by its wire that
/// it is that server, with that data, at the address of its interface.
fn comes_up_in_the_region(server: Server, generation: Generation) {
    let settings = Settings { operation_ms: 20, ..Settings::default() };
    let region = StandIn::with(Machines::Real, settings).unwrap_or_else(|error| panic!("{error}"));
    let plane = region.control_plane();
    let in_group = GroupId::new(SUBSCRIPTION, "drill").expect("a name");
    done(&plane, &group::create(&in_group, LOCATION, &Tags::new()).expect("a group"));
    let folder = Scratch::new("region-server").unwrap_or_else(|error| panic!("{error}"));
    let file = folder.path().join("server.img");
    copy_disk(&server.disk().unwrap_or_else(|error| panic!("{error}")), &file);
    server.mark(&file, "uploaded").unwrap_or_else(|error| panic!("{error}"));
    let os_disk = in_group.resource(Kind::Disk, "os").expect("a name");
    uploaded(&plane, &os_disk, &file, generation);
    // Nothing but what was uploaded can be what boots.
    std::fs::remove_file(&file).expect("a file of ours");
    let vm = machine_of(&plane, &in_group, &os_disk, generation);
    let log = said(&plane, &vm, "@lifeboat server ");
    let told = format!("data=uploaded root=/dev/vda{}", if server.has_uefi() { 2 } else { 1 });
    assert!(log.contains(&told), "{told} is not in:\n{log}");
    assert!(log.contains(&format!("mounts={} address=10.77.1.44", server.mounts())), "{log}");
    let name = String::from(vm.clone());
    assert!(asked_by_http(&region, &name).ends_with("uploaded\n"));
    let links = Console::of(&done(&plane, &machine::console(&vm).expect("a machine")));
    let screen = plane.read(&links.screenshot.expect("a picture"), 16 << 20);
    let screen = screen.unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(screen.get(..2), Some(&b"BM"[..]));
    done(&plane, &machine::deallocate(&vm).expect("a machine"));
    assert_ne!(mounted_at(&plane, &os_disk, server), 0, "what the machine wrote is on its disk");
    done(&plane, &group::delete(&in_group));
    assert_eq!(region.billed(), [""; 0], "nothing that costs is left");
    assert_eq!(region.console(&name), "", "the machine is gone");
}

#[test]
fn a_machine_of_generation_2_boots_what_was_uploaded_and_nothing_else() {
    comes_up_in_the_region(Server::Uefi, Generation::V2);
}

#[test]
fn a_machine_of_generation_1_boots_what_was_uploaded_and_nothing_else() {
    comes_up_in_the_region(Server::Bios, Generation::V1);
}
