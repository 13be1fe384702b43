//! What reaches the first process from outside: orphans that ended, Ctrl-Alt-Del, a request to go down.

use async_signal::{Signal, Signals};
use smol::prelude::*;

use super::orders::{Ending, Order, Orders};
use super::processes;

/// What a signal means to the first process.
fn meaning(signal: Signal) -> Option<Order> {
    match signal {
        // The kernel turns Ctrl-Alt-Del into this one.
        Signal::Int => Some(Order::End(Ending::Restart, "Ctrl-Alt-Del was pressed".to_owned())),
        Signal::Term => {
            Some(Order::End(Ending::PowerOff, "the machine was told to go down".to_owned()))
        }
        _ => None,
    }
}

/// Takes signals for good.
pub(crate) fn watch(orders: Orders) -> Result<String, String> {
    let mut signals = Signals::new([Signal::Int, Signal::Term, Signal::Child, Signal::Hup])
        .map_err(|error| format!("signals are not heard: {error}"))?;
    let watching = move || {
        smol::block_on(async {
            while let Some(Ok(signal)) = signals.next().await {
                match meaning(signal) {
                    Some(order) => orders.give(order),
                    None if signal == Signal::Child => {
                        processes::reap();
                    }
                    None => {}
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watching)
        .map_err(|error| format!("signals are not heard: {error}"))?;
    let keys = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    keys.map_err(|errno| format!("Ctrl-Alt-Del restarts without order: {errno}"))?;
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_three_fingers_restart_and_a_request_goes_down() {
        assert!(matches!(meaning(Signal::Int), Some(Order::End(Ending::Restart, _))));
        assert!(matches!(meaning(Signal::Term), Some(Order::End(Ending::PowerOff, _))));
        assert!(meaning(Signal::Child).is_none() && meaning(Signal::Hup).is_none());
    }
}
