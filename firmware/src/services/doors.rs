//! Doors, kept: a service that strangers connect to, at a socket of its own, and a new one of both whenever one ended.

use core::net::SocketAddr;
use core::time::Duration;
use std::os::fd::AsFd as _;
use std::time::Instant;

use async_io::{Async, Timer};
use pipeline_vault::Error;
use smol::net::TcpListener;

use super::line::Line;
use super::{Keeper, Running, Service};
use crate::report::cannot_listen;
use crate::restart::Pace;

/// A door that closed its line ends within this, or is ended.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Listens.
///
/// Errors: the address is taken, foreign, or not allowed.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(&address, &error))
}

/// Has `behind` serve behind a door at this socket until that ends, and behind a new one each time; it gives why it ended.
pub(crate) async fn keep(
    listener: TcpListener,
    mut behind: impl AsyncFnMut(TcpListener) -> String,
) {
    let (address, mut pace) = (listener.local_addr(), Pace::default());
    let mut listening = Ok(listener);
    loop {
        let began = Instant::now();
        let words = match listening {
            Ok(listener) => behind(listener).await,
            Err(error) => error,
        };
        let pause = pace.after(began.elapsed());
        log::warn!("{words}; started again in {} s", pause.as_secs());
        Timer::after(pause).await;
        // Never the same socket again: whoever took the door over may have shut it for good.
        listening = match &address {
            Ok(address) => listen(*address).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
    }
}

/// One door.
pub(crate) struct Door {
    running: Running,
    /// The line to it.
    pub(crate) line: Async<Line>,
}

impl Door {
    /// Starts it, tells it this, and leaves the socket to it.
    pub(crate) fn start(
        service: &Service<'_>,
        keeper: &Keeper<'_>,
        told: &[u8],
        listener: TcpListener,
    ) -> Result<Self, String> {
        let running = Running::start(service, keeper, told, &[listener.as_fd()])?;
        drop(listener);
        let line = running.line.again().and_then(Async::new);
        let line =
            line.map_err(|error| format!("the service {} cannot be heard: {error}", service.name))?;
        Ok(Self { running, line })
    }

    /// Why it ended, once nobody hears it any more.
    pub(crate) async fn ended(self) -> String {
        smol::unblock(move || self.running.why(END_PATIENCE)).await
    }
}
