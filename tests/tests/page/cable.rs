//! A wire between a browser and an appliance that can be pulled and plugged in again.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The wire. Its threads end with the test's process.
pub(crate) struct Cable {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pulled: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// To this address.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner::default());
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever comes while it is pulled is cut off at once.
                if shared.pulled.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(other) = TcpStream::connect(to) {
                    let _ = shared.join(stream, other);
                }
            }
        });
        Self { address, inner }
    }

    /// Its near end.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection ends, and none is let through.
    pub(crate) fn pull(&self) {
        self.inner.pulled.store(true, Ordering::SeqCst);
        let mut streams = self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connections are let through again.
    pub(crate) fn plug(&self) {
        self.inner.pulled.store(false, Ordering::SeqCst);
    }
}

impl Inner {
    fn join(&self, near: TcpStream, far: TcpStream) -> io::Result<()> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push(near.try_clone()?);
        streams.push(far.try_clone()?);
        let (mut from_near, mut to_near) = (near.try_clone()?, near);
        let (mut from_far, mut to_far) = (far.try_clone()?, far);
        thread::spawn(move || {
            let _ = io::copy(&mut from_near, &mut to_far);
            let _ = to_far.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            let _ = io::copy(&mut from_far, &mut to_near);
            let _ = to_near.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}
