//! QEMU's machine protocol, as far as a screen needs it: one command after another, each with its answer; events are passed over.

use core::time::Duration;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A connection to one QEMU.
pub(super) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Nothing is said yet.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Takes the greeting and agrees on the plain protocol.
    pub(super) fn greet(&mut self) -> io::Result<()> {
        self.0.get_ref().set_read_timeout(Some(PATIENCE))?;
        let greeting = self.message()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other("QEMU does not greet"));
        }
        self.execute("qmp_capabilities", &json!({}))
    }

    /// Runs one command. Errors: QEMU's refusal, in its words.
    pub(super) fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<()> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.0.get_mut().write_all(format!("{request}\n").as_bytes())?;
        loop {
            let message = self.message()?;
            if let Some(error) = message.get("error") {
                let words = error.get("desc").and_then(Value::as_str).unwrap_or("no reason");
                return Err(io::Error::other(format!("{command}: {words}")));
            }
            if message.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn message(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(io::Error::other)
    }
}
