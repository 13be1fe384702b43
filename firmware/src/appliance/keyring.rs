//! What opens this machine's state: the security chip, a passphrase typed at the console, or nothing, where the key lies beside it.
//!
//! The chip seals by itself wherever it can, once the system that runs has proven itself: one that is on trial may be left for the
//! one before, which may not know the way. A passphrase is chosen by a person at the console, and asked for at each start.

use core::time::Duration;

use hal_linux::SystemEntropy;
use pipeline::ids::VaultId;
use pipeline::seal::SecretKey;
use pipeline_vault::keys::passphrase::{self, Cost};
use pipeline_vault::sealed::ObjectKind;
use zeroize::Zeroizing;

use super::board::{Answer, Kind, Question};
use super::phases::guarded;
use super::{Appliance, memory, roles, update};
use crate::chip::{self, ChipError, Device, Sealed};
use crate::state::keys::{Keyring, Way};

/// Errors name it so.
const NAME: &str = "the state of this machine";
/// What is typed to begin anew.
const FORGET: &str = "forget";
/// After the first wrong passphrase; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Everything on this machine that may open the state.
pub(crate) struct AtHand<'a> {
    appliance: &'a Appliance,
    /// What a person chose; without it the chip seals, where it can.
    chosen: Option<Chosen>,
}

/// What a person chose.
enum Chosen {
    Passphrase(Zeroizing<String>),
    Chip,
    Nothing,
}

impl<'a> AtHand<'a> {
    pub(crate) fn new(appliance: &'a Appliance) -> Self {
        Self { appliance, chosen: None }
    }

    /// Whether the chip may seal here at all: what it seals it would open.
    fn may_seal(&self) -> bool {
        update::running().is_none_or(|file| file.tries.is_none()) && self.chip_opens()
    }

    /// Whether there is a chip, something was signed that it can seal for, and it opened what it sealed for that.
    fn chip_opens(&self) -> bool {
        let Some(signed) = self.appliance.signed.get().filter(|_| Device::is_there()) else {
            return false;
        };
        *self.appliance.chip_opens.get_or_init(|| {
            let tried = Device::open()
                .and_then(|mut device| chip::trial(&mut device, signed, &SystemEntropy));
            if let Err(error) = &tried {
                log::warn!(
                    "nothing is sealed to the security chip, which would not open it: {error}"
                );
            }
            tried.is_ok()
        })
    }

    fn by_chip(&self, key: &SecretKey) -> Result<Way, ChipError> {
        let signed = self.appliance.signed.get().ok_or(ChipError::Signer)?;
        let sealed = chip::seal(&mut Device::open()?, signed, key.as_bytes(), &SystemEntropy)?;
        let bytes = postcard::to_allocvec(&sealed);
        bytes.map(Way::Chip).map_err(|_| ChipError::Strange("a key of another size"))
    }

    fn opened_by_chip(&self, bytes: &[u8]) -> Result<SecretKey, String> {
        let sealed: Sealed = postcard::from_bytes(bytes)
            .map_err(|_| "a newer version of Lifeboat sealed it".to_owned())?;
        let opened = match self.appliance.signed.get() {
            Some(signed) => Device::open()
                .and_then(|mut device| chip::open(&mut device, signed, &sealed, &SystemEntropy)),
            None => Err(ChipError::Signer),
        };
        if opened.is_ok() {
            let _ = self.appliance.chip_opens.set(true);
        }
        opened.map(|key| SecretKey::from_bytes(*key)).map_err(|error| error.to_string())
    }

    /// Asks for the passphrase until it is right, or nothing is typed.
    fn ask(&self, bytes: &[u8], why: &str) -> Result<SecretKey, String> {
        let (mut said, mut pause) = (why.to_owned(), PAUSE);
        loop {
            let question = Question {
                title: "Passphrase of this machine's state?".to_owned(),
                words: vec![
                    said,
                    "Nothing typed: the machine goes on without what it remembers, and keeps it aside."
                        .to_owned(),
                ],
                kind: Kind::Secret,
            };
            // The service that tells of questions runs later.
            roles::tell_question(self.appliance, &question);
            let typed = match self.appliance.board.ask(question) {
                Answer::Typed(typed) if !typed.is_empty() => Zeroizing::new(typed),
                _ => return Err("no passphrase was typed".to_owned()),
            };
            match passphrase::open(ObjectKind::Document, bytes, &typed, NAME) {
                Ok((_, plain)) => {
                    let key = <[u8; 32]>::try_from(plain.as_slice());
                    return key.map(SecretKey::from_bytes).map_err(|_| "it is damaged".to_owned());
                }
                Err(error) => said = format!("{error}. The next try is taken after a pause."),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Keyring for AtHand<'_> {
    fn open(&mut self, ways: &[Way]) -> Result<SecretKey, String> {
        let mut why = String::new();
        for way in ways {
            let opened = match way {
                Way::Chip(bytes) => self.opened_by_chip(bytes),
                Way::Passphrase(bytes) => self.ask(bytes, &why),
            };
            match opened {
                Ok(key) => return Ok(key),
                Err(words) => why = words,
            }
        }
        Err(why)
    }

    fn keep(&mut self, key: &SecretKey) -> Result<Vec<Way>, String> {
        match &self.chosen {
            Some(Chosen::Passphrase(typed)) => {
                let (kind, cost) = (ObjectKind::Document, Cost::USUAL);
                let vault = VaultId([0; 16]);
                let bytes = key.as_bytes();
                let sealed = passphrase::seal(kind, vault, bytes, typed, cost, &SystemEntropy);
                sealed.map(|bytes| vec![Way::Passphrase(bytes)]).map_err(|error| error.to_string())
            }
            Some(Chosen::Chip) => {
                self.by_chip(key).map(|way| vec![way]).map_err(|error| error.to_string())
            }
            Some(Chosen::Nothing) => Ok(Vec::new()),
            None if !self.may_seal() => Ok(Vec::new()),
            // Nobody chose: what cannot be sealed lies in the open, and the console says so.
            None => Ok(self.by_chip(key).map_or_else(
                |error| {
                    log::warn!("the state's key lies beside it: {error}");
                    Vec::new()
                },
                |way| vec![way],
            )),
        }
    }

    fn open_by_choice(&self) -> bool {
        matches!(self.chosen, Some(Chosen::Nothing))
    }

    fn outgrown(&mut self, ways: &[Way]) -> bool {
        ways.is_empty() && self.may_seal()
    }
}

/// One word for machines, and what a person should know.
pub(crate) fn kept_by(ways: &[Way]) -> (&'static str, &'static str) {
    match ways.first() {
        Some(Way::Chip(_)) => ("chip", "sealed to this machine's security chip"),
        Some(Way::Passphrase(_)) => ("passphrase", "opened by a passphrase"),
        None => {
            ("open", "its key beside it: whoever takes the medium can read it; key k changes that")
        }
    }
}

/// Has the chip open nothing any more until the machine starts again.
pub(crate) fn lock(appliance: &Appliance) -> Result<String, String> {
    if !Device::is_there() {
        return Ok("this machine shows no security chip".to_owned());
    }
    // Whether it opens what it seals shows before it is locked, or never. Nothing of that keeps it from being locked.
    let _ = guarded(|| Ok(AtHand::new(appliance).chip_opens()));
    let locked = Device::open().and_then(|mut device| chip::lock(&mut device));
    locked.map_err(|error| format!("what runs later could open the state: {error}"))?;
    Ok("what runs later has the security chip open nothing".to_owned())
}

/// A person at the console looks at how the state's key is kept.
pub(crate) fn choose(appliance: &Appliance) -> Result<(), String> {
    if let Some(why) = appliance.memory.aside() {
        return forget(appliance, &why);
    }
    let Some(ways) = appliance.memory.ways() else {
        return Err("nothing is kept on this machine: it has no medium with a state".to_owned());
    };
    let mut keyring = AtHand::new(appliance);
    let mut choices = vec!["leave it as it is", "a passphrase, asked for at each start"];
    if keyring.may_seal() {
        choices.push("the security chip of this machine");
    }
    choices.push("nothing: whoever takes the medium can read it");
    let title = "What is to open what this machine remembers?".to_owned();
    let words = vec![format!("Now it is {}.", kept_by(&ways).1)];
    let kind = Kind::Choice(choices.iter().map(|&choice| choice.to_owned()).collect());
    let place = match appliance.board.ask(Question { title, words, kind }) {
        Answer::Chosen(place) if place > 0 => place,
        _ => return Ok(()),
    };
    keyring.chosen = Some(match place {
        1 => match new_passphrase(appliance)? {
            Some(typed) => Chosen::Passphrase(typed),
            None => return Ok(()),
        },
        2 if choices.len() > 3 => Chosen::Chip,
        _ => Chosen::Nothing,
    });
    appliance.memory.replace_key(&mut keyring)?;
    memory::show_kept(appliance);
    Ok(())
}

/// Typed twice.
fn new_passphrase(appliance: &Appliance) -> Result<Option<Zeroizing<String>>, String> {
    let ask = |title: &str, words: &str| {
        let (title, words) = (title.to_owned(), vec![words.to_owned()]);
        match appliance.board.ask(Question { title, words, kind: Kind::Secret }) {
            Answer::Typed(typed) if !typed.is_empty() => Some(Zeroizing::new(typed)),
            _ => None,
        }
    };
    let words = "Eight letters or more. Who forgets it loses what this machine remembers, and nothing of the vault.";
    let Some(one) = ask("The new passphrase?", words) else { return Ok(None) };
    if one.chars().count() < 8 {
        return Err(
            "a passphrase of fewer than eight letters is guessed: nothing was changed".to_owned()
        );
    }
    let Some(other) = ask("The same once more?", "") else { return Ok(None) };
    if *one != *other {
        return Err("the two passphrases differ: nothing was changed".to_owned());
    }
    Ok(Some(one))
}

/// The way out where the state does not open.
fn forget(appliance: &Appliance, why: &str) -> Result<(), String> {
    let question = Question {
        title: "Forget what this machine remembered?".to_owned(),
        words: vec![
            why.to_owned(),
            "It is only convenience: vault and recovery key are named again, and nothing of the vault is lost. What is set now is kept from then on.".to_owned(),
            format!("Type the word {FORGET}:"),
        ],
        kind: Kind::Text(String::new()),
    };
    match appliance.board.ask(question) {
        Answer::Typed(typed) if typed.trim() == FORGET => {}
        _ => return Ok(()),
    }
    appliance.memory.begin_anew(&mut AtHand::new(appliance))?;
    memory::show_kept(appliance);
    Ok(())
}
