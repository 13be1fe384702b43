//! Promise: what the appliance tells is what the vault holds, what is ordered of it is done by a process of its own, and nothing
//! that it gives away holds a secret.
//!
//! A site over a real vault, with the real program as what its jobs run; and the real `lifeboat serve` with a scripted agent,
//! asked by curl.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use firmware::admin::keep::{FolderKeep, Keep};
use firmware::cli::Opening;
use firmware::serve::identity::Identity;
use firmware::serve::replication::Seen;
use firmware::session::Machine;
use firmware::setup::in_use::Way;
use firmware::site::LiveSite;
use firmware::site::events::Events;
use firmware::site::facts::{Facts, Vaulted};
use firmware_web::api::site::{Caller, Role, Site};
use firmware_web::api::views::events::EventFilter;
use firmware_web::api::views::files::FilePlace;
use firmware_web::api::views::recovery::OrderAsked;
use firmware_web::api::views::servers::{Health, PointView};
use firmware_web::api::views::vault::{JobState, JobView, Retention};
use hal_linux::SystemClock;
use pipeline::limits::BLOCK_BYTES;
use serde_json::{Value, json};
use tests::azurite::{Scratch, free_port};
use tests::cli::{image, run};
use tests::curl::Curl;
use tests::program::{Place, lifeboat};
use tests::scripted_agent::ScriptedAgent;

const PATIENCE: Duration = Duration::from_secs(240);
/// What a credential of this run looks like.
const SECRET: &str = "c2VjcmV0LW9mLXRoaXMtcnVu";

struct Bed {
    scratch: Scratch,
    place: Place,
}

impl Bed {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label).expect("a scratch folder");
        let place = Place::in_folder(scratch.path());
        Self { scratch, place }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A point of an image as server and disk.
    fn protect(&self, server: &str, disk: &Path) {
        let mut command = self.place.verb("protect");
        run(command.args(["--server", server]).arg(disk)).succeeds();
    }

    fn site(&self) -> Arc<LiveSite> {
        let clock = Arc::new(SystemClock);
        let keep: Arc<dyn Keep> =
            Arc::new(FolderKeep::open(&self.path().join("kept")).expect("a folder"));
        let events = Arc::new(Events::open(clock, &*keep));
        let state = self.place.state.display().to_string();
        let environment = vec![
            ("LIFEBOAT_STATE".to_owned(), state.clone()),
            ("AZURE_STORAGE_KEY".to_owned(), SECRET.to_owned()),
        ];
        let machine = Machine::with_table(vec![("LIFEBOAT_STATE".to_owned(), state)]);
        let opening = Opening {
            vault: self.place.vault.parse().expect("a vault"),
            key_file: self.place.key.clone(),
            passphrase_file: None,
            older_key: false,
        };
        let way = Way::of(&opening, &machine);
        let facts = Facts {
            name: "site".to_owned(),
            role: "program",
            machine,
            vault: Arc::new(move || Some(Vaulted::of(way.clone(), &environment))),
            agents: Seen::default(),
            takes_agents: false,
            identity: Arc::new(Identity::generate("site").expect("an identity")),
            pages: Arc::new(|| vec!["192.0.2.1:443".to_owned()]),
            links: Arc::new(Vec::new),
            spool: Arc::new(|| "none".to_owned()),
            used: Arc::new(|_| ""),
            troubles: Arc::new(Vec::new),
            zone_minutes: Arc::new(|| 0),
            keep,
            events,
            updates: None,
            program: Some(lifeboat()),
        };
        LiveSite::start(facts).expect("threads")
    }
}

fn anna() -> Caller {
    Caller { name: "anna".to_owned(), role: Role::Administrator }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ended(site: &LiveSite, job: &JobView) -> JobView {
    until("the job's end", || site.job(&job.id).ok().filter(|view| view.state != JobState::Running))
}

fn points(site: &LiveSite, server: &str, count: usize) -> Vec<PointView> {
    until("the points", || {
        site.points(server, None, 100).ok().filter(|points| points.len() == count)
    })
}

#[test]
fn what_is_told_is_what_the_vault_holds_and_new_points_are_seen() {
    let bed = Bed::new("site-told");
    let disk = image(&bed.path().join("disk.img"), 3 << 20, 7);
    bed.protect("web1", &disk);
    bed.protect("db1", &disk);
    let site = bed.site();
    let first = points(&site, "web1", 1);
    until("both servers", || {
        let overview = site.overview().ok()?;
        let healths: Vec<Health> = overview.servers.iter().map(|row| row.health).collect();
        (healths == [Health::Good; 2] && overview.vault == Health::Good).then_some(())
    });
    let view = site.server("web1").expect("a server");
    assert_eq!((view.points, view.disks.len(), view.disks[0].bytes), (1, 1, 3 << 20));
    assert!(view.row.cause.contains("by hand"), "{}", view.row.cause);
    assert_eq!(site.server("nobody").unwrap_err().status, 404);
    image(&disk, 3 << 20, 8);
    bed.protect("web1", &disk);
    let both = points(&site, "web1", 2);
    assert_eq!(both[1], first[0]);
    assert!(both[0].at_millis >= both[1].at_millis);
    assert_eq!(site.points("web1", None, 1).unwrap(), both[..1]);
    let kit = site.kit().expect("a kit");
    assert!(kit.text.contains(&both[0].id), "{}", kit.text);
    site.end();
}

#[test]
fn pinned_points_stay_whoever_prunes_and_what_is_kept_is_kept_as_is_said() {
    let bed = Bed::new("site-pins");
    let disk = image(&bed.path().join("disk.img"), 1 << 20, 7);
    for seed in 0..4 {
        image(&disk, 1 << 20, seed);
        bed.protect("web1", &disk);
    }
    let site = bed.site();
    let all = points(&site, "web1", 4);
    let oldest = &all[3].id;
    assert_eq!(site.pin(&anna(), "web1", oldest, " ").unwrap_err().field.as_deref(), Some("/why"));
    let pinned = site.pin(&anna(), "web1", oldest, "before the attack").expect("a pin");
    assert!(
        pinned.pinned.is_some_and(|why| why.contains("before the attack") && why.contains("anna"))
    );
    let refused =
        site.set_retention(&anna(), &Retention { server: None, keep: Some("soon".to_owned()) });
    assert_eq!(refused.unwrap_err().field.as_deref(), Some("/keep"));
    // Two of the four go, which needs nobody's confirmation.
    let kept = Retention { server: None, keep: Some("last=1".to_owned()) };
    let vault = site.set_retention(&anna(), &kept).expect("kept so");
    assert_eq!(vault.retention[0], kept);
    let dry = ended(&site, &site.prune(&anna(), true).expect("a job"));
    assert_eq!(dry.state, JobState::Done, "{}", dry.words);
    let job = ended(&site, &site.prune(&anna(), false).expect("a job"));
    assert_eq!(job.state, JobState::Done, "{}", job.words);
    let left = points(&site, "web1", 2);
    assert_eq!((&left[0].id, &left[1].id), (&all[0].id, oldest));
    assert!(left[1].pinned.is_some());
    let mut command = bed.place.verb("prune");
    run(command.args(["--keep", "last=1", "--confirm"])).succeeds();
    assert_eq!(points(&site, "web1", 2), left);
    assert!(site.unpin(&anna(), "web1", oldest).expect("let go").pinned.is_none());
    run(bed.place.verb("prune").args(["--keep", "last=1", "--confirm"])).succeeds();
    points(&site, "web1", 1);
    site.end();
}

#[test]
fn jobs_are_done_by_the_program_and_what_happened_outlives_a_restart() {
    let bed = Bed::new("site-jobs");
    let disk = image(&bed.path().join("disk.img"), 2 << 20, 3);
    bed.protect("web1", &disk);
    let site = bed.site();
    points(&site, "web1", 1);
    let job = site.verify(&anna(), true).expect("a job");
    assert_eq!(job.state, JobState::Running);
    let verified = ended(&site, &job);
    assert_eq!(
        (verified.state, verified.by.as_str()),
        (JobState::Done, "anna"),
        "{}",
        verified.words
    );
    assert!(verified.result.is_some());
    let counted =
        until("the count", || site.vault().ok().filter(|vault| vault.counted_millis.is_some()));
    assert!(counted.bytes > 0 && counted.objects > 0 && counted.month_millidollars.is_none());
    assert_eq!(counted.growth.len(), 1);
    // Without a target profile nothing is ordered, and that is said before anything is begun.
    let asked =
        OrderAsked { server: "web1".to_owned(), kind: "drill".to_owned(), ..OrderAsked::default() };
    let refusal = site.give_order(&anna(), &asked).unwrap_err();
    assert!(refusal.detail.contains("target profile"), "{refusal:?}");
    let unsure = OrderAsked { kind: "failover".to_owned(), confirm: "web2".to_owned(), ..asked };
    let refusal = site.give_order(&anna(), &unsure).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("/confirm"));
    let ready = site.readiness("web1", false).expect("a judgement");
    assert!(!ready.ready && !ready.has_profile && !ready.problems.is_empty());
    // From when somebody says where it is recovered to, that it cannot be is told at once and not a day later.
    let row = || site.server("web1").expect("a server").row;
    assert_eq!(row().health, Health::Good, "{}", row().cause);
    let target = "subscription = \"00000000-0000-0000-0000-000000000001\"\nlocation = \"westeurope\"\ngroup = \"recovered\"\n\
        network = \"net\"\nsubnet = \"default\"\nsizes = [\"Standard_D2s_v5\"]\nsignals = [{ console = \"login:\" }]\n";
    site.set_target(&anna(), "web1", target).expect("a target profile");
    until("a judgement", || row().cause.starts_with("It could not be recovered now").then_some(()));
    site.end();
    let before = site.events().all();
    assert!(before.iter().any(|event| event.kind == "job_done" && event.words.contains("verify")));
    let again = bed.site();
    assert_eq!(again.events().all()[..before.len()], before[..]);
    let found = again
        .events()
        .find(&EventFilter { text: Some("VERIFY".to_owned()), ..EventFilter::default() });
    assert!(!found.events.is_empty());
    let vault = until("the vault", || again.vault().ok().filter(|vault| vault.verified.is_some()));
    assert_eq!(vault.verified.map(|job| job.id), Some(verified.id));
    assert_eq!(again.vault().unwrap().counted_millis, counted.counted_millis);
    again.end();
}

#[test]
fn the_support_bundle_holds_no_secret_of_this_run() {
    let bed = Bed::new("site-bundle");
    let disk = image(&bed.path().join("disk.img"), 1 << 20, 3);
    bed.protect("web1", &disk);
    let site = bed.site();
    points(&site, "web1", 1);
    let key = fs::read_to_string(&bed.place.key).expect("a key");
    let letters = key
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('-') && !line.contains(':'));
    let letters = letters.expect("the key's letters").to_owned();
    // Somebody pasted the wrong thing into a reason.
    let newest = site.points("web1", None, 1).unwrap().remove(0);
    site.pin(&anna(), "web1", &newest.id, &format!("{SECRET} {letters}")).expect("a pin");
    let file = bed.path().join("bundle.tar.gz");
    fs::write(&file, site.support_bundle().expect("a bundle")).expect("room");
    let output = Command::new("tar").args(["-xzO", "-f"]).arg(&file).output().expect("tar");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for secret in [SECRET, letters.as_str()] {
        assert!(!text.contains(secret), "a secret is in it");
    }
    for word in ["web1", "point_pinned", "vault_cause", "AZURE_STORAGE_KEY", "[secret]"] {
        assert!(text.contains(word), "{word}");
    }
    site.end();
}

#[test]
fn files_are_found_and_taken_out_of_any_point_and_no_link_leads_out() {
    let bed = Bed::new("site-files");
    let disk = bed.path().join("disk.img");
    // FAT is read by readers of our own; ext4 is mounted, which takes root and loop devices.
    let is_root = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    let kinds: &[&str] = if is_root { &["vfat", "ext4"] } else { &["vfat"] };
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
    for kind in kinds {
        let server = format!("{kind}-server");
        file_system(&bed, kind, &disk, &large);
        bed.protect(&server, &disk);
        let site = bed.site();
        let point = points(&site, &server, 1).remove(0).id;
        let place = |volume: &str, path: &str| FilePlace {
            server: server.clone(),
            point: point.clone(),
            disk: if volume == "disks" { String::new() } else { "disk.img".to_owned() },
            volume: if volume == "disks" { String::new() } else { volume.to_owned() },
            path: path.to_owned(),
        };
        let listed = |volume: &str, path: &str| -> Vec<(String, String)> {
            let listing = site.list(&place(volume, path)).expect("a listing");
            listing.entries.into_iter().map(|entry| (entry.name, entry.kind)).collect()
        };
        assert_eq!(listed("disks", ""), [("disk.img".to_owned(), "disk".to_owned())]);
        let volumes = listed("", "");
        assert_eq!(volumes.len(), 1, "{volumes:?}");
        let volume = volumes[0].0.as_str();
        let names = listed(volume, "");
        assert!(names.contains(&("etc".to_owned(), "folder".to_owned())), "{names:?}");
        assert!(listed(volume, "etc").contains(&("large.bin".to_owned(), "file".to_owned())));
        let read =
            |path: &str, from: u64, limit: usize| site.read(&place(volume, path), from, limit);
        let middle = read("etc/large.bin", 1_000_000, 5000).expect("bytes");
        assert_eq!(middle.file_bytes, large.len() as u64);
        assert!(middle.bytes == large[1_000_000..1_005_000], "the middle of a file differs");
        assert!(read("etc/large.bin", 9_000_000, 10).expect("nothing").bytes.is_empty());
        for (path, status) in [("etc/none", 404), ("../etc", 422), ("etc", 404)] {
            assert_eq!(read(path, 0, 10).unwrap_err().status, status, "{path}");
        }
        if *kind == "ext4" {
            assert!(names.contains(&("out".to_owned(), "link".to_owned())), "{names:?}");
            // What the link says lies on this machine, and is not there on the point.
            assert_eq!(read("out/hostname", 0, 10).unwrap_err().status, 404);
        }
        site.end();
    }
}

/// A disk without a table that holds a file system with a folder, a file, and where there are any, a link to this machine.
fn file_system(bed: &Bed, kind: &str, disk: &Path, large: &[u8]) {
    let _ = fs::remove_file(disk);
    fs::File::create(disk).and_then(|file| file.set_len(64 << 20)).expect("room");
    let tree = bed.path().join("tree");
    fs::create_dir_all(tree.join("etc")).expect("room");
    fs::write(tree.join("etc/large.bin"), large).expect("room");
    if kind == "ext4" {
        // A link may be there from before.
        let _ = std::os::unix::fs::symlink("/etc", tree.join("out"));
        run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(&tree).arg(disk)).succeeds();
        return;
    }
    run(Command::new("mkfs.vfat").arg(disk)).succeeds();
    run(Command::new("mmd").arg("-i").arg(disk).arg("::etc")).succeeds();
    run(Command::new("mcopy").arg("-i").arg(disk).arg(tree.join("etc/large.bin")).arg("::etc/"))
        .succeeds();
}

/// A `serve` that is killed with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real program with agents, and somebody who paired with it.
fn managed(place: &Place) -> (Running, Curl) {
    let (port, agents) = (free_port().expect("a port"), free_port().expect("a port"));
    let mut command = place.verb("serve");
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--agents", &format!("127.0.0.1:{agents}")]);
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = piped.spawn().expect("the program starts");
    let output = child.stdout.take().expect("a pipe");
    let running = Running(child);
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let (mut code, mut awaited) = (None, vec!["Serving ", "Agents connect to "]);
    while !awaited.is_empty() || code.is_none() {
        let line = lines.next().expect("it says where it is and how to pair");
        if let Some(rest) = line.strip_prefix("Pairing code: ") {
            code = rest.split_whitespace().next().map(str::to_owned);
        }
        awaited.retain(|begin| !line.starts_with(begin));
    }
    std::thread::spawn(move || lines.for_each(drop));
    let mut curl = Curl::new(&format!("https://127.0.0.1:{port}"));
    let pair = json!({"code": code, "name": "ada", "password": "a lifeboat holds everybody"});
    curl.begin("/setup/pair", &pair);
    (running, curl)
}

#[test]
fn a_server_is_followed_through_the_api_from_its_line_to_its_end() {
    let scratch = Scratch::new("site-agent").expect("a scratch folder");
    let place = Place::in_folder(scratch.path());
    let (_running, curl) = managed(&place);
    let install = curl.change("POST", "/install", &json!({}));
    let line = install["line"].as_str().expect("a line").to_owned();
    let token = line.rsplit(' ').next().expect("a token");
    let mut agent = ScriptedAgent::enrol(token, "web", 64 * BLOCK_BYTES, 5).expect("let in");
    agent.connect_patiently();
    agent.write_some(20);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    let row = |wanted: &dyn Fn(&Value) -> bool| -> Value {
        until("the row", || {
            let overview = curl.get("/overview");
            overview["servers"].as_array()?.iter().find(|row| wanted(row)).cloned()
        })
    };
    let good = row(&|row| {
        row["name"] == "web" && row["connected"] == true && row["newest_point_millis"].is_u64()
    });
    assert!(good["rpo_seconds"].is_u64() && good["rpo_target_seconds"] == 60, "{good}");
    let points = curl.get("/servers/web/points");
    let points = points.as_array().cloned().unwrap_or_default();
    assert_eq!(points.len(), 1);
    let events = until("its arrival", || {
        let page = curl.get("/events?object=server%20web");
        page["events"].to_string().contains("agent_came").then_some(page)
    });
    assert!(events["events"].as_array().is_some_and(|events| !events.is_empty()));
    until("a figure", || {
        let series = curl.get("/servers/web/series?figure=rpo&span_seconds=3600");
        series["values"].as_array()?.iter().any(Value::is_number).then_some(())
    });
    // Its policy is changed live, and what cannot be meant is told beside its field.
    let mut policy = curl.get("/servers/web")["policy"].clone();
    policy["interval_seconds"] = json!(5);
    let refused = curl.ask("PUT", "/servers/web/policy", Some(&policy));
    assert_eq!(
        (refused.status, refused.json()["field"].as_str()),
        (422, Some("/interval_seconds"))
    );
    (policy["interval_seconds"], policy["paused"]) = (json!(30), json!(true));
    let view = curl.change("PUT", "/servers/web/policy", &policy);
    assert_eq!((&view["policy"], view["health"].as_str()), (&policy, Some("off")));
    policy["paused"] = json!(false);
    curl.change("PUT", "/servers/web/policy", &policy);
    agent.hang_up();
    row(&|row| row["name"] == "web" && row["connected"] == false);
    let view = curl.change("POST", "/servers/web/revoke", &json!({"confirm": "web"}));
    assert!(view["revoked"] == true && view["health"] == "off", "{view}");
    assert!(agent.connect().is_err(), "it was revoked");
    // A token in its name does not let it in again by the way: somebody says that it was revoked.
    let asked = |readmit: bool| {
        curl.ask("POST", "/install", Some(&json!({"name": "web", "readmit": readmit})))
    };
    let refused = asked(false);
    assert_eq!((refused.status, refused.json()["field"].as_str()), (422, Some("/name")));
    assert!(refused.json()["detail"].as_str().is_some_and(|words| words.contains("revoked")));
    assert_eq!(curl.get("/servers/web")["revoked"], true, "nothing was changed");
    assert!(agent.connect().is_err(), "it is revoked as before");
    let line = asked(true).json()["line"].clone();
    let token = line.as_str().and_then(|line| line.rsplit(' ').next()).expect("a line");
    assert_eq!(curl.get("/servers/web")["revoked"], true, "until it comes with that token");
    ScriptedAgent::enrol(token, "web", 64 * BLOCK_BYTES, 5).expect("it is let in again");
    assert!(agent.connect().is_err(), "what it was known by before is worth nothing");
    until("its being let in", || (curl.get("/servers/web")["revoked"] == false).then_some(()));
}
