//! What the machine remembers opens on this machine alone, under what our key signed, and is on no wire.
//!
//! Most of it is shown against swtpm itself, as one of its registers is as good as another's; that the registers are what our
//! builder says they will be, machines show that really start.

use core::time::Duration;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;

use firmware::chip::{self, ChipError, Link, Signed};
use hal_linux::SystemEntropy;
use image::measured;
use image::signing::Keys;
use qemu::{Boot, Disk, Event, Machine, Running, SecureBoot, Tpm, Uefi};
use tests::appliance::{answer, await_event, await_ready, is_shown, medium, phase, start};
use tests::azurite::Scratch;
use tests::guest::{BOOT, signed};

const KEY: [u8; 32] = *b"the key that nobody else may see";

/// A TPM by swtpm, and everything that went to it and came from it.
struct Chip {
    process: Child,
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Link for Chip {
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.heard.extend(command);
        self.stream.write_all(command)?;
        let mut head = [0; 10];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let mut answer = head.to_vec();
        answer.resize(usize::try_from(length).expect("an answer is short"), 0);
        self.stream.read_exact(&mut answer[10..])?;
        self.heard.extend(&answer);
        Ok(answer)
    }
}

impl Chip {
    /// As after the machine's start; `state` keeps what outlives it.
    fn start(state: &Path) -> Self {
        fs::create_dir_all(state).expect("a scratch folder");
        let socket = state.join("socket");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", state.display())).arg("--server");
        command.arg(format!("type=unixio,path={}", socket.display()));
        let process = command.spawn().expect("swtpm is there");
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "swtpm does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { process, stream, heard: Vec::new() }
    }

    /// Measures these bytes into a register, as firmware and stub do.
    fn measure(&mut self, register: u8, digest: &[u8; 32]) {
        let mut command = vec![0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, register];
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0b]);
        command.extend(digest);
        let answer = self.ask(&command).expect("swtpm answers");
        assert_eq!(answer[6..10], [0; 4], "it was measured: {answer:?}");
    }

    fn open(&mut self, signed: &Signed, sealed: &chip::Sealed) -> Result<[u8; 32], ChipError> {
        chip::open(self, signed, sealed, &SystemEntropy).map(|key| *key)
    }
}

/// What of a slot goes into register 11: as one measurement here, which the chip cannot tell from many.
fn slot(keys: &Keys, number: u8) -> ([u8; 32], Signed) {
    let digest = [number; 32];
    let register = sha256(&[[0; 32], digest].concat());
    let word = measured::signature(&keys.boot, &register).unwrap_or_else(|error| panic!("{error}"));
    let key = measured::public_key(&keys.boot);
    let signed = Signed::parse(word.as_bytes(), key.as_bytes());
    (digest, signed.expect("what the builder writes is read"))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hex = digest_of(bytes);
    hex.try_into().expect("a digest has 32 bytes")
}

/// By somebody else's program.
fn digest_of(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum is there");
    child.stdin.take().expect("it has one").write_all(bytes).expect("it takes them");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("hexadecimal");
    (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Seen to fail one by one: without register 7 or 12 in the policy, and with the policy left out of the sealed object (everybody is
/// let in).
#[test]
fn a_key_opens_under_what_its_signer_signed_on_this_machine_and_nothing_else() {
    let scratch = Scratch::new("chip").expect("a scratch folder");
    let state = scratch.path().join("tpm");
    let keys = |name: &str| Keys::development(&scratch.path().join(name)).expect("keys are made");
    let (ours, others) = (keys("ours"), keys("others"));
    let (older, newer, foreign) = (slot(&ours, 1), slot(&ours, 2), slot(&others, 2));
    let booted = |state: &Path, slot: [u8; 32], around: &[(u8, [u8; 32])]| {
        let mut chip = Chip::start(state);
        chip.measure(7, &[7; 32]);
        around.iter().for_each(|(register, digest)| chip.measure(*register, digest));
        chip.measure(11, &slot);
        chip
    };
    let mut chip = booted(&state, older.0, &[]);
    let sealed = chip::seal(&mut chip, &older.1, &KEY, &SystemEntropy);
    let sealed = sealed.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(chip.open(&older.1, &sealed), Ok(KEY));
    drop(chip);
    let mut chip = booted(&state, newer.0, &[]);
    assert_eq!(chip.open(&newer.1, &sealed), Ok(KEY), "the next version by the same signer");
    assert_eq!(chip.open(&newer.1, &sealed), Ok(KEY), "nothing is left in the chip");
    chip::lock(&mut chip).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(chip.open(&newer.1, &sealed), Err(ChipError::System), "it was locked");
    drop(chip);
    for (slot, signed, around, why) in [
        // What runs is another than what the signature beside it tells of.
        (newer.0, &older.1, &[][..], ChipError::System),
        (foreign.0, &foreign.1, &[], ChipError::Signer),
        (newer.0, &newer.1, &[(12, [1; 32])], ChipError::Words),
        (newer.0, &newer.1, &[(7, [1; 32])], ChipError::SecureBoot),
    ] {
        let mut chip = booted(&state, slot, around);
        assert_eq!(chip.open(signed, &sealed), Err(why));
    }
    // A stranger's key under our signer's name: the chip itself refuses.
    let mut forged = newer.1.clone();
    forged.signature.clone_from(&foreign.1.signature);
    let mut chip = booted(&state, newer.0, &[]);
    let refused = chip.open(&forged, &sealed);
    assert!(matches!(refused, Err(ChipError::Refused(_, _))), "{refused:?}");
    // A chip that was cleared is another one.
    let mut chip = booted(&scratch.path().join("cleared"), newer.0, &[]);
    assert_eq!(chip.open(&newer.1, &sealed), Err(ChipError::Another));
}

/// Seen to fail where the trial only seals.
#[test]
fn a_chip_is_trusted_with_a_key_only_once_it_has_opened_one_here() {
    let scratch = Scratch::new("trial").expect("a scratch folder");
    let keys = Keys::development(&scratch.path().join("keys")).expect("keys are made");
    let (runs, other) = (slot(&keys, 1), slot(&keys, 2));
    let mut chip = Chip::start(&scratch.path().join("tpm"));
    chip.measure(11, &runs.0);
    assert_eq!(chip::trial(&mut chip, &runs.1, &SystemEntropy), Ok(()));
    assert_eq!(
        chip::trial(&mut chip, &runs.1, &SystemEntropy),
        Ok(()),
        "nothing is left in the chip"
    );
    assert!(chip::seal(&mut chip, &other.1, &KEY, &SystemEntropy).is_ok(), "it seals for anything");
    assert_eq!(chip::trial(&mut chip, &other.1, &SystemEntropy), Err(ChipError::System));
    // It does not know how to believe such a key, and would seal for it.
    let mut long = runs.1.clone();
    long.modulus = vec![0xC5; 512];
    assert!(chip::seal(&mut chip, &long, &KEY, &SystemEntropy).is_ok(), "for a key it cannot load");
    let refused = chip::trial(&mut chip, &long, &SystemEntropy);
    assert!(matches!(refused, Err(ChipError::Refused(_, _))), "{refused:?}");
    chip::lock(&mut chip).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(chip::trial(&mut chip, &runs.1, &SystemEntropy), Err(ChipError::System), "locked");
}

/// Seen to fail with `SENT_SECRETLY` and `ANSWERED_SECRETLY` left out, each by itself.
#[test]
fn whoever_listens_to_the_chip_hears_no_key() {
    let scratch = Scratch::new("sniffer").expect("a scratch folder");
    let keys = Keys::development(&scratch.path().join("keys")).expect("keys are made");
    let (digest, signed) = slot(&keys, 1);
    let mut chip = Chip::start(&scratch.path().join("tpm"));
    chip.measure(11, &digest);
    let sealed = chip::seal(&mut chip, &signed, &KEY, &SystemEntropy);
    let sealed = sealed.unwrap_or_else(|error| panic!("{error}"));
    assert!(!holds(&chip.heard, &KEY[..8]), "it went to the chip in the open");
    let before = chip.heard.len();
    assert_eq!(chip.open(&signed, &sealed), Ok(KEY));
    assert!(chip.heard.len() > before + 500, "it was listened to");
    assert!(!holds(&chip.heard, &KEY[..8]), "it came from the chip in the open");
    let bytes = format!("{sealed:?}").into_bytes();
    assert!(!holds(&bytes, &KEY[..8]), "what is kept shows it");
}

fn machine(keys: SecureBoot, stick: &Path, tpm: &Path) -> Machine {
    let boot = Boot::Uefi(Uefi { secure_boot: keys, variables: None });
    let machine = Machine::new(boot).processors(1).lifetime(Duration::from_secs(540));
    let machine = machine.tpm(Tpm { state: Some(tpm.to_owned()) });
    machine.disk(Disk::new(stick).boot_order(0))
}

fn state(running: &Running) -> Event {
    await_event(running, "state", BOOT)
}

/// That a newer version opens it is shown by `tests/update/machines.rs`; that a machine with words that nobody signed does not come
/// so far, by `tests/secure_boot.rs`.
#[test]
fn the_image_seals_what_it_remembers_and_opens_it_again_but_not_with_secure_boot_off() {
    let made = signed().unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("sealed").expect("a scratch folder");
    let (stick, tpm) = (scratch.path().join("stick.img"), scratch.path().join("tpm"));
    fs::copy(&made.stick, &stick).expect("the image can be copied");
    for starts in 1..=2 {
        let machine = machine(SecureBoot::Keys(made.variables.clone()), &stick, &tpm);
        let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
        let told = state(&running);
        assert_eq!(told.field("key"), Some("chip"), "start {starts}: {told:?}");
        assert_eq!(told.number("starts"), Some(starts), "{told:?}");
        assert_eq!(told.number("troubles"), Some(0), "{told:?}");
    }
    let before = fs::read(&stick).expect("it is there");
    let machine = machine(SecureBoot::Absent, &stick, &tpm);
    let running = machine.start().unwrap_or_else(|error| panic!("{error}"));
    let told = state(&running);
    assert_eq!(told.field("key"), Some("aside"), "{told:?}");
    let why = told.field("words").unwrap_or_default();
    assert!(why.contains("Secure Boot is not as it was"), "{why}");
    // It goes on without, and says how to get out.
    let events = await_ready(&running);
    assert_eq!(phase(&events, "state"), Some("failed"));
    assert!(is_shown(&running, "kept aside, unopened"), "{:?}", running.console().lines());
    drop(running);
    assert!(fs::read(&stick).expect("it is there") == before, "not a byte of it was written");
}

#[test]
fn without_a_chip_a_passphrase_opens_what_is_remembered_and_a_word_forgets_it() {
    let scratch = Scratch::new("passphrase").expect("a scratch folder");
    let stick = medium(scratch.path(), "role = \"appliance\"\n");
    let running = start("", |machine| machine.disk(Disk::new(&stick)));
    assert_eq!(state(&running).field("key"), Some("open"));
    await_ready(&running);
    let type_in = |running: &Running, keys: &str| {
        running.console().type_bytes(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    };
    type_in(&running, "k");
    answer(&running, "What is to open", "2");
    answer(&running, "The new passphrase", "correct horse");
    answer(&running, "The same once more", "correct horse");
    let told = await_event(&running, "key", BOOT);
    assert_eq!(told.field("key"), Some("passphrase"));
    drop(running);
    let running = start("", |machine| machine.disk(Disk::new(&stick)));
    answer(&running, "Passphrase of this machine", "wrong horse");
    answer(&running, "Passphrase of this machine", "correct horse");
    let told = state(&running);
    assert_eq!((told.field("key"), told.number("starts")), (Some("passphrase"), Some(2)));
    drop(running);
    // Nothing is typed: the machine works without, and a word begins anew.
    let running = start("", |machine| machine.disk(Disk::new(&stick)));
    answer(&running, "Passphrase of this machine", "");
    assert_eq!(state(&running).field("key"), Some("aside"));
    await_ready(&running);
    type_in(&running, "k");
    answer(&running, "Forget what this machine remembered", "forget");
    assert_eq!(await_event(&running, "key", BOOT).field("key"), Some("open"));
}
