//! Every form of the page against what can be typed into it: nothing, too much, another kind, markup, letters that turn a text
//! around, numbers that are too large. What is wrong is said beside its own field, what was typed stays and has the focus, nothing is
//! changed, and nothing of it runs.
//!
//! The real `lifeboat serve`, from its pairing on, with a server that has a point. All that is not as it should be is told at the end.

use core::fmt::Write as _;

use serde_json::{Value, json};
use tests::azurite::{Scratch, free_port};
use tests::browser::Browser;
use tests::curl::Curl;
use tests::scripted_agent::ScriptedAgent;

use crate::first_run::{PASSWORD, fresh_with};

/// Which forms there are, and what each field refuses.
#[path = "forms/table.rs"]
mod table;

use table::{Field, Form, KEY, LOGIN, PAIRING, SIGNED_IN, TIME, VAULTS};

const BLOCK: usize = 65_536;
/// A plan may be called anything.
const PLAN: &str = "name = \"<img src=x onerror=window.ran=1>\"\n[[group]]\nname = \"g\"\nserver = [{ name = \"web\" }]\n";

/// What is typed.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Empty,
    Long,
    Markup,
    Bidi,
    Emoji,
    /// A number that is larger than any.
    Huge,
    Is(&'static str),
}

impl Bad {
    fn text(self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Long => "a".repeat(6000),
            Self::Markup => {
                "\"><img src=x onerror=\"window.ran=1\"><script>window.ran=1</script>".to_owned()
            }
            Self::Bidi => "\u{202e}gnp.1bew\u{2066}".to_owned(),
            Self::Emoji => "\u{1f6df}\u{1f469}\u{200d}\u{1f467}".to_owned(),
            Self::Huge => "9".repeat(24),
            Self::Is(text) => text.to_owned(),
        }
    }
}

/// Types into a field, sends, and tells what came of it; what stood there before stands there again.
const TRY: &str = "
    const form = page.locator(asked.form).first();
    const control = form.locator(asked.field).first();
    const before = await control.inputValue();
    const twice = asked.field === '[name=password]' && await form.locator('[name=again]').count();
    await control.fill(asked.typed);
    if (twice) await form.locator('[name=again]').fill(asked.typed);
    const held = await form.elementHandle();
    await form.locator('[type=submit]').click();
    await page.waitForFunction((form) => !form.isConnected || !form.querySelector('[type=submit][aria-disabled]'), held);
    const ran = await page.evaluate(() => Boolean(window.ran) || document.querySelectorAll('img[src=x]').length > 0);
    if (!await held.evaluate((form) => form.isConnected)) return { ran, gone: true };
    const told = await control.evaluate((node) => ({
        own: node.getAttribute('aria-invalid') === 'true',
        said: document.getElementById(node.getAttribute('aria-describedby').split(' ').pop()).textContent,
        focused: node === document.activeElement,
        value: node.value,
    }));
    const wrong = await form.locator('[aria-invalid=true]').count();
    const whole = await form.locator('.form-problem').textContent();
    await control.fill(before);
    if (twice) await form.locator('[name=again]').fill(before);
    return { ran, wrong, whole, kept: told.value === asked.typed, ...told };";

/// A browser before the program, and all that was not as it should be.
struct Matrix {
    browser: Browser,
    address: String,
    wrong: String,
    tries: usize,
}

impl Matrix {
    fn complains(&mut self, form: &Form<'_>, field: &Field, bad: Bad, of: &str) {
        let words = format!("{} {} {} {bad:?}: {of}", form.opens, form.form, field.at);
        println!("{words}");
        let _ = writeln!(self.wrong, "{words}");
    }

    /// Comes to a form as it stands there for somebody who has typed nothing yet.
    fn comes_to(&mut self, form: &Form<'_>) {
        let go = format!(
            "await page.goto('https://{}/{}'); await page.reload(); await page.locator('#main h1', {{ hasText: {} }}).waitFor();",
            self.address,
            form.at,
            json!(form.heading)
        );
        if !form.at.is_empty() {
            self.browser.run("a", &go);
        }
        self.browser.run("a", form.opens);
        self.browser
            .run("a", &format!("await page.locator({}).first().waitFor();", json!(form.form)));
        self.fills(form);
    }

    /// Types what is right.
    fn fills(&mut self, form: &Form<'_>) {
        for (name, text) in form.good {
            let fill = format!(
                "const it = page.locator({}).first(); const text = {}; \
                 if (await it.evaluate((node) => node.tagName === 'SELECT')) await it.selectOption(text); else await it.fill(text);",
                json!(format!("{} {name}", form.form)),
                json!(text)
            );
            self.browser.run("a", &fill);
        }
    }

    /// Types everything that is wrong into a form.
    fn tries(&mut self, form: &Form<'_>) {
        self.comes_to(form);
        for field in form.fields {
            for bad in field.refuses {
                let asked = json!({ "form": form.form, "field": field.at, "typed": bad.text() });
                let told = self.browser.run("a", &format!("const asked = {asked}; {TRY}"));
                self.tries += 1;
                self.judge(form, field, *bad, &told);
                if told["gone"] == true {
                    self.comes_to(form);
                }
            }
        }
    }

    fn judge(&mut self, form: &Form<'_>, field: &Field, bad: Bad, told: &Value) {
        if told["ran"] == true {
            self.complains(form, field, bad, "IT RAN");
        }
        let said = told["said"].as_str().unwrap_or_default();
        let is_fine = told["own"] == true
            && told["wrong"] == 1
            && told["focused"] == true
            && told["kept"] == true
            && told["whole"] == ""
            && said.len() > 10
            && said.ends_with(['.', '!', '?'])
            && !["undefined", "[object", "\u{202e}"].iter().any(|words| said.contains(words));
        if !is_fine {
            let mut told = told.to_string();
            told.truncate(told.floor_char_boundary(700));
            self.complains(form, field, bad, &told);
        }
    }

    /// Tries forms, and looks whether anything was changed by them.
    fn all(&mut self, forms: &[Form<'_>], known: &dyn Fn() -> String) {
        let mut before = known();
        for form in forms {
            self.tries(form);
            let after = known();
            if before != after {
                let words = format!("{} {} changed {before} to {after}", form.opens, form.form);
                println!("{words}");
                let _ = writeln!(self.wrong, "{words}");
            }
            before = after;
        }
    }

    /// What is searched for, and addresses that somebody wrote: text that is shown as it is, and never markup.
    fn texts(&mut self) {
        let ran = "return page.evaluate(() => Number(Boolean(window.ran)) + document.querySelectorAll('img[src=x]').length);";
        self.browser.goes("a", "#/events", "Events");
        for bad in [Bad::Long, Bad::Markup, Bad::Bidi, Bad::Emoji, Bad::Huge] {
            for label in ["Search in all words", "Of one object: server web1"] {
                self.browser.types("a", label, &bad.text());
                self.browser.sees("a", "Nothing of this kind happened.");
                assert_eq!(self.browser.run("a", ran), json!(0), "{label} {bad:?}");
                self.browser.types("a", label, "");
            }
        }
        let markup = Bad::Markup.text();
        for before in [
            "#/",
            "#/server/",
            "#/order/",
            "#/files?server=",
            "#/files?server=web&path=",
            "#/events?object=",
        ] {
            let go = format!(
                "location.hash = {} + encodeURIComponent({});",
                json!(before),
                json!(markup)
            );
            self.browser.run("a", &format!("await page.evaluate(() => {{ {go} }});"));
            self.browser.run("a", "await page.waitForFunction(() => !document.querySelector('#main .waiting[role=status]'));");
            assert_eq!(self.browser.run("a", ran), json!(0), "{before}");
        }
        // What may be any text is shown as it was typed.
        self.browser.goes("a", "#/server/web", "web");
        self.browser.presses("a", "Keep for good");
        self.browser.types("a", "Why", &markup);
        self.browser.presses("a", "Keep it");
        self.browser.sees("a", &markup);
        self.browser.types("a", "Consistency group", &markup);
        self.browser.presses("a", "Change it now");
        self.browser.sees("a", "The policy is changed, and holds from the next point.");
        self.browser.goes("a", "#/recovery", "Recovery");
        self.browser.presses("a", "Write a plan");
        self.browser.types("a", "The plan (TOML)", PLAN);
        self.browser.presses("a", "Save");
        self.browser.sees("a", "<img src=x onerror=window.ran=1>");
        self.browser.goes("a", "#/events", "Events");
        self.browser.sees("a", &markup);
        assert_eq!(self.browser.run("a", ran), json!(0));
    }
}

/// What first run asks and was answered, without the time.
fn untimed(mut setup: Value) -> String {
    if let Some(set) = setup["set"].as_object_mut() {
        set["time"]["now_millis"] = Value::Null;
        set.remove("network");
    }
    setup.to_string()
}

/// All that forms could change.
fn known(curl: &Curl) -> String {
    const OF: [&str; 9] = [
        "/users",
        "/vault",
        "/plans",
        "/orders",
        "/approvals",
        "/servers/web/target",
        "/hosts",
        "/appliance/update",
        "/tokens",
    ];
    let mut all: Vec<Value> = OF.iter().map(|path| curl.ask("GET", path, None).json()).collect();
    // What goes on by itself is no change of a form's.
    all[1] = all[1]["retention"].clone();
    let alerts = curl.get("/alerts");
    let server = curl.get("/servers/web");
    let setup = curl.get("/setup");
    let points = curl.get("/servers/web/points?limit=5");
    let pins = points.as_array().map(|all| all.iter().map(|one| one["pinned"].clone()).collect());
    all.extend([
        alerts["rules"].clone(),
        alerts["channels"].clone(),
        server["policy"].clone(),
        server["revoked"].clone(),
        server["accepts_another_machine"].clone(),
        setup["set"]["vault"].clone(),
        setup["set"]["time"]["zone"].clone(),
        setup["set"]["time"]["servers"].clone(),
        setup["set"]["time"]["calendar"].clone(),
        setup["set"]["certificate"].clone(),
        Value::Array(pins.unwrap_or_default()),
    ]);
    Value::Array(all).to_string()
}

#[test]
fn whatever_is_typed_into_whatever_form_is_refused_beside_its_field_and_changes_nothing() {
    let scratch = Scratch::new("page-forms").expect("a folder");
    let (port, agents) = (free_port().expect("a port"), free_port().expect("a port"));
    let agents = format!("127.0.0.1:{agents}");
    let (_running, code) = fresh_with(&scratch, port, &["--agents", &agents]);
    let address = format!("127.0.0.1:{port}");
    let mut browser = Browser::start();
    browser.open("a", &json!({}));
    browser.run("a", &format!("await page.goto('https://{address}/');"));
    let mut matrix = Matrix { browser, address: address.clone(), wrong: String::new(), tries: 0 };
    let mut curl = Curl::new(&format!("https://{address}"));
    let stage = || untimed(curl.ask("GET", "/setup", None).json());

    // First run, each question before it is answered.
    let good = [
        ("[name=code]", &*code),
        ("[name=name]", "ada"),
        ("[name=password]", PASSWORD),
        ("[name=again]", PASSWORD),
    ];
    let pairing = Form { good: &good, ..PAIRING };
    matrix.all(&[pairing], &stage);
    matrix.fills(&pairing);
    matrix.browser.presses("a", "Begin");
    matrix.browser.presses("a", "Keep it as it is");
    matrix.browser.sees("a", "Where the vault is");
    curl.begin("/session", &json!({ "name": "ada", "password": PASSWORD }));
    let stage = || untimed(curl.ask("GET", "/setup", None).json());
    matrix.all(VAULTS, &stage);
    let place = format!("dir:{}", scratch.path().join("vault").display());
    let made = curl.change("POST", "/setup/vault", &json!({ "place": place, "how": "new" }));
    matrix.all(KEY, &stage);
    let groups = made["key"]["groups"].as_array().expect("groups").iter();
    let typed: Vec<&str> = groups.filter_map(Value::as_str).collect();
    curl.change("POST", "/setup/key", &json!({ "typed": typed.join("-") }));
    matrix.all(TIME, &stage);
    matrix.browser.presses("a", "That is all");
    matrix
        .browser
        .run("a", "await page.locator('#main h1', { hasText: 'Add a server' }).waitFor();");

    let _agent = server(&curl);
    for forms in SIGNED_IN {
        matrix.all(forms, &|| known(&curl));
    }
    matrix.texts();
    matrix.all(&[LOGIN], &|| known(&curl));
    matrix.browser.complained_of_nothing("a");
    println!("{} tries", matrix.tries);
    assert!(matrix.wrong.is_empty(), "not as it should be:\n{}", matrix.wrong);
}

/// A server with a point.
fn server(curl: &Curl) -> ScriptedAgent {
    let install = curl.change("POST", "/install", &json!({ "name": "web" }));
    let token = install["line"].as_str().and_then(|line| line.rsplit(' ').next()).expect("a line");
    // It looks at its vault before it lets anybody in, or tells of it.
    let mut tries = 0;
    let mut agent = loop {
        match ScriptedAgent::enrol(token, "web", 16 * BLOCK, 5) {
            Ok(agent) => break agent,
            Err(error) => assert!(tries < 120, "{error}"),
        }
        tries += 1;
        std::thread::sleep(core::time::Duration::from_millis(500));
    };
    agent.connect_patiently();
    agent.write_some(4);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    let told = || curl.get("/vault")["retention"].to_string().contains("web");
    let points =
        || curl.get("/servers/web/points?limit=1").as_array().is_some_and(|all| !all.is_empty());
    while !told() || !points() {
        std::thread::sleep(core::time::Duration::from_millis(200));
    }
    agent
}
