//! The page in a real browser, against the real door over HTTPS with an appliance of made-up servers behind it: what a person
//! sees, types and is told, with every means that people have.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::browser::Browser;
use tests::managing::{Managed, PASSWORD};
use tests::synthetic_site::SyntheticSite;

/// A wire that can be pulled.
#[path = "page/cable.rs"]
mod cable;
/// From nobody's machine to the first point.
#[path = "page/first_run.rs"]
mod first_run;
/// Every form, and what it refuses.
#[path = "page/forms.rs"]
mod forms;
/// Plans, updates, retention.
#[path = "page/managed.rs"]
mod managed;
/// What the scripts call by name.
#[path = "page/names.rs"]
mod names;
/// What each view tells.
#[path = "page/told.rs"]
mod told;
/// What is typed, and what is said to it.
#[path = "page/typed.rs"]
mod typed;
/// The way to a vault, walked live.
#[path = "page/vault_way.rs"]
mod vault_way;
/// Every view, by every means.
#[path = "page/views.rs"]
mod views;

const SEED: u64 = 6;
const SERVERS: usize = 40;

/// An appliance, and a browser before it.
struct Bed {
    site: SyntheticSite,
    managed: Managed,
    browser: Browser,
}

impl Bed {
    fn new() -> Self {
        println!("seed {SEED}");
        let site = SyntheticSite::new(SEED, SERVERS);
        let managed = Managed::start(Arc::new(site.clone()), |api, _| api);
        Self { site, managed, browser: Browser::start() }
    }

    /// Opens the page, by this address where it is not the appliance's own, and logs in.
    fn logged_in(&mut self, page: &str, name: &str, options: &Value, address: &str) {
        self.browser.open(page, options);
        self.browser
            .run(page, &format!("await page.goto({});", json!(format!("https://{address}/"))));
        self.browser.types(page, "Name", name);
        self.browser.types(page, "Password", PASSWORD);
        self.browser.presses(page, "Log in");
        self.browser
            .run(page, "await page.locator('#main h1', { hasText: 'Overview' }).waitFor();");
    }

    /// The page of an administrator.
    fn administrator(&mut self, page: &str) {
        let address = self.managed.address.to_string();
        self.logged_in(page, "anna", &json!({}), &address);
    }
}

#[test]
fn a_server_comes_in_and_is_copied_before_ones_eyes() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/add", "Add a server");
    bed.browser.presses("a", "Make the line");
    bed.browser.sees("a", "curl -fsSk https://192.0.2.10/install.sh | sh -s -- --token TOKEN");
    bed.site.comes_in("newcomer");
    bed.browser.sees("a", "has come in");
    bed.browser.goes("a", "#/server/newcomer", "newcomer");
    bed.site.copied("newcomer", 16 << 30);
    bed.browser.sees("a", "25 %, 16 GiB of 64 GiB, 8 min left");
    bed.site.copied("newcomer", 64 << 30);
    bed.browser
        .run("a", "await page.getByText('First copy').first().waitFor({ state: 'hidden' });");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_point_is_picked_by_keys_and_a_file_is_taken_out_of_it() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    let before = bed.browser.run("a", "const s = page.getByRole('slider'); await s.focus(); return s.getAttribute('aria-valuetext');");
    let after = bed.browser.run(
        "a",
        "for (const key of ['ArrowLeft', 'ArrowLeft', 'PageUp', '+', '+']) await page.keyboard.press(key); \
         return page.getByRole('slider').getAttribute('aria-valuetext');",
    );
    assert_ne!(before, after, "another point is picked");
    let points = bed.managed.client("anna").get("/servers/web1/points?limit=1000").json();
    let shown = bed.browser.run("a", "return page.locator('.picked .mono').first().textContent();");
    let points = points.as_array().expect("a list");
    let picked = points.iter().position(|point| point["id"] == shown).expect("a point of it");
    assert!(picked > 2, "a day before the third of the newest: {picked}");
    bed.browser.run("a", "await page.getByRole('link', { name: 'Browse its files' }).click();");
    for step in ["sda", "1", "etc"] {
        bed.browser.run(
            "a",
            &format!("await page.getByRole('link', {{ name: '{step}', exact: true }}).click();"),
        );
    }
    let text = bed.browser.run(
        "a",
        "const came = page.waitForEvent('download'); await page.getByRole('link', { name: /^motd/ }).click(); \
         const stream = await (await came).createReadStream(); let text = ''; for await (const part of stream) text += part; \
         return text;",
    );
    assert_eq!(text, "Welcome to a made-up server.\n");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn two_browsers_see_what_each_other_orders_step_by_step() {
    let mut bed = Bed::new();
    bed.administrator("a");
    let address = bed.managed.address.to_string();
    bed.logged_in("b", "bert", &json!({}), &address);
    bed.browser.goes("b", "#/recovery", "Recovery");
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser.presses("a", "Drill");
    bed.browser.presses("a", "What would it make?");
    bed.browser.sees("a", "Standard_D2s_v5");
    bed.browser.presses("a", "Order it");
    bed.browser.run("a", "await page.locator('#main h1', { hasText: 'Drill of web1' }).waitFor();");
    bed.browser.sees("b", "Check, 0 of 6 steps done");
    let orders = bed.managed.client("vera").get("/orders").json();
    let id = orders[0]["order"].as_str().expect("an order").to_owned();
    bed.site.step(&id);
    bed.browser.sees("b", "Network, 1 of 6 steps done");
    bed.browser.run(
        "a",
        "await page.locator('.steps [aria-current=step]', { hasText: 'Network' }).waitFor();",
    );
    (0..6).for_each(|_| bed.site.step(&id));
    bed.browser.sees("b", "Drill passed");
    bed.browser.sees("a", "Debian GNU/Linux 12 ttyS0");
    // Long work of one is seen by the other too, whatever they look at.
    bed.browser.goes("a", "#/vault", "Vault");
    bed.browser.presses("a", "Verify");
    bed.browser.presses("b", "1 job under way");
    bed.browser.sees("b", "looks at every object");
    bed.site.work(&format!("{:032x}", 1), 400 << 30);
    bed.browser.sees("b", "nothing is wrong");
    bed.browser.complained_of_nothing("a");
    bed.browser.complained_of_nothing("b");
}

#[test]
fn a_lost_connection_is_told_and_the_page_goes_on_by_itself() {
    let mut bed = Bed::new();
    let cable = cable::Cable::new(bed.managed.address);
    bed.logged_in("a", "anna", &json!({}), &cable.address().to_string());
    bed.browser.run("a", "await page.getByLabel('Filter servers by name or cause').fill('web');");
    cable.pull();
    bed.browser.sees("a", "Connection lost, trying again.");
    bed.browser.is_accessible("a", "without a connection");
    bed.site.comes_in("web-while-away");
    cable.plug();
    bed.browser.run("a", "await page.getByText('Connection lost').waitFor({ state: 'detached' });");
    bed.browser.sees("a", "web-while-away");
    let filter = bed
        .browser
        .run("a", "return page.getByLabel('Filter servers by name or cause').inputValue();");
    assert_eq!(filter, "web", "what was typed is still there");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_session_that_ends_is_gone_on_with_where_one_was() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser.types("a", "A point every, seconds", "120");
    let bert = bed.managed.client("bert");
    for session in bert.get("/sessions").json().as_array().expect("a list") {
        if session["name"] == "anna" {
            let id = session["id"].as_str().expect("an identity");
            assert_eq!(bert.ask("DELETE", &format!("/sessions/{id}"), "", b"").status, 204);
        }
    }
    bed.browser.run(
        "a",
        "const change = page.getByRole('button', { name: 'Change it now' }); \
         const over = page.getByText('Your session has ended'); \
         await Promise.race([over.waitFor(), change.click({ timeout: 30000 }).then(() => over.waitFor())]);",
    );
    bed.browser.is_accessible("a", "login over the page");
    bed.browser.types("a", "Password", PASSWORD);
    bed.browser.run("a", "await page.keyboard.press('Enter'); await page.getByText('Your session has ended').waitFor({ state: 'detached' });");
    let typed =
        bed.browser.run("a", "return page.getByLabel('A point every, seconds').inputValue();");
    assert_eq!(typed, "120", "what was typed is still there");
    bed.browser.presses("a", "Change it now");
    bed.browser.sees("a", "The policy is changed, and holds from the next point.");
    assert_eq!(bert.get("/servers/web1").json()["policy"]["interval_seconds"], 120);
}
