//! The region's door: HTTP on a port, one thread for each connection and for each deed.

use std::io::{BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use serde_json::json;

use super::hands::Hands;
use super::http::{Body, Request, Response};
use super::refusal::Refusal;
use super::{Region, Settings};

/// Longest that a connection may be silent.
const SILENCE: Duration = Duration::from_secs(120);

/// A region behind a port; it ends, with all its machines, when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    region: Mutex<Region>,
    hands: Hands,
    stop: AtomicBool,
}

impl Server {
    /// Starts it. Disks of machines lie in the folder while those run.
    pub fn start(listen: SocketAddr, settings: Settings, folder: &Path) -> Result<Self, String> {
        let hands = Hands::new(settings.storage.as_ref(), folder.to_owned())?;
        let failed = |error: std::io::Error| format!("listening at {listen}: {error}");
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let region = Mutex::new(Region::new(settings));
        let shared = Arc::new(Shared { region, hands, stop: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let accepting = move || {
            for stream in listener.incoming() {
                if theirs.stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&theirs);
                // How a connection ends is its client's business.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        };
        let thread = thread::Builder::new().name("region".to_owned()).spawn(accepting);
        let thread = Some(thread.map_err(|error| format!("starting a thread: {error}"))?);
        Ok(Self { address, shared, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The region itself, for who sits in the same process.
    pub fn region(&self) -> MutexGuard<'_, Region> {
        self.shared.lock()
    }

    /// A port of loopback that leads to this port of a machine; `machine` is its identifier, whatever its case.
    pub fn forward(&self, machine: &str, port: u16) -> Result<u16, Refusal> {
        self.shared.hands.forward(&machine.to_ascii_lowercase(), port)
    }

    /// The time of every address that was given out is over, whatever was asked for; the disks stay as they are.
    pub fn end_addresses(&self) -> Result<(), Refusal> {
        let granted = self.region().granted();
        self.shared.hands.end_addresses(&granted)
    }

    /// What a machine has said on its serial line so far; `machine` is its identifier, whatever its case.
    pub fn console(&self, machine: &str) -> Vec<u8> {
        self.shared.hands.console(&machine.to_ascii_lowercase())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees that it has to stop.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        self.shared.hands.end();
    }
}

impl Shared {
    fn serve(self: Arc<Self>, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let response = self.answer(&request);
            if response.lost {
                return writer.shutdown(Shutdown::Both);
            }
            response.write(&mut writer, request.method == "HEAD")?;
            writer.flush()?;
        }
        Ok(())
    }

    fn answer(self: &Arc<Self>, request: &Request) -> Response {
        let ended = self.hands.ended();
        let mut region = self.lock();
        for machine in ended {
            region.machine_ended(&machine);
        }
        let response = region.answer(request, now_ms());
        let deeds = region.take_deeds();
        drop(region);
        for (ticket, deed) in deeds {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let outcome = shared.hands.carry_out(&deed);
                // At the end of all the storage may be gone before a disk is.
                let ends = shared.stop.load(Ordering::Acquire);
                if let Some(refusal) = outcome.as_ref().err().filter(|_| !ends) {
                    eprintln!("region: {deed:?}: {}", refusal.message);
                }
                shared.lock().did(ticket, outcome, now_ms());
            });
        }
        self.of_machine(response)
    }

    /// Fills in what only a machine knows.
    fn of_machine(&self, response: Response) -> Response {
        let filled: Result<(&str, Vec<u8>), Refusal> = match &response.body {
            Body::Bytes(_) => return response,
            Body::Console(machine) => Ok(("text/plain", self.hands.console(machine))),
            Body::Screen(machine) => {
                self.hands.screen(machine).map(|picture| ("image/bmp", picture))
            }
            Body::Forward(machine, port) => self.hands.forward(machine, *port).map(|port| {
                let body = json!({ "host": "127.0.0.1", "port": port });
                ("application/json", body.to_string().into_bytes())
            }),
        };
        match filled {
            Ok((kind, bytes)) => {
                let response = response.with("Content-Type", kind);
                Response { body: Body::Bytes(bytes), ..response }
            }
            Err(refusal) => refusal.response(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Region> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
