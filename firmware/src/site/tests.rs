//! The site without a vault, and with one of 500 servers that are made up.

use core::sync::atomic::AtomicUsize;
use std::time::Instant;

use firmware_web::api::admin::Origin;
use firmware_web::api::routes::{Found, find, perform};
use firmware_web::api::site::Role;
use firmware_web::api::views::servers::{Figure, Health};
use firmware_web::api::{Behind, Call, Who};
use hal_linux::{SystemClock, SystemEntropy};
use pipeline::ids::PointId;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::record::Consistency;
use pipeline_vault::store::BlobStore as _;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault;

use super::sight::{ChainSight, PointSight};
use super::*;
use crate::admin::accounts::Accounts;
use crate::admin::audit::Room;
use crate::admin::keep::{Keep, MemoryKeep};
use crate::cli::Opening;
use crate::ingest::roll::Roll;
use crate::serve::identity::Identity;
use crate::serve::replication::Seen;
use crate::session::Machine;

pub(super) fn facts() -> Facts {
    let keep: Arc<dyn Keep> = Arc::new(MemoryKeep::default());
    Facts {
        name: "tested".to_owned(),
        role: "program",
        machine: Machine::with_table(Vec::new()),
        vault: Arc::new(|| None),
        agents: Seen::default(),
        takes_agents: false,
        identity: Arc::new(Identity::generate("tested").unwrap()),
        pages: Arc::new(Vec::new),
        links: Arc::new(Vec::new),
        spool: Arc::new(|| "none".to_owned()),
        used: Arc::new(|_| ""),
        troubles: Arc::new(Vec::new),
        zone_minutes: Arc::new(|| 0),
        keep,
        events: Arc::new(events::Events::new(Arc::new(SystemClock))),
        program: None,
        updates: None,
    }
}

fn anna() -> Caller {
    Caller { name: "anna".to_owned(), role: Role::Administrator }
}

#[test]
fn without_a_vault_everything_answers_and_says_so() {
    let site = LiveSite::start(facts()).unwrap();
    let overview = site.overview().unwrap();
    assert!(overview.servers.is_empty() && overview.vault != Health::Good, "{overview:?}");
    let refused = [
        site.server("web").map(drop),
        site.points("web", None, 10).map(drop),
        site.kit().map(drop),
        site.verify(&anna(), false).map(drop),
        site.report("ab").map(drop),
        site.list(&FilePlace::default()).map(drop),
        site.order("zz").map(drop),
    ];
    for refusal in refused.into_iter().map(Result::unwrap_err) {
        assert!([404, 503].contains(&refusal.status) && !refusal.detail.is_empty(), "{refusal:?}");
    }
    assert!(site.support_bundle().is_ok() && site.vault().is_ok() && site.appliance().is_ok());
    site.end();
}

/// A site that has seen 500 servers with 400 points and a day of figures each.
fn large() -> Arc<LiveSite> {
    let site = LiveSite::start(facts()).unwrap();
    // Its first look finds no vault, and then it rests for a while.
    while site.sight().trouble.is_none() {
        std::thread::yield_now();
    }
    let now = site.now();
    let mut sight = Sight { seen: true, ..Sight::default() };
    for number in 0..500_u16 {
        let [high, low] = number.to_be_bytes();
        let server = ServerId([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let mut chain = ChainSight::default();
        for point in 0..400_u64 {
            chain.points.push_back(PointSight {
                slot: point,
                id: PointId([7; 16]),
                at_millis: now - (400 - point) * 60_000,
                consistency: Consistency::Crash,
                read_bytes: 1 << 20,
                stored_bytes: 1 << 18,
                new_blocks: 16,
                known_blocks: 2,
                frozen_micros: Some(900),
                unread_blocks: 0,
                remarks: Box::default(),
            });
        }
        chain.count = 400;
        let name = format!("server-{number:03}");
        for minute in 0..1440 {
            site.history.note(&name, now - (1440 - minute) * 60_000, &[(Figure::Rpo, minute % 90)]);
        }
        sight.chains.insert(server, Arc::new(chain));
        sight.servers.insert(name, server);
    }
    *site.sight.write().unwrap() = Arc::new(sight);
    site
}

#[test]
fn fifty_viewers_of_500_servers_wait_for_no_more_than_one_overview() {
    let site = large();
    let began = Instant::now();
    let fresh = site.fresh_overview();
    println!("an overview of {} servers, made anew: {:?}", fresh.servers.len(), began.elapsed());
    assert!(fresh.servers.iter().all(|row| row.rpo_recent_seconds.len() == 60));
    let began = Instant::now();
    let text = serde_json::to_vec(&fresh).unwrap();
    println!("as JSON: {} KiB in {:?}", text.len() / 1024, began.elapsed());
    *lock(&site.overview) = None;
    let looked = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let overview = site.overview_now();
                    assert_eq!(overview.servers.len(), 500);
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} looks of 50 viewers: {:?}", looked.load(Ordering::Relaxed), began.elapsed());
    // One who waits for another gets what that one made.
    let (one, other) = (site.overview_now(), site.overview_now());
    assert_eq!(one.servers.len(), other.servers.len());
    let began = Instant::now();
    site.measure_once(site.moment());
    println!("a measurement of 500 servers: {:?}", began.elapsed());
    let view = site.points("server-499", None, 50).unwrap();
    assert_eq!((view.len(), view[0].at_millis > view[49].at_millis), (50, true));
    let older = site.points("server-499", Some(view[49].at_millis), 1000).unwrap();
    assert_eq!((older.len(), older[0].at_millis), (351, view[49].at_millis));
    site.end();
}

#[test]
fn whose_policy_asks_for_a_second_person_is_not_guessed_before_the_vault_was_read() {
    let folder = std::env::temp_dir().join(format!("lifeboat-site-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let machine = Machine::with_table(Vec::new());
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    let store = Arc::new(DirectoryStore::new(folder.join("vault"), Arc::clone(&clock)));
    let plan = Vault::plan(&*store, &*clock, &*entropy).unwrap();
    let key = KeyFile::text(plan.vault(), &store.place(), plan.key(), None, &*entropy).unwrap();
    let server = plan.build(store, Arc::clone(&clock), entropy).unwrap().enrol("web1").unwrap().id;
    std::fs::write(folder.join("key"), key.as_bytes()).unwrap();
    let opening = Opening {
        vault: format!("dir:{}", folder.join("vault").display()).parse().unwrap(),
        key_file: folder.join("key"),
        passphrase_file: None,
        older_key: false,
    };
    let session = Session::open(&opening, &machine).unwrap();
    let mut watch = |roll: &mut Roll| {
        roll.rules.second_person.push(server);
        Ok(())
    };
    KeptRoll::open(session, clock).unwrap().change(&mut watch).unwrap();
    let (environment, shown) = (Vec::new(), "a folder".to_owned());
    let vaulted = Vaulted { opening, machine, environment, shown };
    let vault = Arc::new(move || Some(vaulted.clone()));
    let site = LiveSite::start(Facts { vault, ..facts() }).unwrap();
    while !site.sight().seen {
        std::thread::yield_now();
    }
    for _ in 0..20 {
        // As at the start, when nobody has looked.
        *site.sight.write().unwrap() = Arc::default();
        assert!(site.server("web1").unwrap().policy.second_person);
    }
    site.end();
    std::fs::remove_dir_all(folder).unwrap();

    let site = LiveSite::start(facts()).unwrap();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let keep = Arc::new(MemoryKeep::default());
    let accounts = Accounts::new(keep, clock, entropy, Room::PARTITION);
    let Found::Route(route, parts) = find("POST", "/vault/prune") else { panic!("no such route") };
    let (caller, user) = (anna(), "anna".to_owned());
    let who = Who { caller, user, session: Some("1".to_owned()), csrf: String::new() };
    let refused = perform(
        route,
        &Call {
            behind: Behind {
                site: &*site,
                admin: &accounts,
                setup: None,
                alarm: None,
                verbs: None,
                metrics: None,
            },
            who: Some(&who),
            from: &Origin { address: [192, 0, 2, 1].into(), agent: String::new() },
            parts,
            path: "/vault/prune",
            query: "",
            body: br#"{"dry_run":false}"#,
            stream: None,
            range: None,
            last_event: None,
        },
    )
    .unwrap_err();
    assert!(refused.status == 503 && refused.detail.contains("second person"), "{refused:?}");
    site.end();
}
