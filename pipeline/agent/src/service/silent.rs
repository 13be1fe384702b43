//! A copy of a server that was drilled or failed over: it says that it is one, and nothing else, for as long as it is.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::Path;
use std::thread;

use crate::lineage::Mark;
use crate::report::{Board, Report};

/// How often it is looked whether a person has made a server of it.
const LOOK: Duration = Duration::from_millis(500);

/// Returns at once where there is no mark; otherwise it stays until the mark is gone, or all ends, and shows why.
///
/// Errors: another agent runs.
pub(super) fn keep(mark: &Path, socket: &Path, stop: &AtomicBool) -> Result<(), String> {
    let Some(found) = Mark::find(mark) else { return Ok(()) };
    let words = found.words();
    log::warn!("{words}");
    let board = Board::default();
    let report = Report {
        name: "a copy".to_owned(),
        appliance: "none is dialled".to_owned(),
        doing: words,
        ..Report::default()
    };
    board.put(report);
    board.serve(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    while !stop.load(Ordering::SeqCst) && Mark::find(mark).is_some() {
        thread::sleep(LOOK);
    }
    if !stop.load(Ordering::SeqCst) {
        // Its socket is this one's: the service manager starts it anew, as what it is now.
        log::info!("this copy is a server of its own now: the agent begins anew");
        stop.store(true, Ordering::SeqCst);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_copy_says_that_it_is_one_until_it_is_none() {
        let folder = std::env::temp_dir().join(format!("silent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (mark, socket) = (folder.join("replica"), folder.join("socket"));
        let stop = Arc::new(AtomicBool::new(false));
        keep(&mark, &socket, &stop).unwrap();
        assert!(!socket.exists(), "no mark, and nothing is done");
        std::fs::write(&mark, "kind = \"drill\"\norder = \"d-1\"\n").unwrap();
        let (at, of, ends) = (mark.clone(), socket.clone(), Arc::clone(&stop));
        let kept = thread::spawn(move || keep(&at, &of, &ends));
        let mut said = String::new();
        while said.is_empty() {
            if let Ok(mut asked) = UnixStream::connect(&socket) {
                asked.read_to_string(&mut said).unwrap();
            }
        }
        assert!(said.contains("order d-1") && said.contains("none is dialled"), "{said}");
        assert!(!kept.is_finished());
        std::fs::remove_file(&mark).unwrap();
        kept.join().unwrap().unwrap();
        assert!(stop.load(Ordering::SeqCst), "it begins anew");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
