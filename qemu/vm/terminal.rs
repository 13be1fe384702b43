//! The terminal as the machine's serial line.

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::thread;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use qemu::{Console, Echo, Error};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::appliance;
use crate::arguments::CommandLine;

/// Ctrl-]: the key that is for us and not for the guest.
const QUIT: u8 = 0x1d;
/// Nobody waits longer at a terminal.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Runs the machine until it ends or the person has had enough.
pub(crate) fn run(line: &CommandLine) -> Result<(), Error> {
    let machine = line.machine(appliance::build)?.lifetime(LIFETIME).echo(Echo::Terminal);
    let running = machine.start()?;
    eprintln!("a machine on {:?}; Ctrl-] ends it", running.accel());
    let _raw = Raw::set();
    let quit = Arc::new(AtomicBool::new(false));
    let (console, theirs) = (running.console().clone(), Arc::clone(&quit));
    thread::spawn(move || type_on(&console, &theirs));
    while !running.has_ended() && !quit.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    if quit.load(Ordering::Relaxed) {
        running.power_cut();
        return Ok(());
    }
    let ended = running.wait_end(Duration::from_secs(1))?;
    eprintln!("\r\nthe machine ended: {}\r", ended.reason.as_deref().unwrap_or("of itself"));
    Ok(())
}

/// What is typed goes to the guest. The end of the input is no wish to end the machine: there may be no terminal.
fn type_on(console: &Console, quit: &AtomicBool) {
    let mut input = io::stdin().lock();
    let mut bytes = [0_u8; 256];
    while let Ok(length @ 1..) = input.read(&mut bytes) {
        let typed = bytes.get(..length).unwrap_or_default();
        if typed.contains(&QUIT) {
            quit.store(true, Ordering::Relaxed);
            return;
        }
        if console.type_bytes(typed).is_err() {
            return;
        }
    }
}

/// A terminal that hands every key on at once, and is as before when this is dropped.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    fn set() -> Self {
        let input = io::stdin();
        let before = if input.is_terminal() { tcgetattr(&input).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // A terminal that cannot is used as it is.
            let _ = tcsetattr(&input, OptionalActions::Now, &raw);
        }
        Self { before }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
