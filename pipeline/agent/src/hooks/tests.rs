//! Hooks that work, fail, hang, shout and are not to be trusted.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lifeboat-hooks-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("hooks.d")).unwrap();
        Self(path)
    }

    fn hook(&self, name: &str, script: &str) -> PathBuf {
        let path = self.0.join("hooks.d").join(name);
        let log = self.0.join("log");
        let text = format!("#!/bin/sh\nlog={}\n{script}\n", log.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn hooks(&self) -> HookFolder {
        HookFolder::new(&self.0.join("hooks.d"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default().replace('\n', " ")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn hooks_run_in_order_and_back() {
    let folder = Folder::new("order");
    for name in ["20-b", "10-a", "30-c"] {
        folder.hook(name, "echo $(basename $0)-$1 >>$log");
    }
    folder.hook("15-old~", "echo never >>$log");
    folder.hook("16.dpkg-old", "echo never >>$log");
    folder.hook(".17", "echo never >>$log");
    let readme = folder.hook("README", "echo never >>$log");
    fs::set_permissions(readme, fs::Permissions::from_mode(0o644)).unwrap();
    let mut hooks = folder.hooks();
    assert_eq!(hooks.before(), [""; 0]);
    assert_eq!(hooks.after(), [""; 0]);
    let order = "10-a-freeze 20-b-freeze 30-c-freeze 30-c-thaw 20-b-thaw 10-a-thaw ";
    assert_eq!(folder.log(), order);
    assert_eq!(hooks.after(), [""; 0], "once");
    assert_eq!(folder.log(), order);
    let mut none = HookFolder::new(Path::new("/nowhere/hooks.d"));
    assert!(none.before().is_empty() && none.after().is_empty());
}

#[test]
fn one_that_fails_is_named_and_the_rest_runs() {
    let folder = Folder::new("fails");
    folder.hook("10-bad", "echo $1 >>$log; echo the database is down >&2; [ $1 = thaw ]");
    folder.hook("20-good", "echo $1 >>$log");
    fs::write(folder.0.join("hooks.d/30-broken"), "#!/nowhere/sh\n").unwrap();
    let broken = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.0.join("hooks.d/30-broken"), broken).unwrap();
    let mut hooks = folder.hooks();
    let troubles = hooks.before();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    assert!(troubles[0].contains("10-bad freeze failed: exit status: 1: the database is down"));
    assert!(troubles[1].contains("30-broken was not run"), "{troubles:?}");
    assert_eq!(hooks.after().len(), 1, "the broken one again");
    assert_eq!(folder.log(), "freeze freeze thaw thaw ");
}

#[test]
fn one_that_hangs_is_ended_with_all_it_started() {
    let folder = Folder::new("hangs");
    let script = "# timeout: 1\nsleep 1000 & echo $! >$log; echo waiting; sleep 1000";
    let hook = folder.hook("10-hangs", script);
    assert_eq!(time_limit(&hook), Duration::from_secs(1));
    let mut hooks = folder.hooks();
    let troubles = hooks.before();
    assert!(troubles[0].contains("took longer than 1 s and was ended: waiting"), "{troubles:?}");
    let started: u32 = folder.log().trim().parse().unwrap();
    let status = format!("/proc/{started}/stat");
    let until = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(&status).is_ok_and(|line| !line.contains(") Z ")) {
        assert!(Instant::now() < until, "what it started runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_that_leaves_something_running_is_not_waited_for_and_a_shouting_one_is_cut_short() {
    let folder = Folder::new("leaves");
    folder.hook("10-leaves", "[ $1 = thaw ] && exit; setsid sleep 30 & echo $! >$log");
    folder.hook("20-shouts", "head -c 3000000 /dev/zero | tr '\\0' x; exit 3");
    let began = Instant::now();
    let mut hooks = folder.hooks();
    let troubles = hooks.before();
    assert!(began.elapsed() < Duration::from_secs(20), "it was waited for");
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].len() < 2 * 1024 && troubles[0].contains("xxx"), "{}", troubles[0].len());
    let left: u32 = folder.log().trim().parse().unwrap();
    let _ = manners_end(left);
}

/// What the test left running.
fn manners_end(process: u32) -> io::Result<std::process::Output> {
    std::process::Command::new("kill").arg(process.to_string()).output()
}

#[test]
fn what_others_may_write_is_not_run() {
    let folder = Folder::new("others");
    let hook = folder.hook("10-open", "echo never >>$log");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o777)).unwrap();
    let mut hooks = folder.hooks();
    assert!(hooks.before()[0].contains("others may write it"));
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.0.join("hooks.d"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(hooks.before()[0].contains("hooks were not run"));
    assert_eq!(hooks.after(), [""; 0]);
    assert_eq!(folder.log(), "");
}

#[test]
fn the_time_a_hook_asks_for_is_read_whatever_it_is() {
    let folder = Folder::new("time");
    for (line, seconds) in [
        ("# timeout: 60", 60),
        ("# timeout: 5s", 5),
        ("# timeout:99999999", 600),
        ("# timeout: -1", 30),
        ("# timeout: soon", 30),
        ("", 30),
    ] {
        let hook = folder.hook("10-time", line);
        assert_eq!(time_limit(&hook), Duration::from_secs(seconds), "{line}");
    }
    assert_eq!(time_limit(Path::new("/nowhere")), Duration::from_secs(30));
}
