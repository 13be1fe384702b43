//! What is typed: wrong, empty, huge, dangerous; and what is said to it.

use serde_json::json;

use crate::Bed;

#[test]
fn a_wrong_password_is_told_beside_its_field_and_what_was_typed_stays() {
    let mut bed = Bed::new();
    bed.browser.open("a", &json!({}));
    bed.browser.run("a", &format!("await page.goto('https://{}/');", bed.managed.address));
    bed.browser.run("a", "await page.getByLabel('Password').waitFor();");
    bed.browser.is_accessible("a", "login");
    bed.browser.types("a", "Name", "anna");
    bed.browser.types("a", "Password", "no such password");
    bed.browser.presses("a", "Log in");
    bed.browser.run("a", "await page.locator('[name=password][aria-invalid=true]').waitFor();");
    bed.browser.is_accessible("a", "a wrong password");
    let name = bed.browser.run("a", "return page.getByLabel('Name').inputValue();");
    assert_eq!(name, "anna");
    let shown = bed.browser.run("a", "return page.content();");
    assert!(!shown.to_string().contains("web1"), "a stranger sees no server");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn what_a_form_refuses_stands_beside_its_field_and_changes_nothing() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    let vera = bed.managed.client("vera");
    let before = vera.get("/servers/web1").json()["policy"].clone();
    let huge = "9".repeat(90_000);
    let label = "A point every, seconds";
    for (field, typed, beside) in [
        (label, "3", true),
        (label, "", true),
        ("Thawed whatever happens after, ms", "99999999999999", true),
        // Emptied, it is no «no limit».
        ("Sends at most, MiB/s", "", true),
        ("Points are kept", "for a while", true),
        ("Points are kept", huge.as_str(), false),
        ("Points are kept", "\u{202e}\u{0}<script>alert(3)</script>\"'", true),
    ] {
        bed.browser.types("a", field, typed);
        bed.browser.presses("a", "Change it now");
        let place = if beside { "[aria-invalid=true]" } else { ".form-problem:not(:empty)" };
        bed.browser.run("a", &format!("await page.locator({}).waitFor();", json!(place)));
        if beside {
            let words = format!(
                "const it = page.getByLabel({}, {{ exact: true }}); \
                 const said = await page.locator('#' + (await it.getAttribute('aria-describedby')).split(' ').pop()).textContent(); \
                 return [await it.evaluate((node) => node === document.activeElement), said.length > 10];",
                json!(field)
            );
            assert_eq!(bed.browser.run("a", &words), json!([true, true]), "{field}: {typed:.20}");
        }
        bed.browser.is_accessible("a", "a refusal");
        let good = if field == label { "300" } else { "" };
        let good = if field.starts_with("Thawed") { "5000" } else { good };
        let good = if field.starts_with("Sends") { "0" } else { good };
        bed.browser.types("a", field, good);
    }
    assert_eq!(vera.get("/servers/web1").json()["policy"], before);
    bed.browser.complained_of_nothing("a");
}

#[test]
fn what_the_calendar_and_a_text_refuse_stands_beside_them_and_no_limit_is_lifted_by_an_empty_field()
{
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/appliance", "Appliance");
    let vera = bed.managed.client("vera");
    let before = vera.get("/appliance").json()["calendar"].clone();
    bed.browser.presses("a", "Add a row");
    let refused = |bed: &mut Bed, pointer: &str| {
        bed.browser.presses("a", "Change it now");
        let place = format!("[data-field=\"{pointer}\"][aria-invalid=true]");
        let words = format!(
            "const it = page.locator({}); await it.waitFor(); \
             return page.locator('#' + await it.getAttribute('aria-describedby')).textContent();",
            json!(place)
        );
        let said = bed.browser.run("a", &words);
        assert!(said.as_str().is_some_and(|words| words.len() > 10), "{pointer}: {said}");
        bed.browser.is_accessible("a", pointer);
    };
    bed.browser.run("a", "await page.getByLabel('to', { exact: true }).selectOption('03:00');");
    refused(&mut bed, "/rows/0/to_hour");
    bed.browser.run("a", "await page.getByLabel('to', { exact: true }).selectOption('22:00');");
    bed.browser.types("a", "MiB/s, 0 for no limit", "");
    refused(&mut bed, "/rows/0/bytes_per_second");
    bed.browser.types("a", "MiB/s, 0 for no limit", "5");
    bed.browser.types("a", "Otherwise MiB/s, 0 for no limit", "-1");
    refused(&mut bed, "/otherwise_bytes_per_second");
    assert_eq!(vera.get("/appliance").json()["calendar"], before);
    bed.browser.types("a", "Otherwise MiB/s, 0 for no limit", "2");
    bed.browser.presses("a", "Change it now");
    bed.browser.sees("a", "The calendar is changed, and holds at once.");
    let after = vera.get("/appliance").json()["calendar"].clone();
    let row = &after["rows"][0];
    assert_eq!(
        (&row["to_hour"], &row["bytes_per_second"]),
        (&json!(22), &json!(5 << 20)),
        "{after}"
    );
    assert_eq!(after["otherwise_bytes_per_second"], 2 << 20);
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser.types("a", "Where it is recovered to in Azure (TOML)", "[[");
    bed.browser.presses("a", "Save");
    bed.browser.run("a", "await page.locator('[name=text][aria-invalid=true]').waitFor();");
    bed.browser.is_accessible("a", "a target profile that cannot be read");
    assert_eq!(vera.get("/servers/web1/target").status, 404, "nothing was set");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_pin_and_a_drill_are_undone_by_whoever_types_the_name() {
    let mut bed = Bed::new();
    bed.administrator("a");
    let anna = bed.managed.client("anna");
    let newest = anna.get("/servers/web1/points?limit=1").json()[0]["id"].clone();
    let pin = format!("/servers/web1/points/{}/pin", newest.as_str().expect("a point"));
    assert_eq!(anna.json("PUT", &pin, &json!({ "why": "the audit" })).status, 200);
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    let order = anna.json("POST", "/orders", &drill).json()["order"].clone();
    let order = order.as_str().expect("an order");
    let pinned = || anna.get("/servers/web1/points?limit=1").json()[0]["pinned"].is_string();
    let taken_back = || anna.get(&format!("/orders/{order}")).json()["state"] == "cancelled";
    for (hash, heading, words, is_done) in [
        (
            "#/server/web1",
            "web1",
            "Let the retention count again",
            &(|| !pinned()) as &dyn Fn() -> bool,
        ),
        (&format!("#/order/{order}"), "Drill of web1", "Take it back", &taken_back),
    ] {
        bed.browser.goes("a", hash, heading);
        bed.browser.presses("a", words);
        let type_and_send = |typed: &str| {
            format!(
                "await page.getByLabel('Type web1 to go on').fill('{typed}'); \
                 await page.locator('dialog [type=submit]').click();"
            )
        };
        bed.browser.run("a", &type_and_send("web"));
        bed.browser.sees("a", "This is not the name: type web1, letter by letter.");
        bed.browser.is_accessible("a", words);
        assert!(!is_done(), "{words}");
        bed.browser.run("a", &type_and_send("web1"));
        bed.browser.run("a", "await page.locator('dialog').waitFor({ state: 'detached' });");
        assert!(is_done(), "{words}");
    }
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_failover_wants_the_servers_name_letter_by_letter() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser.presses("a", "Failover");
    for typed in ["", "web", "WEB1", "web1 "] {
        bed.browser.run(
            "a",
            &format!("await page.getByLabel('Type web1 to go on').fill({});", json!(typed)),
        );
        bed.browser.presses("a", "Order it");
        bed.browser.sees("a", "This is not the name: type web1, letter by letter.");
    }
    bed.browser.is_accessible("a", "an order that asks for the name");
    assert_eq!(bed.managed.client("vera").get("/orders").json(), json!([]));
    bed.browser.run("a", "await page.getByLabel('Type web1 to go on').fill('web1');");
    bed.browser.presses("a", "Order it");
    bed.browser
        .run("a", "await page.locator('#main h1', { hasText: 'Failover of web1' }).waitFor();");
    assert_eq!(bed.managed.client("vera").get("/orders").json()[0]["kind"], "failover");
    bed.browser.complained_of_nothing("a");
}

#[test]
fn a_second_person_is_asked_where_the_policy_says_so() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser
        .run("a", "await page.getByLabel('Failover and deletion need a second person').check();");
    bed.browser.presses("a", "Change it now");
    bed.browser.sees("a", "The policy is changed, and holds from the next point.");
    bed.browser.presses("a", "Failover");
    bed.browser.run("a", "await page.getByLabel('Type web1 to go on').fill('web1');");
    bed.browser.presses("a", "Order it");
    bed.browser
        .run("a", "await page.getByText('This waits for a second person').first().waitFor();");
    assert_eq!(bed.managed.client("vera").get("/orders").json(), json!([]));
    let address = bed.managed.address.to_string();
    bed.logged_in("b", "bert", &json!({}), &address);
    bed.browser.goes("b", "#/access", "Access");
    bed.browser.run("b", "await page.getByRole('button', { name: /^Grant/ }).click();");
    bed.browser.run("b", "await page.locator('dialog [type=submit]').click();");
    bed.browser.sees("b", "Granted.");
    assert_eq!(bed.managed.client("vera").get("/orders").json()[0]["by"], "anna");
    bed.browser.complained_of_nothing("a");
    bed.browser.complained_of_nothing("b");
}

#[test]
fn a_token_is_shown_once_and_works() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/access", "Access");
    bed.browser.presses("a", "Make a token");
    bed.browser.types("a", "What it is for", "not a name!");
    bed.browser.presses("a", "Make it");
    bed.browser.run("a", "await page.locator('dialog [aria-invalid=true], dialog .form-problem:not(:empty)').waitFor();");
    bed.browser.types("a", "What it is for", "scripts");
    bed.browser.presses("a", "Make it");
    let token = bed
        .browser
        .run("a", "return page.getByLabel('The token', { exact: true }).last().textContent();");
    bed.browser.is_accessible("a", "a token");
    let token = token.as_str().expect("a token").to_owned();
    let client = bed.managed.nobody().with_token(&token);
    assert_eq!(client.get("/overview").status, 200);
    assert_eq!(client.get("/users").status, 403, "a viewer's token");
    bed.browser.run("a", "await page.keyboard.press('Escape');");
    let shown = bed.browser.run(
        "a",
        "await page.locator('dialog').waitFor({ state: 'detached' }); return page.content();",
    );
    assert!(!shown.to_string().contains(&token), "it is nowhere any more");
    bed.browser.complained_of_nothing("a");
}
