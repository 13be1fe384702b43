//! The directory store against the suite, and against what file systems, crashes and strangers do to a folder.

use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use hal::time::UnixMillis;
use rustix::io::Errno;

use super::*;
use crate::error::{Blame, Retry};
use crate::scratch::Scratch;
use crate::store::{conformance, list_all};

/// This machine's clocks, as the program's rim has them.
struct MachineClock(std::time::Instant);

impl Clock for MachineClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        UnixMillis(u64::try_from(since.as_millis()).expect("before the year 584 million"))
    }

    fn monotonic_nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).expect("a test is short")
    }
}

fn store_at(path: &Path) -> DirectoryStore {
    DirectoryStore::new(path, Arc::new(MachineClock(std::time::Instant::now())))
}

fn prepared() -> (Scratch, DirectoryStore) {
    let scratch = Scratch::new();
    let store = store_at(scratch.path());
    store.prepare().expect("an empty folder");
    (scratch, store)
}

/// A store that takes its folder with it.
struct Owned(
    DirectoryStore,
    #[expect(dead_code, reason = "removes the folder when dropped")] Scratch,
);

impl BlobStore for Owned {
    fn prepare(&self) -> Result<(), Error> {
        self.0.prepare()
    }
    fn create(&self, name: &str, body: &[u8]) -> Result<Created, Error> {
        self.0.create(name, body)
    }
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.0.read(name, offset, into)
    }
    fn read_all(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.0.read_all(name, bytes_max)
    }
    fn facts(&self, name: &str) -> Result<Option<ObjectFacts>, Error> {
        self.0.facts(name)
    }
    fn list(&self, prefix: &str, next: Option<&str>, limit: usize) -> Result<Listing, Error> {
        self.0.list(prefix, next, limit)
    }
    fn delete(&self, names: &[String]) -> Vec<Result<bool, Error>> {
        self.0.delete(names)
    }
    fn now(&self) -> Result<u64, Error> {
        self.0.now()
    }
    fn place(&self) -> String {
        self.0.place()
    }
}

fn fresh(link: bool) -> Box<dyn BlobStore> {
    let scratch = Scratch::new();
    let store = store_at(&scratch.path().join("vault-folder"));
    if !link {
        store.publisher.without_hard_links();
    }
    Box::new(Owned(store, scratch))
}

#[test]
fn directory_store_keeps_every_rule_of_a_store() {
    conformance::run(&|| fresh(true));
}

#[test]
fn a_file_system_without_hard_links_keeps_every_rule_too() {
    conformance::run(&|| fresh(false));
}

#[test]
fn a_folder_with_other_content_is_refused_and_named() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("holiday.jpg"), b"x").expect("a file");
    let error = store_at(scratch.path()).prepare().expect_err("other content");
    assert_eq!(error.blame, Blame::Misuse);
    assert!(error.what.contains("holiday.jpg"), "{error}");
    assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 1, "nothing was made");
}

#[test]
fn a_fresh_file_system_counts_as_empty() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("lost+found")).expect("a folder");
    store_at(scratch.path()).prepare().expect("nothing but what the file system made");
}

#[test]
fn a_file_is_no_vault() {
    let scratch = Scratch::new();
    let path = scratch.path().join("file");
    fs::write(&path, b"x").expect("a file");
    let error = store_at(&path).prepare().expect_err("a file");
    assert!(error.what.contains("a file"), "{error}");
}

#[test]
fn a_missing_parent_is_told_and_not_made() {
    let scratch = Scratch::new();
    let error = store_at(&scratch.path().join("not/mounted")).prepare().expect_err("no parent");
    assert!(error.remedy.contains("mount"), "{error}");
    assert!(!scratch.path().join("not").exists());
}

#[test]
fn an_unprepared_folder_is_not_written_to() {
    let scratch = Scratch::new();
    let error = store_at(scratch.path()).create("vault", b"x").expect_err("an empty mount point");
    assert!(error.remedy.contains("mounted"), "{error}");
    assert_eq!(fs::read_dir(scratch.path()).expect("a folder").count(), 0);
    let store = store_at(&scratch.path().join("gone"));
    assert!(store.list("", None, 1).is_err() && store.facts("a").is_err());
    assert!(store.read("a", 0, &mut []).is_err_and(|error| !error.is_missing()));
    assert!(store.delete(&[String::from("a")])[0].is_err());
}

#[test]
fn a_copy_without_hidden_folders_still_takes_objects() {
    let (scratch, store) = prepared();
    store.create("vault", b"x").expect("prepared");
    fs::remove_dir_all(scratch.path().join(INCOMING)).expect("it is there");
    assert_eq!(store_at(scratch.path()).create("a", b"1"), Ok(Created::New));
}

#[test]
fn strays_mean_nothing_and_go_when_a_day_old() {
    let (scratch, store) = prepared();
    store.create("a", b"1").expect("prepared");
    let incoming = scratch.path().join(INCOMING);
    assert_eq!(fs::read_dir(&incoming).expect("a folder").count(), 0, "nothing is left behind");
    let (old, young) = (incoming.join("old"), incoming.join("young"));
    fs::hard_link(scratch.path().join("a"), incoming.join("published")).expect("hard links");
    fs::write(&young, b"half").expect("a file");
    let file = File::create(&old).expect("a file");
    let days_ago = SystemTime::now() - core::time::Duration::from_secs(2 * 86_400);
    file.set_modified(days_ago).expect("a time");
    assert_eq!(list_all(&store, "").expect("a listing").len(), 1);
    store_at(scratch.path()).create("b", b"2").expect("prepared");
    assert!(young.exists() && !old.exists());
    assert_eq!(store.read_all("a", 10).expect("whole"), b"1");
}

#[test]
fn strangers_in_the_folder_are_passed_over() {
    let (scratch, store) = prepared();
    store.create("k/a", b"1").expect("prepared");
    let at = |name: &str| scratch.path().join(name);
    for name in [".DS_Store", "Thumbs.DB", "k/.nfs0001", "k/a~", "k/Ü"] {
        fs::write(at(name), b"x").expect("a file");
    }
    std::os::unix::fs::symlink("a", at("k/link")).expect("a link");
    std::os::unix::fs::symlink(".", at("loop")).expect("a link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("k/pipe"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .expect("a pipe");
    let names: Vec<_> =
        list_all(&store, "").expect("a listing").into_iter().map(|facts| facts.name).collect();
    assert_eq!(names, ["k/a"]);
    for name in ["k/link", "k/pipe", "k"] {
        let error = store.read_all(name, 10).expect_err("no ordinary file");
        assert!(!error.is_missing(), "{name}: {error}");
        assert!(store.create(name, b"1").is_err(), "{name} is not taken for an object");
    }
}

/// Runs a program of the system on a folder; true where it succeeded.
fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let output = std::process::Command::new(program).args(arguments).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}

/// A small file system, unmounted whatever becomes of the test.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[], self.0);
    }
}

#[test]
fn a_full_file_system_is_exhausted_and_leaves_nothing() {
    let scratch = Scratch::new();
    if !run("mount", &["-t", "tmpfs", "-o", "size=256k", "lifeboat-test"], scratch.path()) {
        eprintln!("SKIPPED: a small file system can only be mounted by root");
        return;
    }
    let _mounted = Mounted(scratch.path());
    let store = store_at(scratch.path());
    store.prepare().expect("an empty file system");
    store.create("small", b"1").expect("room for it");
    let error = store.create("large", &vec![1; 1 << 20]).expect_err("no room for it");
    assert_eq!((error.blame, error.retry), (Blame::Exhausted, Retry::Later), "{error}");
    assert!(error.remedy.contains("free space"), "{error}");
    let left = fs::read_dir(scratch.path().join(INCOMING)).expect("a folder").count();
    assert_eq!(left, 0, "the half-written file is gone");
    assert_eq!(list_all(&store, "").expect("a listing").len(), 1);
    assert_eq!(store.read_all("small", 1), Ok(vec![b'1']));
}

#[test]
fn refusals_of_the_system_are_sorted_by_blame() {
    let (_scratch, store) = prepared();
    let sorted = |errno: Errno| {
        let error = std::io::Error::from_raw_os_error(errno.raw_os_error());
        store.failures.place_of_write("a", &error)
    };
    assert_eq!(sorted(Errno::ACCESS).blame, Blame::Refused);
    assert_eq!(sorted(Errno::ROFS).blame, Blame::Refused);
    assert_eq!(sorted(Errno::DQUOT).blame, Blame::Exhausted);
    assert_eq!(sorted(Errno::NOSPC).retry, Retry::Later);
    assert_eq!(sorted(Errno::IO).blame, Blame::Device);
    assert_eq!(sorted(Errno::STALE).retry, Retry::Later);
    assert_eq!(sorted(Errno::NAMETOOLONG).blame, Blame::Misuse);
}

#[test]
fn objects_and_folders_are_their_owners_alone() {
    let (scratch, store) = prepared();
    store.create("k/a", b"1").expect("prepared");
    let mode = |name: &str| {
        let facts = fs::metadata(scratch.path().join(name)).expect("it exists");
        facts.permissions().mode() & 0o7777
    };
    assert_eq!((mode("k"), mode("k/a"), mode(INCOMING)), (0o700, 0o600, 0o700));
}

#[test]
fn a_vanished_folder_is_made_again() {
    let (scratch, store) = prepared();
    store.create("k/a", b"1").expect("prepared");
    fs::remove_dir_all(scratch.path().join("k")).expect("it is there");
    assert_eq!(store.create("k/a", b"2"), Ok(Created::New));
}

#[test]
fn time_spent_syncing_is_counted() {
    let (_scratch, store) = prepared();
    let before = store.sync_nanos();
    store.create("a", b"1").expect("prepared");
    assert!(store.sync_nanos() > before);
}

#[test]
fn a_large_folder_lists_in_bounded_pages() {
    let (scratch, store) = prepared();
    let folder = scratch.path().join("many");
    fs::create_dir(&folder).expect("a folder");
    for index in 0..6000 {
        File::create(folder.join(format!("{index:05}"))).expect("a file");
    }
    let first = store.list("", None, usize::MAX).expect("a listing");
    assert_eq!(first.objects.len(), crate::store::LIST_PAGE_MAX);
    assert_eq!(first.next.as_deref(), Some("many/04999"));
    assert_eq!(list_all(&store, "").expect("a listing").len(), 6000);
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable() {
    let (_scratch, store) = prepared();
    store.create("a", b"1").expect("prepared");
    store.publisher.distrust_folders();
    let error = store.create("b", b"2").expect_err("the folder's state is unknown");
    assert_eq!((error.blame, error.retry), (Blame::Device, Retry::Never));
    assert!(store.create("a", b"1").is_err(), "not even what is there already");
    assert_eq!(store.read_all("a", 10).expect("reading is no promise"), b"1");
}

/// What the killed writer writes under a name: so long that most kills land inside a write.
fn body_of(name: &str) -> Vec<u8> {
    let mut body = vec![0; 4_000_000];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut body);
    body
}

const KILLED_FOLDER: &str = "LIFEBOAT_TEST_KILLED_FOLDER";

/// Not a test of its own: what `a_writer_killed_at_any_moment_leaves_whole_objects_only` starts and kills.
#[test]
fn a_writer_that_is_killed() {
    let Some(folder) = std::env::var_os(KILLED_FOLDER) else { return };
    let store = store_at(Path::new(&folder));
    for index in 0.. {
        let name = format!("k{}/{}-{index}", index % 3, std::process::id());
        store.create(&name, &body_of(&name)).expect("room for it");
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_objects_only() {
    let scratch = Scratch::in_memory();
    let store = store_at(scratch.path());
    store.prepare().expect("an empty folder");
    store.create("vault", b"x").expect("prepared");
    let program = std::env::current_exe().expect("a test is a program");
    for round in 0..12_u64 {
        let mut writer = std::process::Command::new(&program)
            .args(["--exact", "store::directory::tests::a_writer_that_is_killed"])
            .env(KILLED_FOLDER, scratch.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(core::time::Duration::from_micros(20_000 + round * 3_777));
        writer.kill().expect("it runs until it is killed");
        writer.wait().expect("it is ours");
        for facts in list_all(&store, "k").expect("a listing") {
            let body = store.read_all(&facts.name, 4_000_000).expect("it is listed");
            assert!(body == body_of(&facts.name), "{} is not whole", facts.name);
        }
    }
    let made = list_all(&store, "k").expect("a listing").len();
    assert!(made > 12, "the writers got to write: {made}");
    store.create("k0/after", b"1").expect("strays are in nobody's way");
}
