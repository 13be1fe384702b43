//! Warm seeds as this program has them: page blobs in a container of the site, each written to by one program at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use firmware_recovery::hydrate::seed::Stop;
use firmware_recovery::hydrate::seed_place::SeedPlace;
use firmware_recovery::profile::Profile;
use pipeline::ids::ServerId;
use pipeline_azure::credentials::Credentials;
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::transport::TransportOptions;
use pipeline_vault::Error;
use pipeline_vault::points::ChainView;

use crate::session::Machine;
use crate::vault_uri::VaultUri;

/// One writer at a time.
pub mod held;
/// Behind the vault, point by point.
pub mod keep;

/// How the seeds of a server stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// Since when.
    pub at_millis: u64,
    /// In a sentence.
    pub words: String,
    /// What keeps them from following, where something does.
    pub trouble: Option<String>,
}

/// One keeper for each process, however it was begun: so one place to tell of it.
static STANDS: Mutex<BTreeMap<ServerId, Stands>> = Mutex::new(BTreeMap::new());

/// How the seeds of a server stand, as far as this process keeps them.
#[must_use]
pub fn stands(server: ServerId) -> Option<Stands> {
    STANDS.lock().unwrap_or_else(PoisonError::into_inner).get(&server).cloned()
}

/// They stand like this from now on; nothing where nobody wants them any more.
fn tell(server: ServerId, stands: Option<Stands>) {
    let mut all = STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    match stands {
        Some(stands) => drop(all.insert(server, stands)),
        None => drop(all.remove(&server)),
    }
}

/// Where the seeds of a server are, by its profile.
pub fn place_of(profile: &Profile, vault: &VaultUri) -> Result<SeedPlace, Error> {
    let vault = match vault {
        VaultUri::Azure(address) => Some(&**address),
        VaultUri::Directory(_) => None,
    };
    SeedPlace::of(profile, vault)
}

/// A blob of that place, whether or not it is there.
pub fn blob(place: &SeedPlace, name: &str, machine: &Machine) -> Result<Arc<PageBlob>, Error> {
    let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
    let (credentials, address) = Credentials::from_lookup(&place.container, &lookup)?;
    let transport = TransportOptions::from_lookup(&lookup)?;
    let options = PageOptions { transport, ..PageOptions::default() };
    PageBlob::kept(&address, name, credentials, &options).map(Arc::new)
}

/// The points that the seed of a disk may be at, oldest first.
#[must_use]
pub fn stops(view: &ChainView, disk: &str) -> Vec<Stop> {
    let points = view.points().filter_map(|link| link.record.point());
    let stop = |point: &pipeline_vault::record::Manifest| {
        let disk = point.disks.iter().find(|known| known.name == disk)?;
        Some(Stop { point: point.id, time: point.started, disk: disk.clone() })
    };
    points.filter_map(stop).collect()
}
