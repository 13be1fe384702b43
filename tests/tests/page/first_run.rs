//! First run in a browser, against the real `lifeboat serve` that nobody has set up: from the code on the console to a file out
//! of the first recovery point.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tests::azurite::{Scratch, free_port, run};
use tests::browser::Browser;
use tests::program::{checked, lifeboat};

pub(super) const PASSWORD: &str = "a lifeboat holds everybody";
const TEXT: &str = "It was brought back.\n";

/// The program, until this is dropped.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it; with the code that it shows.
fn fresh(scratch: &Scratch, port: u16) -> (Running, String) {
    fresh_with(scratch, port, &[])
}

/// The same, with more words on its command line.
pub(super) fn fresh_with(scratch: &Scratch, port: u16, more: &[&str]) -> (Running, String) {
    let mut command = Command::new(lifeboat());
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--name", "fresh", "--state"]);
    command.arg(scratch.path().join("state")).args(more);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let output = child.stdout.take().expect("a pipe");
    let running = Running(child);
    let mut code = String::new();
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    for line in lines.by_ref() {
        if let Some(rest) = line.strip_prefix("Pairing code: ") {
            code = rest.split("   ").next().unwrap_or_default().to_owned();
        }
        if line.starts_with("Stop it with") {
            break;
        }
    }
    // Whatever else it says is read away, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    assert!(!code.is_empty(), "the console shows a code");
    (running, code)
}

#[test]
fn from_the_code_on_the_console_to_a_file_of_the_first_point() {
    let scratch = Scratch::new("first-run-page").expect("a folder");
    let port = free_port().expect("a port");
    let (_running, code) = fresh(&scratch, port);
    let mut browser = Browser::start();
    browser.open("a", &json!({ "viewport": { "width": 1280, "height": 900 } }));
    browser.run("a", &format!("await page.goto('https://127.0.0.1:{port}/');"));
    browser.sees("a", "Make this appliance yours");
    browser.is_accessible("a", "pairing");
    browser.types("a", "Your name here", "ada");
    pair(&mut browser, "a", &code, "another");
    browser.sees("a", "The two are not the same: type the password once more.");
    pair(&mut browser, "a", "AAAA-AAAA", PASSWORD);
    browser.run("a", "await page.locator('[name=code][aria-invalid=true]').waitFor();");
    pair(&mut browser, "a", &code, PASSWORD);

    browser.presses("a", "Keep it as it is");
    vault(&mut browser, &scratch);
    let key = recovery_key(&mut browser);
    browser.presses("a", "That is all");
    browser.run("a", "await page.locator('#main h1', { hasText: 'Add a server' }).waitFor();");

    protect(&scratch, &key);
    browser.goes("a", "#/", "Overview");
    browser
        .run("a", "await page.getByRole('link', { name: 'real1' }).waitFor({ timeout: 120000 });");
    take_out(&mut browser);
    packed(&mut browser, &key);
    told_to_somebody(&mut browser);
    own_certificate(&mut browser, &scratch);
    browser.complained_of_nothing("a");
    adopted(&mut browser, &scratch, &key);
}

/// Types what pairs, and sends it.
fn pair(browser: &mut Browser, page: &str, code: &str, again: &str) {
    browser.types(page, "The code on the machine's console", code);
    browser.types(page, "A password", PASSWORD);
    browser.types(page, "The same once more", again);
    browser.presses(page, "Begin");
}

/// What helps whoever helps comes as an archive, and without what opens everything.
fn packed(browser: &mut Browser, key: &str) {
    browser.goes("a", "#/events", "Events");
    let bytes = browser.run(
        "a",
        "const came = page.waitForEvent('download'); await page.getByRole('link', { name: 'Support bundle' }).click(); \
         const one = await came; const parts = []; for await (const part of await one.createReadStream()) parts.push(part); \
         if (one.suggestedFilename() !== 'lifeboat-support.tar.gz') throw new Error(one.suggestedFilename()); \
         return [...Buffer.concat(parts)];",
    );
    let bytes: Vec<u8> = serde_json::from_value(bytes).expect("bytes");
    let mut gzip = Command::new("tar");
    gzip.args(["-xzO"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().expect("tar starts");
    let mut into = gzip.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || into.write_all(&bytes));
    let all = checked(gzip.wait_with_output().expect("tar ends"), "tar");
    writer.join().expect("it ends").expect("tar reads it whole");
    assert!(all.contains("real1"), "it tells of the servers");
    for secret in key.split('-').chain([PASSWORD]) {
        assert!(!all.contains(secret), "a secret is in it");
    }
}

/// Alerts go to a real listener, and a listener that is none is shown.
fn told_to_somebody(browser: &mut Browser) {
    let listener = UdpSocket::bind("127.0.0.1:0").expect("a port");
    listener.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    let host = listener.local_addr().expect("an address").to_string();
    browser.goes("a", "#/access", "Access");
    browser.presses("a", "Add syslog");
    browser.is_accessible_in_both("a", "a channel");
    browser.types("a", "Name", "logs");
    browser.types("a", "Host", "not a host");
    browser.presses("a", "Save");
    browser.run("a", "await page.locator('dialog [name=host][aria-invalid=true]').waitFor();");
    let typed = browser.run("a", "return page.getByLabel('Name', { exact: true }).inputValue();");
    assert_eq!(typed, "logs", "what was typed stays");
    browser.types("a", "Host", &host);
    browser.presses("a", "Save");
    browser.sees("a", &format!("{host}, UDP"));
    browser.presses("a", "Send a test to all");
    let taken =
        "const all = await page.locator('dialog tbody td .health').allTextContents(); return all;";
    browser.run("a", "await page.locator('dialog tbody td .health').waitFor();");
    assert_eq!(browser.run("a", taken), json!(["yes"]));
    browser.is_accessible_in_both("a", "a test that came");
    let mut heard = [0; 4096];
    let length = listener.recv(&mut heard).expect("a message comes");
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    assert!(heard.starts_with('<') && heard.contains("lifeboat"), "{heard}");
    closes(browser, "a");
    browser.presses("a", "Change logs");
    browser.run("a", "await page.getByLabel('By', { exact: true }).selectOption('tcp');");
    browser.presses("a", "Save");
    browser.sees("a", &format!("{host}, TCP"));
    browser.presses("a", "Send a test to all");
    browser.run("a", "await page.locator('dialog tbody td .health').waitFor();");
    assert_eq!(browser.run("a", taken), json!(["no"]), "nobody listens there");
    closes(browser, "a");
    browser.presses("a", "Remove logs");
    browser.sees("a", "Nobody is told of anything yet.");
}

fn closes(browser: &mut Browser, page: &str) {
    browser.run(page, "await page.keyboard.press('Escape'); await page.locator('dialog').waitFor({ state: 'detached' });");
}

/// A certificate of one's own: a key of another is refused beside its field; it is shown, and taken away.
fn own_certificate(browser: &mut Browser, scratch: &Scratch) {
    let made = |name: &str| {
        let file = |end: &str| scratch.path().join(format!("{name}.{end}"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]);
        openssl.args(["-subj", "/CN=page.example", "-addext", "subjectAltName=DNS:page.example"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(file("key")).arg("-out").arg(file("pem"));
        checked(openssl.output().expect("openssl"), "openssl");
        let read = |end: &str| fs::read_to_string(file(end)).expect("a file");
        (read("pem"), read("key"))
    };
    let ((chain, key), (_, other)) = (made("own"), made("other"));
    browser.goes("a", "#/setup", "Setup");
    browser.run("a", "await page.getByText('Install one of your own').click();");
    for (key, good) in [(&other, false), (&key, true)] {
        browser.types("a", "Certificate with those between it and its authority (PEM)", &chain);
        browser.types("a", "Its key (PEM)", key);
        browser.presses("a", "Install");
        if !good {
            browser.run("a", "await page.locator('form [name=key][aria-invalid=true]').waitFor();");
            browser.is_accessible_in_both("a", "a key of another certificate");
        }
    }
    browser.sees("a", "The certificate is installed.");
    browser.sees("a", "page.example");
    browser.presses("a", "Take yours away");
    browser.sees("a", "The certificate is taken away.");
}

/// Another machine takes the vault over: a mistyped key names the group beside the field, and nothing that was typed is lost.
fn adopted(browser: &mut Browser, scratch: &Scratch, key: &str) {
    let other = Scratch::new("first-run-adopts").expect("a folder");
    let port = free_port().expect("a port");
    let (_running, code) = fresh(&other, port);
    browser.open("b", &json!({}));
    browser.run("b", &format!("await page.goto('https://127.0.0.1:{port}/');"));
    pair(browser, "b", &code, PASSWORD);
    browser.presses("b", "Keep it as it is");
    let place = format!("dir:{}", scratch.path().join("vault").display());
    browser.types("b", "Where the vault is", &place);
    browser.run("b", "await page.getByLabel('The vault', { exact: true }).selectOption('adopt');");
    let mut typed: Vec<&str> = key.split('-').collect();
    let turned: String = typed[4].chars().rev().collect();
    typed[4] = &turned;
    browser.types("b", "The recovery key", &typed.join(" "));
    browser.presses("b", "Use this place");
    browser.run("b", "await page.locator('[name=key][aria-invalid=true]').waitFor();");
    browser.is_accessible_in_both("b", "a key with a typing mistake");
    let shown = browser.run(
        "b",
        "const key = page.getByLabel('The recovery key', { exact: true }); \
         return [await page.locator('.wrong:not(:empty)').textContent(), await key.inputValue(), \
         await page.getByLabel('Where the vault is').inputValue()];",
    );
    assert!(shown[0].as_str().is_some_and(|said| said.contains('5')), "which group: {shown}");
    assert_eq!((&shown[1], &shown[2]), (&json!(typed.join(" ")), &json!(place)), "it stays");
    browser.types("b", "The recovery key", key);
    browser.presses("b", "Use this place");
    browser.sees("b", "This vault was found");
    browser.sees("b", "real1");
    browser.is_accessible_in_both("b", "a vault that was found");
    browser.presses("b", "Take this vault over");
    browser.presses("b", "That is all");
    browser.run("b", "await page.locator('#main h1', { hasText: 'Add a server' }).waitFor();");
    browser.goes("b", "#/", "Overview");
    browser
        .run("b", "await page.getByRole('link', { name: 'real1' }).waitFor({ timeout: 120000 });");
    browser.complained_of_nothing("b");
}

/// A place that cannot be, then a good one, tested and taken.
fn vault(browser: &mut Browser, scratch: &Scratch) {
    let field = "Where the vault is";
    browser.types("a", field, "azure:nowhere");
    browser.presses("a", "Use this place");
    browser.run("a", "await page.locator('[name=place][aria-invalid=true]').waitFor();");
    browser.is_accessible("a", "a place that cannot be");
    browser.types("a", field, &format!("dir:{}", scratch.path().join("vault").display()));
    browser.presses("a", "Test the way there");
    browser.sees("a", "A vault there would do.");
    browser.is_accessible("a", "the way to the vault");
    browser.presses("a", "Use this place");
    browser.sees("a", "Write it down on paper.");
}

/// The key is written down, typed with an error, then right.
fn recovery_key(browser: &mut Browser) -> String {
    browser.is_accessible("a", "the recovery key");
    let groups = browser.run("a", "return page.locator('.key-groups li').allTextContents();");
    let groups: Vec<String> = serde_json::from_value(groups).expect("groups of letters");
    browser.presses("a", "It is written down");
    let mut typed = groups.clone();
    typed[2] = typed[2].chars().rev().collect();
    assert_ne!(typed[2], groups[2], "a group that reads the same from behind proves nothing");
    browser.types("a", "The recovery key, from your paper", &typed.join(" "));
    browser.presses("a", "Check it");
    browser.run("a", "await page.locator('[name=typed][aria-invalid=true]').waitFor();");
    let said = browser.run("a", "return page.locator('.wrong:not(:empty)').textContent();");
    assert!(said.as_str().is_some_and(|said| said.contains('3')), "which group is told: {said}");
    browser.types("a", "The recovery key, from your paper", &groups.join(" ").to_lowercase());
    browser.presses("a", "Check it");
    groups.join("-")
}

/// A point of a file system, made by another program with the key from the paper.
fn protect(scratch: &Scratch, key: &str) {
    let root = scratch.path().join("root");
    fs::create_dir_all(root.join("etc")).expect("a folder");
    fs::write(root.join("etc/motd"), TEXT).expect("a file");
    let (disk, key_file) = (scratch.path().join("disk.img"), scratch.path().join("key"));
    let mut make = Command::new("mke2fs");
    run(make.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg("16M")).expect("an image");
    fs::write(&key_file, key).expect("a file");
    let mut command = Command::new(lifeboat());
    command
        .env("LIFEBOAT_STATE", scratch.path().join("other"))
        .args(["--quiet", "protect", "--vault"]);
    command.arg(format!("dir:{}", scratch.path().join("vault").display())).arg("--key-file");
    command.arg(&key_file).args(["--server", "real1"]).arg(&disk);
    checked(command.output().expect("it starts"), "protect");
}

/// From the server through its point to the file.
fn take_out(browser: &mut Browser) {
    browser.goes("a", "#/server/real1", "real1");
    browser.sees("a", "Browse its files");
    browser.is_accessible("a", "a real server");
    browser.run("a", "await page.getByRole('link', { name: 'Browse its files' }).click();");
    browser.run("a", "await page.getByRole('link', { name: 'disk.img' }).click();");
    browser.run("a", "await page.locator('.entry.volume a').first().click();");
    browser.run("a", "await page.getByRole('link', { name: 'etc', exact: true }).click();");
    let text = browser.run(
        "a",
        "const came = page.waitForEvent('download'); await page.getByRole('link', { name: 'motd', exact: true }).click(); \
         const stream = await (await came).createReadStream(); let text = ''; for await (const part of stream) text += part; \
         return text;",
    );
    assert_eq!(text, TEXT);
}
