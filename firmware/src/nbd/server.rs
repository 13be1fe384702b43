//! Accepts clients and runs each; a client that misbehaves loses its connection and nothing else happens.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::Timer;
use smol::Executor;
use smol::future;
use smol::lock::Semaphore;

use crate::nbd::budget::Budget;
use crate::nbd::handshake::negotiate;
use crate::nbd::listen::Listener;
use crate::nbd::source::Export;
use crate::nbd::transmission::{self, Stream};

/// Clients at once; one more is turned away.
const CLIENTS_MAX: usize = 64;
/// How long a client may take until it has agreed on an export.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Memory for the replies of all clients, in MiB: two of the longest reads.
const BUDGET_MIB: usize = 64;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `export` on `listener` for ever, on the calling thread and the threads that reads block.
pub async fn serve(listener: &Listener, export: Export) {
    let executor = Arc::new(Executor::new());
    let server = Server {
        export: Arc::new(export),
        budget: Arc::new(Budget::new(BUDGET_MIB)),
        clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
        executor: Arc::clone(&executor),
    };
    executor.run(server.accept_all(listener)).await;
}

/// Serves `export` to one client that is connected already, on the calling thread, until it leaves.
pub async fn serve_one<S: Stream>(stream: S, export: Export) -> io::Result<()> {
    let executor = Arc::new(Executor::new());
    let budget = Arc::new(Budget::new(BUDGET_MIB));
    let serving = client(stream, Arc::new(export), budget, Arc::clone(&executor));
    executor.run(serving).await
}

struct Server {
    export: Arc<Export>,
    budget: Arc<Budget>,
    clients: Arc<Semaphore>,
    executor: Arc<Executor<'static>>,
}

impl Server {
    async fn accept_all(&self, listener: &Listener) {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    tune(&stream);
                    self.start(stream, peer.to_string());
                }),
                Listener::Unix(listener, _) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| self.start(stream, "socket".to_owned())),
            };
            if let Err(error) = accepted {
                log::warn!("NBD: a client could not be accepted: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }

    fn start<S: Stream>(&self, stream: S, peer: String) {
        let Some(place) = self.clients.try_acquire_arc() else {
            log::warn!("NBD client {peer}: turned away, {CLIENTS_MAX} are connected");
            return;
        };
        let (export, budget) = (Arc::clone(&self.export), Arc::clone(&self.budget));
        let executor = Arc::clone(&self.executor);
        let task = async move {
            log::info!("NBD client {peer}: connected");
            match client(stream, export, budget, executor).await {
                Ok(()) => log::info!("NBD client {peer}: left"),
                Err(error) => log::info!("NBD client {peer}: dropped: {error}"),
            }
            drop(place);
        };
        self.executor.spawn(task).detach();
    }
}

async fn client<S: Stream>(
    mut stream: S,
    export: Arc<Export>,
    budget: Arc<Budget>,
    executor: Arc<Executor<'static>>,
) -> io::Result<()> {
    let late = async {
        Timer::after(HANDSHAKE).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no export was agreed on in 15 s"))
    };
    match future::or(negotiate(&mut stream, &export), late).await? {
        Some(terms) => {
            let result = transmission::serve(stream.clone(), export, terms, budget, executor).await;
            stream.end();
            result
        }
        None => Ok(()),
    }
}

/// Small replies go out at once, and a peer that vanished is noticed in the end.
fn tune(stream: &smol::net::TcpStream) {
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| Ok(rustix::net::sockopt::set_socket_keepalive(stream, true)?));
    if let Err(error) = tuned {
        log::debug!("NBD: socket options: {error}");
    }
}
