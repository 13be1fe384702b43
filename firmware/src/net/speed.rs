//! How fast a store takes and gives: measured with objects that mean nothing to a vault, and are gone afterwards.

use std::time::Instant;

use hal::time::Entropy;
use pipeline_vault::Error;
use pipeline_vault::store::BlobStore;
use serde::Serialize;

/// Where such objects lie: no vault looks there.
pub const FOLDER: &str = "speed-test";
/// As many objects at once.
const OBJECTS: usize = 4;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Speed {
    /// Into the store.
    pub upload_bytes_per_second: u64,
    /// Out of it.
    pub download_bytes_per_second: u64,
}

/// Writes, reads and deletes objects of so many bytes each.
pub fn measure(
    store: &dyn BlobStore,
    entropy: &dyn Entropy,
    object_bytes: usize,
) -> Result<Speed, Error> {
    let bodies = bodies(entropy, object_bytes)?;
    let measured = up_and_down(store, &bodies);
    let names: Vec<String> = bodies.iter().map(|(name, _)| name.clone()).collect();
    for deleted in store.delete(&names) {
        if let Err(error) = deleted {
            log::warn!("{error}: what the speed test wrote is left there, and harms nothing");
        }
    }
    measured
}

/// Names and contents by chance, so that two tests never meet, and nothing on the way makes them smaller.
pub fn bodies(entropy: &dyn Entropy, object_bytes: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let one = |_| {
        let mut body = vec![0; object_bytes.max(16)];
        let filled = entropy.fill(&mut body);
        filled.map_err(|error| Error::device("random numbers", error.to_string()))?;
        let name: String = body.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Ok((format!("{FOLDER}/{name}"), body))
    };
    (0..OBJECTS).map(one).collect()
}

fn up_and_down(store: &dyn BlobStore, bodies: &[(String, Vec<u8>)]) -> Result<Speed, Error> {
    let up = timed(bodies, |name, body| store.create(name, body).map(drop))?;
    let down = timed(bodies, |name, body| {
        let mut into = vec![0; body.len()];
        store.read(name, 0, &mut into)?;
        if into == *body { Ok(()) } else { Err(Error::corrupt(name, "is not what was written")) }
    })?;
    Ok(Speed { upload_bytes_per_second: up, download_bytes_per_second: down })
}

/// Bytes a second of doing something with all objects at once.
pub fn timed(
    bodies: &[(String, Vec<u8>)],
    work: impl Fn(&str, &[u8]) -> Result<(), Error> + Sync,
) -> Result<u64, Error> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            bodies.iter().map(|(name, body)| scope.spawn(|| work(name, body))).collect();
        let broken = || Error::device("speed test", "a worker stopped");
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(broken())))
    })?;
    let bytes: u128 = bodies.iter().map(|(_, body)| body.len() as u128).sum();
    let micros = began.elapsed().as_micros().max(1);
    Ok(u64::try_from(bytes * 1_000_000 / micros).unwrap_or(u64::MAX))
}
