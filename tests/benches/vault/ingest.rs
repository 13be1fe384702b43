//! A running server's first sync: scripted agents send the image over loopback and TLS into spool and vault in memory. What
//! that costs `lifeboat serve` stands beside the limit of the stages, beside `protect`, and beside a plain copy.

use core::time::Duration;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use pipeline::limits::EXTENT_BYTES_MAX;
use tests::azurite::Scratch;
use tests::ingesting::Appliance;
use tests::scripted_agent::ScriptedAgent;

use crate::limit;
use crate::ours::Vault;
use crate::run::{Bench, Cost, median, peak_of, processor_of_all};

/// Smaller than the image: what does not fit is on its way to the vault.
const SPOOL_BYTES: u64 = 1 << 30;
/// Servers that are synced at once, to see what that takes of memory.
const SERVERS: usize = 4;

/// Prints what a first sync costs, and the ratios.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let mut ratios = <[Vec<f64>; 3]>::default();
    for _ in 0..bench.rounds {
        let limit = limit::processor_seconds(bench)?;
        let vault = Vault::directory(&bench.fresh("ours"))?;
        let (protect, _) = vault.protect(&bench.image, None, &["--level", "1"])?;
        bench.fresh("ours");
        let copy = plain_copy(bench)?;
        bench.fresh("copy");
        let one = sync(bench, 1)?;
        let seconds = one.processor.as_secs_f64();
        println!(
            "first sync {:.2} s, {seconds:.2} s of processor, {} MiB; limit {limit:.2} s, protect {:.2} s of processor; \
             plain copy {:.2} s",
            one.wall.as_secs_f64(),
            one.peak_kib >> 10,
            protect.processor.as_secs_f64(),
            copy.as_secs_f64()
        );
        ratios[0].push(limit / seconds);
        ratios[1].push(protect.processor.as_secs_f64() / seconds);
        ratios[2].push(one.wall.as_secs_f64() / copy.as_secs_f64());
    }
    let many = sync(bench, SERVERS)?;
    let [limit, protect, copy] = ratios.map(median);
    println!("| ingest per core, of the limit of its stages | {:.0} % |", 100.0 * limit);
    println!("| ingest per core, of `protect` of the same image | {:.0} % |", 100.0 * protect);
    println!("| time to the first point, of a plain copy without TLS | {copy:.1} times |");
    println!(
        "| {SERVERS} servers at once | {:.2} s, {:.2} s of processor, {} MiB |",
        many.wall.as_secs_f64(),
        many.processor.as_secs_f64(),
        many.peak_kib >> 10
    );
    Ok(())
}

/// So many servers send the image at once; what it costs `serve` until all have their first point.
fn sync(bench: &Bench, servers: usize) -> Result<Cost, String> {
    bench.fresh("memory");
    let scratch = Scratch::new("ingest-bench")?;
    let vault = format!("dir:{}", scratch.path().join("vault").display());
    let mut appliance = Appliance::of(scratch, vault, &[], Some(SPOOL_BYTES));
    appliance.start();
    let bytes = usize::try_from(bench.image_bytes).map_err(|error| error.to_string())?;
    let mut agents = Vec::new();
    for number in 0..servers {
        let name = format!("server{number}");
        let mut agent = ScriptedAgent::enrol(&appliance.token(), &name, bytes, number as u64)?;
        agent.connect_patiently();
        agents.push(agent);
    }
    let pid = appliance.pid();
    let processor = || processor_of_all(pid).ok_or_else(|| "serve is gone".to_owned());
    let (before, begun) = (processor()?, Instant::now());
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let one = |agent: &mut ScriptedAgent| {
            let image = File::open(&bench.image).map_err(|error| error.to_string())?;
            agent.first_sync(&image).map_err(|away| format!("{away:?}"))
        };
        let running: Vec<_> =
            agents.iter_mut().map(|agent| scope.spawn(move || one(agent))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("an agent that does not panic"))
            .collect()
    });
    results.into_iter().collect::<Result<(), String>>()?;
    let (wall, processor) = (begun.elapsed(), processor()? - before);
    let peak_kib = peak_of(pid).ok_or("serve is gone")?;
    appliance.stop();
    Ok(Cost { wall, processor, peak_kib })
}

/// The same data over the same loopback into a file in memory.
fn plain_copy(bench: &Bench) -> Result<Duration, String> {
    let text = |error: std::io::Error| error.to_string();
    let target = File::create(bench.fresh("copy").join("disk.img")).map_err(text)?;
    let image = File::open(&bench.image).map_err(text)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let mut sending = TcpStream::connect(listener.local_addr().map_err(text)?).map_err(text)?;
    let (mut hearing, _) = listener.accept().map_err(text)?;
    let extents = limit::data_extents(&image, bench.image_bytes);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut extent = vec![0; EXTENT_BYTES_MAX];
            for at in &extents {
                image.read_exact_at(&mut extent, *at)?;
                sending.write_all(&extent)?;
            }
            Ok(())
        });
        let mut extent = vec![0; EXTENT_BYTES_MAX];
        for at in &extents {
            hearing.read_exact(&mut extent).map_err(text)?;
            target.write_all_at(&extent, *at).map_err(text)?;
        }
        sender.join().expect("a sender that does not panic").map_err(text)
    })?;
    Ok(begun.elapsed())
}
