//! One virtual machine of the region, in QEMU: its runs one after another, what it said in all of them, and how it is reached.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use core::time::Duration;

use serde_json::json;

use crate::region::deed::{Boot, Generation, Wire};
use crate::region::refusal::Refusal;
use crate::{Disk, Error, Gateway, Mac, Machine, Nic, Running};

/// A machine of a test needs no more, whatever its size promises.
const MEMORY_MIB_MAX: u32 = 1024;
const PROCESSORS_MAX: u32 = 2;
/// Nobody forgets a machine longer than this.
const LIFETIME: Duration = Duration::from_secs(3 * 3600);
/// How long a system may take to go down when its power button is pressed.
const DOWN_WAIT: Duration = Duration::from_secs(15);
/// What of a console is kept: a mebibyte, as in Azure.
const CONSOLE_BYTES_MAX: usize = 1 << 20;

/// A machine.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    /// What it said in earlier runs.
    said: Vec<u8>,
    /// Ports of the machine, and of the host's loopback.
    forwards: BTreeMap<u16, u16>,
    forgotten: bool,
}

impl Slot {
    /// Starts it from these disks.
    pub(super) fn start(&self, boot: &Boot, disks: &[PathBuf]) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.forgotten {
            return Err(Refusal::new(
                409,
                "OperationPreempted",
                "The machine was deleted meanwhile.",
            ));
        }
        let mut machine = match boot.generation {
            Generation::V1 => Machine::bios(),
            Generation::V2 => Machine::uefi(),
        };
        machine = machine
            .memory_mib(boot.memory_mib.min(MEMORY_MIB_MAX))
            .processors(boot.processors.clamp(1, PROCESSORS_MAX))
            .lifetime(LIFETIME)
            .reboots();
        for (number, (file, disk)) in disks.iter().zip(&boot.disks).enumerate() {
            let serial = disk.lun.map_or_else(|| "os".to_owned(), |lun| format!("lun{lun}"));
            let plugged = Disk::new(file).serial(&serial);
            machine = machine.disk(if number == 0 { plugged.boot_order(0) } else { plugged });
        }
        for wire in &boot.wires {
            machine = machine.nic(nic(wire));
        }
        state.running = Some(machine.start().map_err(|error| broken(&error))?);
        Ok(())
    }

    /// Ends its run: by its power button and some patience, or by cutting the power.
    pub(super) fn halt(&self, cut: bool) {
        let mut state = self.lock();
        if let Some(running) = &state.running
            && !cut
            && running.press_power().is_ok()
        {
            let deadline = Instant::now() + DOWN_WAIT;
            while !running.has_ended() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(50));
            }
        }
        state.end();
    }

    /// Ends it for good.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.forgotten = true;
        state.end();
    }

    /// Whether it ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().running.as_ref().is_some_and(Running::has_ended)
    }

    /// The end of all that it said.
    pub(super) fn console(&self) -> Vec<u8> {
        let state = self.lock();
        let now = state.running.as_ref().map(|running| running.console().bytes());
        let mut said = state.said.clone();
        said.extend(now.unwrap_or_default());
        let from = said.len().saturating_sub(CONSOLE_BYTES_MAX);
        said.split_off(from)
    }

    /// What its screen shows.
    pub(super) fn screen(&self, file: &Path) -> Result<Vec<u8>, Refusal> {
        let state = self.lock();
        let none = || Refusal::new(404, "BlobNotFound", "The machine does not run.");
        let running = state.running.as_ref().ok_or_else(none)?;
        let asked = json!({ "filename": file });
        running.command("screendump", &asked).map_err(|error| broken(&error))?;
        let picture = std::fs::read(file).map_err(|error| {
            Refusal::new(500, "InternalExecutionError", format!("{}: {error}", file.display()))
        })?;
        bitmap(&picture).ok_or_else(|| Refusal::new(500, "InternalExecutionError", "no picture"))
    }

    /// A port of the host that leads to one of the machine; the same for who asks again.
    pub(super) fn forward(&self, port: u16) -> Result<u16, Refusal> {
        let mut state = self.lock();
        let running = state.running.as_ref();
        let running = running.ok_or_else(|| Refusal::not_allowed("the machine does not run"))?;
        if let Some(host) = state.forwards.get(&port) {
            return Ok(*host);
        }
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let host =
            free.map_err(|error| Refusal::not_allowed(format!("no free port: {error}")))?.port();
        let words = format!("hostfwd_add nic0-cable tcp:127.0.0.1:{host}-:{port}");
        let asked = json!({ "command-line": words });
        let said =
            running.command("human-monitor-command", &asked).map_err(|error| broken(&error))?;
        if let Some(words) = said.as_str().filter(|words| !words.trim().is_empty()) {
            return Err(Refusal::not_allowed(format!("QEMU: {words}")));
        }
        state.forwards.insert(port, host);
        Ok(host)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.said.extend(running.console().bytes());
            let from = self.said.len().saturating_sub(CONSOLE_BYTES_MAX);
            self.said = self.said.split_off(from);
        }
        self.forwards.clear();
    }
}

fn nic(wire: &Wire) -> Nic {
    let gateway = Gateway { closed: wire.closed, ..Gateway::giving(wire.address, wire.subnet) };
    Nic::new().mac(Mac(wire.mac)).gateway(gateway)
}

fn broken(error: &Error) -> Refusal {
    let words = error.to_string().chars().take(2000).collect::<String>();
    Refusal::new(500, "InternalExecutionError", format!("the machine: {words}"))
}

/// QEMU's picture, a portable pixmap, as the bitmap that Azure gives.
fn bitmap(picture: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Vec::new();
    let mut rest = picture;
    // Four words, then one white space, then the points.
    while fields.len() < 4 {
        let begin = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        rest = rest.get(begin..)?;
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        fields.push(core::str::from_utf8(rest.get(..end)?).ok()?);
        rest = rest.get(end..)?;
    }
    let points = rest.get(1..)?;
    let ["P6", width, height, "255"] = fields.as_slice() else { return None };
    let (width, height): (usize, usize) = (width.parse().ok()?, height.parse().ok()?);
    let row = width.checked_mul(3)?;
    let padded = row.checked_next_multiple_of(4)?;
    let size = padded.checked_mul(height)?;
    let four = |value: usize| u32::try_from(value).ok().map(u32::to_le_bytes);
    let mut out = b"BM".to_vec();
    out.extend(four(size.checked_add(54)?)?);
    out.extend([0; 4]);
    out.extend(four(54)?);
    out.extend(four(40)?);
    out.extend(four(width)?);
    out.extend(four(height)?);
    out.extend([1, 0, 24, 0, 0, 0, 0, 0]);
    out.extend(four(size)?);
    out.extend([0; 16]);
    // The lowest row first, and blue before green before red.
    for line in (0..height).rev() {
        let from = line.checked_mul(row)?;
        for point in points.get(from..from.checked_add(row)?)?.chunks_exact(3) {
            out.extend(point.iter().rev());
        }
        out.resize(out.len() + (padded - row), 0);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_becomes_a_bitmap_of_the_same_points() {
        let picture = b"P6\n2 2\n255\n\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
        let bmp = bitmap(picture).unwrap();
        assert_eq!(bmp.len(), 54 + 2 * 8);
        assert_eq!(&bmp[54..], [9, 8, 7, 12, 11, 10, 0, 0, 3, 2, 1, 6, 5, 4, 0, 0]);
        assert_eq!(bmp[2..6], 70_u32.to_le_bytes());
        for wrong in
            [&b"P5\n1 1\n255\n\0\0\0"[..], b"P6\n2 2\n255\n\0", b"", b"P6 9999999999 1 255 "]
        {
            assert_eq!(bitmap(wrong), None);
        }
    }
}
