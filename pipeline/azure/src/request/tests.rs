//! What requests look like on the wire.

use super::batch::{delete, part};
use super::blob::{AccessTier, BlockId, get_range, put, put_block, put_block_list, set_tier};
use super::lease::{LeaseId, LeaseTerm, acquire};
use super::*;
use crate::address::AzureAddress;
use crate::encode::base64_decode;

fn address() -> AzureAddress {
    AzureAddress::parse("azure://harbour/boats/site").expect("an address")
}

#[test]
fn a_create_never_overwrites_and_carries_its_checksum() {
    let body = *b"123456789";
    let request = put(&address(), "seg/1", &body, Some(AccessTier::Cool));
    assert_eq!(request.target().expose(), "/boats/site/seg/1");
    assert_eq!(request.header("If-None-Match"), Some("*"));
    assert_eq!(request.header("x-ms-content-crc64"), Some("iJh5CoYUi64="));
    assert_eq!(request.header("x-ms-access-tier"), Some("Cool"));
    assert_eq!(request.header("x-ms-version"), Some(API_VERSION));
    let list = put_block_list(&address(), "seg/1", &[BlockId::new([1; 16], 0)], None);
    assert_eq!(list.header("if-none-match"), Some("*"));
    assert!(list.header("x-ms-content-crc64").is_some());
}

#[test]
fn the_body_is_the_caller_s_own_memory() {
    let body = vec![7_u8; 1 << 20];
    let id = BlockId::new([1; 16], 0);
    let (whole, block) =
        (put(&address(), "x", &body, None), put_block(&address(), "x", &id, &body));
    for request in [whole, block] {
        let Some(Cow::Borrowed(sent)) = &request.body else { panic!("the body was copied") };
        assert_eq!(sent.as_ptr(), body.as_ptr());
        assert_eq!(sent.len(), body.len());
    }
}

#[test]
fn block_ids_of_one_object_have_one_length_and_differ_between_uploads() {
    let ids = [([0; 16], 0), ([0; 16], 49_999), ([255; 16], 0)];
    let ids = ids.map(|(upload, number)| BlockId::new(upload, number).encoded());
    assert!(ids.iter().all(|id| id.len() == ids[0].len()));
    assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    assert!(base64_decode(&ids[0]).expect("base64").len() <= 64, "Azure takes 64 bytes at most");
}

#[test]
fn ranges_name_their_last_byte() {
    let request = get_range(&address(), "x", 100, 50, Some("\"0x8\""));
    assert_eq!(request.header("x-ms-range"), Some("bytes=100-149"));
    assert_eq!(request.header("if-match"), Some("\"0x8\""));
}

#[test]
fn a_lease_lasts_as_long_as_azure_allows() {
    let id = LeaseId([0xAB; 16]);
    let short = acquire(&address(), "x", id, LeaseTerm::Seconds(1));
    assert_eq!(short.header("x-ms-lease-duration"), Some("15"));
    assert_eq!(
        short.header("x-ms-proposed-lease-id"),
        Some("abababab-abab-abab-abab-abababababab")
    );
    let endless = acquire(&address(), "x", id, LeaseTerm::Endless);
    assert_eq!(endless.header("x-ms-lease-duration"), Some("-1"));
}

#[test]
fn a_tier_is_set_with_an_empty_body() {
    let request = set_tier(&address(), "x", AccessTier::Archive);
    assert_eq!(request.target().expose(), "/boats/site/x?comp=tier");
    assert_eq!(request.body.as_deref(), Some(&[][..]), "a PUT says its length even if it is 0");
}

#[test]
fn a_batch_is_multipart_with_a_request_in_each_part() {
    let parts = ["a", "b"].map(|name| part(&address(), name).with_header("authorization", "key"));
    let batch = delete(&address(), &parts, "batch_1");
    assert_eq!(batch.target().expose(), "/boats?restype=container&comp=batch");
    assert_eq!(batch.header("content-type"), Some("multipart/mixed; boundary=batch_1"));
    let body = String::from_utf8(batch.body.as_ref().expect("a body").to_vec()).expect("text");
    let expected = "--batch_1\r\nContent-Type: application/http\r\n\
        Content-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n\
        DELETE /boats/site/b HTTP/1.1\r\ncontent-length: 0\r\nauthorization: key\r\n\r\n\r\n\
        --batch_1--\r\n";
    assert!(body.ends_with(expected), "{body}");
}

#[test]
fn a_signature_comes_last_and_is_not_shown() {
    let mut request = Request::storage(Method::Get, "/boats/x").with_query("a b", "c&d");
    request.signature = Some(Secret::new("sv=1&sig=c2VjcmV0"));
    let request = request.with_header("authorization", "Bearer c2VjcmV0");
    assert_eq!(request.target().expose(), "/boats/x?a%20b=c%26d&sv=1&sig=c2VjcmV0");
    assert!(!format!("{request:?}").contains("c2VjcmV0"), "{request:?}");
}
