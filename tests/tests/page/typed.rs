//! What is typed: wrong, empty, huge, dangerous; and what is said to it.

use serde_json::json;

use crate::Bed;

#[test]
fn a_wrong_password_is_told_beside_its_field_and_what_was_typed_stays() {
    let mut bed = Bed::new();
    bed.browser.open("a", &json!({}));
    bed.browser.run("a", &format!("await page.goto('https://{}/');", bed.managed.address));
    bed.browser.is_accessible("a", "login");
    bed.browser.types("a", "Name", "anna");
    bed.browser.types("a", "Password", "no such password");
    bed.browser.presses("a", "Log in");
    bed.browser
        .run("a", "await page.locator('.wrong:not(:empty), .form-problem:not(:empty)').waitFor();");
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
        bed.browser.types("a", field, good);
    }
    assert_eq!(vera.get("/servers/web1").json()["policy"], before);
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
