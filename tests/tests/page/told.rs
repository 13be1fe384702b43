//! What each view tells, beside what the API tells: nobody decides over a server by a page that leaves something out.

use serde_json::{Value, json};

use crate::Bed;

/// The rows of the overview, as somebody sees or hears them.
const ROWS: &str =
    "return page.locator('table.servers tbody tr').evaluateAll((rows) => rows.map((row) => ({
    name: row.querySelector('th a').textContent,
    health: row.querySelector('.health').textContent,
    cause: row.querySelector('td .cause').textContent,
    heard: row.querySelector('svg.spark').getAttribute('aria-label'),
    line: row.querySelector('path.line').getAttribute('d'),
    target: row.querySelector('path.target').getAttribute('d'),
    point: row.querySelector('.c-point').textContent,
    drill: row.querySelector('.c-drill').textContent,
})));";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Seen to fail without the path of the line, without the cause, and with a page that takes its first overview for the last.
#[test]
fn the_overview_tells_how_every_server_fares_worst_first_and_its_line_is_live() {
    let mut bed = Bed::new();
    bed.administrator("a");
    let told = bed.managed.client("vera").get("/overview").json();
    let told = told["servers"].as_array().expect("a list");
    let count =
        format!("document.querySelectorAll('table.servers tbody tr').length === {}", told.len());
    bed.browser.run("a", &format!("await page.waitForFunction(() => {count});"));
    let shown = bed.browser.run("a", ROWS);
    let shown = shown.as_array().expect("a list");
    for server in told {
        let row = shown.iter().find(|row| row["name"] == server["name"]);
        let row = row.unwrap_or_else(|| panic!("{} is not shown", server["name"]));
        assert_eq!(text(row, "health").to_lowercase(), text(server, "health"), "{server}");
        assert_eq!(row["cause"], server["cause"], "{server}");
        assert!(text(row, "heard").starts_with("RPO "), "{row}");
        assert!(text(row, "target").starts_with('M'), "{row}");
        let measured = server["rpo_recent_seconds"].as_array().expect("a list");
        let is_drawn = text(row, "line").starts_with('M');
        assert_eq!(is_drawn, measured.iter().any(Value::is_u64), "{server}: {row}");
        assert_eq!(text(row, "point") == "none yet", server["newest_point_millis"].is_null());
        let drill = match &server["last_drill"] {
            Value::Null => "never",
            drill if drill["up"] == true => "RTO ",
            _ => "failed",
        };
        assert!(text(row, "drill").starts_with(drill), "{server}: {row}");
    }
    let rank = |row: &Value| {
        let all = ["bad", "attention", "working", "off", "good"];
        all.iter().position(|word| *word == text(row, "health").to_lowercase())
    };
    assert!(shown.is_sorted_by_key(rank), "the worst are first");
    bed.site.minute();
    let before = json!(shown.iter().map(|row| row["line"].clone()).collect::<Vec<_>>());
    bed.browser.run(
        "a",
        &format!(
            "const before = {before}; await page.waitForFunction((before) => \
             [...document.querySelectorAll('table.servers path.line')].some((line) => !before.includes(line.getAttribute('d'))), before);"
        ),
    );
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_servers_figures_are_drawn_and_said_and_its_readiness_is_judged_with_azure_or_without() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    let said = |bed: &mut Bed, figure: &str| {
        let code = format!(
            "const it = page.locator('svg.chart[aria-label^=\"{figure}: newest \"]'); await it.waitFor(); \
             if (!/^M/.test(await it.locator('path.line').getAttribute('d'))) throw new Error('no line'); \
             return it.getAttribute('aria-label');"
        );
        bed.browser.run("a", &code)
    };
    let figures = [
        "RPO",
        "Changed, a second",
        "Stored of 100 sent",
        "Longest freeze",
        "Waiting for the vault",
    ];
    let day = figures.map(|figure| said(&mut bed, figure));
    assert!(day[0].as_str().is_some_and(|said| said.contains(", target ")), "{}", day[0]);
    bed.browser.run("a", "await page.getByRole('group', { name: 'How far back' }).getByRole('button', { name: 'Month' }).click();");
    let gone = format!("svg.chart[aria-label={}]", day[1]);
    bed.browser.run(
        "a",
        &format!("await page.locator({}).waitFor({{ state: 'detached' }});", json!(gone)),
    );
    said(&mut bed, "Changed, a second");
    for words in ["1 thing in the way", "it has no target profile", "its clock is in local time"] {
        bed.browser.sees("a", words);
    }
    bed.browser.sees("a", "the subscription was not asked.");
    bed.browser.presses("a", "Ask Azure too");
    bed.browser.sees("a", "the subscription was asked.");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn servers_are_found_on_the_network() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/add", "Add a server");
    bed.browser.types("a", "Network", "192.0.2.21");
    bed.browser.presses("a", "Look");
    bed.browser.run("a", "await page.locator('[name=network][aria-invalid=true]').waitFor();");
    bed.browser.types("a", "Network", "192.0.2.0/24");
    bed.browser.presses("a", "Look");
    bed.browser.sees("a", "192.0.2.21");
    bed.browser.sees("a", "SSH-2.0-OpenSSH_9.2p1 Debian-2");
    bed.browser.is_accessible_in_both("a", "servers that were found");
    bed.browser.complained_of_nothing("a");
}

/// What is printed is the kit, and nothing beside it.
#[test]
fn the_vault_tells_its_size_cost_and_growth_and_prints_its_kit() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/vault", "Vault");
    for words in [
        "2.93 TiB",
        "48,211 objects",
        "$57.02",
        "cool blob storage, locally redundant, list price",
        "+35 GiB",
        "at hand",
    ] {
        bed.browser.sees("a", words);
    }
    bed.browser.run(
        "a",
        "await page.locator('svg.chart[aria-label^=\"Size of the vault: newest \"]').waitFor();",
    );
    bed.browser.presses("a", "Show and print");
    bed.browser.sees("a", "The vault is at dir:/srv/vault.");
    bed.browser.is_accessible_in_both("a", "the kit");
    let printed = bed.browser.run(
        "a",
        "await page.emulateMedia({ media: 'print' }); \
         const seen = async (what) => page.locator(what).first().isVisible(); \
         const all = [await seen('.kit'), await seen('#app'), await seen('dialog button')]; \
         await page.emulateMedia({ media: 'screen' }); return all;",
    );
    assert_eq!(printed, json!([true, false, false]), "the kit alone");
    bed.browser.complained_of_nothing("a");
}

/// Of the two disks one has a sensor: the other has a dash, and no 0 °C.
#[test]
fn the_appliance_tells_its_disks_how_warm_they_are_its_cards_its_spool_and_its_version() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/appliance", "Appliance");
    let told = bed.browser.run(
        "a",
        "const figure = (name) => page.locator('.figure', { has: page.getByText(name, { exact: true }) }).locator('.value').textContent(); \
         const disk = (name) => page.getByRole('table', { name: 'Disks' }).locator('tr', { hasText: name }).locator('td[data-label=Temperature]').textContent(); \
         return [await figure('Version'), await figure('Hottest disk'), await figure('Spool lasts'), await disk('nvme0n1'), await disk('sda')];",
    );
    assert_eq!(told, json!(["0.1.0", "46 °C", "13 h 53 min", "46 °C", "–"]));
    for words in
        ["52:54:00:12:34:56", "1000 Mbit/s", "192.0.2.10/24", "nvme0n1, nothing is damaged"]
    {
        bed.browser.sees("a", words);
    }
    bed.browser.complained_of_nothing("a");
}

#[test]
fn what_happened_is_searched_and_is_live_within_what_was_searched_for() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/events", "Events");
    bed.browser.sees("a", "the appliance has started");
    bed.browser.types("a", "Search in all words", "STRANGER");
    bed.browser.sees("a", "Nothing of this kind happened.");
    assert!(
        bed.browser
            .run("a", "return page.url();")
            .as_str()
            .is_some_and(|url| url.contains("STRANGER")),
        "whoever is given the address sees the same"
    );
    bed.site.comes_in("other");
    bed.site.comes_in("stranger");
    bed.browser.run(
        "a",
        "await page.locator('.events td', { hasText: 'server stranger' }).first().waitFor();",
    );
    let shown = bed.browser.run("a", "return page.locator('.events').innerText();");
    assert!(!shown.as_str().is_some_and(|all| all.contains("server other")), "{shown}");
    bed.browser.complained_of_nothing("a");
}
