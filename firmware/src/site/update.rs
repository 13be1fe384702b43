//! Updates of the machine from the page: from an address, or with the bytes that are sent.
//!
//! What parses them is a process of its own, as every job is. Bytes go to it through a pipe with a name as they come: none of an
//! update is held here.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use firmware_web::api::Caller;
use firmware_web::api::site::Answer;
use firmware_web::api::views::appliance::UpdateView;
use firmware_web::api::views::vault::{JobState, JobView};
use pipeline_azure::address::Origin;
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::LiveSite;
use super::facts::Updates;
use super::jobs::Wanted;
use super::refuse::{in_the_way, not_now, wrong};
use crate::child::Verb;

const KIND: &str = "update";
const OBJECT: &str = "appliance";
/// Longest address that an update is got from.
const ADDRESS_BYTES_MAX: usize = 2048;
/// How long a process may take until it reads.
const OPENS: u32 = 150;
/// How long the end of a short job is waited for once all is sent.
const ENDS: u32 = 20;
const LOOK: Duration = Duration::from_millis(100);

/// Refuses what nothing can be got from, beside its field and before anything is begun.
pub fn check_address(address: &str) -> Answer<()> {
    let no = |words: String| Err(wrong("/from", "an update", words));
    if address.len() > ADDRESS_BYTES_MAX || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return no("has letters that no address has, or far too many: copy it again".to_owned());
    }
    // What stands behind the question mark is the server's own matter.
    match Origin::parse(address.split('?').next().unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(error) => no(format!("{}: write it like https://HOST/lifeboat.update", error.what)),
    }
}

impl LiveSite {
    fn updates(&self) -> Answer<&dyn Updates> {
        self.facts.updates.as_deref().ok_or_else(|| {
            let remedy = "update the program as it was installed";
            in_the_way(OBJECT, "is a program beside others", remedy)
        })
    }

    pub(super) fn update_view(&self) -> Answer<UpdateView> {
        let Ok(updates) = self.updates() else {
            return Ok(UpdateView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                obstacle: Some(
                    "this is a program beside others: update it as it was installed".to_owned(),
                ),
                ..UpdateView::default()
            });
        };
        let mut view = updates.view();
        let done = |job: &JobView| job.kind == KIND && job.state == JobState::Done;
        let last = self.jobs.list().into_iter().find(done);
        let version = last.and_then(|job| Some(job.result?["version"].as_str()?.to_owned()));
        view.next = version.filter(|version| *version != view.version);
        Ok(view)
    }

    pub(super) fn update_by_address(&self, by: &Caller, address: &str) -> Answer<JobView> {
        check_address(address)?;
        self.begin_update(by, self.update_verb(address)?)
    }

    pub(super) fn update_by_bytes(&self, by: &Caller, bytes: &mut dyn Read) -> Answer<JobView> {
        // Asked before anything is made.
        let updates = self.may_update()?;
        let pipe = Pipe::make(updates.folder())
            .map_err(|error| not_now(OBJECT, format!("makes no pipe: {error}"), "try again"))?;
        let job = self.begin_update(by, self.update_verb(&pipe.0.display().to_string())?)?;
        let now = || self.jobs.find(&job.id).unwrap_or_else(|| job.clone());
        let runs = || now().state == JobState::Running;
        if let Some(mut into) = pipe.open(&runs) {
            // Whatever goes wrong, the process at its other end notices: too few bytes, or one that reads no more.
            if let Err(error) = io::copy(bytes, &mut into) {
                log::debug!("an update that is sent: {error}");
            }
        }
        drop(pipe);
        for _ in 0..ENDS {
            if !runs() {
                break;
            }
            std::thread::sleep(LOOK);
        }
        Ok(now())
    }

    pub(super) fn restart_now(&self, by: &Caller) -> Answer<()> {
        let updates = self.updates()?;
        let words = format!("{} has it start anew.", by.name);
        self.tell_of(by, "restarted", OBJECT.to_owned(), words.clone());
        updates.restart(words);
        Ok(())
    }

    fn may_update(&self) -> Answer<&dyn Updates> {
        let running = |job: &JobView| job.kind == KIND && job.state == JobState::Running;
        if self.jobs.list().iter().any(running) {
            return Err(in_the_way(OBJECT, "is being updated already", "wait until that is done"));
        }
        self.updates()
    }

    fn update_verb(&self, from: &str) -> Answer<Verb> {
        let (words, environment) = self
            .may_update()?
            .verb(from)
            .map_err(|words| in_the_way(OBJECT, words, "use the console or a new stick"))?;
        Ok(Verb { words, environment, program: self.facts.program.clone() })
    }

    fn begin_update(&self, by: &Caller, verb: Verb) -> Answer<JobView> {
        let (object, by_name) = (OBJECT.to_owned(), by.name.clone());
        let work = Wanted { kind: KIND, object, by: by_name, verb, order: None };
        let job = self.jobs.begin(work)?;
        self.tell_of(by, "update_begun", OBJECT.to_owned(), "An update is put in.".to_owned());
        Ok(job)
    }
}

/// Pipes that were made so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A pipe with a name, which goes with this.
struct Pipe(PathBuf);

impl Pipe {
    fn make(folder: &Path) -> io::Result<Self> {
        // A name for each: who comes second takes away no other's.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("update-{}-{number}", std::process::id()));
        // What a run before this one left.
        let _ = std::fs::remove_file(&path);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(Self(path))
    }

    /// The end that is written to, once somebody reads; nothing where the reader is gone before it did.
    fn open(&self, runs: &dyn Fn() -> bool) -> Option<File> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
        for _ in 0..OPENS {
            if let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(&self.0) {
                rustix::fs::fcntl_setfl(&file, OFlags::empty()).ok()?;
                return Some(file);
            }
            if !runs() {
                return None;
            }
            std::thread::sleep(LOOK);
        }
        None
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Who waits at its other end for somebody to write finds that nobody does.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let woken = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&self.0);
        // It is a name alone.
        let _ = std::fs::remove_file(&self.0);
        drop(woken);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileTypeExt as _;
    use std::sync::Arc;

    use firmware_web::api::Role;
    use firmware_web::api::site::Site as _;

    use super::super::facts::{Command, Facts};
    use super::super::tests::facts;
    use super::*;

    fn anna() -> Caller {
        Caller { name: "anna".to_owned(), role: Role::Administrator }
    }

    /// A machine whose job counts what comes through the pipe, once it is told to.
    struct Counts(PathBuf);

    impl Updates for Counts {
        fn view(&self) -> UpdateView {
            UpdateView::default()
        }

        fn verb(&self, from: &str) -> Result<Command, String> {
            let go = self.0.join("go").display().to_string();
            let script = format!("while [ ! -e {go} ]; do sleep 0.05; done; cat {from} | wc -c");
            Ok((vec!["-c".into(), script.into()], Vec::new()))
        }

        fn restart(&self, _: String) {}

        fn folder(&self) -> &Path {
            &self.0
        }
    }

    #[test]
    fn who_sends_an_update_to_where_there_are_none_is_told_before_anything_is_read() {
        let site = LiveSite::start(facts()).unwrap();
        let mut sent = &[7; 100][..];
        let refused = site.update_with(&anna(), &mut sent).unwrap_err();
        assert_eq!((refused.status, sent.len()), (409, 100), "{refused:?}");
        site.end();
    }

    #[test]
    fn a_second_update_takes_nothing_from_the_one_that_is_being_put_in() {
        let folder = std::env::temp_dir().join(format!("lifeboat-updates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let updates: Arc<dyn Updates> = Arc::new(Counts(folder.clone()));
        let program = Some("/bin/sh".into());
        let site = LiveSite::start(Facts { updates: Some(updates), program, ..facts() }).unwrap();
        let first = {
            let site = Arc::clone(&site);
            std::thread::spawn(move || site.update_with(&anna(), &mut &[7; 300_000][..]).unwrap())
        };
        while site.jobs.list().is_empty() {
            std::thread::yield_now();
        }
        let refused = site.update_with(&anna(), &mut &[8; 10][..]).unwrap_err();
        assert_eq!(refused.status, 409, "{refused:?}");
        let pipes = std::fs::read_dir(&folder).unwrap().flatten();
        let pipes = pipes.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_fifo()));
        assert_eq!(pipes.count(), 1, "the pipe of the first");
        std::fs::write(folder.join("go"), "").unwrap();
        let id = first.join().unwrap().id;
        while site.job(&id).unwrap().state == JobState::Running {
            std::thread::yield_now();
        }
        let done = site.job(&id).unwrap();
        assert_eq!(done.result, Some(serde_json::json!(300_000)), "{done:?}");
        site.end();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn bytes_go_through_the_pipe_in_order_and_a_reader_that_is_gone_is_noticed() {
        let folder = std::env::temp_dir();
        let pipe = Pipe::make(&folder).unwrap();
        let path = pipe.0.clone();
        let reader = std::thread::spawn(move || std::fs::read(path).unwrap());
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let mut into = pipe.open(&|| true).unwrap();
        io::copy(&mut sent.as_slice(), &mut into).unwrap();
        drop(into);
        assert!(reader.join().unwrap() == sent);
        assert!(pipe.open(&|| false).is_none(), "nobody reads, and nobody will");
        let path = pipe.0.clone();
        let reader = std::thread::spawn(move || drop(File::open(path).unwrap()));
        let mut into = pipe.open(&|| true).unwrap();
        reader.join().unwrap();
        let broken = (0..100).find_map(|_| into.write_all(&sent).err());
        assert_eq!(broken.unwrap().kind(), io::ErrorKind::BrokenPipe);
        let path = pipe.0.clone();
        drop(pipe);
        assert!(!path.exists());
    }

    #[test]
    fn each_pipe_has_a_name_of_its_own_and_a_reader_of_one_that_is_gone_does_not_wait() {
        let folder = std::env::temp_dir();
        let (pipe, other) = (Pipe::make(&folder).unwrap(), Pipe::make(&folder).unwrap());
        assert_ne!(pipe.0, other.0);
        assert!(pipe.0.exists() && other.0.exists());
        let path = pipe.0.clone();
        let (begin, began) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            begin.send(()).unwrap();
            std::fs::read(path).unwrap_or_default()
        });
        began.recv().unwrap();
        // It may wait by now, or come too late: either way it ends, and the test with it.
        std::thread::sleep(LOOK);
        drop(pipe);
        assert!(reader.join().unwrap().is_empty());
    }
}
