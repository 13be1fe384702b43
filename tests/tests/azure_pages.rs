//! Page blobs hold what was written to them, by many threads, over a key and over a disk's signature, whatever the way
//! does; an ended signature is told from one that does not allow it.

use std::sync::Mutex;
use std::thread;

use core::sync::atomic::{AtomicUsize, Ordering};

use pipeline_azure::pages::piece::Zeros;
use pipeline_azure::pages::{PageBlob, PageError, PageOptions};
use pipeline_azure::response::pages::PageRange;
use pipeline_azure::sas::make::{Resource, Terms, service};
use pipeline_azure::sign::SharedKey;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::BlobStore as _;

use tests::azurite::{ACCOUNT, Azurite, KEY};
use tests::fault_proxy::{Action, FaultProxy, Rule};

const MIB: u64 = 1 << 20;
const CONTAINER: &str = "seeds";
/// One seed for all that is drawn here.
const SEED: u64 = 20_261_129;

/// Numbers that look drawn and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn key() -> Credentials {
    Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("the well-known key")
}

/// The container, made, and its address.
fn container(azurite: &Azurite) -> AzureAddress {
    let address = AzureAddress::parse(&azurite.vault(CONTAINER)).expect("an address");
    let store = AzureStore::open(&address, key(), AzureOptions::default()).expect("a store");
    store.prepare().expect("a container");
    address
}

fn kept(azurite: &Azurite, name: &str) -> PageBlob {
    PageBlob::kept(&container(azurite), name, key(), &PageOptions::default()).expect("a blob")
}

/// A whole URL with a signature, as a disk gives one out.
fn signed(authority: &str, name: &str, permissions: &str, expiry: &str) -> Secret {
    let signer = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("the well-known key");
    let terms = Terms {
        permissions: permissions.to_owned(),
        expiry: expiry.to_owned(),
        version: "2024-11-04".to_owned(),
        ..Terms::default()
    };
    let resource = Resource::Blob { container: CONTAINER, name, snapshot: "" };
    let token = service(&signer, &terms, resource).expect("a token");
    Secret::new(format!(
        "http://{authority}/{ACCOUNT}/{CONTAINER}/{name}?{}",
        token.query().expose()
    ))
}

const LATER: &str = "2099-01-01T00:00:00Z";

/// What is written in turns by `write_all`: pieces of a disk, some of them zeros.
fn disk(bytes: u64) -> Vec<u8> {
    println!("seed {SEED}");
    let mut dice = Dice(SEED);
    let mut disk = vec![0_u8; usize::try_from(bytes).expect("small")];
    for block in disk.chunks_mut(64 * 1024) {
        if dice.below(3) > 0 {
            let fill = u8::try_from(1 + dice.below(255)).expect("a byte");
            let from = usize::try_from(dice.below(128)).expect("small") * 512;
            block[from..].fill(fill);
        }
    }
    disk
}

/// Writes a disk from several threads, one MiB each in turn; answers how many bytes were sent.
fn write_all(blob: &PageBlob, disk: &[u8], zeros: Zeros) -> u64 {
    let (next, sent) = (AtomicUsize::new(0), Mutex::new(0));
    let part = usize::try_from(MIB).expect("small");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(part, Ordering::Relaxed);
                    let Some(body) = disk.get(at..disk.len().min(at + part)) else { return };
                    if body.is_empty() {
                        return;
                    }
                    let offset = u64::try_from(at).expect("small");
                    let more = blob.write_sparse(offset, body, zeros).expect("written");
                    *sent.lock().expect("no thread panics") += more;
                }
            });
        }
    });
    sent.into_inner().expect("no thread panics")
}

fn read_all(blob: &PageBlob, bytes: u64) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(bytes).expect("small")];
    let part = usize::try_from(4 * MIB).expect("small");
    for (number, piece) in all.chunks_mut(part).enumerate() {
        let offset = u64::try_from(number * part).expect("small");
        blob.read(offset, piece).expect("read");
    }
    all
}

#[test]
fn a_disk_written_by_many_threads_is_read_back_by_key_and_by_signature() {
    let azurite = Azurite::start().expect("Azurite starts");
    let seed = kept(&azurite, "disk");
    let bytes = 24 * MIB;
    assert_eq!(seed.create(bytes), Ok(true));
    assert_eq!(seed.create(bytes), Ok(false), "a lost reply is no failure");
    assert!(seed.create(bytes * 2).is_err(), "another length is");
    let url = signed(&azurite.authority(), "disk", "rw", LATER);
    let signed = PageBlob::signed(&url, &PageOptions::default()).expect("a blob");
    assert_eq!(signed.bytes(), Ok(bytes));
    assert_eq!(signed.ranges(0, bytes), Ok(Vec::new()), "nothing was written yet");

    let disk = disk(bytes);
    let sent = write_all(&signed, &disk, Zeros::Skip);
    assert!(sent < bytes * 9 / 10, "zeros were sent: {sent} of {bytes} bytes");
    assert!(read_all(&seed, bytes) == disk, "it came back changed");
    let ranges = signed.ranges(0, bytes).expect("ranges");
    assert_eq!(ranges.iter().map(|range| range.bytes).sum::<u64>(), sent);
    for (number, block) in disk.chunks(64 * 1024).enumerate() {
        let at = u64::try_from(number * 64 * 1024).expect("small");
        let written =
            ranges.iter().any(|range| range.offset <= at && at < range.offset + range.bytes);
        assert_eq!(written, block.iter().any(|byte| *byte != 0), "the block at {at}");
    }
}

#[test]
fn what_becomes_zeros_is_cleared_and_costs_nothing() {
    let azurite = Azurite::start().expect("Azurite starts");
    let seed = kept(&azurite, "seed");
    let bytes = 8 * MIB;
    seed.create(bytes).expect("made");
    write_all(&seed, &vec![7; usize::try_from(bytes).expect("small")], Zeros::Skip);
    assert_eq!(seed.ranges(0, bytes), Ok(vec![PageRange { offset: 0, bytes }]));
    let disk = disk(bytes);
    let sent = write_all(&seed, &disk, Zeros::Clear);
    assert!(read_all(&seed, bytes) == disk, "it came back changed");
    let ranges = seed.ranges(0, bytes).expect("ranges");
    assert_eq!(ranges.iter().map(|range| range.bytes).sum::<u64>(), sent);
    let inside = seed.ranges(MIB, MIB).expect("ranges");
    assert!(
        inside.iter().all(|range| range.offset >= MIB && range.offset + range.bytes <= 2 * MIB)
    );
}

#[test]
fn throttling_cut_bodies_and_lost_replies_change_nothing() {
    let azurite = Azurite::start().expect("Azurite starts");
    let bytes = 12 * MIB;
    kept(&azurite, "faulty").create(bytes).expect("made");
    let proxy = FaultProxy::start(azurite.port()).expect("a proxy");
    proxy.set_seed(SEED);
    proxy.set_rules(vec![
        Rule::chance(120, Action::status(503, "ServerBusy")),
        Rule::chance(80, Action::Reset),
        Rule::chance(80, Action::DropReply),
        Rule::chance(80, Action::Cut { after: 1000 }),
    ]);
    let url = signed(&proxy.authority(), "faulty", "rw", LATER);
    let mut options = PageOptions::default();
    options.retry.attempts_max = 20;
    options.retry.wait_max = core::time::Duration::from_millis(200);
    let blob = PageBlob::signed(&url, &options).expect("a blob");
    let disk = disk(bytes);
    write_all(&blob, &disk, Zeros::Clear);
    assert!(read_all(&blob, bytes) == disk, "it came back changed");
    let hurt = proxy.seen().iter().filter(|seen| seen.action != "forward").count();
    assert!(hurt > 5, "only {hurt} requests met a fault");
}

#[test]
fn an_ended_signature_is_renewed_and_one_that_does_not_allow_it_is_not() {
    let azurite = Azurite::start().expect("Azurite starts");
    kept(&azurite, "short").create(MIB).expect("made");
    let place = azurite.authority();
    let ended = signed(&place, "short", "rw", "2020-01-01T00:00:00Z");
    let blob = PageBlob::signed(&ended, &PageOptions::default()).expect("a blob");
    let refused = blob.write(0, &[7; 512]).expect_err("it has ended");
    assert!(matches!(refused, PageError::Expired(_)), "{refused}");
    blob.renew(&signed(&place, "short", "r", LATER)).expect("a URL");
    let refused = blob.write(0, &[7; 512]).expect_err("it may only read");
    assert!(matches!(refused, PageError::Other(_)), "{refused}");
    blob.renew(&signed(&place, "short", "rw", LATER)).expect("a URL");
    assert_eq!(blob.write(0, &[7; 512]), Ok(()));
    let mut sector = [0; 512];
    blob.read(0, &mut sector).expect("read");
    assert_eq!(sector, [7; 512]);
    let missing = signed(&place, "nobody", "rw", LATER);
    let missing = PageBlob::signed(&missing, &PageOptions::default()).expect("a blob");
    let error = pipeline_vault::Error::from(missing.bytes().expect_err("it is not there"));
    assert!(error.is_missing(), "{error}");
    assert!(blob.write(MIB, &[7; 512]).is_err(), "behind its end");
}

#[test]
fn a_seed_has_one_writer_and_a_copy_of_it_stays_as_it_was_at_its_instant() {
    let azurite = Azurite::start().expect("Azurite starts");
    // All are named before the first is made: a container that holds something is no place for a vault.
    let [seed, other, copy] =
        ["web1/sda.vhd", "web1/sda.vhd", "orders/1/0-0.vhd"].map(|name| kept(&azurite, name));
    assert_eq!(seed.look().expect("a look"), None);
    seed.make_container().expect("it is there already");
    assert!(seed.create(MIB).expect("a blob"));
    seed.hold().expect("nobody else has it");
    seed.write(0, &[1; 512]).expect("the holder writes");
    let refused = other.hold().expect_err("it is held").to_string();
    assert!(refused.contains("somebody else"), "{refused}");
    let refused = other.write(0, &[2; 512]).expect_err("it is held").to_string();
    assert!(refused.contains("somebody else"), "{refused}");
    seed.hold_on().expect("it still has it");
    // An order takes its copy while somebody else writes.
    let instant = other.snapshot().expect("an instant");
    seed.write(512, &[3; 512]).expect("the holder goes on");
    assert!(copy.become_copy_of(&other, &instant).expect("a copy"));
    assert!(!copy.become_copy_of(&other, &instant).expect("a copy"), "it was there already");
    let content = |blob: &PageBlob| {
        let mut bytes = vec![0; 1024];
        blob.read(0, &mut bytes).expect("a look");
        (bytes[0], bytes[512])
    };
    assert_eq!((content(&copy), content(&seed)), ((1, 0), (1, 3)));
    other.remove_snapshot(&instant).expect("its own snapshot");
    other.remove_snapshot(&instant).expect("gone is gone");
    copy.write(512, &[9; 512]).expect("a copy is a blob of its own");
    assert_eq!(content(&seed), (1, 3));
    copy.remove().expect("it goes");
    copy.remove().expect("gone is gone");
    assert_eq!(copy.look().expect("a look"), None);
    seed.let_go().expect("it has it");
    other.hold().expect("nobody has it");
    let lost = seed.write(0, &[4; 512]).expect_err("it is another's now").to_string();
    assert!(lost.contains("somebody else"), "{lost}");
}
