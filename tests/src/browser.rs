//! A real browser: Debian's Chromium, driven by playwright-core, with axe-core for whoever cannot see or use a mouse. Both are
//! installed once, by npm. Whatever its page complains of is kept, and a test that ends well looks at it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::azurite::Scratch;
use crate::node::npm_install;

const PLAYWRIGHT: &str = "1.65.1";
const AXE: &str = "4.14.1";

/// A running browser. It ends with this.
pub struct Browser {
    driver: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _profile: Scratch,
}

fn chromium() -> PathBuf {
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
    let found = known.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.expect("Chromium is missing: apt-get install chromium")
}

/// Gets what drives it, where that was not done yet; Node, and the folder of its packages.
///
/// # Panics
/// Where npm gives nothing.
pub fn install() -> (PathBuf, PathBuf) {
    let packages = [format!("playwright-core@{PLAYWRIGHT}"), format!("axe-core@{AXE}")];
    let name = format!("browser-{PLAYWRIGHT}-{AXE}");
    npm_install(&name, &packages).expect("npm gives what it has")
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// Where it does not start: the words say what to install.
    #[must_use]
    pub fn start() -> Self {
        let (node, folder) = install();
        let profile = Scratch::new("browser").expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/browser/drive.mjs");
        let mut command = Command::new(node);
        command.arg(script).arg(folder.join("node_modules")).arg(chromium()).arg(profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut driver = command.spawn().expect("Node starts");
        let asks = driver.stdin.take();
        let answers = BufReader::new(driver.stdout.take().expect("it was asked for"));
        Self { driver, asks, answers, _profile: profile }
    }

    /// Opens a page of this name with options of playwright's contexts.
    pub fn open(&mut self, page: &str, options: &Value) {
        self.ask(&json!({ "page": page, "options": options, "code": "" }));
    }

    /// Runs the body of an async function of `page`, `context`, `complaints` and `axe`; what it returns.
    ///
    /// # Panics
    /// Where it throws.
    pub fn run(&mut self, page: &str, code: &str) -> Value {
        self.ask(&json!({ "page": page, "code": code }))
    }

    fn ask(&mut self, asked: &Value) -> Value {
        let asks = self.asks.as_mut().expect("it runs");
        writeln!(asks, "{asked}").and_then(|()| asks.flush()).expect("the driver listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        let answer: Value = serde_json::from_str(&line).expect("the driver answers in JSON");
        assert!(
            answer["error"].is_null(),
            "in the browser: {}\n{}",
            answer["error"],
            asked["code"]
        );
        answer["value"].clone()
    }

    /// Waits until a text can be seen.
    pub fn sees(&mut self, page: &str, text: &str) {
        let code = format!("await page.getByText({}).first().waitFor();", json!(text));
        self.run(page, &code);
    }

    /// Types into the field of this label.
    pub fn types(&mut self, page: &str, label: &str, text: &str) {
        let code = format!(
            "await page.getByLabel({}, {{ exact: true }}).fill({});",
            json!(label),
            json!(text)
        );
        self.run(page, &code);
    }

    /// Presses the button of this name.
    pub fn presses(&mut self, page: &str, name: &str) {
        let code = format!(
            "await page.getByRole('button', {{ name: {}, exact: true }}).first().click();",
            json!(name)
        );
        self.run(page, &code);
    }

    /// Goes to a view by its address behind the `#`, and waits for its heading.
    pub fn goes(&mut self, page: &str, hash: &str, heading: &str) {
        let code = format!(
            "await page.evaluate((hash) => {{ location.hash = hash; }}, {}); \
             await page.locator('#main h1', {{ hasText: {} }}).waitFor();",
            json!(hash),
            json!(heading)
        );
        self.run(page, &code);
    }

    /// That nobody who needs other means than eyes and a mouse meets an obstacle in what is shown now.
    ///
    /// # Panics
    /// Where axe-core finds one.
    pub fn is_accessible(&mut self, page: &str, what: &str) {
        let found = self.run(page, "return await axe();");
        assert_eq!(found, json!([]), "{what}");
    }

    /// The same in light and in dark.
    ///
    /// # Panics
    /// Where axe-core finds one.
    pub fn is_accessible_in_both(&mut self, page: &str, what: &str) {
        for scheme in ["dark", "light"] {
            self.run(page, &format!("await page.emulateMedia({{ colorScheme: '{scheme}' }});"));
            self.is_accessible(page, &format!("{what}, {scheme}"));
        }
    }

    /// That the page had nothing to complain of: no exception, no breach of its policy, no script of a stranger.
    ///
    /// # Panics
    /// Where it had.
    pub fn complained_of_nothing(&mut self, page: &str) {
        assert_eq!(self.run(page, "return complaints;"), json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser when its input closes.
        drop(self.asks.take());
        let _ = self.driver.wait();
    }
}
