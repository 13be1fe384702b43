//! Jobs, with programs that stand in for a verb.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hal_linux::SystemClock;

use super::*;
use crate::admin::keep::MemoryKeep;

fn jobs(keep: &Arc<MemoryKeep>) -> (Arc<Jobs>, Arc<Events>) {
    let events = Arc::new(Events::new(Arc::new(SystemClock)));
    let keep = Arc::clone(keep) as Arc<dyn Keep>;
    (Arc::new(Jobs::open(Arc::clone(&events), Arc::new(SystemClock), keep)), events)
}

fn program(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("job-{name}-{}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn wanted(kind: &'static str, program: &Path, order: Option<&str>) -> Wanted {
    let verb = Verb { program: Some(program.to_path_buf()), ..Verb::default() };
    let order = order.map(str::to_owned);
    Wanted { kind, object: "vault".to_owned(), by: "anna".to_owned(), verb, order }
}

fn ended(jobs: &Jobs, id: &str) -> JobView {
    loop {
        let view = jobs.find(id).unwrap();
        if view.state != JobState::Running {
            return view;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_job_tells_how_far_it_is_how_it_ended_and_is_remembered() {
    let keep = Arc::new(MemoryKeep::default());
    let (all, events) = jobs(&keep);
    let path = program(
        "done",
        "echo '{\"order\":\"ab\",\"server\":\"web1\",\"step\":\"disks\",\"standing\":\"begun\"}' >&2\n\
         echo '{\"done_bytes\":5,\"total_bytes\":25,\"stored_bytes\":1,\"bytes_per_second\":10}' >&2\n\
         echo '{\"objects\":7}'",
    );
    let view = all.begin(wanted("verify", &path, None)).unwrap();
    let view = ended(&all, &view.id);
    assert_eq!(
        (view.state, view.words.as_str(), view.by.as_str()),
        (JobState::Done, "done", "anna")
    );
    assert_eq!(view.result, Some(serde_json::json!({"objects": 7})));
    assert_eq!((view.progress.done_bytes, view.progress.left_seconds), (5, Some(2)));
    all.end();
    let kinds: Vec<String> = events.all().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["order_step", "job_done"]);
    let (again, _) = jobs(&keep);
    assert_eq!(again.list(), [view]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_fails_or_crashes_ends_alone_and_the_same_is_not_begun_twice() {
    let keep = Arc::new(MemoryKeep::default());
    let (all, events) = jobs(&keep);
    let fails = program("fails", "echo 'lifeboat: vault: is locked; wait' >&2; exit 1");
    let dies = program("dies", "kill -SEGV $$");
    let waits = program("waits", "trap 'exit 1' TERM; while :; do sleep 0.05; done");
    let view = all.begin(wanted("prune", &fails, None)).unwrap();
    let view = ended(&all, &view.id);
    assert_eq!((view.state, view.words.as_str()), (JobState::Failed, "vault: is locked; wait"));
    let view = all.begin(wanted("verify", &dies, None)).unwrap();
    assert!(ended(&all, &view.id).words.contains("signal 11"));
    all.begin(wanted("drill", &waits, Some("ab"))).unwrap();
    assert!(all.is_at("ab") && !all.is_at("cd"));
    let twice = all.begin(wanted("cancel", &waits, Some("ab"))).unwrap_err();
    assert!(twice.status == 409 && twice.detail.contains("anna"), "{twice:?}");
    all.begin(wanted("drill", &waits, Some("cd"))).unwrap();
    all.end();
    assert!(all.list().iter().all(|view| view.state == JobState::Failed));
    assert!(all.begin(wanted("verify", &fails, None)).is_err(), "the program ends");
    assert!(events.all().iter().all(|event| event.kind == "job_failed"));
    [fails, dies, waits].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
