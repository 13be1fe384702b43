//! Azurite, Microsoft's emulator of the blob service: installed once into a cache, started per test, ended with it.
//!
//! It never tests durability: Azurite forgets what it acknowledged seconds ago when it is killed.

/// A CA of a test's own and what it signed.
pub mod certificates;
/// An HTTP proxy that wants a name and password.
pub mod connect_proxy;
/// A stand-in for Entra and for the metadata service.
pub mod identity;
/// An HTTP server of a few dozen lines, for peers that misbehave on purpose.
pub mod server;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::node::npm_install;

/// The version that everything here is known to work with.
const VERSION: &str = "3.37.0";
/// The script that is its blob service, in the folder that it was installed into.
const SCRIPT: &str = "node_modules/azurite/dist/src/blob/main.js";
/// Longest wait for Azurite to listen; cold starts on a busy machine take long.
const START_SECONDS_MAX: u64 = 60;
/// Azurite's own account and its well-known key: no secret.
pub const ACCOUNT: &str = "devstoreaccount1";
/// See `ACCOUNT`.
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Certificate and key files for HTTPS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// A running Azurite; it ends when this is dropped, or when the test's process dies.
#[derive(Debug)]
pub struct Azurite {
    keeper: Child,
    port: u16,
    tls: bool,
    folder: PathBuf,
}

impl Azurite {
    /// Starts one over HTTP. The error says what to install.
    pub fn start() -> Result<Self, String> {
        Self::start_with(None)
    }

    /// Starts one over HTTPS that also takes Entra tokens, whatever signs them.
    pub fn start_https(tls: &TlsFiles) -> Result<Self, String> {
        Self::start_with(Some(tls))
    }

    fn start_with(tls: Option<&TlsFiles>) -> Result<Self, String> {
        let installed = installed()?;
        let mut last = String::new();
        // A port that was free a moment ago may be taken by another test.
        for _ in 0..3 {
            match launch(&installed, tls) {
                Ok(azurite) => return Ok(azurite),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The endpoint of its account, as `?endpoint=` takes it.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}/{ACCOUNT}", self.authority())
    }

    /// A vault's address in a container of it.
    pub fn vault(&self, container: &str) -> String {
        format!("azure://{ACCOUNT}/{container}?endpoint={}", self.endpoint())
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // The keeper ends Azurite when its input closes.
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait();
        debug_assert!(ended.is_ok(), "a child of ours can be waited for");
        remove_folder(&self.folder);
    }
}

/// A folder for one test, in memory where that exists, gone when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new, empty folder.
    pub fn new(label: &str) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("lifeboat-{label}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_folder(&self.path);
    }
}

fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        eprintln!("{} stays behind: {error}", path.display());
    }
}

/// Program and script that run Azurite.
#[derive(Debug)]
struct Installed {
    node: PathBuf,
    script: PathBuf,
}

/// Where tests keep what they installed, between runs.
pub fn cache_folder() -> Result<PathBuf, String> {
    let named = std::env::var_os("LIFEBOAT_TEST_CACHE").map(PathBuf::from);
    let shared = PathBuf::from("/var/cache/lifeboat-tests");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-cache");
    for folder in named.into_iter().chain([shared, own]) {
        let writable = fs::create_dir_all(&folder).is_ok() && {
            let probe = folder.join(format!(".probe-{}", std::process::id()));
            let made = File::create(&probe).is_ok();
            made && fs::remove_file(&probe).is_ok()
        };
        if writable {
            return Ok(folder);
        }
    }
    Err("no folder for the tests' cache can be written; set LIFEBOAT_TEST_CACHE".to_owned())
}

/// Runs `install` once for all tests: into a folder beside the final one, which then gets its name.
pub fn install_once(
    name: &str,
    install: &dyn Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let cache = cache_folder()?;
    let target = cache.join(name);
    let lock = File::create(cache.join(format!("{name}.lock"))).map_err(|e| e.to_string())?;
    // Released when the file is closed, at the latest by the death of the process.
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    if target.join(".complete").exists() {
        return Ok(target);
    }
    if target.exists() {
        remove_folder(&target);
    }
    fs::create_dir_all(&target).map_err(|error| error.to_string())?;
    eprintln!("installing {name} into {} (once)", target.display());
    install(&target)?;
    File::create(target.join(".complete")).map_err(|error| error.to_string())?;
    Ok(target)
}

/// Runs a program to its end; its words are in the error where it fails.
pub fn run(command: &mut Command) -> Result<String, String> {
    let shown = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{shown} cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown} failed ({}): {}{}", output.status, text.trim(), words.trim()))
}

/// What `.ci/install` put beside the project, or what is in the cache, put there now if need be.
fn installed() -> Result<Installed, String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lifeboat/tools");
    let script = tools.join("azurite").join(SCRIPT);
    let node_there = tools.join("bin/node");
    if script.is_file() && node_there.exists() {
        return Ok(Installed { node: node_there, script });
    }
    let packages = [format!("azurite@{VERSION}")];
    let (node, folder) = npm_install(&format!("azurite-{VERSION}"), &packages)?;
    Ok(Installed { node, script: folder.join(SCRIPT) })
}

/// A port on loopback that is free now.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn launch(installed: &Installed, tls: Option<&TlsFiles>) -> Result<Azurite, String> {
    let port = free_port()?;
    let scratch = Scratch::new("azurite")?;
    // The keeper says Azurite's number, then waits for the end of its input: that comes when we close it
    // and when we die, so that no Azurite outlives its test.
    let keeper_script = r#""$@" </dev/null >/dev/null 2>&1 & p=$!; echo $p
        while read -r _; do :; done; kill -9 $p; wait $p 2>/dev/null; exit 0"#;
    let mut command = Command::new("sh");
    command.args(["-c", keeper_script, "azurite"]).arg(&installed.node).arg(&installed.script);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.arg("--location").arg(scratch.path());
    command.args(["--disableTelemetry", "--silent", "--skipApiVersionCheck"]);
    if let Some(tls) = tls {
        command.arg("--cert").arg(&tls.certificate).arg("--key").arg(&tls.key);
        command.args(["--oauth", "basic"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut keeper = command.spawn().map_err(|error| format!("sh cannot be run: {error}"))?;
    let mut line = String::new();
    if let Some(output) = keeper.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    }
    let folder = scratch.path().to_owned();
    // From here on the Azurite owns the folder.
    core::mem::forget(scratch);
    let azurite = Azurite { keeper, port, tls: tls.is_some(), folder };
    await_port(port, line.trim())?;
    Ok(azurite)
}

/// Waits until the port takes connections, as long as the process lives.
fn await_port(port: u16, process: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        if !Path::new("/proc").join(process).exists() {
            return Err(format!("Azurite ended at once (port {port})"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("Azurite does not listen after {START_SECONDS_MAX} s"))
}
