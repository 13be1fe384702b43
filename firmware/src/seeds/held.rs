//! A seed that is written to is held: others are refused until it is let go, or its holder is silent for a minute.

use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

use pipeline_azure::pages::{HOLD_SECONDS, PageBlob};
use pipeline_vault::Error;

/// A sign of life is given so often.
const SIGN: Duration = Duration::from_secs(HOLD_SECONDS as u64 / 4);

/// A seed that is held until this is dropped.
pub struct Held {
    blob: Arc<PageBlob>,
    end: Option<Sender<()>>,
    signs: Option<JoinHandle<()>>,
}

impl Held {
    /// Holds it.
    ///
    /// Errors: somebody else does.
    pub fn take(blob: &Arc<PageBlob>) -> Result<Self, Error> {
        blob.hold()?;
        let (end, ended) = channel::<()>();
        let mut held = Self { blob: Arc::clone(blob), end: Some(end), signs: None };
        let blob = Arc::clone(blob);
        let signs = move || {
            while ended.recv_timeout(SIGN) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = blob.hold_on() {
                    // Each write is refused from the moment on at which it is another's: nothing can be spoilt.
                    log::warn!("{error}");
                }
            }
        };
        let started = std::thread::Builder::new().name("seed".to_owned()).spawn(signs);
        held.signs = Some(
            started.map_err(|error| Error::device("a thread for the seed", error.to_string()))?,
        );
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(signs) = self.signs.take() {
            // It ended badly or well: either way it gives no sign any more.
            let _ = signs.join();
        }
        if let Err(error) = self.blob.let_go() {
            log::debug!("{error}");
        }
    }
}
