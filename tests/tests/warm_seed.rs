//! Promise: a warm seed follows the vault behind `lifeboat serve`, and a server's disks are made of it, with what differs written
//! to a copy alone: no order changes a seed, none fails for the want of one, and none leaves a copy behind.
//!
//! The region stand-in makes disks of page blobs by Import. What is in a disk is read back from its storage.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::process::{Child, Stdio};
use std::time::Instant;

use pipeline_azure::arm::id::ResourceId;
use pipeline_azure::arm::{Answer, group};
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::list_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::azurite::{ACCOUNT, KEY, free_port};
use tests::cli::{change, run};
use tests::recovering::Bed;

/// Nothing here takes longer, even where several builds share the machine.
const PATIENCE: Duration = Duration::from_secs(240);

fn bed(label: &str) -> Bed {
    let mut bed = Bed::new(label, &["web1"]);
    bed.place.environment.push(("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned()));
    let more = format!(
        "seed = true\nseed_container = \"{}\"",
        bed.region.azurite().unwrap().vault("seeds")
    );
    bed.profile("web1", &more);
    bed
}

/// Serves until the seed is at the newest point; what is then said of it.
fn follow(bed: &Bed) -> Vec<String> {
    let mut serve = bed.place.verb("serve");
    let page = format!("127.0.0.1:{}", free_port().unwrap());
    serve.args(["--listen", &page]).stdout(Stdio::null());
    let mut serving = serve.spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let seeds = loop {
        let seeds = ready(bed);
        if seeds.iter().all(|seed| seed.contains("is at its newest point"))
            || Instant::now() > until
        {
            break seeds;
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    end(&mut serving);
    seeds
}

fn end(serving: &mut Child) {
    kill_process(Pid::from_child(serving), Signal::TERM).unwrap();
    serving.wait().unwrap();
}

/// What is said of the seeds.
fn ready(bed: &Bed) -> Vec<String> {
    // It may not be ready: its last drill did not come up, or there was none.
    let told = run(bed.verbs(&["ready"]).args(["--json", "--server", "web1"])).json();
    let seeds = told["servers"][0]["seeds"].as_array().unwrap().iter();
    seeds.map(|seed| seed.as_str().unwrap().to_owned()).collect()
}

fn key() -> Credentials {
    Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).unwrap()
}

fn page_blob(bed: &Bed, container: &str, name: &str) -> PageBlob {
    let address = AzureAddress::parse(&bed.region.azurite().unwrap().vault(container)).unwrap();
    PageBlob::kept(&address, name, key(), &PageOptions::default()).unwrap()
}

fn bytes_of(blob: &PageBlob) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(blob.bytes().unwrap()).unwrap()];
    for (number, piece) in (0..).zip(bytes.chunks_mut(1 << 20)) {
        blob.read(number << 20, piece).unwrap();
    }
    bytes
}

/// What is in the container of seeds.
fn names(bed: &Bed) -> Vec<String> {
    let address = AzureAddress::parse(&bed.region.azurite().unwrap().vault("seeds")).unwrap();
    let store = AzureStore::open(&address, key(), AzureOptions::default()).unwrap();
    list_all(&store, "").unwrap().into_iter().map(|object| object.name).collect()
}

/// Copies that orders have left.
fn copies(bed: &Bed) -> usize {
    names(bed).iter().filter(|name| name.starts_with("orders/")).count()
}

/// The seed of the only disk.
fn seed(bed: &Bed) -> PageBlob {
    let names = names(bed);
    let seeds: Vec<&String> = names.iter().filter(|name| !name.starts_with("orders/")).collect();
    assert_eq!(seeds.len(), 1, "{names:?}");
    page_blob(bed, "seeds", seeds[0])
}

/// The bytes of a managed disk that is there, from the region's storage.
fn disk_of(bed: &Bed) -> Vec<u8> {
    let all = bed.tagged();
    let disk = all.iter().find(|one| one["type"].as_str().unwrap().ends_with("/disks")).unwrap();
    let plane = bed.region.control_plane();
    let id = ResourceId::parse(disk["id"].as_str().unwrap()).unwrap();
    let Answer::Done(found) = plane.call(&group::look_at(&id)).unwrap() else {
        panic!("a look is answered at once")
    };
    let container = found["properties"]["uniqueId"].as_str().unwrap();
    bytes_of(&page_blob(bed, container, "abcd"))
}

/// How disks were made since so many requests.
fn made(bed: &Bed, since: usize) -> Vec<String> {
    let requests = bed.region.requests().into_iter().skip(since);
    let option = |one: &Value| {
        let option = one["body"].pointer("/properties/creationData/createOption")?;
        (one["method"] == "PUT").then(|| option.as_str().unwrap().to_owned())
    };
    requests.filter_map(|one| option(&one)).collect()
}

#[test]
fn disks_are_made_of_seeds_that_follow_and_stay_as_they_were() {
    let bed = bed("warm");
    assert!(ready(&bed)[0].contains("disk sda is uploaded: its seed is not there yet"));
    let seeds = follow(&bed);
    assert_eq!(seeds.len(), 1, "{seeds:?}");
    assert!(seeds[0].contains("disk sda is made of its seed"), "{seeds:?}");
    // The vault goes on while nobody serves: the seed is a point behind.
    let image = bed.path("web1.img");
    change(&image, "sda", 5, 99);
    bed.protect("web1", &image);
    assert!(ready(&bed)[0].contains("1 points behind"), "{:?}", ready(&bed));
    let before = bytes_of(&seed(&bed));
    let since = bed.region.requests().len();
    let up = bed.order("failover", "web1", &[]).succeeds().json();
    assert_eq!((&up["state"], &up["up"]), (&json!("up"), &json!(true)));
    assert_eq!(made(&bed, since), ["Import"]);
    assert!(up["filled_bytes"].as_u64().unwrap() < 2 << 20, "{}", up["filled_bytes"]);
    let (disk, wanted) = (disk_of(&bed), std::fs::read(&image).unwrap());
    assert!(disk[..wanted.len()] == wanted, "the disk is the newest point, not the seed's");
    assert!(before[..wanted.len()] != wanted && bytes_of(&seed(&bed)) == before);
    assert_eq!(copies(&bed), 0);
    bed.order("failover", "web1", &["--cancel"]).succeeds();
    assert!(bed.billed().is_empty() && bed.tagged().is_empty());
    assert!(bytes_of(&seed(&bed)) == before, "nobody who takes an order back touches a seed");
    // It comes to the point by what differs, and an older point is made of it all the same.
    assert!(follow(&bed)[0].contains("is at its newest point"));
    assert!(bytes_of(&seed(&bed))[..wanted.len()] == wanted);
    let drill = bed.order("drill", "web1", &[]).succeeds().json();
    assert_eq!((&drill["state"], &drill["up"]), (&json!("drilled"), &json!(true)));
    assert_eq!(copies(&bed), 0);
}

#[test]
fn killed_at_any_step_a_warm_order_goes_on_and_leaves_the_seed_and_no_copy() {
    let bed = bed("warmkill");
    follow(&bed);
    let image = bed.path("web1.img");
    change(&image, "sda", 5, 98);
    bed.protect("web1", &image);
    let (before, wanted) = (bytes_of(&seed(&bed)), std::fs::read(&image).unwrap());
    for (round, after) in [0_u64, 30, 90, 200, 400, 700].into_iter().enumerate() {
        let step = bed.killed_in("failover", "hydrate", Duration::from_millis(after));
        let since = bed.region.requests().len();
        let up = bed.order("failover", "web1", &[]).succeeds().json();
        assert_eq!((&up["state"], &up["up"]), (&json!("up"), &json!(true)));
        assert!(made(&bed, since).iter().all(|option| option == "Import"));
        assert!(disk_of(&bed)[..wanted.len()] == wanted, "killed {after} ms into {step:?}");
        assert!(bytes_of(&seed(&bed)) == before, "killed {after} ms into {step:?}");
        assert_eq!(copies(&bed), 0);
        bed.order("failover", "web1", &["--cancel"]).succeeds();
        assert!(bed.billed().is_empty() && bed.tagged().is_empty(), "round {round}");
        eprintln!("killed {after} ms into hydrate ({step:?}): up, cancelled, seed as it was");
    }
    // Killed, and taken back without going on.
    bed.killed_in("failover", "hydrate", Duration::from_millis(60));
    bed.order("failover", "web1", &["--cancel"]).succeeds();
    assert!(bed.billed().is_empty() && bed.tagged().is_empty() && copies(&bed) == 0);
    assert!(bytes_of(&seed(&bed)) == before);
}

#[test]
fn a_seed_that_is_broken_is_passed_over_and_made_anew() {
    let bed = bed("warmbroken");
    follow(&bed);
    let broken = seed(&bed);
    let last = broken.bytes().unwrap() - 512;
    broken.write(last, &[7; 512]).unwrap();
    assert!(
        ready(&bed)[0].contains("is uploaded: its seed is at a point that the vault has no more")
    );
    let since = bed.region.requests().len();
    let drill = bed.order("drill", "web1", &[]).succeeds().json();
    assert_eq!((&drill["state"], &drill["up"]), (&json!("drilled"), &json!(true)));
    assert_eq!(made(&bed, since), ["Upload"]);
    let told = drill["notes"].to_string();
    assert!(told.contains("disk sda is uploaded: its seed"), "{told}");
    assert!(follow(&bed)[0].contains("is at its newest point"));
    let image = std::fs::read(bed.path("web1.img")).unwrap();
    assert!(bytes_of(&seed(&bed))[..image.len()] == image);
}
