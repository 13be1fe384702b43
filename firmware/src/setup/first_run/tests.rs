//! Every stage, every refusal, and every cut between two of them.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::PathBuf;

use firmware_web::api::Role;
use firmware_web::api::setup::{
    CertificateAsked, CredentialAsked, How, KeyTyped, NetworkAsked, Pairing, Secret, Setup,
    TimeAsked, VaultAnswer, VaultAsked, VaultTestAsked,
};
use firmware_web::api::views::appliance::{CalendarRow, CalendarView};
use firmware_web::api::{Caller, Refusal};
use hal_linux::{SystemClock, SystemEntropy};

use super::*;
use crate::admin::keep::MemoryKeep;
use crate::cli::Opening;
use crate::ingest::roll::kept::KeptRoll;
use crate::session::{Machine, Session};
use crate::setup::in_use::InUse;
use crate::setup::program::Program;

/// Keys, vaults and their places.
mod vaults;

/// Somebody manages it, or nobody; passwords have twelve letters at least.
#[derive(Default)]
struct Somebody(AtomicBool);

impl Administrators for Somebody {
    fn exist(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn make_first(&self, name: &str, password: &Secret) -> Answer<Caller> {
        if password.expose().len() < 12 {
            return Err(refused::field("/password", "the password", "is short"));
        }
        self.0.store(true, Ordering::SeqCst);
        Ok(Caller { name: name.to_owned(), role: Role::Administrator })
    }

    fn forget(&self) -> Answer<()> {
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// A machine with folders, and what outlives a kill of it.
struct Bed {
    folder: PathBuf,
    keep: Arc<MemoryKeep>,
    administrators: Arc<Somebody>,
    identity: Arc<Identity>,
    in_use: InUse,
    codes: Arc<Mutex<Vec<Option<String>>>>,
    named: Option<Opening>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bed {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("lifeboat-first-run-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            keep: Arc::default(),
            administrators: Arc::default(),
            identity: Arc::new(Identity::generate("site").unwrap()),
            in_use: InUse::default(),
            codes: Arc::default(),
            named: None,
        }
    }

    /// The program as it starts: whatever was not kept is gone.
    fn start(&mut self) -> FirstRun {
        self.in_use = InUse::default();
        let codes = Arc::clone(&self.codes);
        let tell = move |code: Option<&str>| codes.lock().unwrap().push(code.map(str::to_owned));
        let state = self.folder.join("state");
        let machine =
            Machine::with_table(vec![("LIFEBOAT_STATE".to_owned(), state.display().to_string())]);
        let ground =
            Program::new(self.named.clone(), &machine, &state, &self.in_use, Box::new(tell));
        let parts = Parts {
            keep: Arc::clone(&self.keep) as Arc<dyn Keep>,
            ground: Arc::new(ground),
            administrators: Arc::clone(&self.administrators) as Arc<dyn Administrators>,
            identity: Arc::clone(&self.identity),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        FirstRun::open(parts).unwrap()
    }

    fn place(&self, name: &str) -> String {
        format!("dir:{}", self.folder.join(name).display())
    }
}

fn who() -> Caller {
    Caller { name: "ada".to_owned(), role: Role::Administrator }
}

fn pairing(code: &str) -> Pairing {
    Pairing {
        code: Secret::new(code),
        name: "ada".to_owned(),
        password: Secret::new("correct horse"),
    }
}

fn pair(run: &FirstRun) {
    run.pair(pairing(&run.code().unwrap())).unwrap();
}

fn keep_network(run: &FirstRun) {
    run.set_network(&who(), &NetworkAsked { keep: true, ..NetworkAsked::default() }).unwrap();
}

fn new_vault(run: &FirstRun, place: &str) -> Answer<VaultAnswer> {
    run.set_vault(&who(), VaultAsked { place: place.to_owned(), ..VaultAsked::default() })
}

fn adopt(place: &str, key: &str, confirm: Option<&str>) -> VaultAsked {
    VaultAsked {
        place: place.to_owned(),
        how: How::Adopt,
        key: Some(Secret::new(key)),
        confirm: confirm.map(str::to_owned),
        ..VaultAsked::default()
    }
}

fn type_key(run: &FirstRun, text: &str) -> Answer<Stage> {
    run.confirm_key(&who(), KeyTyped { typed: Secret::new(text), again: false })
        .map(|answer| answer.stage)
}

fn time() -> TimeAsked {
    TimeAsked { zone: "Europe/Berlin".to_owned(), zone_minutes: 60, ..TimeAsked::default() }
}

#[track_caller]
fn at(refused: Refusal) -> (u16, String) {
    assert!(!refused.title.is_empty() && !refused.detail.is_empty());
    (refused.status, refused.field.unwrap_or_default())
}

#[test]
fn a_machine_comes_from_nobody_to_agents_and_a_kill_between_any_two_stages_costs_nothing() {
    let mut bed = Bed::new("whole");
    let run = bed.start();
    assert_eq!(run.stage(), Stage::Pair);
    let before = run.code().unwrap();
    let run = {
        drop(run);
        bed.start()
    };
    assert_ne!(run.code().unwrap(), before, "each start has a code of its own");
    pair(&run);
    assert_eq!((run.stage(), run.code()), (Stage::Network, None));
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!((run.stage(), run.code()), (Stage::Network, None), "it is paired for good");
    keep_network(&run);
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!(run.stage(), Stage::Vault);
    let answer = new_vault(&run, &bed.place("vault")).unwrap();
    let key = answer.key.clone().unwrap();
    assert_eq!((answer.stage, key.groups.len()), (Stage::Key, 5));
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!(run.stage(), Stage::Key);
    assert!(bed.in_use.way().is_none(), "not before everything is answered");
    // Whoever lost the answer asks for it again, in either way, and it is the same key.
    let again = KeyTyped { again: true, ..KeyTyped::default() };
    assert_eq!(run.confirm_key(&who(), again).unwrap().key.unwrap(), key);
    assert_eq!(new_vault(&run, &bed.place("vault")).unwrap().key.unwrap(), key);
    assert_eq!(type_key(&run, &key.groups.join(" ").to_lowercase()).unwrap(), Stage::Time);
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!(run.stage(), Stage::Time);
    assert_eq!(run.set_time(&who(), &time()).unwrap().stage, Stage::Done);
    assert!(bed.in_use.way().is_some());
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!(run.stage(), Stage::Done);
    let way = bed.in_use.way().expect("it is taken up at once");
    assert!(Session::open(&way.opening, &way.machine).is_ok());
    let view = run.view().unwrap();
    let shown = serde_json::to_string(&view).unwrap();
    for group in &key.groups {
        assert!(!shown.contains(group.as_str()), "no secret is told back: {shown}");
    }
    assert_eq!(view.set.unwrap().vault.unwrap().named_by, "setup");
    let codes = bed.codes.lock().unwrap();
    assert_eq!((codes.len(), codes.last()), (3, Some(&None)), "no code any more");
}

#[test]
fn a_cut_while_the_vault_is_made_leaves_its_key() {
    let mut bed = Bed::new("cut");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let place = bed.place("vault");
    let made = new_vault(&run, &place).unwrap().key.clone().unwrap();
    // As it stands where the power failed behind the vault's making and before that was noted.
    let mut kept: VaultKept = documents::read(&*bed.keep).unwrap().unwrap();
    kept.stands = false;
    documents::write(&*bed.keep, &kept).unwrap();
    drop(run);
    let run = bed.start();
    assert_eq!(run.stage(), Stage::Vault);
    assert_eq!(new_vault(&run, &place).unwrap().key.unwrap(), made);
    assert_eq!(run.stage(), Stage::Key);
    // And where it failed before anything was made, another place does as well.
    let answer = new_vault(&run, &bed.place("another")).unwrap();
    assert_ne!(answer.key.clone().unwrap(), made);
    let view = run.view().unwrap().set.unwrap().vault.unwrap();
    assert_eq!(view.place, bed.place("another"));
}

#[test]
fn a_code_is_good_once_and_wrong_ones_change_nothing() {
    let mut bed = Bed::new("code");
    let run = bed.start();
    let code = run.code().unwrap();
    let mut short = pairing(&code);
    short.password = Secret::new("short");
    assert_eq!(at(run.pair(short).unwrap_err()), (422, "/password".to_owned()));
    assert_eq!(run.code().as_deref(), Some(code.as_str()), "a refused password uses nothing up");
    for _ in 0..4 {
        assert_eq!(at(run.pair(pairing("0000-0000")).unwrap_err()), (403, "/code".to_owned()));
    }
    assert_eq!(at(run.pair(pairing("")).unwrap_err()), (403, "/code".to_owned()));
    let next = run.code().unwrap();
    assert_ne!(next, code);
    assert_eq!(bed.codes.lock().unwrap().last().unwrap().as_deref(), Some(next.as_str()));
    assert_eq!(at(run.pair(pairing(&next)).unwrap_err()), (429, "/code".to_owned()));
    assert_eq!(run.stage(), Stage::Pair);
    let run = {
        drop(run);
        bed.start()
    };
    pair(&run);
    assert_eq!(run.pair(pairing(&code)).unwrap_err().status, 409);
    // Somebody at the console lets another one in; what was answered stays answered.
    keep_network(&run);
    run.forget_administrator().unwrap();
    assert_eq!(run.stage(), Stage::Pair);
    pair(&run);
    assert_eq!(run.stage(), Stage::Vault);
}

#[test]
fn nothing_comes_before_its_time() {
    let mut bed = Bed::new("order");
    let run = bed.start();
    pair(&run);
    assert_eq!(new_vault(&run, &bed.place("vault")).unwrap_err().status, 409);
    assert!(!bed.folder.join("vault").exists());
    assert_eq!(type_key(&run, "x").unwrap_err().status, 409);
    assert_eq!(run.set_time(&who(), &time()).unwrap_err().status, 409);
    let both = NetworkAsked { keep: true, forget: true, ..NetworkAsked::default() };
    assert_eq!(run.set_network(&who(), &both).unwrap_err().status, 400);
    let change = NetworkAsked { settings: Some(String::new()), ..NetworkAsked::default() };
    assert_eq!(run.set_network(&who(), &change).unwrap_err().status, 409, "only shown here");
    assert_eq!(run.stage(), Stage::Network);
    assert!(!run.network().unwrap().changeable);
}

#[test]
fn limits_go_into_the_vault_and_what_is_wrong_changes_nothing() {
    let mut bed = Bed::new("time");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let key = new_vault(&run, &bed.place("vault")).unwrap().key.clone().unwrap();
    type_key(&run, &key.groups.concat()).unwrap();
    let refused = |asked: TimeAsked| at(run.set_time(&who(), &asked).unwrap_err());
    let field = |name: &str| (422, name.to_owned());
    for zone in ["", "Europe Berlin", "<script>", &"a".repeat(65)] {
        assert_eq!(refused(TimeAsked { zone: zone.to_owned(), ..time() }), field("/zone"));
    }
    assert_eq!(refused(TimeAsked { zone_minutes: 900, ..time() }), field("/zone_minutes"));
    let server = || "192.0.2.1".parse().unwrap();
    assert_eq!(refused(TimeAsked { servers: vec![server(); 5], ..time() }), field("/servers"));
    assert_eq!(refused(TimeAsked { servers: vec![server()], ..time() }), field("/servers"));
    let row = |from_hour, to_hour| CalendarRow {
        days: vec![0],
        from_hour,
        to_hour,
        bytes_per_second: 1000,
    };
    let calendar = |row| CalendarView { rows: vec![row], otherwise_bytes_per_second: 7 };
    let wrong = TimeAsked { calendar: calendar(row(9, 9)), ..time() };
    assert_eq!(refused(wrong), field("/calendar/rows/0/to_hour"));
    assert_eq!(run.stage(), Stage::Time);
    run.set_time(&who(), &TimeAsked { calendar: calendar(row(8, 18)), ..time() }).unwrap();
    let way = bed.in_use.way().unwrap();
    let session = Session::open(&way.opening, &way.machine).unwrap();
    let roll = KeptRoll::open(session, Arc::new(SystemClock)).unwrap().roll();
    assert_eq!((roll.pace.bytes_per_second, roll.pace.spans.len()), (7, 1));
    assert_eq!((roll.pace.spans[0].from_hour, roll.pace.spans[0].to_hour), (7, 17), "by UTC");
}

#[test]
fn a_vault_that_the_command_line_names_counts_first() {
    let mut bed = Bed::new("named");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let key = new_vault(&run, &bed.place("vault")).unwrap().key.clone().unwrap();
    let file = bed.folder.join("key");
    std::fs::write(&file, &key.file).unwrap();
    let vault = bed.place("vault").parse().unwrap();
    bed.named = Some(Opening { vault, key_file: file, passphrase_file: None, older_key: false });
    let run = {
        drop(run);
        bed.start()
    };
    assert!(bed.in_use.way().is_some(), "it waits for nobody");
    assert_eq!(run.stage(), Stage::Time, "what is named is not asked for");
    assert_eq!(new_vault(&run, &bed.place("other")).unwrap_err().status, 409);
    assert_eq!(run.view().unwrap().set.unwrap().vault.unwrap().named_by, "command");
    assert!(run.chosen().is_none());
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let mut bed = Bed::new("damaged");
    bed.keep.write("setup-vault", b"{").unwrap();
    let state = bed.folder.join("state");
    let machine = Machine::with_table(Vec::new());
    bed.in_use = InUse::default();
    let ground = Program::new(None, &machine, &state, &bed.in_use, Box::new(|_| {}));
    let parts = Parts {
        keep: Arc::clone(&bed.keep) as Arc<dyn Keep>,
        ground: Arc::new(ground),
        administrators: Arc::clone(&bed.administrators) as Arc<dyn Administrators>,
        identity: Arc::clone(&bed.identity),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    assert!(FirstRun::open(parts).unwrap_err().to_string().contains("setup-vault"));
}

#[test]
fn a_certificate_of_ones_own_is_kept_and_taken_away() {
    let mut bed = Bed::new("certificate");
    let run = bed.start();
    pair(&run);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["lifeboat.example".to_owned()]).unwrap();
    let made = made.self_signed(&key).unwrap();
    let pem = |der: &[u8], label: &str| crate::serve::identity::pem(label, der);
    let (chain, key) = (pem(made.der(), "CERTIFICATE"), pem(&key.serialize_der(), "PRIVATE KEY"));
    let set = |chain: &str, key: &str| {
        let asked = CertificateAsked { chain: chain.to_owned(), key: Secret::new(key) };
        run.set_certificate(&who(), asked)
    };
    let shown = set(&chain, &key).unwrap().own.unwrap();
    assert_eq!(shown.names, ["lifeboat.example"]);
    let other = pem(&rcgen::KeyPair::generate().unwrap().serialize_der(), "PRIVATE KEY");
    assert_eq!(at(set(&chain, &other).unwrap_err()), (422, "/key".to_owned()));
    assert_eq!(at(set("nonsense", &key).unwrap_err()), (422, "/chain".to_owned()));
    assert_eq!(at(set(&chain, "").unwrap_err()), (422, "/key".to_owned()));
    assert_eq!(at(set(&"x".repeat(50_000), &key).unwrap_err()), (422, "/chain".to_owned()));
    assert_eq!(
        bed.identity.own().unwrap().sha256,
        shown.sha256,
        "what was refused changes nothing"
    );
    bed.identity = Arc::new(Identity::generate("site").unwrap());
    let run = {
        drop(run);
        bed.start()
    };
    assert_eq!(bed.identity.own().unwrap().sha256, shown.sha256, "it outlives a start");
    run.set_certificate(&who(), CertificateAsked::default()).unwrap();
    assert!(bed.identity.own().is_none());
}
