//! Tokens for scripts: kept as hashes, in the document `tokens`. A token is `lbt_` and 43 characters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firmware_web::api::views::admin::{TokenAsked, TokenMade, TokenView};
use firmware_web::api::{Answer, Refusal};
use hal::time::{Clock, Entropy};
use serde::{Deserialize, Serialize};

use super::keep::Keep;
use super::users::{check_name, read, write};

const DOCUMENT: &str = "tokens";
const VERSION: u32 = 1;
const PREFIX: &str = "lbt_";
const SECRET_BYTES: usize = 32;
/// Tokens at most.
const TOKENS_MAX: usize = 128;
const DAYS_MAX: u32 = 3650;
const DAY_MILLIS: u64 = 86_400_000;
/// When a token was last used is written down no more often than this.
const NOTED_MILLIS: u64 = 60 * 60 * 1000;

/// Tokens.
pub struct Tokens {
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// One change at a time; and when each was used since the document was written.
    used: Mutex<BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    hash: String,
    view: TokenView,
}

impl Tokens {
    /// Those that are kept there.
    #[must_use]
    pub fn new(keep: Arc<dyn Keep>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keep, clock, entropy, used: Mutex::default() }
    }

    /// All of them, by name.
    pub fn all(&self) -> Answer<Vec<TokenView>> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.read()?.into_iter().map(|token| {
            let last = used.get(&token.view.id).copied();
            TokenView { used_millis: last.max(token.view.used_millis), ..token.view }
        });
        Ok(tokens.collect())
    }

    /// The token that this is, unless it has ended.
    pub fn find(&self, text: &str) -> Answer<Option<TokenView>> {
        let good = text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 43);
        if !good {
            return Ok(None);
        }
        let hash = hash(text);
        let now = self.clock.now().0;
        // Before it is read: a token that is ended meanwhile must not be written again.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.read()?;
        let found = tokens.iter().position(|token| token.hash == hash && stands(&token.view, now));
        let Some(place) = found else { return Ok(None) };
        let view = tokens[place].view.clone();
        used.insert(view.id.clone(), now);
        if view.used_millis.is_none_or(|last| now.saturating_sub(last) >= NOTED_MILLIS) {
            tokens[place].view.used_millis = Some(now);
            // A token is good although this cannot be noted.
            if let Err(refusal) = self.write(tokens) {
                log::warn!("when a token was used is not noted: {}", refusal.detail);
            }
        }
        Ok(Some(view))
    }

    /// Whether this user's token of this name is there and has not ended.
    pub fn stands(&self, by: &str, name: &str) -> Answer<bool> {
        let now = self.clock.now().0;
        let is_it = |token: &Token| token.view.by == by && token.view.name == name;
        Ok(self.read()?.iter().any(|token| is_it(token) && stands(&token.view, now)))
    }

    /// One more.
    pub fn make(&self, by: &str, asked: &TokenAsked) -> Answer<TokenMade> {
        check_name(&asked.name)?;
        if asked.days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
            let words = format!("are not 1 to {DAYS_MAX}");
            return Err(Refusal::new(422, "the days", words).at("/days"));
        }
        let mut secret = [0; SECRET_BYTES];
        self.entropy
            .fill(&mut secret)
            .map_err(|error| Refusal::new(503, "this machine", error.to_string()))?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let hash = hash(&token);
        let now = self.clock.now().0;
        let ends = asked.days.map(|days| now.saturating_add(u64::from(days) * DAY_MILLIS));
        let made = TokenView {
            id: hash.chars().take(16).collect(),
            name: asked.name.clone(),
            role: asked.role,
            made_millis: now,
            by: by.to_owned(),
            used_millis: None,
            ends_millis: ends,
        };
        let _one = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.read()?;
        // What has ended makes room.
        tokens.retain(|token| stands(&token.view, now));
        if tokens.iter().any(|known| known.view.name.eq_ignore_ascii_case(&asked.name)) {
            return Err(
                Refusal::new(409, format!("token {}", asked.name), "is there already").at("/name")
            );
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(Refusal::new(409, "tokens", format!("are {TOKENS_MAX} already"))
                .remedy("end one that is no longer used"));
        }
        tokens.push(Token { hash, view: made.clone() });
        self.write(tokens)?;
        Ok(TokenMade { token, made })
    }

    /// One less.
    pub fn end(&self, id: &str) -> Answer<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.read()?;
        let before = tokens.len();
        tokens.retain(|token| token.view.id != id);
        if tokens.len() == before {
            return Err(Refusal::new(404, format!("token {id}"), "is not there"));
        }
        used.remove(id);
        self.write(tokens)
    }

    /// All of a user end.
    pub fn end_of(&self, user: &str) -> Answer<()> {
        let _one = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.read()?;
        let before = tokens.len();
        tokens.retain(|token| token.view.by != user);
        if tokens.len() == before { Ok(()) } else { self.write(tokens) }
    }

    fn read(&self) -> Answer<Vec<Token>> {
        let document: Option<Document> = read(&*self.keep, DOCUMENT)?;
        Ok(document.map_or_else(Vec::new, |document| document.tokens))
    }

    fn write(&self, mut tokens: Vec<Token>) -> Answer<()> {
        tokens.sort_by(|one, other| one.view.name.cmp(&other.view.name));
        write(&*self.keep, DOCUMENT, &Document { version: VERSION, tokens })
    }
}

fn stands(token: &TokenView, now: u64) -> bool {
    token.ends_millis.is_none_or(|ends| now < ends)
}

fn hash(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use firmware_web::api::Role;
    use hal_linux::{SystemClock, SystemEntropy};

    use super::*;
    use crate::admin::keep::MemoryKeep;

    fn tokens(keep: &Arc<MemoryKeep>) -> Tokens {
        let keep = Arc::clone(keep) as Arc<dyn Keep>;
        Tokens::new(keep, Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    fn asked(name: &str) -> TokenAsked {
        TokenAsked { name: name.to_owned(), role: Role::Viewer, days: Some(1) }
    }

    #[test]
    fn a_token_is_shown_once_and_kept_as_a_hash() {
        let keep = Arc::new(MemoryKeep::default());
        let all = tokens(&keep);
        let made = all.make("anna", &asked("grafana")).unwrap();
        assert!(made.token.starts_with("lbt_") && made.token.len() == 47);
        let text = String::from_utf8(keep.read(DOCUMENT).unwrap().unwrap()).unwrap();
        assert!(!text.contains(&made.token) && !text.contains(&made.token[4..]));
        assert!(!format!("{made:?}").contains(&made.token));
        let again = tokens(&keep);
        assert_eq!(again.find(&made.token).unwrap().unwrap().name, "grafana");
        assert!(tokens(&keep).all().unwrap()[0].used_millis.is_some());
        let other = format!("lbt_{}", "A".repeat(43));
        for wrong in ["", "lbt_", &made.token[..46], &other, &made.token[4..]] {
            assert_eq!(again.find(wrong).unwrap(), None, "{wrong}");
        }
        again.end(&made.made.id).unwrap();
        assert_eq!(again.find(&made.token).unwrap(), None);
        assert_eq!(again.end(&made.made.id).unwrap_err().status, 404);
    }

    /// Reading takes a while, in which somebody is heard.
    struct Slow(MemoryKeep, Mutex<Option<std::sync::mpsc::Sender<()>>>);

    impl Keep for Slow {
        fn read(&self, name: &str) -> Result<Option<Vec<u8>>, pipeline_vault::Error> {
            let read = self.0.read(name);
            if let Some(tell) = self.1.lock().unwrap().take() {
                tell.send(()).unwrap();
                std::thread::sleep(core::time::Duration::from_millis(300));
            }
            read
        }

        fn write(&self, name: &str, bytes: &[u8]) -> Result<(), pipeline_vault::Error> {
            self.0.write(name, bytes)
        }
    }

    #[test]
    fn a_token_that_is_ended_while_it_is_used_does_not_come_back() {
        let keep = Arc::new(Slow(MemoryKeep::default(), Mutex::default()));
        let all = Tokens::new(
            Arc::clone(&keep) as Arc<dyn Keep>,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        let made = all.make("anna", &asked("ci")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        *keep.1.lock().unwrap() = Some(tell);
        std::thread::scope(|scope| {
            scope.spawn(|| all.find(&made.token).unwrap());
            told.recv().unwrap();
            all.end(&made.made.id).unwrap();
        });
        assert_eq!(all.find(&made.token).unwrap(), None);
    }

    #[test]
    fn tokens_go_with_who_made_them_and_are_few() {
        let keep = Arc::new(MemoryKeep::default());
        let all = tokens(&keep);
        for number in 0..TOKENS_MAX {
            let by = if number % 2 == 0 { "anna".to_owned() } else { "b".repeat(64) };
            let name = format!("{}{number:03}", "x".repeat(61));
            let longest = TokenAsked { days: Some(DAYS_MAX), ..asked(&name) };
            let token = all.make(&by, &longest).unwrap().token;
            assert!(all.find(&token).unwrap().is_some(), "when it was used has room too");
        }
        assert_eq!(all.make("anna", &asked("more")).unwrap_err().status, 409);
        all.end_of("anna").unwrap();
        assert_eq!(all.all().unwrap().len(), TOKENS_MAX / 2);
        assert_eq!(
            all.make("bert", &asked(&format!("{}001", "X".repeat(61)))).unwrap_err().status,
            409
        );
        let never = TokenAsked { days: Some(0), ..asked("never") };
        assert_eq!(all.make("bert", &never).unwrap_err().field.as_deref(), Some("/days"));
    }
}
