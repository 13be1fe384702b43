//! Servers that come with a token, put on the roll.

use std::sync::Arc;

use hal::time::Clock;
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_wire::enrol::{Denied, Enrolled, Request, Why};

use super::kept::KeptRoll;
use crate::disk_argument::check_name;
use crate::enrol::{Attempt, Grant, Registry};

/// Longest name that a server gets from its host's.
const NAME_BYTES_MAX: usize = 60;

/// Finds the roll, where there is one just now.
pub type Finder = Box<dyn Fn() -> Option<Arc<KeptRoll>> + Send + Sync>;

/// Where agents connect just now, each `address:port`.
pub type Addresses = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Puts servers on the roll.
pub struct Registrar {
    find: Finder,
    addresses: Addresses,
    clock: Arc<dyn Clock>,
}

impl Registrar {
    /// Servers are told to connect to these addresses.
    #[must_use]
    pub fn new(find: Finder, addresses: Addresses, clock: Arc<dyn Clock>) -> Self {
        Self { find, addresses, clock }
    }

    fn roll(&self) -> Result<Arc<KeptRoll>, Denied> {
        (self.find)().ok_or_else(|| Denied {
            words: "the appliance cannot read its vault now".to_owned(),
            ..Denied::of(Why::Later)
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().0 / 1000
    }
}

impl Registry for Registrar {
    fn enrol(&self, attempt: &Attempt, request: &Request) -> Result<Enrolled, Denied> {
        let (kept, now) = (self.roll()?, self.now());
        let addresses = (self.addresses)();
        if addresses.is_empty() {
            let words = "the appliance has no address that an agent could connect to".to_owned();
            return Err(Denied { words, ..Denied::of(Why::Later) });
        }
        let nonsense = |words: String| Denied { words, ..Denied::of(Why::Nonsense) };
        // First whether the token is good at all: strangers make no servers.
        let nobody = Grant { server: ServerId([0; 16]), name: String::new() };
        kept.refresh().map_err(|error| later(&error))?;
        let mut seen = (*kept.roll()).clone();
        let before = seen.redeem(attempt, Some(now), nobody.clone(), &request.binding);
        let mut grant = before.map_err(Denied::of)?;
        if grant == nobody {
            grant = fresh(&kept, &attempt.host).map_err(|error| later(&error))?;
        }
        let enrolled = kept.change(&mut |roll| {
            let mut changed = roll.clone();
            let redeemed = changed.redeem(attempt, Some(now), grant.clone(), &request.binding);
            let granted = match redeemed {
                Ok(granted) => granted,
                Err(why) => return Ok(Err(Denied::of(why))),
            };
            // No token is used up without a certificate.
            match kept.authority().agent(&request.request, granted.server, now) {
                Ok(certificate) => {
                    *roll = changed;
                    Ok(Ok((granted, certificate)))
                }
                Err(error) => Ok(Err(nonsense(error.to_string()))),
            }
        });
        let (granted, certificate) = enrolled.map_err(|error| later(&error))??;
        Ok(Enrolled {
            server: granted.server,
            name: granted.name,
            certificate,
            authority: kept.authority().certificate().to_vec(),
            addresses,
        })
    }
}

/// A new server in the vault, named after its host as far as nobody else is.
fn fresh(kept: &KeptRoll, host: &str) -> Result<Grant, Error> {
    let mut session = kept.session();
    let vault = session.vault()?;
    vault.refresh()?;
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let mut base: String = host.chars().take(NAME_BYTES_MAX).map(plain).collect();
    base = base.trim_matches('-').to_owned();
    if check_name(&base).is_err() {
        base = "server".to_owned();
    }
    let taken = |name: &str| vault.servers().iter().any(|server| server.name == name);
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    let mut names = core::iter::once(base.clone()).chain(numbered);
    let name = names.find(|name| !taken(name)).unwrap_or_else(|| base.clone());
    let server = vault.enrol(&name)?.id;
    session.note_ring();
    Ok(Grant { server, name })
}

fn later(error: &Error) -> Denied {
    log::warn!("{error}");
    Denied { words: "the appliance cannot use its vault now".to_owned(), ..Denied::of(Why::Later) }
}
