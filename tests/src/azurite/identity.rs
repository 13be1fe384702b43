//! A stand-in for Entra and for the metadata service: gives tokens that Azurite takes, to who proves an identity.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use qemu::region::http::pairs;
use serde_json::{Value, json};

use super::certificates::Certificates;
use super::server::{Answers, Incoming, Server, answer};

/// The tenant that it knows.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The application that it knows.
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
/// That application's secret.
pub const CLIENT_SECRET: &str = "correct horse/battery+staple=";
/// The scope that tokens are asked for.
const SCOPE: &str = "https://storage.azure.com/.default";

/// The service; it ends when this is dropped.
pub struct IdentityService {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    certificates: Arc<Certificates>,
    /// What the answer says, and what the token itself says.
    seconds_said: u64,
    seconds_real: i64,
    given: u32,
}

impl IdentityService {
    /// Starts it; assertions must be signed by the client's certificate.
    pub fn start(certificates: &Arc<Certificates>) -> std::io::Result<Self> {
        let certificates = Arc::clone(certificates);
        let state = State { certificates, seconds_said: 3600, seconds_real: 3600, given: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(Answers(move |request: &Incoming| {
            let host = request.header("host").unwrap_or_default().to_owned();
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer(request, &host)
        }))?;
        Ok(Self { server, state })
    }

    /// Its URL, for `AZURE_AUTHORITY_HOST` and `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Tokens from now on say that they live so long, and really do.
    pub fn set_life(&self, said: u64, real: i64) {
        let mut state = self.lock();
        (state.seconds_said, state.seconds_real) = (said, real);
    }

    /// How many tokens were given.
    pub fn given(&self) -> u32 {
        self.lock().given
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, request: &Incoming, host: &str) -> Vec<u8> {
        let managed = request.target.starts_with("/metadata/identity/oauth2/token?");
        let proof = if managed {
            check_managed(request)
        } else {
            let form = pairs(&String::from_utf8_lossy(&request.body));
            self.check_application(request, &form, host)
        };
        if let Err(description) = proof {
            let body = json!({ "error": "invalid_client", "error_description": description });
            return answer(401, &[], body.to_string().as_bytes());
        }
        self.given += 1;
        let seconds: Value =
            if managed { self.seconds_said.to_string().into() } else { self.seconds_said.into() };
        let token = self.token();
        let body = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
        answer(200, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    fn check_application(
        &self,
        request: &Incoming,
        form: &[(String, String)],
        host: &str,
    ) -> Result<(), String> {
        let get = |name: &str| {
            let found = form.iter().find(|(has, _)| has == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        if request.method != "POST" || request.target != format!("/{TENANT}/oauth2/v2.0/token") {
            return Err("AADSTS90002: no such tenant".to_owned());
        }
        if get("client_id") != CLIENT {
            return Err("AADSTS700016: no such application".to_owned());
        }
        if get("grant_type") != "client_credentials" || get("scope") != SCOPE {
            return Err("AADSTS70011: grant or scope".to_owned());
        }
        if !get("client_secret").is_empty() {
            let right = get("client_secret") == CLIENT_SECRET;
            return right.then_some(()).ok_or_else(|| "AADSTS7000215: wrong secret".to_owned());
        }
        if get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        {
            return Err("AADSTS90014: no proof".to_owned());
        }
        self.check_assertion(get("client_assertion"), host)
            .ok_or_else(|| "AADSTS700027: the assertion is not signed right".to_owned())
    }

    fn check_assertion(&self, assertion: &str, host: &str) -> Option<()> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        let audience = format!("http://{host}/{TENANT}/oauth2/v2.0/token");
        let now = i64::try_from(unix_seconds()).ok()?;
        let fits = header["alg"] == "PS256"
            && header["x5t#S256"].is_string()
            && claims["aud"] == audience
            && claims["iss"] == CLIENT
            && claims["sub"] == CLIENT
            && (claims["nbf"].as_i64()? - 5..claims["exp"].as_i64()?).contains(&now);
        let signed =
            fits && self.certificates.client_signed(signed.as_bytes(), &decode(signature)?);
        signed.then_some(())
    }

    /// A token as Azurite wants it; it checks everything of it but the signature.
    fn token(&self) -> String {
        let now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "aud": "https://storage.azure.com",
            "iss": format!("https://sts.windows.net/{TENANT}/"),
            "iat": now - 300, "nbf": now - 300, "exp": now + self.seconds_real,
            "appid": CLIENT, "oid": CLIENT, "sub": CLIENT, "tid": TENANT, "ver": "1.0",
            "jti": self.given,
        });
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.bm90IGNoZWNrZWQ", encode(&header), encode(&claims))
    }
}

fn check_managed(request: &Incoming) -> Result<(), String> {
    let query = request.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let query = pairs(query);
    let has = |name: &str, value: &str| query.iter().any(|(n, v)| n == name && v == value);
    let right = request.method == "GET"
        && request.header("metadata") == Some("true")
        && has("resource", "https://storage.azure.com")
        && has("api-version", "2018-02-01");
    right.then_some(()).ok_or_else(|| "not asked as the metadata service wants it".to_owned())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
