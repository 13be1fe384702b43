//! A new version on trial: it is kept once it has proven itself, and otherwise the machine starts again, which costs it one of its
//! tries; the boot manager goes back to the version before when none is left.
//!
//! Who proves is a service. Who ends a trial that comes to nothing is a thread from the machine's first moment on, and needs nobody
//! else: a boot that stays up for a person or hangs, and a first process that takes no order any more, are had enough of too.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use firmware_web::VaultState;
use hal::time::Entropy as _;
use hal_linux::SystemEntropy;
use image_layout::command_line::{Exercise, Role};
use image_layout::esp::Slot;
use pipeline::seal::{NONCE_BYTES, NotAuthentic, SecretKey, TAG_BYTES};
use pipeline::seal::{open_in_place, seal_in_place};

use super::orders::{Ending, Order};
use super::vault_place::Wanted;
use super::{Appliance, boot, mounts, roles, update};
use crate::update::install;

/// A system that is tried has this long to prove itself.
const TRIAL: Duration = Duration::from_secs(15 * 60);
/// What going down in order may take, before the machine is started again without order.
const GRACE: Duration = Duration::from_secs(60);
/// Both in a test that none proves itself in.
const IN_A_TEST: [Duration; 2] = [Duration::from_secs(45), Duration::from_secs(30)];
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_secs(2);
/// So long it runs at least before it is kept: what falls over soon has fallen over by then.
const SETTLED: Duration = Duration::from_secs(20);

/// How a trial stands.
#[derive(Default)]
pub(crate) struct Trial {
    /// Nothing is on trial, or not any more.
    over: AtomicBool,
    /// What was wrong at the last look.
    ill: Mutex<Option<String>>,
}

impl Trial {
    /// Nothing is on trial.
    pub(crate) fn ends(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Takes note of what is wrong; whether that is news.
    fn note(&self, ill: Option<&String>) -> bool {
        let mut last = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        let news = last.as_ref() != ill;
        *last = ill.cloned();
        news
    }

    fn ill(&self) -> String {
        let ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ill.unwrap_or_else(|| "its start comes to no end".to_owned())
    }
}

/// Waits until the system has proven itself and has it kept, or the machine goes down.
pub(crate) fn prove(appliance: &Appliance, slot: Slot) -> Result<(), String> {
    const STATUS: &str = "ready; this new version is on trial";
    let began = Instant::now();
    appliance.board.update(|view| STATUS.clone_into(&mut view.status));
    loop {
        if appliance.stop.asked() {
            return Ok(());
        }
        let ill = health(appliance).err();
        if appliance.proof.note(ill.as_ref()) {
            let words = ill.as_ref().map_or("well", String::as_str);
            appliance.events.say("update", &[("state", &"trial"), ("words", &words)]);
            let status = ill
                .as_ref()
                .map_or_else(|| STATUS.to_owned(), |words| format!("on trial: {words}"));
            appliance.board.update(|view| view.status = status);
        }
        if is_proven(ill.as_ref(), began.elapsed()) {
            break;
        }
        appliance.stop.rest(LOOK);
    }
    let mut slots = update::open(appliance)?;
    install::commit(&mut slots, slot).map_err(|error| error.to_string())?;
    appliance.proof.ends();
    log::info!("{} has proven itself and is kept", boot::version());
    appliance.board.update(|view| "ready".clone_into(&mut view.status));
    appliance.events.say(
        "update",
        &[("state", &"kept"), ("slot", &update::letter(slot)), ("version", &boot::bare_version())],
    );
    Ok(())
}

/// Whatever is wrong, it is not kept.
fn is_proven(ill: Option<&String>, up: Duration) -> bool {
    ill.is_none() && up >= SETTLED
}

/// From now on a trial that comes to nothing ends in a new start.
pub(crate) fn guard(appliance: &Arc<Appliance>) {
    let watched = Arc::clone(appliance);
    let thread = std::thread::Builder::new().name("trial".to_owned());
    if let Err(error) = thread.spawn(move || end_in_time(&watched)) {
        log::error!("a trial that comes to nothing would not end: {error}");
    }
}

fn end_in_time(appliance: &Appliance) {
    let is_test = appliance.line.exercise == Some(Exercise::Trial);
    let [limit, grace] = if is_test { IN_A_TEST } else { [TRIAL, GRACE] };
    let mut waited = Duration::ZERO;
    while waited < limit {
        if appliance.proof.is_over() || appliance.stop.rest(LOOK) {
            return;
        }
        // A person who is asked for the passphrase may take his time: nothing is wrong with the version.
        if appliance.pulse.has_begun() || appliance.board.view().question.is_none() {
            waited += LOOK;
        }
    }
    if update::tries_left().is_none()
        && let Some(loader) = appliance.loader.get()
    {
        // The boot hangs where the firmware's word on it was not there yet. What is missing shows at the next look.
        let _ = loader.need("efivarfs");
        let _ = mounts::late();
    }
    if appliance.proof.is_over() || update::tries_left().is_none() {
        return;
    }
    let words = appliance.proof.ill();
    appliance.events.say("update", &[("state", &"ill"), ("words", &words)]);
    let why = format!("this new version did not prove itself: {words}");
    log::error!("{why}");
    appliance.orders.give(Order::End(Ending::Restart, why));
    std::thread::sleep(grace);
    log::error!("the first process does not take the machine down: {}", Ending::restart_at_once());
}

/// Whether the machine does what it is for.
fn health(appliance: &Appliance) -> Result<(), String> {
    // The version before may open it, and cannot any more once this one's word counts.
    appliance.memory.opened()?;
    sealed_and_opened(seal_in_place, open_in_place)?;
    if !appliance.pulse.turns() {
        return Err("the first process hangs".to_owned());
    }
    // Before the services, as some fail for want of it. In the other roles nobody looks at the vault until a job does.
    let is_wanted =
        roles::chosen(appliance) == Role::Appliance && Wanted::of(appliance).is_complete();
    if is_wanted && appliance.watched.sight().state != VaultState::Readable {
        return Err("the vault is not reached".to_owned());
    }
    // How a job of the role goes is the person's and the vault's affair.
    if let Some(name) = appliance.stop.failing().filter(|name| *name != "role") {
        return Err(format!("the service {name} does not stay up"));
    }
    Ok(())
}

type Seal = fn(&SecretKey, &[u8; NONCE_BYTES], &[u8], &mut [u8]) -> [u8; TAG_BYTES];
type Open = fn(
    &SecretKey,
    &[u8; NONCE_BYTES],
    &[u8],
    &mut [u8],
    &[u8; TAG_BYTES],
) -> Result<(), NotAuthentic>;

/// A block is sealed and opened, and is the same; one bit more and it is refused.
fn sealed_and_opened(seal: Seal, open: Open) -> Result<(), String> {
    let mut secret = [0; 32];
    let mut nonce = [0; NONCE_BYTES];
    SystemEntropy
        .fill(&mut secret)
        .and_then(|()| SystemEntropy.fill(&mut nonce))
        .map_err(|error| error.to_string())?;
    let key = SecretKey::from_bytes(secret);
    let block: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    let mut sealed = block.clone();
    let tag = seal(&key, &nonce, b"trial", &mut sealed);
    let hidden = sealed != block;
    let mut changed = sealed.clone();
    changed.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    let opened = open(&key, &nonce, b"trial", &mut sealed, &tag).is_ok() && sealed == block;
    let refused = open(&key, &nonce, b"trial", &mut changed, &tag).is_err();
    if hidden && opened && refused {
        Ok(())
    } else {
        Err("a block that is sealed does not open as it was".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_was_changed_does_not() {
        assert_eq!(sealed_and_opened(seal_in_place, open_in_place), Ok(()));
    }

    /// Each with one of its three conditions left out was seen to fail.
    #[test]
    fn a_test_point_that_is_not_sealed_or_does_not_open_is_ill() {
        let words = "a block that is sealed does not open as it was";
        let ill =
            |seal: Seal, open: Open| assert_eq!(sealed_and_opened(seal, open).unwrap_err(), words);
        // As a version whose processor code is broken would.
        ill(
            |_, _, _, _| [0; TAG_BYTES],
            |_, _, _, block, _| if block[0] == 0 { Ok(()) } else { Err(NotAuthentic) },
        );
        ill(seal_in_place, |_, _, _, _, _| Err(NotAuthentic));
        ill(seal_in_place, |key, nonce, associated, block, tag| {
            let _ = open_in_place(key, nonce, associated, block, tag);
            Ok(())
        });
        ill(seal_in_place, |key, nonce, associated, block, tag| {
            open_in_place(key, nonce, associated, block, tag)?;
            block[100] ^= 1;
            Ok(())
        });
    }

    #[test]
    fn only_what_ran_a_while_and_is_well_is_kept() {
        let ill = "the vault is not reached".to_owned();
        assert!(is_proven(None, SETTLED) && !is_proven(None, SETTLED - LOOK));
        assert!(!is_proven(Some(&ill), TRIAL * 2));
        let trial = Trial::default();
        assert!(trial.note(Some(&ill)) && !trial.note(Some(&ill)) && !trial.is_over());
        assert_eq!(trial.ill(), ill);
        assert!(trial.note(None));
        trial.ends();
        assert!(trial.is_over());
    }
}
