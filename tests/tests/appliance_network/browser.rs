//! Settings of the network that are changed on the page: tried for a minute, taken back where nobody comes by the new address, and
//! kept where somebody does.

use core::net::IpAddr;

use qemu::Running;
use serde_json::{Value, json};
use tests::appliance::ANSWER;
use tests::browser::Browser;
use tests::forms::Bad::{Bidi, Emoji, Is, Long, Markup};
use tests::forms::{Form, Matrix, field};
use tests::lan::{answers, until};

use crate::{address, await_link, await_source, latest};

const PASSWORD: &str = "a lifeboat holds everybody";
const TRIED: &str = "These settings are tried, and taken back in";
const FORM: &str = "form[aria-label=\"Change a link\"]";

/// Whatever is typed into these, no link is touched. Empty fields are DHCP, which is an answer too.
const FORMS: [Form<'_>; 2] = [
    Form {
        at: "#/setup",
        heading: "First run",
        opens: "await page.getByText('Change a link', { exact: true }).first().click();",
        form: FORM,
        good: &[("[name=addresses]", "10.8.0.9/24"), ("[name=gateways]", "10.8.0.1")],
        fields: &[
            field(
                "[name=addresses]",
                &[
                    Long,
                    Markup,
                    Bidi,
                    Emoji,
                    Is("10.8.0.9"),
                    Is("10.8.0.9/33"),
                    Is("10.8.0.9/24 ::/129"),
                ],
            ),
            field("[name=gateways]", &[Long, Markup, Bidi, Emoji, Is("10.8.0.300"), Is("router")]),
            field(
                "[name=dns]",
                &[
                    Long,
                    Markup,
                    Bidi,
                    Emoji,
                    Is("1.1.1"),
                    Is("10.8.0.1 10.8.0.2 10.8.0.3 10.8.0.4"),
                ],
            ),
        ],
    },
    Form {
        at: "#/setup",
        heading: "First run",
        opens: "await page.getByText('All of it, as text', { exact: true }).click();",
        form: "form[aria-label='All of it, as text']",
        good: &[],
        fields: &[field(
            "[name=settings]",
            &[Long, Markup, Bidi, Emoji, Is("dns = [\n5]"), Is("[[link]]\nname = \"a\"\n")],
        )],
    },
];

/// From the pairing code on, on a machine whose network is nobody's; the test's own namespace has both networks.
pub(super) fn tried_and_kept(running: &Running) {
    let words = await_link(running, "eth0", |words| words.contains("10.66.0."));
    let before = address(&words, "10.66.0.").unwrap();
    let after: IpAddr = "10.8.0.9".parse().unwrap();
    let mut browser = Browser::start();
    paired(&mut browser, running, before);

    // What cannot be stands beside its field, and nothing is tried.
    wants(&mut browser, "10.8.0.500/24");
    let beside = "const it = page.locator('[name=addresses][aria-invalid=true]'); await it.waitFor(); \
         return [await it.evaluate((node) => node === document.activeElement), await it.inputValue()];";
    assert_eq!(browser.run("a", beside), json!([true, "10.8.0.500/24"]));
    let mut matrix = Matrix::new(&mut browser, &before.to_string());
    FORMS.iter().for_each(|form| matrix.tries(form));
    matrix.browser.complained_of_nothing("a");
    matrix.ends();
    assert_eq!(latest(running).unwrap().field("from"), Some("default"));
    browser.run("a", "await page.reload();");
    browser.sees("a", "Names answered by");

    // Nobody confirms: it goes back by itself, and so does the page.
    wants(&mut browser, "10.8.0.9/24");
    await_source(running, "trial");
    until("an answer of the address on trial", ANSWER, || answers(after));
    comes(&mut browser, after);
    browser.types("b", "Name", "ada");
    browser.types("b", "Password", PASSWORD);
    browser.presses("b", "Log in");
    browser.sees("b", TRIED);
    browser.is_accessible("b", "settings on trial");
    await_source(running, "default");
    until("the address of before", ANSWER, || answers(before));
    assert!(!answers(after));
    browser.run("a", "await page.reload();");
    browser.sees("a", "Names answered by");
    let shown = browser.run("a", "return page.locator('#main').innerText();");
    let shows = |shown: &Value, words: &str| shown.as_str().is_some_and(|all| all.contains(words));
    assert!(shows(&shown, &before.to_string()) && !shows(&shown, TRIED), "{shown}");

    // Somebody confirms, by the new address.
    wants(&mut browser, "10.8.0.9/24");
    await_source(running, "trial");
    until("an answer of the address on trial", ANSWER, || answers(after));
    comes(&mut browser, after);
    browser.sees("b", TRIED);
    browser.presses("b", "Keep these settings");
    browser.sees("b", "The settings are kept.");
    await_source(running, "console");
    let shown = browser.run("b", "return page.locator('#main').innerText();");
    assert!(!shows(&shown, TRIED), "{shown}");
    browser.complained_of_nothing("a");
    browser.complained_of_nothing("b");
}

/// Makes the machine somebody's, with the code that its console shows now.
fn paired(browser: &mut Browser, running: &Running, address: IpAddr) {
    let code = || {
        let said = running.console().events().into_iter().rfind(|event| event.name == "pair")?;
        said.field("code").map(str::to_owned)
    };
    until("the pairing code", ANSWER, || code().is_some());
    browser.open("a", &json!({}));
    browser.run("a", &format!("await page.goto('https://{address}/');"));
    browser.types("a", "The code on the machine's console", &code().unwrap());
    browser.types("a", "Your name here", "ada");
    browser.types("a", "A password", PASSWORD);
    browser.types("a", "The same once more", PASSWORD);
    browser.presses("a", "Begin");
    browser.sees("a", "Names answered by");
}

/// Fills the form of a link, and sends it. What becomes of it is not waited for: the page's own answer may be lost on the way.
fn wants(browser: &mut Browser, typed: &str) {
    let fill = format!(
        "const form = page.locator('{FORM}'); \
         if (!await form.isVisible()) await page.getByText('Change a link', {{ exact: true }}).first().click(); \
         await form.locator('[name=addresses]').fill('{typed}'); await form.locator('[name=gateways]').fill('10.8.0.1'); \
         await form.locator('[type=submit]').click();"
    );
    browser.run("a", &fill);
}

/// Another browser comes by this address.
fn comes(browser: &mut Browser, address: IpAddr) {
    browser.run("b", &format!("await page.goto('https://{address}/#/setup');"));
}
