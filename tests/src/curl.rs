//! curl as a client of the API: nothing of ours helps it, so what it gets is what anybody gets.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Longest wait for one answer: a test of a place walks a long way.
const PATIENCE_SECONDS: &str = "180";

/// A client with a session of its own.
#[derive(Clone, Debug, Default)]
pub struct Curl {
    base: String,
    /// The cookie of the session, and what changing requests carry beside it.
    session: Option<(String, String)>,
    /// The certificate authority that vouches, and the address that stands for its name.
    resolve: Option<(String, String)>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// HTTP's status; 0 where nobody answered.
    pub status: u16,
    /// Headers as they came.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answered {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The field that a refusal is about.
    pub fn field(&self) -> String {
        self.json()["field"].as_str().unwrap_or_default().to_owned()
    }

    /// What a refusal says.
    pub fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

impl Curl {
    /// A client of the page at `https://ADDRESS:PORT`, which takes whatever certificate it shows.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), ..Self::default() }
    }

    /// The same under a name, which stands for `address:port`, and vouched for by this certificate file alone.
    #[must_use]
    pub fn by_name(&self, resolve: &str, authority: &str) -> Self {
        Self { resolve: Some((resolve.to_owned(), authority.to_owned())), ..self.clone() }
    }

    /// Asks; `path` is below `/api/v1`.
    ///
    /// # Panics
    /// Where curl is missing.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answered {
        self.ask_raw(method, path, body.map(|body| body.to_string().into_bytes()))
    }

    /// The same with a body that may be anything.
    ///
    /// # Panics
    /// Where curl is missing.
    pub fn ask_raw(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Answered {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--include",
            "--http1.1",
            "--max-time",
            PATIENCE_SECONDS,
        ]);
        match &self.resolve {
            Some((resolve, authority)) => {
                command.args(["--resolve", resolve, "--cacert", authority]);
            }
            None => {
                command.arg("--insecure");
            }
        }
        command.args(["--request", method, "--header", "expect:"]);
        if body.is_some() {
            command.args(["--header", "content-type: application/json", "--data-binary", "@-"]);
        }
        if let Some((cookie, csrf)) = &self.session {
            command.args(["--header", &format!("cookie: lifeboat={cookie}")]);
            command.args(["--header", &format!("x-csrf: {csrf}")]);
        }
        command.arg(format!("{}/api/v1{path}", self.base));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("curl starts");
        if let (Some(mut input), Some(body)) = (child.stdin.take(), body) {
            // Whoever refuses a body early does not read it whole.
            let _ = input.write_all(&body);
        }
        let output = child.wait_with_output().expect("curl ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.is_empty() {
            println!("{method} {path}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answered { status: status.unwrap_or(0), headers: headers.to_owned(), body: body.to_owned() }
    }

    /// Asks, and is answered well.
    ///
    /// # Panics
    /// Where it is refused.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answered = self.ask("GET", path, None);
        assert_eq!(answered.status, 200, "GET {path}: {answered:?}");
        answered.json()
    }

    /// Changes something, and is answered well.
    ///
    /// # Panics
    /// Where it is refused.
    #[track_caller]
    pub fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        let answered = self.ask(method, path, Some(body));
        assert!((200..300).contains(&answered.status), "{method} {path}: {answered:?}");
        answered.json()
    }

    /// Comes in by an answer that begins a session: pairing, or a login.
    ///
    /// # Panics
    /// Where it begins none.
    #[track_caller]
    pub fn begin(&mut self, path: &str, body: &Value) {
        let answered = self.ask("POST", path, Some(body));
        let cookie = answered.headers.lines().find_map(|line| {
            let line = line.to_ascii_lowercase().starts_with("set-cookie:").then_some(line)?;
            line.split_once("lifeboat=")?.1.split(';').next()
        });
        let csrf = answered.json()["csrf"].as_str().map(str::to_owned);
        let begun = cookie.map(str::to_owned).zip(csrf);
        assert!(begun.is_some(), "POST {path} begins no session: {answered:?}");
        self.session = begun;
    }
}
