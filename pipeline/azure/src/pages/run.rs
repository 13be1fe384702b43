//! One request about a page blob: addressed, signed, sent, judged, tried again.

use std::sync::Arc;

use core::time::Duration;

use pipeline_vault::Error;
use pipeline_vault::error::Retry;

use super::{PageBlob, PageError, Place, length, read_lock};
use crate::address::Origin;
use crate::date::iso_date;
use crate::request::{Method, Request};
use crate::response::Refusal;
use crate::retry::Attempts;
use crate::sas::url::SignedUrl;
use crate::transport::Reply;
use crate::transport::failure::Kind;
use crate::wire::{Trouble, is_passing};

/// Longest wait for a request of a few megabytes on the slowest link.
const PATIENCE: Duration = Duration::from_secs(240);
/// Shortest quiet after a refusal for load.
const QUIET: Duration = Duration::from_secs(1);

/// What is made of a try that did not succeed.
enum Verdict {
    /// It may pass, after so long if that was said.
    Again(Error, Option<Duration>),
    /// It will not.
    Final(PageError),
}

/// A request, where it goes, and the signature that it carries.
struct Addressed<'a> {
    origin: Origin,
    request: Request<'a>,
    signature: Option<Arc<SignedUrl>>,
}

impl PageBlob {
    /// One request until an answer that counts comes, within the policy.
    pub(super) fn run<'a, T>(
        &self,
        method: Method,
        build: impl Fn(Request<'static>) -> Request<'a>,
        mut accept: impl FnMut(Reply) -> Result<T, Trouble>,
    ) -> Result<T, PageError> {
        let mut attempts = Attempts::new(self.retry, &*self.surroundings);
        loop {
            let addressed = self.addressed(method, &build)?;
            let trouble = match self.once(&addressed, &mut accept) {
                Ok(output) => return Ok(output),
                Err(trouble) => trouble,
            };
            let signature = addressed.signature.as_ref();
            let (error, asked_for) = match self.judge(trouble, signature.map(|url| &**url)) {
                // Another thread brought a new signature meanwhile.
                Verdict::Final(PageError::Expired(_)) if self.has_newer_than(signature) => continue,
                Verdict::Final(error) => return Err(error),
                Verdict::Again(error, asked_for) => (error, asked_for),
            };
            match attempts.next_wait(asked_for, &*self.surroundings)? {
                Some(wait) => {
                    log::debug!("{error} (again in {} ms)", wait.as_millis());
                    self.surroundings.pause(wait);
                }
                None => return Err(error.into()),
            }
        }
    }

    /// The request as it has to be now.
    fn addressed<'a>(
        &self,
        method: Method,
        build: &impl Fn(Request<'static>) -> Request<'a>,
    ) -> Result<Addressed<'a>, Error> {
        match &self.place {
            Place::Signed(held) => {
                let url = read_lock(held);
                let request = build(url.request(method));
                Ok(Addressed { origin: url.origin().clone(), request, signature: Some(url) })
            }
            Place::Kept { wire, name, .. } => {
                let place = Request::storage(method, wire.address.blob_path(name));
                let mut request = build(place);
                let writes = matches!(method, Method::Put | Method::Delete)
                    && request.header("x-ms-lease-action").is_none();
                if writes && let Some(lease) = self.lease() {
                    request = request.with_header("x-ms-lease-id", lease.text());
                }
                let request = wire.authorize(request)?;
                Ok(Addressed { origin: wire.address.origin().clone(), request, signature: None })
            }
        }
    }

    /// One try.
    fn once<T>(
        &self,
        addressed: &Addressed<'_>,
        accept: &mut impl FnMut(Reply) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let slot = self.governor.enter();
        let sent = self.transport.send(&addressed.origin, &addressed.request, PATIENCE);
        let outcome = match sent {
            Ok(reply) => accept(reply),
            Err(failure) => Err(Trouble::Way(failure)),
        };
        drop(slot);
        let now = self.surroundings.elapsed();
        match &outcome {
            Ok(_) => {
                let body = addressed.request.body.as_deref().unwrap_or_default();
                self.governor.answered(length(body), now);
            }
            Err(Trouble::Refused(refusal)) if matches!(refusal.status, 429 | 500 | 503) => {
                let quiet = refusal.retry_after.map_or(QUIET, Duration::from_secs);
                self.governor.throttled(now, quiet);
            }
            Err(Trouble::Way(failure)) if failure.kind == Kind::Timeout => {
                self.governor.throttled(now, QUIET);
            }
            Err(_) => {}
        }
        outcome
    }

    fn judge(&self, trouble: Trouble, signature: Option<&SignedUrl>) -> Verdict {
        let object = self.shown();
        match trouble {
            Trouble::Final(error) => Verdict::Final(error.into()),
            Trouble::Way(failure) if failure.is_passing() => {
                Verdict::Again(failure.into_error(object), None)
            }
            Trouble::Way(failure) => Verdict::Final(failure.into_error(object).into()),
            Trouble::Odd(what) => {
                let error = Error::refused(object, what).retry(Retry::Later);
                let remedy = "check what stands between this machine and Azure";
                Verdict::Again(error.remedy(remedy), None)
            }
            Trouble::Refused(refusal) if is_passing(&refusal) => {
                let what = format!("is answered {}", crate::explain::named(&refusal));
                let error = Error::device(object, what).remedy("wait some minutes and go on");
                Verdict::Again(error, refusal.retry_after.map(Duration::from_secs))
            }
            Trouble::Refused(refusal) => Verdict::Final(self.refused(object, &refusal, signature)),
        }
    }

    fn refused(
        &self,
        object: String,
        refusal: &Refusal,
        signature: Option<&SignedUrl>,
    ) -> PageError {
        let named = crate::explain::named(refusal);
        if matches!(refusal.status, 401 | 403) {
            // Azure's own clock counts: ours may be wrong.
            let now = refusal.date.unwrap_or_else(|| self.surroundings.unix_ms());
            if let Some(words) = signature.and_then(|url| ended(url, refusal, now)) {
                let error = Error::refused(object, words).remedy("ask for access again and go on");
                return PageError::Expired(error.retry(Retry::Now));
            }
            let remedy = match signature {
                Some(_) => {
                    "somebody may have ended the access, or it never allowed this: ask for access again"
                }
                None => {
                    "the identity needs the role «Storage Blob Data Contributor» on the container"
                }
            };
            let what = format!("may not be reached with what it is asked with ({named})");
            return Error::refused(object, what).remedy(remedy).into();
        }
        if refusal.status == 404 {
            return Error::missing(object).into();
        }
        let error = match refusal.code.as_str() {
            "InvalidPageRange" => Error::refused(object, "ends before what was to be written"),
            "LeaseLost" | "LeaseIdMissing" | "LeaseIdMismatchWithBlobOperation" => {
                let what = "is written to by somebody else by now";
                return Error::refused(object, what)
                    .retry(Retry::Later)
                    .remedy("wait for him, or stop him")
                    .into();
            }
            _ => Error::refused(object, format!("does not take this ({named})")),
        };
        error.remedy(refusal.message.trim_end_matches('.').to_owned()).into()
    }

    /// Whether another signature is held by now than the one that was sent.
    fn has_newer_than(&self, sent: Option<&Arc<SignedUrl>>) -> bool {
        match (&self.place, sent) {
            (Place::Signed(held), Some(sent)) => !Arc::ptr_eq(&read_lock(held), sent),
            _ => false,
        }
    }
}

/// Whether, and how, a signature ended that was refused. Of those for managed disks many do not say when they end: their name
/// of a policy does (`si`), which Azure forgets with the access.
fn ended(url: &SignedUrl, refusal: &Refusal, now: u64) -> Option<String> {
    match url.expires() {
        Some(ends) if ends <= now => {
            Some(format!("cannot be reached any more: its signature ended at {}", iso_date(ends)))
        }
        Some(_) => None,
        // The second one is Azurite's word for it.
        None => matches!(&*refusal.code, "AuthenticationFailed" | "AuthorizationFailure").then(|| {
            let named = crate::explain::named(refusal);
            format!("cannot be reached by its signature, which has ended or was taken back ({named})")
        }),
    }
}
