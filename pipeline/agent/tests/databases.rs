//! The example hooks with the real databases. What is not installed here is said loudly and left out.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use core::time::Duration;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use std::{env, fs, thread};

use pipeline_agent::cut::Hooks;
use pipeline_agent::hooks::HookFolder;

/// A database has started by then, or never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the hook to be tried in it, removed at the end.
struct Bed {
    folder: PathBuf,
}

impl Bed {
    fn new(hook: &str) -> Self {
        let folder = env::temp_dir().join(format!("lifeboat-{hook}-{}", std::process::id()));
        fs::create_dir_all(folder.join("hooks.d")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(hook);
        let copy = folder.join("hooks.d").join(hook);
        fs::copy(example, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn hooks(&self) -> HookFolder {
        HookFolder::new(&self.folder.join("hooks.d"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process that is ended with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).output();
        let _ = self.0.wait();
    }
}

fn checked(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

fn is_there(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED, not tested on this machine: no {program}");
    }
    there
}

#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what} never came");
        thread::sleep(Duration::from_millis(20));
    }
}

fn as_user(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups"]).arg(program);
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

struct MariaDb {
    socket: PathBuf,
    _served: Served,
}

impl MariaDb {
    fn serve(data: &Path) -> Self {
        let socket = data.with_extension("sock");
        let mut command = Command::new("mariadbd");
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.arg(format!("--socket={}", socket.display()));
        command.args(["--skip-networking", "--user=mysql"]);
        // So that a table that was not closed says so, and is not quietly mended.
        command.arg("--myisam-recover-options=OFF");
        let log = fs::File::create(data.with_extension("log")).unwrap();
        let served = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let database = Self { socket, _served: Served(served) };
        until("the database", || database.client("SELECT 1").output().unwrap().status.success());
        database
    }

    fn client(&self, statements: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.arg("--no-defaults").arg(format!("--socket={}", self.socket.display()));
        command.args(["--batch", "--skip-column-names", "--execute", statements]);
        command
    }

    fn ask(&self, statements: &str) -> String {
        checked(&mut self.client(statements))
    }

    /// Rows of the table without transactions, and of the one with them.
    fn rows(&self) -> (u64, u64) {
        let said = self.ask("SELECT COUNT(*) FROM t.old; SELECT COUNT(*) FROM t.new");
        let mut numbers = said.lines().map(|line| line.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

/// Tables with and without transactions.
fn database_with_tables(bed: &Bed) -> (PathBuf, MariaDb) {
    let data = bed.path("data");
    let mut install = Command::new("mariadb-install-db");
    install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    checked(install.args(["--user=mysql", "--auth-root-authentication-method=normal"]));
    checked(Command::new("chown").arg("mysql:mysql").arg(&bed.folder));
    let database = MariaDb::serve(&data);
    database.ask(
        "CREATE DATABASE t; CREATE TABLE t.old (n INT, filler CHAR(200), KEY (n)) ENGINE=MyISAM; \
         CREATE TABLE t.new (n INT, filler CHAR(200), KEY (n)) ENGINE=InnoDB",
    );
    (data, database)
}

/// A client that adds rows for ever.
fn writer(database: &MariaDb) -> Served {
    let mut client = Command::new("sh");
    let loop_of = "i=0; while :; do i=$((i + 1)); echo \"INSERT INTO t.new VALUES ($i, 'x'); \
                   INSERT INTO t.old VALUES ($i, 'x');\"; done | exec mariadb --no-defaults --socket=\"$0\"";
    client.arg("-c").arg(loop_of).arg(&database.socket);
    let writer = Served(client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("the first rows", || database.rows().0 > 500);
    writer
}

#[test]
fn mariadb_is_still_from_before_the_freeze_until_after_it_and_its_tables_are_whole() {
    if !is_there("mariadbd") || !is_there("mariadb-install-db") {
        return;
    }
    let bed = Bed::new("mariadb");
    let (data, database) = database_with_tables(&bed);
    let config = bed.path("client.cnf");
    fs::write(&config, format!("[client]\nsocket={}\n", database.socket.display())).unwrap();
    let _writer = writer(&database);
    let mut hooks = bed.hooks();
    hooks.set_environment("LIFEBOAT_MARIADB_STATE", &bed.path("state"));
    hooks.set_environment("LIFEBOAT_MARIADB_CNF", &config);
    for round in 0..2 {
        assert_eq!(hooks.before(), [""; 0]);
        let before = database.rows();
        // What a frozen volume would hold.
        let copy = bed.path(&format!("copy{round}"));
        checked(Command::new("cp").arg("-a").arg(&data).arg(&copy));
        assert_eq!(database.rows(), before, "nothing was committed while it was held");
        assert_eq!(hooks.after(), [""; 0]);
        until("more rows", || database.rows().0 > before.0);
        let restored = MariaDb::serve(&copy);
        let check = restored.ask("CHECK TABLE t.old MEDIUM; CHECK TABLE t.new");
        assert!(check.lines().count() == 2, "{check}");
        assert!(check.lines().all(|line| line.ends_with("\tOK")), "{check}");
        assert_eq!(restored.rows(), before);
    }
    assert!(!bed.path("state").exists(), "nothing is left lying about");
    assert_eq!(hooks.before(), [""; 0]);
    let holder = fs::read_to_string(bed.path("state/pid")).unwrap();
    checked(Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", holder.trim())]));
    let told = hooks.after();
    assert!(told[0].contains("the lock was not held to the end"), "{told:?}");
}

#[test]
fn postgresql_writes_a_checkpoint_before_the_freeze() {
    let newest = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let Some(programs) = newest.map(|entry| entry.path().join("bin")).max() else {
        eprintln!("SKIPPED, not tested on this machine: no PostgreSQL");
        return;
    };
    let bed = Bed::new("postgresql");
    let (data, sockets) = (bed.path("data"), bed.path("sockets"));
    for folder in [&data, &sockets] {
        fs::create_dir_all(folder).unwrap();
        checked(Command::new("chown").arg("postgres:postgres").arg(folder));
    }
    let mut make = as_user("postgres", &programs.join("initdb"));
    assert!(
        make.arg("-D").arg(&data).args(["--auth=trust", "--no-sync"]).status().unwrap().success()
    );
    let mut serve = as_user("postgres", &programs.join("postgres"));
    serve.arg("-D").arg(&data).args(["-h", "", "-p", "5499", "-k"]).arg(&sockets);
    let served = Served(serve.spawn().unwrap());
    let ask = |statement: &str| {
        let mut command = Command::new("psql");
        command.arg("-h").arg(&sockets).args(["-p", "5499", "-U", "postgres", "-XAtc", statement]);
        command
    };
    until("the database", || ask("SELECT 1").output().unwrap().status.success());
    checked(&mut ask("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"));
    let redo = || checked(&mut ask("SELECT redo_lsn FROM pg_control_checkpoint()"));
    let before = redo();
    let socket = sockets.join(".s.PGSQL.5499");
    let mut hooks = bed.hooks();
    hooks.set_environment("LIFEBOAT_PG_SOCKETS", &socket);
    assert_eq!(hooks.before(), [""; 0]);
    assert_ne!(redo(), before, "a checkpoint was written");
    assert_eq!(hooks.after(), [""; 0]);
    drop(served);
    until("its end", || !socket.exists());
    assert_eq!(hooks.before(), [""; 0], "a database that does not run needs nothing");
    assert_eq!(hooks.after(), [""; 0]);
    // One that crashed leaves a socket that nobody answers.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    checked(Command::new("chown").arg("postgres").arg(&socket));
    let told = hooks.before();
    assert!(told[0].contains("postgresql freeze failed"), "{told:?}");
    assert_eq!(hooks.after(), [""; 0]);
}
