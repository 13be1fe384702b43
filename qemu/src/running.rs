//! A machine that runs: what a person in front of it can do, and what only a saboteur would.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use core::time::Duration;

use serde_json::{Value, json};

use crate::accel::Accel;
use crate::console::Console;
use crate::disk::Disk;
use crate::error::Error;
use crate::folder::Folder;
use crate::machine::{PROGRAM, Rest, overlay};
use crate::nic::Nic;
use crate::process::Process;
use crate::qmp::Qmp;
use crate::wiring::{Parts, Wiring};

/// QEMU opens its sockets at once; a machine under load may take longer.
const START_WAIT: Duration = Duration::from_secs(60);
/// Longest wait for a guest to let go of a device.
const UNPLUG_WAIT: Duration = Duration::from_secs(60);

/// A running machine. Dropped, it is gone, as by a power cut; so it is when the process that owns it dies.
#[derive(Debug)]
pub struct Running {
    process: Arc<Process>,
    console: Console,
    qmp: Mutex<Qmp>,
    wiring: Mutex<Wiring>,
    nics: Mutex<Vec<Nic>>,
    accel: Accel,
    /// Dropped with us; the thread that ends old machines waits on it.
    _alive: Sender<()>,
    _tpm: Option<Process>,
    folder: Folder,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// QEMU's exit code; none where it was killed.
    pub code: Option<i32>,
    /// Why, in QEMU's words: `guest-shutdown`, `guest-reset`, `guest-panic` and the like.
    pub reason: Option<String>,
}

impl Running {
    pub(crate) fn start(
        folder: Folder,
        arguments: &[String],
        mut wiring: Wiring,
        rest: Rest,
    ) -> Result<Self, Error> {
        let (serial, qmp) = (folder.file("serial"), folder.file("qmp"));
        // QEMU connects to us, so that not a byte is lost, and there is nothing to wait for.
        let listen = |path: &Path| {
            UnixListener::bind(path).map_err(|error| Error::file("listening at", path, error))
        };
        let (serial_listener, qmp_listener) = (listen(&serial)?, listen(&qmp)?);
        let mut all = vec![
            "-chardev".to_owned(),
            format!("socket,id=serial-socket,path={}", serial.display()),
            "-serial".to_owned(),
            "chardev:serial-socket".to_owned(),
            "-chardev".to_owned(),
            format!("socket,id=qmp-socket,path={}", qmp.display()),
            "-mon".to_owned(),
            "chardev=qmp-socket,mode=control".to_owned(),
        ];
        all.extend_from_slice(arguments);
        let began = Instant::now();
        let process = Arc::new(Process::start(PROGRAM, &all, folder.file("log"))?);
        let console = Console::attach(accept(&serial_listener, &process)?, began, rest.echo)?;
        let attached = accept(&qmp_listener, &process).and_then(Qmp::attach);
        // It closes its sockets a moment before it ends.
        let soon = || Instant::now() + Duration::from_secs(2);
        let qmp = attached.map_err(|error| match process.wait(soon()) {
            Some(_) => process.failure("the machine does not start"),
            None => error,
        })?;
        wiring.runs();
        Ok(Self {
            _alive: end_after(rest.lifetime, Arc::clone(&process))?,
            process,
            console,
            qmp: Mutex::new(qmp),
            wiring: Mutex::new(wiring),
            nics: Mutex::new(rest.nics),
            accel: rest.accel,
            _tpm: rest.tpm,
            folder,
        })
    }

    /// Its serial line.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What it runs on: deadlines that measure the guest want to know.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// A command of QEMU's own protocol, for what has no function here.
    pub fn command(&self, command: &str, arguments: &Value) -> Result<Value, Error> {
        lock(&self.qmp).execute(command, arguments)
    }

    /// Cuts the power: what the guest has not handed to its disks is gone.
    pub fn power_cut(self) {
        self.process.kill();
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<(), Error> {
        self.command("system_reset", &json!({})).map(drop)
    }

    /// Presses the power button.
    pub fn press_power(&self) -> Result<(), Error> {
        self.command("system_powerdown", &json!({})).map(drop)
    }

    /// Stops all processors, as a host under pressure does; `resume` lets them go on.
    pub fn pause(&self) -> Result<(), Error> {
        self.command("stop", &json!({})).map(drop)
    }

    /// Lets the processors go on.
    pub fn resume(&self) -> Result<(), Error> {
        self.command("cont", &json!({})).map(drop)
    }

    /// Presses keys together on the keyboard, by QEMU's names: `ctrl`, `alt`, `delete`, `f1`, `a`.
    pub fn press_keys(&self, keys: &[&str]) -> Result<(), Error> {
        let codes = keys.iter().map(|key| json!({ "type": "qcode", "data": key }));
        self.command("send-key", &json!({ "keys": codes.collect::<Vec<_>>() })).map(drop)
    }

    /// Pulls a card's cable, or puts it back: the guest sees the carrier go and come. Seen with virtio; Linux on the
    /// e1000e of QEMU 7.2 does not notice.
    pub fn set_link(&self, nic: &str, up: bool) -> Result<(), Error> {
        self.command("set_link", &json!({ "name": nic, "up": up })).map(drop)
    }

    /// Plugs a disk in, and gives its name.
    pub fn plug_disk(&self, disk: &Disk) -> Result<String, Error> {
        let mut wiring = lock(&self.wiring);
        let mut next = wiring.clone();
        let overlay = overlay(disk, &self.folder, &next.next_disk())?;
        let parts = next.disk(disk, overlay.as_deref())?;
        self.plug(&parts)?;
        *wiring = next;
        Ok(parts.id)
    }

    /// Plugs a card in, and gives its name.
    pub fn plug_nic(&self, nic: Nic) -> Result<String, Error> {
        let mut wiring = lock(&self.wiring);
        let mut next = wiring.clone();
        let parts = next.nic(&nic)?;
        self.plug(&parts)?;
        *wiring = next;
        lock(&self.nics).push(nic);
        Ok(parts.id)
    }

    /// Pulls a disk or a card out and waits until the guest has let go of it. A USB stick goes at once, a SATA disk never.
    pub fn unplug(&self, device: &str) -> Result<(), Error> {
        let mut qmp = lock(&self.qmp);
        qmp.execute("device_del", &json!({ "id": device }))?;
        qmp.event("DEVICE_DELETED", UNPLUG_WAIT, |event| event["data"]["device"] == device)?;
        if device.starts_with("disk") {
            qmp.execute("blockdev-del", &json!({ "node-name": format!("{device}-node") }))?;
        } else {
            qmp.execute("netdev_del", &json!({ "id": format!("{device}-cable") }))?;
        }
        Ok(())
    }

    /// Writes what the screen shows into a file, as PNG.
    pub fn screenshot(&self, path: &Path) -> Result<(), Error> {
        self.command("screendump", &json!({ "filename": path, "format": "png" })).map(drop)
    }

    /// Waits until it ends by itself.
    pub fn wait_end(self, wait: Duration) -> Result<Ended, Error> {
        let Some(status) = self.process.wait(Instant::now() + wait) else {
            return Err(Error::Timeout {
                what: "the machine's end".to_owned(),
                after: wait,
                console: self.console.tail(),
            });
        };
        Ok(self.ended(status))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.process.ended().is_some()
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        let events = lock(&self.qmp).drain();
        let last = events.iter().rev().find(|event| event["event"] == "SHUTDOWN");
        let reason = last.and_then(|event| event["data"]["reason"].as_str()).map(str::to_owned);
        Ended { code: status.code(), reason }
    }

    fn plug(&self, parts: &Parts) -> Result<(), Error> {
        let mut qmp = lock(&self.qmp);
        let commands = [
            ("object-add", &parts.objects),
            ("blockdev-add", &parts.nodes),
            ("netdev_add", &parts.backends),
            ("device_add", &parts.devices),
        ];
        for (command, values) in commands {
            for value in values {
                qmp.execute(command, value)?;
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the one connection that QEMU makes.
fn accept(listener: &UnixListener, process: &Process) -> Result<UnixStream, Error> {
    let failed = |error| Error::io("waiting for QEMU", error);
    listener.set_nonblocking(true).map_err(failed)?;
    let deadline = Instant::now() + START_WAIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(failed(error)),
        }
        if process.ended().is_some() || Instant::now() > deadline {
            return Err(process.failure("the machine does not start"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Ends a machine that has lived too long. The thread ends when the sender is dropped.
fn end_after(lifetime: Duration, process: Arc<Process>) -> Result<Sender<()>, Error> {
    let (alive, dead) = channel::<()>();
    let watch = move || {
        if dead.recv_timeout(lifetime) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a machine was ended after {} s", lifetime.as_secs());
            process.kill();
        }
    };
    let started = thread::Builder::new().name("lifetime".to_owned()).spawn(watch);
    started.map_err(|error| Error::io("starting a machine's clock", error))?;
    Ok(alive)
}
