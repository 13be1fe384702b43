//! SharedKey against signatures computed elsewhere: our own with Python's hmac, and Microsoft's SDK's where they are at hand.

use super::*;
use crate::encode::percent_decode;
use crate::request::Method;
use crate::test_vectors::shared;

/// The bytes 100 to 163.
const KEY: &str =
    "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6foKGiow==";
const DATE: &str = "Tue, 01 Dec 2026 08:09:10 GMT";

fn harbour() -> SharedKey {
    SharedKey::new("harbour", &Secret::new(KEY)).expect("the key is base64")
}

#[test]
fn a_put_in_path_style_is_signed_as_python_signs_it() {
    let request = Request::storage(Method::Put, "/harbour/boats/seg/00/a%20b")
        .with_header("X-MS-Blob-Type", "BlockBlob")
        .with_header("Content-Type", "application/octet-stream")
        .with_header("if-none-match", "*")
        .with_header("x-ms-date", DATE)
        .with_header("x-ms-client-request-id", "0")
        .with_body(vec![0; 4096]);
    let signed = harbour().authorization(&request);
    assert_eq!(signed, "SharedKey harbour:S2bQEy+K1vHWNMSPNPcr0itT+TiqOngKNLfuEdzbtEI=");
}

#[test]
fn a_listing_is_signed_with_its_query_sorted_and_decoded() {
    let request = Request::storage(Method::Get, "/boats")
        .with_query("restype", "container")
        .with_query("prefix", "chain/é &")
        .with_query("maxresults", "5000")
        .with_query("Marker", "2!8!MDAw")
        .with_query("comp", "list")
        .with_header("x-ms-date", DATE);
    let signed = harbour().authorization(&request);
    assert_eq!(signed, "SharedKey harbour:JbWQ3bKnT4oQYU7JVS80fK7ZBHs3cM3fU0Yk/7S0/5E=");
}

#[test]
fn a_part_of_a_batch_is_signed_without_a_version() {
    let request = Request::new(Method::Delete, "/boats/x")
        .with_header("content-length", "0")
        .with_header("x-ms-date", DATE);
    let signed = harbour().authorization(&request);
    assert_eq!(signed, "SharedKey harbour:kUWJ6TIhAouz6p5jS1+VTmbE9tlbr7PnVifzrsk6Aqg=");
}

#[test]
fn a_key_that_is_none_is_refused_without_showing_it() {
    for key in ["", "not base64!", "===="] {
        let error = SharedKey::new("harbour", &Secret::new(key)).expect_err("no key");
        assert!(error.to_string().contains("key1 or key2"), "{error}");
        assert!(key.is_empty() || !error.to_string().contains(key), "{error}");
    }
    assert!(!format!("{:?}", harbour()).contains("ZGVm"));
}

#[test]
fn every_vector_of_the_official_sdk_is_met() {
    let Some(vectors) = shared("sharedkey_vectors.json") else { return };
    let key = Secret::new(vectors["key_base64"].as_str().expect("a key"));
    let key = SharedKey::new(vectors["account"].as_str().expect("an account"), &key);
    let key = key.expect("a key");
    let cases = vectors["vectors"].as_array().expect("vectors");
    assert!(cases.len() >= 22, "{} vectors", cases.len());
    for case in cases {
        let name = case["case"].as_str().expect("a name");
        let request = request_of(case);
        let text = string_to_sign(key.account(), &request);
        assert_eq!(text, case["string_to_sign"].as_str().expect("a text"), "{name}");
        let signed = key.authorization(&request);
        assert_eq!(signed, case["authorization"].as_str().expect("a signature"), "{name}");
    }
}

fn request_of(case: &serde_json::Value) -> Request<'static> {
    let method = match case["method"].as_str().expect("a method") {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        other => panic!("method {other}"),
    };
    let url = case["url"].as_str().expect("a url");
    let (_, rest) = url.split_once("://").expect("a scheme");
    let (_, rest) = rest.split_once('/').expect("a path");
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut request = Request::new(method, format!("/{path}"));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value).expect("an encoded value");
        request = request.with_query(name, value);
    }
    for (name, value) in case["headers"].as_object().expect("headers") {
        request = request.with_header(name, value.as_str().expect("text"));
    }
    request
}
