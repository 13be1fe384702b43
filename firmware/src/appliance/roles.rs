//! What the machine is to be, and who decides: the console, then the command line, then `lifeboat.toml`; an appliance where
//! nobody says anything.

use core::time::Duration;

use firmware_web::VaultState;
use hal::time::Clock;
use hal_linux::SystemClock;
use image_layout::command_line::Role;

use super::board::{Answer, Kind, Question};
use super::console::dialogue::Wish;
use super::orders::{Ending, Order};
use super::phases::guarded;
use super::vault_place::{VaultPlace, Wanted};
use super::{Appliance, capture, memory, recover};
use crate::serve::watch::Sight;

/// How often the appliance looks at its vault.
const VAULT_PACE: Duration = Duration::from_secs(15 * 60);
/// How soon it is seen that one was named.
const VAULT_LOOK: Duration = Duration::from_millis(500);
/// The same while it cannot be read.
const VAULT_RETRY: Duration = Duration::from_secs(60);

/// The role that the machine was booted in.
pub(crate) fn chosen(appliance: &Appliance) -> Role {
    let settings = appliance.settings.get().and_then(|settings| settings.role);
    decide(appliance.line.role, settings)
}

fn decide(line: Option<Role>, settings: Option<Role>) -> Role {
    line.or(settings).unwrap_or(Role::Appliance)
}

/// The role's work, as a service: what fails is tried again at the services' pace.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let role = chosen(appliance);
    appliance.board.update(|view| role.name().clone_into(&mut view.role));
    match role {
        Role::Appliance => watch_vault(appliance),
        Role::Capture => exclusively(appliance, "capture", capture::serve),
        Role::Recover => exclusively(appliance, "recover", recover::serve),
    }
}

/// One job at a time: two would fight over disks and over the person at the console.
fn exclusively(
    appliance: &Appliance,
    event: &str,
    work: fn(&Appliance) -> Result<(), String>,
) -> Result<(), String> {
    let Ok(_held) = appliance.at_work.try_lock() else {
        return Err("another job is still running".to_owned());
    };
    work(appliance).inspect_err(|words| {
        appliance.events.say(event, &[("state", &"failed"), ("words", words)]);
    })
}

/// Tells machines of the questions that are put to a person.
pub(crate) fn tell_questions(appliance: &Appliance) -> Result<(), String> {
    let (mut told, mut seen) = (None, 0);
    while !appliance.stop.asked() {
        let (view, version) = appliance.board.wait(seen, Duration::from_secs(1));
        seen = version;
        if view.question == told {
            continue;
        }
        told = view.question;
        if let Some(question) = &told {
            tell_question(appliance, question);
        }
    }
    Ok(())
}

/// Tells machines of one question.
pub(crate) fn tell_question(appliance: &Appliance, question: &Question) {
    let (kind, choices) = match &question.kind {
        Kind::Choice(choices) => ("choice", choices.join("|")),
        Kind::Text(_) => ("text", String::new()),
        Kind::Secret => ("secret", String::new()),
    };
    appliance
        .events
        .say("ask", &[("title", &question.title), ("kind", &kind), ("choices", &choices)]);
}

/// Watches the vault that the appliance is for, and shows how it fares.
fn watch_vault(appliance: &Appliance) -> Result<(), String> {
    let wanted = loop {
        let wanted = Wanted::of(appliance);
        if wanted.is_complete() {
            break wanted;
        }
        let words = "none named yet: the page asks for it, or lifeboat.toml on the medium says";
        appliance.board.update(|view| words.clone_into(&mut view.vault));
        if appliance.stop.rest(VAULT_LOOK) {
            return Ok(());
        }
    };
    appliance.watched.note(Ok(Sight { state: VaultState::Unknown, ..Sight::default() }));
    loop {
        let looked = VaultPlace::prepare(appliance, &wanted)
            .and_then(|place| Ok((recover::points(appliance, &place)?, place)));
        appliance.watched.note(match &looked {
            Ok((points, _)) => Ok(recover::sight(points)),
            Err(_) => Err(SystemClock.monotonic_nanos()),
        });
        let words = match &looked {
            Ok((points, place)) => format!("{}: {}", place.shown, recover::in_words(points)),
            Err(words) => {
                format!("cannot be read, tried again every {} s: {words}", VAULT_RETRY.as_secs())
            }
        };
        memory::take_notes(appliance);
        appliance.board.update(|view| view.vault.clone_from(&words));
        appliance.events.say("vault", &[("ok", &looked.is_ok()), ("words", &words)]);
        if appliance.stop.rest(if looked.is_ok() { VAULT_PACE } else { VAULT_RETRY }) {
            return Ok(());
        }
    }
}

/// What a person at the console wishes; asks back, so it runs on a thread of its own.
pub(crate) fn grant(appliance: &Appliance, wish: Wish) {
    let done = guarded(|| match wish {
        Wish::Capture => exclusively(appliance, "capture", capture::serve),
        Wish::Recover => exclusively(appliance, "recover", recover::serve),
        Wish::Network => super::network::settings(appliance),
        Wish::Spool => super::spool::choose(appliance),
        Wish::Token => super::agents::let_in(appliance),
        Wish::Administrator => super::first_run::forget_administrator(appliance),
        Wish::Key => super::keyring::choose(appliance),
        Wish::Update => exclusively(appliance, "update", super::update::choose),
        Wish::ShutDown => {
            shut_down(appliance);
            Ok(())
        }
    });
    if let Err(words) = done {
        log::error!("{words}");
        appliance.board.update(|view| view.status = "ready; the last job failed".to_owned());
    }
}

fn shut_down(appliance: &Appliance) {
    let choices = ["go on", "power off", "restart"].map(str::to_owned).to_vec();
    let words =
        vec!["What is running is ended in order, and goes on where it was afterwards.".to_owned()];
    let title = "Shut this machine down?".to_owned();
    let ending = match appliance.board.ask(Question { title, words, kind: Kind::Choice(choices) }) {
        Answer::Chosen(1) => Ending::PowerOff,
        Answer::Chosen(2) => Ending::Restart,
        _ => return,
    };
    appliance.orders.give(Order::End(ending, "asked for at the console".to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_outranks_the_stick_and_nothing_said_is_an_appliance() {
        assert_eq!(decide(Some(Role::Recover), Some(Role::Capture)), Role::Recover);
        assert_eq!(decide(None, Some(Role::Capture)), Role::Capture);
        assert_eq!(decide(None, None), Role::Appliance);
    }
}
