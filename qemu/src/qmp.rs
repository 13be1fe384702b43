//! QEMU's machine protocol: commands with their answers, and events in between.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use core::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;

/// Longest wait for an answer: QEMU under load with a busy guest.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// No answer of QEMU's is larger; lists of all devices are some hundred kilobytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection to one QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    pending: Vec<u8>,
    events: VecDeque<Value>,
    next: u64,
}

impl Qmp {
    /// Takes the greeting and agrees on the plain protocol.
    pub(crate) fn attach(stream: UnixStream) -> Result<Self, Error> {
        let mut qmp = Self { stream, pending: Vec::new(), events: VecDeque::new(), next: 0 };
        let deadline = Instant::now() + ANSWER_WAIT;
        let greeting = qmp.message(deadline)?;
        if greeting.get("QMP").is_none() {
            return Err(Error::Refused(format!("no greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs one command; events that come before its answer are kept.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let id = self.next;
        self.next += 1;
        let request = json!({ "execute": command, "arguments": arguments, "id": id });
        let sent = self.stream.write_all(format!("{request}\n").as_bytes());
        sent.map_err(|error| Error::io(format!("sending {command} to QEMU"), error))?;
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let mut message = self.message(deadline)?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else if message.get("id").and_then(Value::as_u64) == Some(id) {
                if let Some(error) = message.get("error") {
                    let words = error.get("desc").and_then(Value::as_str).unwrap_or("no reason");
                    return Err(Error::Refused(format!("{command} {arguments}: {words}")));
                }
                return Ok(message.get_mut("return").map(Value::take).unwrap_or_default());
            }
        }
    }

    /// Waits for an event of this name that `wanted` takes; others are kept.
    pub(crate) fn event(
        &mut self,
        name: &str,
        wait: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Error> {
        let deadline = Instant::now() + wait;
        let is = |event: &Value| event.get("event").and_then(Value::as_str) == Some(name);
        let mut looked = 0;
        loop {
            while let Some(event) = self.events.get(looked) {
                if is(event) && wanted(event) {
                    return Ok(self.events.remove(looked).unwrap_or_default());
                }
                looked += 1;
            }
            let message = self.message(deadline)?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            }
        }
    }

    /// Every event that has come and was not waited for, until QEMU closes or is silent.
    pub(crate) fn drain(&mut self) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_millis(200);
        while let Ok(message) = self.message(deadline) {
            if message.get("event").is_some() {
                self.events.push_back(message);
            }
        }
        self.events.drain(..).collect()
    }

    /// The next message: one line of JSON.
    fn message(&mut self, deadline: Instant) -> Result<Value, Error> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map_err(|error| Error::Refused(format!("QEMU does not speak JSON: {error}")));
            }
            if self.pending.len() > ANSWER_BYTES_MAX {
                return Err(Error::Refused("an answer without end".to_owned()));
            }
            self.more(deadline)?;
        }
    }

    fn more(&mut self, deadline: Instant) -> Result<(), Error> {
        let late = || Error::Timeout {
            what: "an answer of QEMU".to_owned(),
            after: ANSWER_WAIT,
            console: String::new(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let failed = |error| Error::io("reading from QEMU", error);
        self.stream.set_read_timeout(Some(left)).map_err(failed)?;
        let mut buffer = [0_u8; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Error::io("reading from QEMU", io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => {
                self.pending.extend(buffer.iter().take(bytes));
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(late()),
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(failed(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A QEMU that says these lines, whatever it is asked, and gives back what it was asked.
    fn pretend(says: &'static str) -> (UnixStream, thread::JoinHandle<String>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let other = thread::spawn(move || {
            // In small pieces: a message may come in any number of them.
            for piece in says.as_bytes().chunks(7) {
                theirs.write_all(piece).unwrap();
            }
            let mut asked = String::new();
            theirs.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let _ = theirs.read_to_string(&mut asked);
            asked
        });
        (ours, other)
    }

    #[test]
    fn answers_find_their_command_and_events_are_kept() {
        let (stream, other) = pretend(
            "{\"QMP\": {}}\r\n{\"return\": {}, \"id\": 0}\r\n\
             {\"event\": \"STOP\"}\r\n{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d1\"}}\r\n\
             {\"return\": 9, \"id\": 77}\n{\"return\": {\"status\": \"running\"}, \"id\": 1}\r\n\
             {\"error\": {\"desc\": \"no such device\"}, \"id\": 2}\r\n",
        );
        let mut qmp = Qmp::attach(stream).unwrap();
        let status = qmp.execute("query-status", &json!({})).unwrap();
        assert_eq!(status["status"], "running");
        let refused = qmp.execute("device_del", &json!({"id": "x"})).unwrap_err().to_string();
        assert!(refused.contains("device_del") && refused.contains("no such device"), "{refused}");
        let soon = Duration::from_millis(50);
        let gone = qmp.event("DEVICE_DELETED", soon, |event| event["data"]["device"] == "d1");
        assert_eq!(gone.unwrap()["data"]["device"], "d1");
        assert!(qmp.event("DEVICE_DELETED", soon, |_| true).is_err());
        assert_eq!(qmp.drain().len(), 1);
        drop(qmp);
        assert!(other.join().unwrap().contains("\"execute\":\"query-status\""));
    }

    #[test]
    fn a_peer_that_is_not_qemu_is_refused() {
        for says in ["hello\n", "{\"return\": {}}\n", "", "[1\n"] {
            let (stream, other) = pretend(says);
            drop(other);
            assert!(Qmp::attach(stream).is_err(), "{says}");
        }
    }
}
