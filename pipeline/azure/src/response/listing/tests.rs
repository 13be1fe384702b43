//! Pages as Azure writes them, and pages that it would never write.

use pipeline_vault::store::Tier;

use super::*;

fn page(inner: &str) -> String {
    format!(
        "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <EnumerationResults ServiceEndpoint=\"https://x/\" ContainerName=\"boats\">{inner}</EnumerationResults>"
    )
}

fn blob(name: &str, tier: &str) -> String {
    format!(
        "<Blob>{name}<Properties><Creation-Time>Sun, 22 Nov 2026 12:44:35 GMT</Creation-Time>\
         <Last-Modified>Sun, 22 Nov 2026 12:44:35 GMT</Last-Modified><Etag>0x8</Etag>\
         <Content-Length>17</Content-Length><Content-CRC64 />{tier}<LeaseStatus>unlocked</LeaseStatus>\
         </Properties><OrMetadata/></Blob>"
    )
}

#[test]
fn a_page_with_everything_is_read() {
    let inner = format!(
        "<Prefix>a</Prefix><Delimiter/><MaxResults>5</MaxResults><Blobs>{}{}{}</Blobs>\
         <NextMarker>2!88!MDAwMDE4IWE-</NextMarker>",
        blob("<Name>a/1</Name>", "<AccessTier>Hot</AccessTier>"),
        blob("<Name>a/&lt;&amp;&#50;&#x33;</Name>", "<AccessTier>Archive</AccessTier>"),
        blob("<Name Encoded=\"true\">a%2F4%EF%BF%BE</Name>", ""),
    );
    let page = parse(page(&inner).as_bytes()).expect("a page");
    let names: Vec<&str> = page.objects.iter().map(|facts| facts.name.as_str()).collect();
    assert_eq!(names, ["a/1", "a/<&23", "a/4\u{FFFE}"]);
    assert_eq!(page.objects[0].bytes, 17);
    assert_eq!(page.objects[0].modified, 1_795_351_475_000);
    assert_eq!(page.objects[1].tier, Tier::Archive);
    assert_eq!(page.next.as_deref(), Some("2!88!MDAwMDE4IWE-"));
}

#[test]
fn the_last_page_has_no_marker() {
    for inner in ["<Blobs /><NextMarker />", "<Blobs></Blobs><NextMarker></NextMarker>", ""] {
        let page = parse(page(inner).as_bytes()).expect("a page");
        assert_eq!(page, Page::default());
    }
}

#[test]
fn what_is_no_listing_is_refused() {
    let entry = |inner: &str| page(&format!("<Blobs><Blob>{inner}</Blob></Blobs>"));
    let cases = [
        (String::new(), "ends early"),
        ("<html></html>".to_owned(), "no listing"),
        ("plain text".to_owned(), "ends early"),
        ("<EnumerationResults><Blobs>".to_owned(), "ends early"),
        ("<EnumerationResults></Other>".to_owned(), "not XML"),
        (
            page("") + &page("").replace("<?xml version=\"1.0\" encoding=\"utf-8\"?>", ""),
            "no listing",
        ),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><EnumerationResults/>".to_owned(), "document type"),
        (page("<Blobs><Blob><Name>&a;</Name></Blob></Blobs>"), "unknown entity"),
        (page(&"<x>".repeat(20)), "too deep"),
        (entry(""), "no name"),
        (entry("<Name>a</Name>"), "no length"),
        (entry("<Name Encoded=\"true\">%</Name>"), "broken escape"),
        (entry("<Properties><Content-Length>x</Content-Length></Properties>"), "no number"),
        (entry("<Properties><Last-Modified>x</Last-Modified></Properties>"), "a date is none"),
    ];
    for (text, reason) in cases {
        let malformed = parse(text.as_bytes()).expect_err(&text);
        assert!(malformed.0.contains(reason), "{text}: {}", malformed.0);
    }
    assert!(parse(&[0xFF]).is_err());
}
