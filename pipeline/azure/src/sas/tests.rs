//! Tokens against signatures computed elsewhere, and tokens that people mistype.

use super::make::{
    DelegationKey, Resource, Terms, account, account_text, delegation, delegation_text, service,
    service_text,
};
use super::*;
use crate::sign::SharedKey;
use crate::test_vectors::shared;

const KEY: &str =
    "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6foKGiow==";

fn harbour() -> SharedKey {
    SharedKey::new("harbour", &Secret::new(KEY)).expect("the key is base64")
}

fn terms(permissions: &str, protocols: &str) -> Terms {
    Terms {
        permissions: permissions.to_owned(),
        expiry: "2027-01-01T00:00:00Z".to_owned(),
        protocols: protocols.to_owned(),
        version: "2024-11-04".to_owned(),
        ..Terms::default()
    }
}

fn field(token: &SasToken, name: &str) -> Option<String> {
    fields(token.query().expose()).into_iter().find(|(has, _)| has == name).map(|(_, value)| value)
}

fn fields(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a pair");
        (name.to_owned(), percent_decode(value).expect("an encoded value"))
    };
    let mut pairs: Vec<_> = query.split('&').map(pair).collect();
    pairs.sort();
    pairs
}

#[test]
fn tokens_are_signed_as_python_signs_them() {
    let made = account(&harbour(), &terms("rwdlc", "https,http"), "b", "sco").expect("a token");
    let signature = "XPwavvi4y9swOqmsrVJz0+90CO6rY+jQ9z5nuXMQZBs=";
    assert_eq!(field(&made, "sig").as_deref(), Some(signature));
    let container = Resource::Container { container: "boats" };
    let made = service(&harbour(), &terms("rc", "https"), container).expect("a token");
    let signature = "SFyxZUZaUrGnRWwVgzXS6GPgANI0GNIUql4cCeTX6LM=";
    assert_eq!(field(&made, "sig").as_deref(), Some(signature));
    let key = DelegationKey {
        object_id: "o".to_owned(),
        tenant_id: "t".to_owned(),
        start: "2026-12-01T00:00:00Z".to_owned(),
        expiry: "2026-12-02T00:00:00Z".to_owned(),
        service: "b".to_owned(),
        version: "2024-11-04".to_owned(),
        value: Secret::new(KEY),
    };
    let made = delegation("harbour", &key, &terms("r", ""), container).expect("a token");
    let signature = "fVX5AkSAOXudFahGlzeRPHWUq3nrrWUDPWLBwZqlxaA=";
    assert_eq!(field(&made, "sig").as_deref(), Some(signature));
}

#[test]
fn a_token_tells_its_term_and_permissions() {
    let text = "?sv=2024-11-04&st=2026-01-01T00%3A00%3A00Z&se=2026-01-02T00:00:00Z&spr=https&sp=rcl&sig=c2ln";
    let token = SasToken::parse(&Secret::new(text)).expect("a token");
    assert_eq!(token.starts(), parse_iso_date("2026-01-01"));
    assert_eq!(token.expires(), parse_iso_date("2026-01-02"));
    assert!(token.https_only());
    assert_eq!(token.permissions(), "rcl");
    assert!(!token.query().expose().starts_with('?'));
    assert!(!format!("{token:?}").contains("c2ln"), "{token:?}");
}

#[test]
fn what_is_no_token_is_refused_without_showing_it() {
    for text in [
        "",
        "sv=2024-11-04&sp=r",
        "sig=",
        "https://harbour.blob.core.windows.net/boats?sig=c2VjcmV0",
        "sig=c2Vj cmV0",
        "sig=c2VjcmV0\r\nx-evil: 1",
    ] {
        let error = SasToken::parse(&Secret::new(text)).expect_err(text);
        assert!(error.to_string().contains("copy the token whole"), "{error}");
        assert!(!error.to_string().contains("c2Vj"), "{error}");
    }
}

#[test]
fn every_vector_of_the_official_sdk_is_met() {
    let Some(vectors) = shared("sas_vectors.json") else { return };
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let name = text(&vectors["account"]);
    let key = SharedKey::new(&name, &Secret::new(text(&vectors["key_base64"]))).expect("a key");
    let given = &vectors["user_delegation_key"];
    let delegated = DelegationKey {
        object_id: text(&given["signed_oid"]),
        tenant_id: text(&given["signed_tid"]),
        start: text(&given["signed_start"]),
        expiry: text(&given["signed_expiry"]),
        service: text(&given["signed_service"]),
        version: text(&given["signed_version"]),
        value: Secret::new(text(&given["value"])),
    };
    let cases = vectors["vectors"].as_array().expect("vectors");
    assert!(cases.len() >= 7, "{} vectors", cases.len());
    for case in cases {
        let label = text(&case["case"]);
        let expected = fields(&text(&case["sas"]));
        let terms = terms_of(&expected);
        let get = |name: &str| {
            let found = expected.iter().find(|(has, _)| has == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let snapshot = if get("sr") == "bs" { "2026-01-01T00:00:00.0000000Z" } else { "" };
        let resource = match get("sr").as_str() {
            "c" => Resource::Container { container: "segs" },
            _ => Resource::Blob { container: "segs", name: "host1/a.seg", snapshot },
        };
        let (signed, made) = if label.starts_with("account") {
            let (services, types) = (get("ss"), get("srt"));
            (
                account_text(&name, &terms, &services, &types),
                account(&key, &terms, &services, &types),
            )
        } else if label.starts_with("user delegation") {
            (
                delegation_text(&name, &delegated, &terms, resource),
                delegation(&name, &delegated, &terms, resource),
            )
        } else {
            (service_text(&name, &terms, resource), service(&key, &terms, resource))
        };
        assert_eq!(signed, text(&case["string_to_sign"]), "{label}");
        let made = made.expect("a token");
        assert_eq!(fields(made.query().expose()), expected, "{label}");
    }
}

fn terms_of(fields: &[(String, String)]) -> Terms {
    let get = |name: &str| {
        let found = fields.iter().find(|(has, _)| has == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Terms {
        permissions: get("sp"),
        start: get("st"),
        expiry: get("se"),
        addresses: get("sip"),
        protocols: get("spr"),
        version: get("sv"),
        policy: get("si"),
    }
}
