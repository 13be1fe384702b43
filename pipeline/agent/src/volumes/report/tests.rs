//! What LVM's and the device mapper's programs said on a real machine, and what is made of it.

use super::*;

/// LVM 2.03.16 on a kernel 6.1, a snapshot of ours included.
const VOLUMES: &str = "
  vg-a|data|ZgWxPk-306b-D93O-DOO3-kmI0-Q70J-Ja37FJ|linear|0|/dev/vda:0-15||254|0|owi-a-s---|
  vg-a|data|ZgWxPk-306b-D93O-DOO3-kmI0-Q70J-Ja37FJ|linear|16|/dev/vda:24-27||254|0|owi-a-s---|
  vg-a|kept|txH7B3-lZtK-T6ec-uwcG-DPzi-dA57-zk4vba|linear|0|/dev/vda:28-28|x,y|254|4|sri-a-s---|other
  vg-a|lifeboat_point|TTWkI1-whdr-lTiL-1v6Z-IDQ5-L52H-ggAdk4|linear|0|/dev/vda:29-30|lifeboat_agent|254|7|sri-a-s---|data
  vg-a|off|6TRoup-BS71-R6r8-b7Ug-Zi1a-KZ23-3LZMA1|linear|0|/dev/vda:20-23||-1|-1|-wi-------|
  vg-a|other|DvdA9o-pf8u-FUyP-yw4x-rXoJ-tFbd-9qDE9m|linear|0|/dev/vda:16-19||254|1|owi-a-s---|
";
const EXTENTS: &str = "
  vg-a|/dev/vda|2048|8192|63|0|16|linear
  vg-a|/dev/vda|2048|8192|63|16|4|linear
  vg-a|/dev/vda|2048|8192|63|20|4|linear
  vg-a|/dev/vda|2048|8192|63|24|4|linear
  vg-a|/dev/vda|2048|8192|63|28|1|linear
  vg-a|/dev/vda|2048|8192|63|29|34|free
  |/dev/vdb|2048|0|0|0|0|free
";
const TABLE: &str = "0 131072 linear 253:0 2048\n131072 32768 linear 253:0 198656\n";
const BYTES: u64 = 256 << 20;

fn before() -> String {
    VOLUMES.replace("254|0|owi-a-s---|", "254|0|-wi-a-----|")
}

fn place(_: (u32, u32)) -> Option<Place> {
    Some(Place { disk: 0, start: 0, bytes: BYTES })
}

fn groups(extents: &str) -> Groups {
    let place = |node: &str| (node == "/dev/vda").then_some(place((253, 0))).flatten();
    Groups::new(extents, &[BYTES], &place)
}

fn data() -> Plain {
    Plain { group: "vg-a".to_owned(), name: "data".to_owned(), number: (254, 0) }
}

fn runs(set: &BlockSet) -> Vec<(u64, u64)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some((first, blocks)) = set.next_run(from, u32::MAX) {
        from = first + u64::from(blocks);
        found.push((first, from));
    }
    found
}

#[test]
fn of_all_volumes_those_are_found_that_a_snapshot_may_be_taken_of() {
    assert_eq!(plain(&before()), [data()]);
    assert!(plain(VOLUMES).is_empty(), "there is one of each");
    let words = others(&before()).join("; ");
    for volume in ["vg-a/kept: it is one itself", "vg-a/other: there is one of it already"] {
        assert!(words.contains(volume), "{words}");
    }
    let thin = "vg|t|u|thin|0|p:0-1||254|3|Vwi-a-tz--|";
    assert!(plain(thin).is_empty() && others(thin)[0].ends_with("vg/t: thin"));
}

#[test]
fn a_snapshot_is_ours_by_its_name_and_its_tag_together() {
    let ours = |report: &str| ours(report, "lifeboat_point", "lifeboat_agent");
    assert_eq!(ours(VOLUMES), ["vg-a"]);
    assert!(ours(&VOLUMES.replace("|lifeboat_agent|", "||")).is_empty());
    assert!(ours(&VOLUMES.replace("|lifeboat_agent|", "|lifeboat_agents,x|")).is_empty());
    assert!(ours(&VOLUMES.replace("|lifeboat_point|", "|theirs|")).is_empty());
    // Killed before it was one.
    assert_eq!(ours("g|lifeboat_point|u|linear|0|p:0-1|lifeboat_agent|254|7|-wi-a-----|"), ["g"]);
    // Somebody made one of it.
    assert!(ours("g|lifeboat_point|u|linear|0|p:0-1|lifeboat_agent|254|7|owi-a-----|").is_empty());
}

#[test]
fn a_snapshot_of_ours_alone_changes_nothing_that_matters() {
    let clean: String = before()
        .lines()
        .filter(|line| !line.contains("lifeboat_point"))
        .collect::<Vec<_>>()
        .join("\n");
    let seen = without(&clean, "lifeboat_point");
    assert_eq!(seen, without(VOLUMES, "lifeboat_point"));
    for (was, is) in [("/dev/vda:24-27", "/dev/vda:24-28"), ("|other|", "|another|"), ("x,y", "x")]
    {
        assert_ne!(seen, without(&VOLUMES.replace(was, is), "lifeboat_point"), "{is}");
    }
}

#[test]
fn a_volume_its_groups_metadata_and_what_is_free_are_found_on_the_disk() {
    let volume = groups(EXTENTS).volume(&data(), TABLE, &place).unwrap();
    let piece = |first, blocks| Piece { disk: 0, first, blocks };
    assert_eq!(volume.pieces, [piece(16, 1024), piece(1552, 256)]);
    // Before the first extent and behind the last; 34 extents of 4 MiB are free.
    assert_eq!(runs(&volume.metadata[0]), [(0, 16), (16 + 63 * 64, 4096)]);
    assert_eq!(runs(&volume.free[0]), [(16 + 29 * 64, 16 + 63 * 64)]);
    assert_eq!((volume.room, volume.name.as_str()), (34 * 64, "vg-a/data"));
}

#[test]
fn what_does_not_lie_at_whole_blocks_or_not_on_a_protected_disk_is_refused() {
    let refused = |extents: &str, table: &str, place: &dyn Fn((u32, u32)) -> Option<Place>| {
        groups(extents).volume(&data(), table, place).unwrap_err()
    };
    let odd = EXTENTS.replace("|2048|", "|2049|");
    assert!(refused(&odd, TABLE, &place).contains("whole blocks"));
    let elsewhere = EXTENTS.replace("/dev/vda|2048|8192|63|29", "/dev/md0|2048|8192|63|29");
    assert!(refused(&elsewhere, TABLE, &place).contains("/dev/md0 is not a protected disk"));
    assert!(refused(EXTENTS, TABLE, &|_| None).contains("not a protected disk"));
    for (table, why) in [
        ("0 131072 snapshot-origin 254:5\n", "snapshot-origin"),
        ("0 131072 linear 253:0 2049\n", "whole blocks"),
        ("128 131072 linear 253:0 2048\n", "whole blocks"),
        ("0 131072 linear 253:0 524288\n", "beyond its disk"),
        ("0 x linear 253:0 1\n", "in place of numbers"),
        ("0 18446744073709551615 linear 253:0 2048\n", "in place of numbers"),
        ("", "beyond its disk"),
    ] {
        let words = refused(EXTENTS, table, &place);
        assert!(words.contains(why), "{table}: {words}");
    }
    let partition = |_: (u32, u32)| Some(Place { disk: 0, start: 63 * 512, bytes: BYTES });
    assert!(refused(EXTENTS, TABLE, &partition).contains("whole blocks"));
    assert!(refused("x|y\n\n|||\n", TABLE, &place).contains("not known"));
    let words = refused(&EXTENTS.replace("|63|", "|many|"), TABLE, &place);
    assert!(words.contains("«many»"), "{words}");
    assert!(refused(&EXTENTS.replace("|63|", "|6300|"), TABLE, &place).contains("beyond the disk"));
}

#[test]
fn a_snapshot_that_overflowed_is_not_whole() {
    assert!(is_whole("0 131072 snapshot 7040/65536 24\n"));
    for bad in [
        "0 131072 snapshot Invalid",
        "0 131072 snapshot Overflow",
        "0 1 snapshot",
        "0 1 linear",
        "",
    ] {
        assert!(!is_whole(bad), "{bad}");
    }
}
