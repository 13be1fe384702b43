//! The way to a vault, walked while somebody looks: what is wrong with its certificate stands in the row of TLS with what to do,
//! the field that mends it is open beside it, and what was typed is kept.
//!
//! The real `lifeboat serve`; Azurite over HTTPS, and openssl in the place of hosts whose certificates have ended or are of others.

use std::fs;
use std::process::Command;

use serde_json::json;
use tests::azurite::certificates::Certificates;
use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, TlsFiles, free_port, run};
use tests::browser::Browser;
use tests::curl::Curl;
use tests::tls_host::TlsHost;

use crate::first_run::{PASSWORD, fresh_with};

const PLACE: &str = "Where the vault is";
const AUTHORITY: &str = "The authority's certificate (PEM)";

/// Has the way walked; state, finding and remedy of the row of TLS.
fn tls(browser: &mut Browser, place: &str) -> [String; 2] {
    browser.types("a", PLACE, place);
    browser.presses("a", "Test the way there");
    let row = browser.run(
        "a",
        "await page.getByText(/^A vault there would/).waitFor({ timeout: 120000 }); \
         const row = page.getByRole('table', { name: 'The way there' }).locator('tbody tr').filter({ has: page.getByText('tls', { exact: true }) }); \
         return [await row.locator('td').nth(2).innerText(), await row.locator('td').nth(3).innerText()];",
    );
    serde_json::from_value(row).expect("two texts")
}

/// What stands in the form is what was typed, and nothing was chosen by it.
fn is_kept(browser: &mut Browser, curl: &Curl, place: &str, authority: &str) {
    let held = browser.run(
        "a",
        &format!(
            "return [await page.getByLabel('{PLACE}').inputValue(), await page.getByLabel('The key', {{ exact: true }}).inputValue(), \
             await page.getByLabel(\"{AUTHORITY}\").inputValue()];"
        ),
    );
    assert_eq!(held, json!([place, KEY, authority]));
    assert_eq!(curl.get("/setup")["stage"], "vault");
}

/// Seen to fail with a tester that takes every certificate, and where the field stays shut behind a bad row.
#[test]
fn what_is_wrong_with_a_vaults_certificate_is_told_in_its_row_with_the_remedy_beside_it() {
    let certificates = Certificates::make(&[]).expect("certificates");
    let another = |name, days| certificates.another(name, None, days).expect("a certificate");
    let host = |files: &TlsFiles| {
        let at = format!("127.0.0.1:{}", free_port().expect("a port"));
        let place = format!("azure://{ACCOUNT}/vault?endpoint=https://{at}/{ACCOUNT}");
        (TlsHost::start(&at, files), place)
    };
    let (_one, expired) = host(&another("expired.example", -1));
    let (_other, renamed) = host(&another("other.example", 2));
    let azurite = Azurite::start_https(&certificates.server());
    let azurite = azurite.unwrap_or_else(|error| panic!("{error}"));
    let place = azurite.vault("vault");
    let scratch = Scratch::new("page-vault-way").expect("a folder");
    let port = free_port().expect("a port");
    let (_running, code) = fresh_with(&scratch, port, &[]);
    let mut curl = Curl::new(&format!("https://127.0.0.1:{port}"));
    curl.begin("/setup/pair", &json!({ "code": code, "name": "ada", "password": PASSWORD }));
    curl.change("PUT", "/setup/network", &json!({ "keep": true }));

    let mut browser = Browser::start();
    browser.open("a", &json!({}));
    browser.run("a", &format!("await page.goto('https://127.0.0.1:{port}/');"));
    browser.types("a", "Name", "ada");
    browser.types("a", "Password", PASSWORD);
    browser.presses("a", "Log in");
    browser.run(
        "a",
        "await page.getByLabel('What opens it').selectOption('account_key'); \
         if (await page.locator('[name=authority]').isVisible()) throw new Error('nobody asked for it yet');",
    );
    browser.types("a", "The key", KEY);

    // Nobody vouches for it: by whom it is signed, and its fingerprint to compare.
    let [state, words] = tls(&mut browser, &place);
    assert_eq!(state, "bad");
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let shown = run(openssl.arg(certificates.server().certificate)).expect("a fingerprint");
    let shown = shown.trim().rsplit('=').next().expect("what stands behind the sign");
    for said in ["signed by «lifeboat-tests», whom nobody trusts", shown, "on the page beside"] {
        assert!(words.contains(said), "{said} is not in {words}");
    }
    browser.sees("a", "A vault there would not do.");
    browser.run("a", "await page.locator('[name=authority]').waitFor();");
    browser.is_accessible_in_both("a", "a certificate that nobody vouches for");
    is_kept(&mut browser, &curl, &place, "");

    // What is none is told beside the field, which opens for it.
    browser.types("a", AUTHORITY, "no PEM");
    browser.run("a", "await page.locator('details:has([name=authority]) summary').click();");
    browser.presses("a", "Test the way there");
    browser.run("a", "await page.locator('[name=authority][aria-invalid=true]').waitFor();");
    let focused = "return page.locator('[name=authority]').evaluate((node) => node === document.activeElement);";
    assert_eq!(browser.run("a", focused), true);
    browser.is_accessible_in_both("a", "an authority that is none");
    is_kept(&mut browser, &curl, &place, "no PEM");

    let pem = fs::read_to_string(certificates.ca()).expect("a file");
    browser.types("a", AUTHORITY, &pem);
    for (bad, words) in [
        (&expired, ["the certificate of 127.0.0.1 does not count", "set this machine's clock"]),
        (&renamed, ["shows a certificate for «other.example»", "check the address in DNS"]),
    ] {
        let [state, said] = tls(&mut browser, bad);
        assert_eq!(state, "bad", "{said}");
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
        is_kept(&mut browser, &curl, bad, &pem);
    }

    let [state, said] = tls(&mut browser, &place);
    assert_eq!(state, "good", "{said}");
    assert!(said.contains("signed by lifeboat-tests"), "{said}");
    browser.sees("a", "A vault there would do.");
    browser.presses("a", "Use this place");
    browser.sees("a", "Write it down on paper.");
    assert_eq!(curl.get("/setup")["stage"], "key");
    browser.complained_of_nothing("a");
}
