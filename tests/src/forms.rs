//! Forms of the page against what can be typed into them, in a real browser: what is wrong is said beside its own field, what was
//! typed stays and has the focus, nothing is changed, and nothing of it runs. All that is not as it should be is told at the end.

use core::fmt::Write as _;

use serde_json::{Value, json};

use crate::browser::Browser;

/// What is typed.
#[derive(Clone, Copy, Debug)]
pub enum Bad {
    /// Nothing.
    Empty,
    /// Thousands of letters.
    Long,
    /// What would run where it is taken for markup.
    Markup,
    /// Letters that turn a text around.
    Bidi,
    /// Letters of four bytes, and such as join.
    Emoji,
    /// A number that is larger than any.
    Huge,
    /// Exactly this.
    Is(&'static str),
}

impl Bad {
    /// It, as it is typed.
    #[must_use]
    pub fn text(self) -> String {
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

/// A field of a form.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// How it is found.
    pub at: &'static str,
    /// What it takes no part of.
    pub refuses: &'static [Bad],
}

/// A form.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Its view; nothing where the page shows it already.
    pub at: &'static str,
    /// The view's heading.
    pub heading: &'static str,
    /// What has it shown there.
    pub opens: &'static str,
    /// How it is found.
    pub form: &'static str,
    /// What stands in it, so that one field alone is wrong.
    pub good: &'a [(&'a str, &'a str)],
    /// What is tried in it.
    pub fields: &'static [Field],
}

/// A field that refuses these.
#[must_use]
pub const fn field(at: &'static str, refuses: &'static [Bad]) -> Field {
    Field { at, refuses }
}

/// A browser before the program, and all that was not as it should be.
pub struct Matrix<'b> {
    /// Its page is called `a`.
    pub browser: &'b mut Browser,
    address: String,
    wrong: String,
    tries: usize,
}

impl<'b> Matrix<'b> {
    /// Before the program at `address:port`.
    #[must_use]
    pub fn new(browser: &'b mut Browser, address: &str) -> Self {
        Self { browser, address: address.to_owned(), wrong: String::new(), tries: 0 }
    }

    /// Ends it.
    ///
    /// # Panics
    /// Where anything was not as it should be.
    pub fn ends(self) {
        println!("{} tries", self.tries);
        assert!(self.tries > 0 && self.wrong.is_empty(), "not as it should be:\n{}", self.wrong);
    }

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
    pub fn fills(&mut self, form: &Form<'_>) {
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
    pub fn tries(&mut self, form: &Form<'_>) {
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
    pub fn all(&mut self, forms: &[Form<'_>], known: &dyn Fn() -> String) {
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
}
