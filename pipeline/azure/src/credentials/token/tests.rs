//! Tokens: asked for as Microsoft's own library asks, kept, renewed in time, and explained where they are refused.

use serde_json::json;

use super::exchange::request;
use super::*;
use crate::encode::percent_decode;
use crate::test_vectors::shared;
use crate::test_world::{Script, Sent, Step, World as Clock};
use crate::transport::failure::{Failure, Kind};

const SCOPE: &str = "https://storage.azure.com/.default";

fn origin() -> Origin {
    Origin::parse("https://login.example").expect("an origin").0
}

fn secret() -> Identity {
    Identity::Secret {
        tenant: "tenant".to_owned(),
        client: "22222222-2222-2222-2222-222222222222".to_owned(),
        secret: Secret::new("s3cret"),
        authority: origin(),
    }
}

fn managed(client: Option<&str>, only_guess: bool) -> Identity {
    let host = Origin::parse("http://169.254.169.254").expect("an origin").0;
    Identity::Managed { client: client.map(str::to_owned), host, base: String::new(), only_guess }
}

fn gives(token: &str, seconds: &serde_json::Value) -> Step {
    let body = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
    Ok((200, vec![], body.to_string().into_bytes()))
}

fn refuses(status: u16, description: &str) -> Step {
    let body = json!({ "error": "invalid_client", "error_description": description });
    Ok((status, vec![], body.to_string().into_bytes()))
}

/// A source, its clock, and what it asks.
struct Bed {
    source: TokenSource,
    clock: Clock,
    script: Arc<Script>,
}

impl Bed {
    fn new(identity: Identity, steps: Vec<Step>) -> Self {
        let source = TokenSource::new(identity);
        Self { source, clock: Clock::with_dice(0), script: Script::new(steps) }
    }

    fn bearer(&self) -> Result<String, Error> {
        let world = World {
            transport: &*self.script,
            surroundings: &self.clock,
            policy: RetryPolicy::default(),
            scope: SCOPE,
        };
        self.source.bearer(&world).map(|token| token.expose().to_owned())
    }

    fn asked(&self) -> Vec<Sent> {
        self.script.sent()
    }
}

fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = core::str::from_utf8(body).expect("text");
    let mut fields: Vec<_> = text
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a pair");
            (name.to_owned(), percent_decode(value).expect("encoded"))
        })
        .collect();
    fields.sort();
    fields
}

#[test]
fn a_token_is_kept_until_four_fifths_of_its_life() {
    let bed = Bed::new(secret(), vec![gives("one", &json!(1000)), gives("two", &json!(1000))]);
    assert_eq!(bed.bearer().as_deref(), Ok("one"));
    bed.clock.pause(Duration::from_secs(799));
    assert_eq!(bed.bearer().as_deref(), Ok("one"));
    assert_eq!(bed.asked().len(), 1);
    bed.clock.pause(Duration::from_secs(1));
    assert_eq!(bed.bearer().as_deref(), Ok("two"));
    assert_eq!(bed.asked().len(), 2);
}

#[test]
fn a_renewal_that_fails_leaves_the_token_that_still_holds() {
    let bed = Bed::new(
        secret(),
        vec![gives("one", &json!(1000)), refuses(400, "AADSTS7000222: expired")],
    );
    assert_eq!(bed.bearer().as_deref(), Ok("one"));
    bed.clock.pause(Duration::from_secs(850));
    assert_eq!(bed.bearer().as_deref(), Ok("one"), "the renewal failed, the token holds");
    assert_eq!(bed.bearer().as_deref(), Ok("one"), "and is not asked for again at once");
    assert_eq!(bed.asked().len(), 2);
    bed.clock.pause(Duration::from_secs(121));
    bed.script.push(refuses(400, "AADSTS7000222: expired"));
    let error = bed.bearer().expect_err("it is over");
    assert!(error.to_string().contains("its secret has expired"), "{error}");
}

#[test]
fn a_refused_token_is_forgotten_unless_a_newer_one_is_here() {
    let bed = Bed::new(secret(), vec![gives("one", &json!(1000)), gives("two", &json!(1000))]);
    assert_eq!(bed.bearer().as_deref(), Ok("one"));
    bed.source.forget("one");
    assert_eq!(bed.bearer().as_deref(), Ok("two"));
    bed.source.forget("one");
    assert_eq!(bed.bearer().as_deref(), Ok("two"), "another thread was told late");
    assert_eq!(bed.asked().len(), 2);
}

#[test]
fn passing_trouble_is_waited_out() {
    let broken = Failure::new(Kind::Broken, "broke");
    let bed = Bed::new(
        secret(),
        vec![
            Ok((503, vec![("retry-after", "7".to_owned())], vec![])),
            Err(broken),
            refuses(429, ""),
            gives("one", &json!(3600)),
        ],
    );
    let before = bed.clock.elapsed();
    assert_eq!(bed.bearer().as_deref(), Ok("one"));
    assert!(bed.clock.elapsed() - before >= Duration::from_secs(7), "as long as it was asked");
}

#[test]
fn the_metadata_service_may_be_away_for_a_while() {
    let bed = Bed::new(
        managed(None, false),
        vec![refuses(410, ""), refuses(404, ""), gives("one", &json!("86399"))],
    );
    assert_eq!(bed.bearer().as_deref(), Ok("one"), "its numbers are text");
    let asked = bed.asked();
    assert_eq!(asked[0].header("metadata"), Some("true"));
    assert_eq!(asked[0].origin, "http://169.254.169.254");
}

#[test]
fn no_credentials_at_all_is_said_as_such() {
    let nobody = || Err(Failure::new(Kind::Connect, "169.254.169.254 does not answer"));
    let bed = Bed::new(managed(None, true), vec![nobody(), nobody()]);
    let error = bed.bearer().expect_err("nobody there");
    assert_eq!(bed.asked().len(), 2, "no long wait for something that nobody asked for");
    for name in ["AZURE_STORAGE_KEY", "AZURE_CLIENT_CERTIFICATE_PATH", "no managed identity"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn refusals_are_told_by_their_numbers() {
    for (description, words) in [
        ("AADSTS7000215: Invalid client secret provided.", "AZURE_CLIENT_SECRET"),
        ("AADSTS7000222: The provided client secret keys are expired.", "has expired"),
        ("AADSTS700016: Application not found", "AZURE_CLIENT_ID"),
        ("AADSTS90002: Tenant not found", "AZURE_TENANT_ID"),
        ("AADSTS700027: not registered", "certificate is not registered"),
        ("AADSTS700024: Client assertion is not within its valid time range", "clock"),
        ("AADSTS50034: other", "AADSTS50034"),
        ("nothing known", "HTTP 400 (invalid_client)"),
    ] {
        let bed = Bed::new(secret(), vec![refuses(400, description)]);
        let error = bed.bearer().expect_err(description).to_string();
        assert!(error.contains(words), "{error}");
        assert!(error.contains("identity «22222222"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn answers_that_hold_no_token_are_refused() {
    for body in [
        &b"<html>login</html>"[..],
        b"{}",
        b"{\"access_token\":\"\",\"expires_in\":10}",
        b"{\"access_token\":\"a b\",\"expires_in\":10}",
        b"{\"access_token\":\"a\\r\\nx: y\",\"expires_in\":10}",
        b"{\"access_token\":\"a\",\"expires_in\":0}",
        b"{\"access_token\":\"a\",\"expires_in\":99999999999}",
        b"{\"access_token\":\"a\"}",
    ] {
        let bed = Bed::new(secret(), vec![Ok((200, vec![], body.to_vec()))]);
        let error = bed.bearer().expect_err("no token");
        assert!(error.to_string().contains("holds no token"), "{error}");
    }
}

#[test]
fn tokens_are_asked_for_as_the_official_library_asks() {
    let Some(vectors) = shared("token_requests.json") else { return };
    let find = |case: &str| {
        let cases = vectors.as_array().expect("cases");
        let case = cases.iter().find(|it| it["case"] == case).expect(case);
        // The library first asks where to ask; the address of a cloud is known here.
        case["requests"].as_array().expect("requests").last().expect("one").clone()
    };
    let ours = |identity: &Identity| {
        let (_, request) = request(identity, SCOPE, 1_795_351_475, [1; 16]).expect("a request");
        request
    };
    let made = ours(&secret());
    let theirs = find("client_secret storage");
    assert_eq!(made.target().expose(), theirs["path"].as_str().expect("a path"));
    assert_eq!(made.method.name(), theirs["method"]);
    let mut expected: Vec<(String, String)> = theirs["form"]
        .as_object()
        .expect("a form")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    expected.retain(|(name, _)| name != "client_info");
    assert_eq!(form(made.body.as_deref().expect("a body")), expected);
    for (identity, case) in [
        (managed(None, false), "imds system-assigned"),
        (managed(Some("22222222-2222-2222-2222-222222222222"), false), "imds user-assigned"),
    ] {
        let made = ours(&identity);
        let theirs = find(case);
        let target = percent_decode(made.target().expose()).expect("encoded");
        let theirs = theirs["path"].as_str().expect("a path");
        let theirs = theirs.replace("https://management.azure.com", "https://storage.azure.com");
        assert_eq!(target, theirs, "{case}");
        assert_eq!(made.header("metadata"), Some("true"));
    }
}
