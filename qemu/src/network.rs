//! Networks between machines, in user space: a switch whose ports are Unix sockets that QEMU connects to.
//!
//! It learns addresses, floods what it does not know, and changes no frame: VLAN tags, LACP and jumbo frames pass. It has no
//! address of its own and reaches nothing but its ports, so needs no privilege.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use crate::error::Error;
use crate::folder::Folder;
use crate::nic::Mac;

/// Frames that wait for a port before further ones are dropped, as a switch does.
const QUEUE_FRAMES_MAX: usize = 1024;
/// QEMU sends no larger frame; a length beyond it is no frame.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// A frame shorter than two addresses and a type goes nowhere.
const FRAME_BYTES_MIN: usize = 14;

/// A network. It ends when it and all its ports are dropped.
#[derive(Clone, Debug)]
pub struct Network {
    switch: Arc<Switch>,
}

#[derive(Debug)]
struct Switch {
    folder: Folder,
    table: Mutex<Table>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    ports: HashMap<u32, Outlet>,
    learned: HashMap<Mac, u32>,
    next: u32,
}

/// One port as the switch sees it.
#[derive(Debug)]
struct Outlet {
    frames: SyncSender<Arc<[u8]>>,
    up: bool,
    /// Gets every frame, whomever it is for.
    mirror: bool,
}

/// A port for one card of a machine. The cable is pulled with `set_up(false)`, or for good by dropping it.
#[derive(Debug)]
pub struct Port {
    socket: Arc<Socket>,
}

/// A handle on a port that stays with the test when the port went into a machine.
#[derive(Clone, Debug)]
pub struct Cable {
    switch: Arc<Switch>,
    number: u32,
}

#[derive(Debug)]
struct Socket {
    path: PathBuf,
    cable: Cable,
    closed: Arc<AtomicBool>,
    stream: Arc<Mutex<Option<UnixStream>>>,
}

/// A port for the test itself: frames in and out.
#[derive(Debug)]
pub struct Tap {
    cable: Cable,
    frames: Receiver<Arc<[u8]>>,
}

impl Network {
    /// A network without ports.
    pub fn new() -> Result<Self, Error> {
        let switch = Switch {
            folder: Folder::new()?,
            table: Mutex::new(Table::default()),
            dropped: AtomicU64::new(0),
        };
        Ok(Self { switch: Arc::new(switch) })
    }

    /// A new port for a card.
    pub fn port(&self) -> Result<Port, Error> {
        let (cable, frames) = self.outlet(false);
        let path = self.switch.folder.file(&format!("port{}", cable.number));
        let listener =
            UnixListener::bind(&path).map_err(|error| Error::file("listening at", &path, error))?;
        let socket = Arc::new(Socket {
            path,
            cable: cable.clone(),
            closed: Arc::new(AtomicBool::new(false)),
            stream: Arc::new(Mutex::new(None)),
        });
        let (closed, stream) = (Arc::clone(&socket.closed), Arc::clone(&socket.stream));
        thread::Builder::new()
            .name("switch port".to_owned())
            .spawn(move || serve(&listener, &cable, &frames, &closed, &stream))
            .map_err(|error| Error::io("starting a port's thread", error))?;
        Ok(Port { socket })
    }

    /// A port for the test itself. It gets what is for it or for everybody.
    pub fn tap(&self) -> Tap {
        let (cable, frames) = self.outlet(false);
        Tap { cable, frames }
    }

    /// A port that gets a copy of every frame.
    pub fn mirror(&self) -> Tap {
        let (cable, frames) = self.outlet(true);
        Tap { cable, frames }
    }

    /// Frames that found a full queue.
    pub fn dropped(&self) -> u64 {
        self.switch.dropped.load(Ordering::Relaxed)
    }

    fn outlet(&self, mirror: bool) -> (Cable, Receiver<Arc<[u8]>>) {
        let (frames, outgoing) = sync_channel(QUEUE_FRAMES_MAX);
        let mut table = self.switch.lock();
        let number = table.next;
        table.next += 1;
        table.ports.insert(number, Outlet { frames, up: true, mirror });
        (Cable { switch: Arc::clone(&self.switch), number }, outgoing)
    }
}

impl Port {
    /// Where QEMU connects to.
    pub(crate) fn path(&self) -> &Path {
        &self.socket.path
    }

    /// A handle on the cable, to pull it while the machine runs.
    pub fn cable(&self) -> Cable {
        self.socket.cable.clone()
    }
}

impl Cable {
    /// Pulls the cable at the switch or puts it back. The card keeps its carrier, as behind a second switch; for a
    /// carrier that is lost there is `Running::set_link`.
    pub fn set_up(&self, up: bool) {
        let mut table = self.switch.lock();
        if let Some(outlet) = table.ports.get_mut(&self.number) {
            outlet.up = up;
        }
        let number = self.number;
        table.learned.retain(|_, port| *port != number);
    }
}

impl Tap {
    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        self.cable.switch.forward(self.cable.number, frame.into());
    }

    /// The next frame, if one comes in time.
    pub fn receive(&self, wait: Duration) -> Option<Arc<[u8]>> {
        self.frames.recv_timeout(wait).ok()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.cable.switch.remove(self.cable.number);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        self.cable.switch.remove(self.cable.number);
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        match stream {
            Some(stream) => {
                // The other end may be gone already.
                let _ = stream.shutdown(Shutdown::Both);
            }
            // Nobody has connected: the thread is woken by a connection of ours.
            None => drop(UnixStream::connect(&self.path)),
        }
    }
}

impl Switch {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, number: u32) {
        let mut table = self.lock();
        table.ports.remove(&number);
        table.learned.retain(|_, port| *port != number);
    }

    /// Learns where a frame came from and hands it on.
    fn forward(&self, from: u32, frame: Arc<[u8]>) {
        let Some((to, source)) = addresses(&frame) else { return };
        let mut table = self.lock();
        if !table.ports.get(&from).is_some_and(|outlet| outlet.up) {
            return;
        }
        if !is_group(source) {
            table.learned.insert(source, from);
        }
        let known = if is_group(to) { None } else { table.learned.get(&to).copied() };
        for (number, outlet) in &table.ports {
            let meant = outlet.mirror || known.is_none_or(|port| port == *number);
            if *number != from
                && outlet.up
                && meant
                && outlet.frames.try_send(Arc::clone(&frame)).is_err()
            {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Destination and source.
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    if frame.len() < FRAME_BYTES_MIN {
        return None;
    }
    let (to, rest) = frame.split_first_chunk()?;
    let (source, _) = rest.split_first_chunk()?;
    Some((Mac(*to), Mac(*source)))
}

fn is_group(mac: Mac) -> bool {
    mac.0[0] & 1 == 1
}

/// Serves one card: QEMU connects once, then frames go both ways until either end closes.
fn serve(
    listener: &UnixListener,
    cable: &Cable,
    frames: &Receiver<Arc<[u8]>>,
    closed: &AtomicBool,
    kept: &Mutex<Option<UnixStream>>,
) {
    let Ok((stream, _)) = listener.accept() else { return };
    let (Ok(keep), Ok(reader)) = (stream.try_clone(), stream.try_clone()) else { return };
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(keep);
    // Dropped while we were accepting: there is nothing to serve, and nobody left to wake us.
    if closed.load(Ordering::SeqCst) {
        return;
    }
    let incoming = cable.clone();
    let reading = thread::Builder::new().name("switch port in".to_owned()).spawn(move || {
        // It ends when the machine does.
        let _ = take_in(reader, &incoming);
    });
    if reading.is_ok() {
        give_out(stream, frames);
    }
}

/// A frame is its length in four bytes, most significant first, and its bytes.
fn take_in(mut stream: UnixStream, cable: &Cable) -> io::Result<()> {
    loop {
        let mut length = [0_u8; 4];
        stream.read_exact(&mut length)?;
        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0_u8; bytes];
        stream.read_exact(&mut frame)?;
        cable.switch.forward(cable.number, frame.into());
    }
}

fn give_out(mut stream: UnixStream, frames: &Receiver<Arc<[u8]>>) {
    // The sender goes with the port.
    while let Ok(frame) = frames.recv() {
        let Ok(bytes) = u32::try_from(frame.len()) else { continue };
        let mut whole = Vec::with_capacity(frame.len() + 4);
        whole.extend_from_slice(&bytes.to_be_bytes());
        whole.extend_from_slice(&frame);
        if stream.write_all(&whole).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
