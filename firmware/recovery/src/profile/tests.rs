//! Profiles that are sound, and those that are not.

use super::*;
use crate::test_world::profile;

#[test]
fn what_is_wrong_with_a_profile_is_named_by_its_field() {
    assert_eq!(profile().problems(), [""; 0]);
    type Change = fn(&mut Profile);
    let cases: [(&str, Change); 9] = [
        ("subscription", |profile| profile.subscription.clear()),
        ("group", |profile| profile.group = "a/b".to_owned()),
        ("sizes", |profile| profile.sizes.clear()),
        ("zone", |profile| profile.zone = Some("north".to_owned())),
        ("system_disk", |profile| profile.system_disk = "PremiumV2_LRS".to_owned()),
        ("trusted_launch", |profile| {
            profile.security = Security::TrustedLaunch;
            profile.generation = Some(Generation::V1);
        }),
        ("signal", |profile| profile.signals.push(Signal::Console(String::new()))),
        ("drill_range", |profile| profile.drill_range = "10.0.0.0".to_owned()),
        ("lifeboat-", |profile| {
            profile.tags.insert("lifeboat-order".to_owned(), "x".to_owned());
        }),
    ];
    for (piece, change) in cases {
        let mut bad = profile();
        change(&mut bad);
        let problems = bad.problems();
        assert!(problems.len() == 1 && problems[0].contains(piece), "{piece}: {problems:?}");
    }
}

#[test]
fn an_address_is_a_word_or_named_and_reads_as_it_was_written() {
    let home: IpAddr = [10, 1, 0, 7].into();
    let cases = [
        ("\"dynamic\"", Address::Dynamic),
        ("\"retained\"", Address::Retained(None)),
        ("{\"given\":\"10.1.0.7\"}", Address::Given(home)),
        ("{\"retained\":\"10.1.0.7\"}", Address::Retained(Some(home))),
    ];
    for (text, address) in cases {
        assert_eq!(serde_json::from_str::<Address>(text).unwrap(), address);
        assert_eq!(serde_json::to_string(&address).unwrap(), text);
    }
    let wrong = serde_json::from_str::<Address>("\"static\"").unwrap_err().to_string();
    assert!(wrong.contains("\"retained\""), "{wrong}");
}

#[test]
fn who_may_is_a_user_anywhere_or_a_user_at_one_host() {
    let mut profile = profile();
    assert!(profile.lets("eve@x"));
    profile.who_may = vec!["ann".to_owned(), "bob@one".to_owned()];
    for (who, may) in
        [("ann@x", true), ("ann", true), ("bob@one", true), ("bob@two", false), ("annx@x", false)]
    {
        assert_eq!(profile.lets(who), may, "{who}");
    }
}

#[test]
fn what_is_no_range_of_a_network_is_none() {
    assert_eq!(range("10.255.0.9/24"), Some((u32::from_be_bytes([10, 255, 0, 0]), 24)));
    for bad in ["10.0.0.0", "x/8", "10.0.0.0/33", "10.0.0.0/7", "::1/64"] {
        assert!(range(bad).is_none(), "{bad}");
    }
}
