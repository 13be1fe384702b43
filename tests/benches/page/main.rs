//! The page in figures: `cargo bench -p tests --bench page` opens it in a real browser against the real door with 500 made-up
//! servers behind it, alone and with 50 viewers who watch, and prints what a person waits for. Nothing fails by a number here.

use core::time::Duration;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use tests::browser::Browser;
use tests::managing::{Managed, PASSWORD};
use tests::synthetic_site::SyntheticSite;

const SEED: u64 = 6;
const SERVERS: usize = 500;
const VIEWERS: usize = 50;
/// How long everybody watches.
const WATCHED: Duration = Duration::from_secs(20);

/// From the click to the last byte and to the first picture, of a browser that has nothing of the page yet.
const LOAD: &str = "
    const one = async () => {
        await page.goto(address, { waitUntil: 'load' });
        await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length);
        return page.evaluate(() => {
            const [walk] = performance.getEntriesByType('navigation');
            const [paint] = performance.getEntriesByName('first-contentful-paint');
            const all = performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/'));
            return [walk.loadEventEnd, paint.startTime, all.reduce((sum, one) => sum + one.transferSize, walk.transferSize)];
        });
    };
    const runs = [];
    for (let run = 0; run < 11; run += 1) runs.push(await one());
    const middle = (at) => runs.map((run) => run[at]).sort((a, b) => a - b)[5];
    return { load: middle(0), paint: middle(1), bytes: middle(2) };
";

/// What a person at the overview feels while it is live: tasks that keep the page from answering, and how long a key takes to show.
const WATCH: &str = "
    await page.evaluate(() => {
        window.longest = [];
        new PerformanceObserver((list) => { for (const one of list.getEntries()) window.longest.push(one.duration); })
            .observe({ type: 'longtask', buffered: true });
    });
    const filter = page.getByLabel('Filter servers by name or cause');
    const waits = [];
    const until = Date.now() + millis;
    while (Date.now() < until) {
        waits.push(await page.evaluate(() => new Promise((done) => {
            const begun = performance.now();
            const input = document.querySelector('.filter input');
            input.value = input.value ? '' : 'web';
            input.dispatchEvent(new Event('input'));
            requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
        })));
        await page.waitForTimeout(250);
    }
    await filter.fill('');
    waits.sort((a, b) => a - b);
    const tasks = await page.evaluate(() => window.longest.sort((a, b) => a - b));
    return { typed: waits[Math.floor(waits.length / 2)], typed_worst: waits.at(-1), tasks: tasks.length, longest: tasks.at(-1) ?? 0 };
";

fn main() {
    let site = SyntheticSite::new(SEED, SERVERS);
    let managed = Managed::start(Arc::new(site.clone()), |api, _| api);
    let mut browser = Browser::start();
    println!("seed {SEED}, {SERVERS} servers");
    browser.open("load", &json!({}));
    let address = json!(format!("https://{}/", managed.address));
    let load = browser.run("load", &format!("const address = {address}; {LOAD}"));
    row("the page before login: loaded", millis(&load["load"]));
    row("the same: first picture", millis(&load["paint"]));
    row(
        "the same: bytes over the wire",
        format!("{} KiB", load["bytes"].as_f64().unwrap_or_default() / 1024.0),
    );

    browser.open("watch", &json!({ "viewport": { "width": 1360, "height": 850 } }));
    browser.run("watch", &format!("await page.goto({address});"));
    browser.types("watch", "Name", "anna");
    browser.types("watch", "Password", PASSWORD);
    browser.presses("watch", "Log in");
    browser.sees("watch", "500 servers");
    let alone = watched(&site, &mut browser);
    tell("alone", &alone);

    let over = Arc::new(AtomicBool::new(false));
    let bytes = Arc::new(AtomicU64::new(0));
    let token = managed.client("vera");
    let viewers: Vec<_> = (0..VIEWERS)
        .map(|_| {
            let (client, over, bytes) = (token.clone(), Arc::clone(&over), Arc::clone(&bytes));
            thread::spawn(move || view(&client, &over, &bytes))
        })
        .collect();
    let crowded = watched(&site, &mut browser);
    tell(&format!("with {VIEWERS} others"), &crowded);
    over.store(true, Ordering::SeqCst);
    let told = bytes.load(Ordering::SeqCst) / WATCHED.as_secs() / 1024 / 1024;
    row("told to all viewers", format!("{told} MiB/s"));
    drop(viewers);
}

/// Somebody who watches, and reads whatever is told.
fn view(client: &tests::managing::Client, over: &AtomicBool, bytes: &AtomicU64) {
    let mut stream = client.connect();
    let request = format!("{}\r\n", client.head("GET", "/events/stream"));
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it is heard");
    let mut piece = vec![0; 64 * 1024];
    while !over.load(Ordering::SeqCst) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.fetch_add(u64::try_from(read).unwrap_or_default(), Ordering::SeqCst),
        };
    }
}

/// A browser at the overview while every server changes each second.
fn watched(site: &SyntheticSite, browser: &mut Browser) -> Value {
    let over = Arc::new(AtomicBool::new(false));
    let (site, ended) = (site.clone(), Arc::clone(&over));
    let life = thread::spawn(move || {
        while !ended.load(Ordering::SeqCst) {
            site.minute();
            thread::sleep(Duration::from_secs(1));
        }
    });
    let code = format!("const millis = {}; {WATCH}", WATCHED.as_millis());
    let seen = browser.run("watch", &code);
    over.store(true, Ordering::SeqCst);
    let _ = life.join();
    seen
}

fn tell(what: &str, seen: &Value) {
    row(&format!("{what}: a letter typed into the filter is shown"), millis(&seen["typed"]));
    row(&format!("{what}: the slowest"), millis(&seen["typed_worst"]));
    row(
        &format!("{what}: longest task"),
        format!("{} (of {} over 50 ms)", millis(&seen["longest"]), seen["tasks"]),
    );
}

fn millis(value: &Value) -> String {
    format!("{:.0} ms", value.as_f64().unwrap_or_default())
}

fn row(name: &str, value: impl core::fmt::Display) {
    println!("{name:<60} {value}");
}
