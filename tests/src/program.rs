//! The program `lifeboat` as a person or a script runs it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// Where the build put the program.
pub fn lifeboat() -> PathBuf {
    built("lifeboat")
}

/// Where the build put a program of ours: beside the tests' own binaries.
pub fn built(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let folder = exe.ancestors().nth(2).expect("tests lie in deps below the profile's folder");
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is missing: build the whole workspace, not the tests alone",
        program.display()
    );
    program
}

/// A vault as the command line names it, with its key and its own state folder.
#[derive(Clone, Debug)]
pub struct Place {
    /// VAULT.
    pub vault: String,
    /// The key file.
    pub key: PathBuf,
    /// What the program remembers.
    pub state: PathBuf,
    /// Credentials and the like.
    pub environment: Vec<(String, String)>,
}

impl Place {
    /// Makes the vault; key and state lie in `folder`.
    pub fn create(
        vault: String,
        folder: &std::path::Path,
        environment: &[(String, String)],
    ) -> Self {
        let place = Self {
            vault,
            key: folder.join("key"),
            state: folder.join("state"),
            environment: environment.to_vec(),
        };
        let mut command = place.bare();
        command.args(["vault", "create", &place.vault, "--key-out"]).arg(&place.key);
        checked(command.output().expect("the program starts"), "vault create");
        place
    }

    /// Makes a vault in a directory below `folder`, where key and state lie too.
    pub fn in_folder(folder: &std::path::Path) -> Self {
        Self::create(format!("dir:{}", folder.join("vault").display()), folder, &[])
    }

    /// A command without a verb, quiet, with the environment of this place.
    pub fn bare(&self) -> Command {
        let mut command = Command::new(lifeboat());
        command.env("LIFEBOAT_STATE", &self.state).envs(self.environment.iter().cloned());
        command.arg("--quiet");
        command
    }

    /// A command with its verb, the vault and the key.
    pub fn verb(&self, verb: &str) -> Command {
        let mut command = self.bare();
        command.args([verb, "--vault", &self.vault, "--key-file"]).arg(&self.key);
        command
    }
}

/// Starts `lifeboat serve` that takes agents, and waits until both of its doors are open, the page's and the agents', in
/// whichever order.
///
/// # Panics
/// Where it ends before.
pub fn serving(mut command: Command) -> Child {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let output = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut awaited = vec!["Serving ", "Agents connect to "];
    while !awaited.is_empty() {
        let line = lines.next().expect("serve takes no agents");
        awaited.retain(|begin| !line.starts_with(begin));
    }
    // Whatever else it says is read: who cannot print ends.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// The output of a command that must have succeeded.
pub fn checked(output: Output, what: &str) -> String {
    assert!(
        output.status.success(),
        "{what} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
