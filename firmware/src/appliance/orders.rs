//! Orders to the first process, from the console, a signal or the power button, and the orderly end.

use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use rustix::system::{RebootCommand, reboot};

use super::console::dialogue::Wish;

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Power off.
    PowerOff,
    /// Start again.
    Restart,
}

impl Ending {
    /// One word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff",
            Self::Restart => "restart",
        }
    }

    /// Does it, after everything on disks is safe. It comes back only where the kernel cannot.
    pub(crate) fn carry_out(self) -> String {
        rustix::fs::sync();
        self.at_once()
    }

    /// Starts the machine again with nothing waited for: a disk that hangs would hang that too.
    pub(crate) fn restart_at_once() -> String {
        Self::Restart.at_once()
    }

    fn at_once(self) -> String {
        let command = match self {
            Self::PowerOff => RebootCommand::PowerOff,
            Self::Restart => RebootCommand::Restart,
        };
        match reboot(command) {
            Ok(()) => "the kernel did not do it: switch the machine off by hand".to_owned(),
            Err(errno) => format!("the kernel refuses: {errno}; switch the machine off by hand"),
        }
    }
}

/// What the first process is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go down in order, and why.
    End(Ending, String),
    /// A person at the console wishes something.
    Wish(Wish),
    /// Never take another: a test sees what becomes of a first process that hangs.
    Hang,
}

/// Gives orders.
#[derive(Clone)]
pub(crate) struct Orders(Sender<Order>);

impl Orders {
    /// Where they are given, and where they are taken.
    pub(crate) fn new() -> (Self, Inbox) {
        let (give, take) = channel();
        (Self(give), Inbox(take))
    }

    /// Gives one; nobody takes it only when the machine is going down already.
    pub(crate) fn give(&self, order: Order) {
        let _ = self.0.send(order);
    }
}

/// Where orders are taken.
pub(crate) struct Inbox(Receiver<Order>);

impl Inbox {
    /// The next order, waited for so long.
    pub(crate) fn next(&self, patience: Duration) -> Option<Order> {
        match self.0.recv_timeout(patience) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // Nobody is left to give one; the clock still ticks.
                std::thread::sleep(patience);
                None
            }
        }
    }
}
