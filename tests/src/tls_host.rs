//! Whoever shows a certificate and has nothing else to say: openssl's own server.

use core::time::Duration;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::azurite::TlsFiles;

/// Longest that it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// It, until this is dropped.
#[derive(Debug)]
pub struct TlsHost(Child);

impl TlsHost {
    /// Shows this certificate at `address:port`.
    ///
    /// # Panics
    /// Where openssl does not listen.
    #[must_use]
    pub fn start(at: &str, files: &TlsFiles) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", at]);
        command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let host = Self(command.spawn().expect("openssl starts"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(at).is_err() {
            assert!(Instant::now() < until, "openssl does not listen on {at}");
            std::thread::sleep(Duration::from_millis(50));
        }
        host
    }
}

impl Drop for TlsHost {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
