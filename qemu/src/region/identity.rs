//! Tokens: for an application's secret as Entra gives them, and for whoever asks the metadata service.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Region;
use super::http::{Request, Response, pairs};
use super::place::{Id, Place};
use super::refusal::Refusal;

/// How long tokens live.
const TOKEN_SECONDS: u64 = 3600;
/// What the control plane is called in tokens.
const CONTROL_PLANES: [&str; 2] =
    ["https://management.azure.com", "https://management.core.windows.net"];

/// A token that was given.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What it is good for.
    audience: String,
    /// Until when.
    until_ms: u64,
}

impl Region {
    /// Answers who asks for a token; `None` where something else is asked for.
    pub(crate) fn identity(&mut self, request: &Request, now_ms: u64) -> Option<Response> {
        if request.path == "/metadata/identity/oauth2/token" {
            return Some(self.managed(request, now_ms));
        }
        let tenant = request.path.strip_suffix("/oauth2/v2.0/token")?.trim_start_matches('/');
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let form = pairs(&text);
        let field = |name: &str| {
            let found = form.iter().find(|(has, _)| has == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let refuse = |status: u16, error: &str, code: u32, words: &str| {
            let body = json!({
                "error": error, "error_description": format!("AADSTS{code}: {words}"), "error_codes": [code],
            });
            Some(Response::json(status, &body))
        };
        if request.method != "POST" || field("grant_type") != "client_credentials" {
            return refuse(
                400,
                "unsupported_grant_type",
                70_003,
                "The app requested an unsupported grant type.",
            );
        }
        let Some(audience) = field("scope").strip_suffix("/.default").map(str::to_owned) else {
            return refuse(
                400,
                "invalid_scope",
                70_011,
                "The provided value for scope is not valid.",
            );
        };
        let applications = &self.settings.applications;
        if !applications.is_empty() {
            let Some(known) = applications
                .iter()
                .find(|known| known.tenant == tenant && known.client == field("client_id"))
            else {
                return refuse(
                    400,
                    "unauthorized_client",
                    700_016,
                    "Application was not found in the directory.",
                );
            };
            if known.secret != field("client_secret") {
                return refuse(401, "invalid_client", 7_000_215, "Invalid client secret provided.");
            }
        }
        let token = self.give(&audience, tenant, field("client_id"), now_ms);
        let body = json!({
            "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "ext_expires_in": TOKEN_SECONDS, "access_token": token,
        });
        Some(Response::json(200, &body))
    }

    fn managed(&mut self, request: &Request, now_ms: u64) -> Response {
        let resource =
            request.value("resource").unwrap_or_default().trim_end_matches('/').to_owned();
        if request.header("metadata") != Some("true") || resource.is_empty() {
            let body = json!({ "error": "invalid_request", "error_description": "Required metadata header not specified" });
            return Response::json(400, &body);
        }
        let token = self.give(&resource, "11111111-1111-1111-1111-111111111111", "managed", now_ms);
        let body = json!({
            "access_token": token, "expires_in": TOKEN_SECONDS.to_string(), "token_type": "Bearer", "resource": resource,
            "expires_on": (now_ms / 1000).saturating_add(TOKEN_SECONDS).to_string(),
        });
        Response::json(200, &body)
    }

    fn give(&mut self, audience: &str, tenant: &str, client: &str, now_ms: u64) -> String {
        let now = now_ms / 1000;
        let claims = json!({
            "aud": audience, "iss": format!("https://sts.windows.net/{tenant}/"), "tid": tenant, "appid": client,
            "oid": client, "sub": client, "ver": "1.0", "iat": now, "nbf": now.saturating_sub(300),
            "exp": now.saturating_add(TOKEN_SECONDS), "jti": self.number(),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let token = format!("{}.{}.bm90IHNpZ25lZA", encode(&header), encode(&claims));
        let until_ms = now_ms.saturating_add(TOKEN_SECONDS.saturating_mul(1000));
        self.tokens.retain(|_, token| token.until_ms > now_ms);
        self.tokens.insert(token.clone(), Token { audience: audience.to_owned(), until_ms });
        token
    }

    /// Whether the request comes from somebody with a token for the control plane.
    pub(crate) fn authenticate(&self, request: &Request, now_ms: u64) -> Result<(), Refusal> {
        let refuse = |code: &str, words: &str| Err(Refusal::new(401, code, words));
        let Some(token) =
            request.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
        else {
            return refuse(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            );
        };
        if self.settings.applications.is_empty() {
            return Ok(());
        }
        match self.tokens.get(token) {
            None => refuse("InvalidAuthenticationToken", "The access token is invalid."),
            Some(given) if given.until_ms <= now_ms => refuse(
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            ),
            Some(given) if !CONTROL_PLANES.contains(&given.audience.trim_end_matches('/')) => {
                refuse(
                    "InvalidAuthenticationTokenAudience",
                    "The access token has been obtained for the wrong audience.",
                )
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether whoever asks may do what the request does.
    pub(crate) fn authorize(&self, request: &Request, place: &Place) -> Result<(), Refusal> {
        let Some(action) = action(&request.method, place) else { return Ok(()) };
        if self.faults.forbids(&action).is_none() {
            return Ok(());
        }
        let words = format!(
            "The client does not have authorization to perform action '{action}' over scope '{}' or the scope is \
             invalid. If access was recently granted, please refresh your credentials.",
            request.path
        );
        Err(Refusal::new(403, "AuthorizationFailed", words))
    }

    /// Whether whoever asks may use a resource for another.
    pub(crate) fn may_join(&self, action: &str, with: &Id) -> Result<(), Refusal> {
        if self.faults.forbids(action).is_none() {
            return Ok(());
        }
        let words = format!(
            "The client has permission to perform the action on the scope; however, it does not have permission to perform \
             action '{action}' on the linked scope(s) '{}'.",
            with.whole
        );
        Err(Refusal::new(403, "LinkedAuthorizationFailed", words))
    }
}

/// What a request does, as roles name it.
fn action(method: &str, place: &Place) -> Option<String> {
    let verb = match method {
        "GET" | "HEAD" => "read",
        "PUT" | "PATCH" => "write",
        "DELETE" => "delete",
        _ => "action",
    };
    match place {
        Place::Group { .. } => {
            Some(format!("Microsoft.Resources/subscriptions/resourceGroups/{verb}"))
        }
        Place::InGroup { kind: Some(kind), .. } => Some(format!("{}/{verb}", kind.name())),
        Place::InGroup { kind: None, .. } => {
            Some(format!("Microsoft.Resources/subscriptions/resourceGroups/resources/{verb}"))
        }
        Place::Resource { id, action: None } => Some(format!("{}/{verb}", id.kind.name())),
        Place::Resource { id, action: Some(action) } => {
            Some(format!("{}/{action}/{verb}", id.kind.name()))
        }
        _ => None,
    }
}
