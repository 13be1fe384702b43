//! What goes into an index comes out of it, and hostile text ends in an error.

use alloc::string::ToString as _;

use super::*;

const TEXT: &str = "M virtio virtio.ko\nM virtio_ring virtio_ring.ko virtio\n\
    M failover failover.ko\nM net_failover net_failover.ko failover\n\
    M virtio_net virtio_net.ko virtio_ring virtio net_failover\n\
    M i2c_i801 i2c-i801.ko\nM button button.ko\nA acpi*:PNP0C0C:* button\nA pci:v00008086d*sv* i2c_i801\n\
    A virtio:d00000001v* virtio_net\nA virtio:d*v* virtio_net\n";

#[test]
fn an_index_is_read_back_as_it_was_written() {
    let index = Index::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(index.to_string(), TEXT);
    assert_eq!((index.modules().len(), index.patterns()), (7, 4));
    assert_eq!(Index::parse(b"").unwrap(), Index::default());
}

#[test]
fn a_device_gets_its_module_once_after_all_that_it_needs() {
    let index = Index::parse(TEXT.as_bytes()).unwrap();
    let wanted = index.wanted("virtio:d00000001v00001AF4");
    assert_eq!(wanted, [4]);
    let names: Vec<&str> =
        index.with_needs(4).iter().map(|&place| index.modules()[place].name.as_str()).collect();
    assert_eq!(names, ["virtio", "virtio_ring", "failover", "net_failover", "virtio_net"]);
    assert_eq!(index.wanted("virtio"), [0; 0]);
    assert_eq!(index.wanted("usb:v1"), [0; 0]);
    assert_eq!(index.wanted("acpi:PNP0C0C:"), [6]);
    assert_eq!(index.with_needs(99), [0; 0]);
    assert_eq!(index.place("i2c-i801"), Some(5));
}

#[test]
fn what_could_not_be_loaded_is_refused() {
    for (text, word) in [
        ("M a a.ko b\nM b b.ko", "not above"),
        ("M a a.ko a", "not above"),
        ("M a a.ko\nM a a.ko", "twice"),
        ("M a ../a.ko", "file"),
        ("M a a", "file"),
        ("M a .ko", "file"),
        ("M a", "file"),
        ("M  a.ko", "name"),
        ("M a/b a.ko", "name"),
        ("A x:y a", "no module"),
        ("A x", "no module after"),
        ("M a a.ko\nA x a", "no colon"),
        ("M a a.ko\nA :x a", "no bus"),
        ("B", "neither"),
    ] {
        let error = Index::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(word), "{text:?}: {error}");
        assert_eq!(error.line, text.lines().count().min(error.line));
    }
    assert!(Index::parse(b"M \xff a.ko").unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn changed_bytes_end_in_an_answer() {
    let mut state = 5_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = TEXT.as_bytes().to_vec();
        for _ in 0..=draw(3) {
            let at = draw(bytes.len());
            bytes[at] = b"MA \n*:.-_ko\xff0"[draw(13)];
        }
        if let Ok(index) = Index::parse(&bytes) {
            read += 1;
            let again = Index::parse(index.to_string().as_bytes()).unwrap();
            assert_eq!(again, index);
            for place in 0..index.modules().len() {
                let needs = index.with_needs(place);
                assert_eq!(needs.last(), Some(&place));
            }
        }
    }
    assert!(read > 100, "some changes are harmless: {read}");
}
