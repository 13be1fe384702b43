//! Addresses that must be read, and those that must be refused in words that help.

use super::*;
use crate::cloud::{CHINA, US_GOVERNMENT};

fn address(text: &str) -> AzureAddress {
    AzureAddress::parse(text).expect(text)
}

fn refusal(text: &str) -> String {
    AzureAddress::parse(text).expect_err(text).to_string()
}

#[test]
fn a_plain_address_means_the_commercial_cloud() {
    let plain = address("azure://siteone/vault");
    assert_eq!(plain.origin().to_string(), "https://siteone.blob.core.windows.net");
    assert_eq!(plain.blob_path("a/b c"), "/vault/a/b%20c");
    assert_eq!(plain.to_string(), "azure://siteone/vault");
}

#[test]
fn other_clouds_have_other_hosts() {
    let gov = address("azure://siteone/vault?cloud=usgov");
    assert_eq!(gov.origin().authority, "siteone.blob.core.usgovcloudapi.net");
    assert_eq!(gov.cloud(), US_GOVERNMENT);
    assert_eq!(gov.to_string(), "azure://siteone/vault?cloud=usgov");
    let china = address("azure://siteone/vault?cloud=china");
    assert_eq!(china.origin().authority, "siteone.blob.core.chinacloudapi.cn");
    assert_eq!(china.cloud(), CHINA);
}

#[test]
fn a_prefix_is_part_of_every_name() {
    let inner = address("azure://siteone/vault/site/a/");
    assert_eq!(inner.full_name("x"), "site/a/x");
    assert_eq!(inner.own_name("site/a/x"), Some("x"));
    assert_eq!(inner.own_name("site/ax"), None);
    assert_eq!(inner.object("x"), "azure://siteone/vault/site/a/x");
}

#[test]
fn custom_endpoints_know_where_the_account_belongs() {
    let cases = [
        ("http://127.0.0.1:10000", "/siteone/vault", "127.0.0.1:10000"),
        ("http://127.0.0.1:10000/siteone", "/siteone/vault", "127.0.0.1:10000"),
        ("http://[::1]:10000/siteone/", "/siteone/vault", "[::1]:10000"),
        ("http://azurite:10000", "/siteone/vault", "azurite:10000"),
        ("https://siteone.blob.localhost:10000", "/vault", "siteone.blob.localhost:10000"),
        ("https://siteone.privatelink.example.com", "/vault", "siteone.privatelink.example.com"),
        ("https://backup.example.com", "/vault", "backup.example.com"),
    ];
    for (endpoint, path, authority) in cases {
        let custom = address(&format!("azure://siteone/vault?endpoint={endpoint}"));
        assert_eq!(custom.container_path(), path, "{endpoint}");
        assert_eq!(custom.origin().authority, authority, "{endpoint}");
        assert_eq!(address(&custom.to_string()), custom, "{endpoint}");
    }
}

#[test]
fn an_endpoint_that_is_the_usual_one_is_not_custom() {
    let usual = "azure://siteone/vault?endpoint=https://siteone.blob.core.usgovcloudapi.net/";
    assert_eq!(address(usual), address("azure://siteone/vault?cloud=usgov"));
}

#[test]
fn the_secondary_has_its_own_host_or_path() {
    let second = |text: &str| address(text).secondary().expect(text);
    let usual = second("azure://siteone/vault");
    assert_eq!(usual.origin().authority, "siteone-secondary.blob.core.windows.net");
    assert!(usual.is_secondary());
    let path = second("azure://siteone/vault?endpoint=http://127.0.0.1:1");
    assert_eq!(path.container_path(), "/siteone-secondary/vault");
    let domain = address("azure://siteone/vault?endpoint=https://backup.example.com");
    assert!(domain.secondary().is_err());
}

#[test]
fn wrong_addresses_are_refused_with_their_reason() {
    let cases = [
        ("dir:/x", "does not begin with azure://"),
        ("azure://", "account"),
        ("azure://Upper/vault", "lower-case"),
        ("azure://siteone", "names no container"),
        ("azure://siteone.blob.core.windows.net/vault", "name only, not its host"),
        ("azure://siteone/va--ult", "single dashes"),
        ("azure://siteone/vault/a//b", "empty or dotted"),
        ("azure://siteone/vault/../b", "empty or dotted"),
        ("azure://siteone/vault?cloud=moon", "known are public"),
        ("azure://siteone/vault?colour=red", "unknown option"),
        ("azure://siteone/vault?endpoint=ftp://x", "neither https"),
        ("azure://siteone/vault?endpoint=https://user@x", "more than scheme"),
        ("azure://siteone/vault?endpoint=http://127.0.0.1:1/other", "where the account"),
        ("azure://siteone/vault?endpoint=https://", "names no host"),
    ];
    for (text, reason) in cases {
        let said = refusal(text);
        assert!(said.contains(reason), "{text}: {said}");
    }
}

#[test]
fn a_signature_in_an_address_is_refused_and_not_repeated() {
    let said = refusal("azure://siteone/vault?sv=2024-11-04&sig=c2VjcmV0");
    assert!(said.contains("AZURE_STORAGE_SAS_TOKEN"), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
}

#[test]
fn loopback_is_recognised() {
    for url in ["http://127.0.0.1:1", "http://[::1]", "http://localhost:5", "http://a.localhost"] {
        assert!(Origin::parse(url).expect(url).0.is_loopback(), "{url}");
    }
    assert!(!Origin::parse("http://10.0.0.1").expect("an origin").0.is_loopback());
    assert_eq!(Origin::parse("https://[::1]:8443").expect("an origin").0.port(), 8443);
    assert_eq!(Origin::parse("https://h").expect("an origin").0.port(), 443);
}
