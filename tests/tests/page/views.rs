//! Every view: in light and dark, on a wide screen, on a phone and at 200 %, without a complaint of the browser and without an
//! obstacle that axe-core knows; by whom may do little, and by whom runs no scripts.
//!
//! `LIFEBOAT_SHOTS=FOLDER` leaves a picture of each there, and those that documents show.

use serde_json::json;

use crate::Bed;

/// Addresses of views, and their headings. The server of the last is called by a script.
const VIEWS: [(&str, &str); 11] = [
    ("#/", "Overview"),
    ("#/server/web1", "web1"),
    ("#/add", "Add a server"),
    ("#/recovery", "Recovery"),
    ("#/files?server=web1", "Files"),
    ("#/vault", "Vault"),
    ("#/appliance", "Appliance"),
    ("#/events", "Events"),
    ("#/access", "Access"),
    ("#/nowhere", "This could not be shown"),
    ("#/server/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "<script>alert(1)</script>"),
];

/// What the README shows, and what it calls that.
const SHOWN: [(&str, &str); 2] = [("#/", "overview"), ("#/server/web1", "server")];

/// A drill that has come to its end, and a folder of a point.
fn deeper(bed: &Bed) -> [(String, &'static str); 2] {
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    let order = bed.managed.client("oskar").json("POST", "/orders", &drill).json();
    let order = order["order"].as_str().expect("an order");
    (0..7).for_each(|_| bed.site.step(order));
    let folder = "#/files?server=web1&disk=sda&volume=1&path=etc";
    [(format!("#/order/{order}"), "Drill of web1"), (folder.to_owned(), "Files")]
}

fn look(bed: &mut Bed, page: &str, label: &str, deeper: &[(String, &str)]) {
    let deeper = deeper.iter().map(|(hash, heading)| (&**hash, *heading));
    for (number, (hash, heading)) in VIEWS.into_iter().chain(deeper).enumerate() {
        bed.browser.goes(page, hash, heading);
        bed.browser.run(page, "await page.waitForFunction(() => !document.querySelector('#main .waiting[role=status]'));");
        bed.browser.is_accessible(page, &format!("{hash}, {label}"));
        let over = bed.browser.run(
            page,
            "return page.evaluate(() => document.documentElement.scrollWidth - innerWidth);",
        );
        assert!(
            over.as_i64().is_some_and(|over| over <= 0),
            "{hash}, {label}: {over} pixels too wide"
        );
        if let Ok(folder) = std::env::var("LIFEBOAT_SHOTS") {
            picture(bed, page, &format!("{folder}/{number:02}-{label}.png"), true);
            if let Some((_, name)) = SHOWN.iter().find(|(shown, _)| *shown == hash) {
                picture(bed, page, &format!("{folder}/{name}-{label}.png"), false);
            }
        }
    }
    bed.browser.complained_of_nothing(page);
}

/// Takes a picture, of the whole page or of what a screen has of it.
fn picture(bed: &mut Bed, page: &str, path: &str, whole: bool) {
    let path = json!(path);
    bed.browser.run(
        page,
        &format!("await page.mouse.move(0, 0); await page.screenshot({{ path: {path}, fullPage: {whole} }});"),
    );
}

#[test]
fn every_view_is_shown_whole_and_without_an_obstacle() {
    let mut bed = Bed::new();
    let deeper = deeper(&bed);
    let address = bed.managed.address.to_string();
    for (label, options) in [
        (
            "wide-light",
            json!({ "viewport": { "width": 1360, "height": 850 }, "colorScheme": "light" }),
        ),
        (
            "wide-dark",
            json!({ "viewport": { "width": 1360, "height": 850 }, "colorScheme": "dark" }),
        ),
        (
            "phone-light",
            json!({ "viewport": { "width": 390, "height": 844 }, "colorScheme": "light", "hasTouch": true }),
        ),
        (
            "phone-dark",
            json!({ "viewport": { "width": 320, "height": 640 }, "colorScheme": "dark", "reducedMotion": "reduce" }),
        ),
        ("zoomed", json!({ "viewport": { "width": 640, "height": 400 }, "deviceScaleFactor": 2 })),
    ] {
        bed.logged_in(label, "anna", &options, &address);
        look(&mut bed, label, label, &deeper);
    }
}

#[test]
fn who_may_only_look_is_offered_nothing_else() {
    let mut bed = Bed::new();
    let address = bed.managed.address.to_string();
    bed.logged_in("a", "vera", &json!({}), &address);
    bed.browser.goes("a", "#/server/web1", "web1");
    for name in ["Drill", "Failover", "Change it now", "Revoke", "Save", "Keep for good"] {
        let code =
            format!("return page.getByRole('button', {{ name: '{name}', exact: true }}).count();");
        assert_eq!(bed.browser.run("a", &code), 0, "{name}");
    }
    for (hash, heading) in [
        ("#/vault", "Vault"),
        ("#/access", "Access"),
        ("#/events", "Events"),
        ("#/appliance", "Appliance"),
    ] {
        bed.browser.goes("a", hash, heading);
    }
    bed.browser.complained_of_nothing("a");
}

#[test]
fn how_long_points_are_kept_is_an_administrators_and_the_rest_of_a_policy_an_operators() {
    let mut bed = Bed::new();
    let address = bed.managed.address.to_string();
    bed.logged_in("a", "oskar", &json!({}), &address);
    bed.browser.goes("a", "#/server/web1", "web1");
    let kept = "return page.getByLabel('Points are kept', { exact: true }).isDisabled();";
    assert_eq!(bed.browser.run("a", kept), true);
    bed.browser.types("a", "A point every, seconds", "120");
    bed.browser.presses("a", "Change it now");
    bed.browser.sees("a", "The policy is changed, and holds from the next point.");
    bed.administrator("b");
    bed.browser.goes("b", "#/server/web1", "web1");
    assert_eq!(bed.browser.run("b", kept), false);
    bed.browser.complained_of_nothing("a");
    bed.browser.complained_of_nothing("b");
}

#[test]
fn without_scripts_the_page_says_how_the_machine_fares_and_nothing_that_it_protects() {
    let mut bed = Bed::new();
    bed.browser.open("a", &json!({ "javaScriptEnabled": false }));
    bed.browser.run("a", &format!("await page.goto('https://{}/');", bed.managed.address));
    let shown = bed.browser.run("a", "return page.locator('body').innerText();");
    let shown = shown.as_str().expect("text");
    for words in ["This page needs JavaScript", "status.json", "How this machine fares"] {
        assert!(shown.contains(words), "{shown}");
    }
    assert!(!shown.contains("web1"), "{shown}");
}

#[test]
fn a_keyboard_alone_goes_everywhere() {
    let mut bed = Bed::new();
    bed.administrator("a");
    // The first stop leads past the menu; behind it come the menu's entries.
    let first = "return page.evaluate(() => { const first = document.querySelector('a[href], button, input'); first.focus(); \
         return first.textContent; });";
    assert_eq!(bed.browser.run("a", first), "Skip to the content");
    let walk = "const seen = []; for (let stop = 0; stop < 14; stop += 1) { await page.keyboard.press('Tab'); \
         seen.push(await page.evaluate(() => document.activeElement.textContent.trim())); } return seen;";
    let seen = bed.browser.run("a", walk).to_string();
    for view in
        ["Overview", "Add a server", "Recovery", "Files", "Vault", "Appliance", "Events", "Access"]
    {
        assert!(seen.contains(view), "{view} is not reached: {seen}");
    }
    // A dialog holds the focus while it is open, and gives it back.
    let dialog = "await page.getByRole('button', { name: 'anna', exact: true }).focus(); await page.keyboard.press('Enter'); \
         await page.locator('dialog').waitFor(); await page.keyboard.press('Escape'); \
         await page.locator('dialog').waitFor({ state: 'detached' }); \
         return page.evaluate(() => document.activeElement.textContent);";
    assert_eq!(bed.browser.run("a", dialog), "anna");
    bed.browser.complained_of_nothing("a");
}
