//! The dialogue, answered in every way.

use hal_sim::random::Random;

use super::*;

const MAC: &str = "52:54:00:00:00:01";

fn state() -> State {
    let link = |name: &str, mac: &str| LinkState {
        name: name.to_owned(),
        device: Some(name.to_owned()),
        mac: Some(mac.to_owned()),
        ..LinkState::default()
    };
    State { links: vec![link("eth0", MAC), link("eth1", "52:54:00:00:00:02")], ..State::default() }
}

fn form(page: &str, source: Source) -> Form {
    Form::new(&toml::from_str(page).unwrap(), source, &state())
}

fn typed(text: &str) -> Answer {
    Answer::Typed(text.to_owned())
}

/// Answers until something comes of it.
fn play(form: &mut Form, answers: impl IntoIterator<Item = Answer>) -> Turn {
    let mut turn = Turn::Ask;
    for answer in answers {
        assert_eq!(turn, Turn::Ask, "{:?}", form.question());
        turn = form.take(answer);
    }
    turn
}

/// A fixed address on the first link, with this VLAN and MTU, up to the last question.
fn fixed(vlan: &str, mtu: &str) -> Vec<Answer> {
    let mut answers = vec![Answer::Chosen(0), Answer::Chosen(1)];
    answers.extend(["10.8.0.5/24", "10.8.0.1", "10.8.0.2 10.8.0.3", vlan, mtu].map(typed));
    answers
}

fn tried(form: &mut Form, answers: Vec<Answer>) -> Network {
    match play(form, answers.into_iter().chain([Answer::Chosen(0)])) {
        Turn::Try(page) => *page,
        turn => panic!("{turn:?}: {:?}", form.question()),
    }
}

fn names(page: &Network) -> Vec<&str> {
    page.links.iter().map(|link| link.name.as_str()).collect()
}

#[test]
fn a_fixed_address_is_typed_and_every_other_link_stays_as_it_was() {
    let page = tried(&mut form("", Source::Default), fixed("", "1400"));
    assert_eq!(names(&page), ["eth0", "eth1"]);
    let [first, second] = page.links.as_slice() else { panic!("{page:?}") };
    assert_eq!(first.nic, Some(NicChoice::from(MAC.to_owned())));
    assert_eq!(
        (joined(&first.addresses), joined(&first.gateways)),
        ("10.8.0.5/24".into(), "10.8.0.1".into())
    );
    assert_eq!((first.ipv4(), first.mtu), (Ipv4::Static, Some(1400)));
    assert_eq!((second.ipv4(), second.mtu), (Ipv4::Dhcp, None));
    assert_eq!(joined(&page.dns), "10.8.0.2 10.8.0.3");
    // What is kept is text, and means the same when it is read.
    let text = toml::to_string(&page).unwrap();
    assert_eq!(toml::from_str::<Network>(&text).unwrap(), page);
}

#[test]
fn a_vlan_is_put_on_its_link_changed_and_taken_off() {
    let page = tried(&mut form("", Source::Default), fixed("30", ""));
    assert_eq!(names(&page), ["eth0", "eth1", "eth0.30"]);
    assert_eq!((page.links[0].ipv4(), page.links[0].ipv6()), (Ipv4::Off, Ipv6::Off));
    assert_eq!(page.links[2].vlan, Some(Vlan { on: "eth0".to_owned(), id: 30 }));
    let text = toml::to_string(&page).unwrap();

    let choose = |vlan: &str| {
        let mut answers = vec![Answer::Chosen(2), Answer::Chosen(1)];
        answers.extend(["10.8.0.6/24", "", "", vlan, ""].map(typed));
        answers
    };
    let changed = tried(&mut form(&text, Source::Console), choose("31"));
    assert_eq!(names(&changed), ["eth0", "eth1", "eth0.31"]);
    assert_eq!(joined(&changed.links[2].addresses), "10.8.0.6/24");
    let bare = tried(&mut form(&text, Source::Console), choose(""));
    assert_eq!(names(&bare), ["eth0", "eth1"]);
    assert_eq!(joined(&bare.links[0].addresses), "10.8.0.6/24");
    assert_eq!(vlan_name("a-long-name-of-1", 4094), "a-long-nam.4094");
}

#[test]
fn routes_follow_their_link_into_a_vlan() {
    let page = "[[link]]\nname = \"up\"\nnic = \"eth0\"\naddresses = [\"10.1.0.2/24\"]\n\
        [[route]]\nto = \"10.9.0.0/16\"\nlink = \"up\"\nvia = \"10.8.0.9\"\n";
    let page = tried(&mut form(page, Source::File), fixed("7", ""));
    assert_eq!((names(&page), page.routes[0].link.as_str()), (vec!["up", "up.7"], "up.7"));
}

#[test]
fn addresses_of_ipv6_alone_end_the_search_for_a_server() {
    let mut form = form("", Source::Default);
    let mut answers = vec![Answer::Chosen(1), Answer::Chosen(1)];
    answers.extend(["fd00::5/64", "fd00::1", "", "", ""].map(typed));
    let page = tried(&mut form, answers);
    assert_eq!((page.links[1].ipv4(), page.links[1].ipv6()), (Ipv4::Off, Ipv6::Static));
}

#[test]
fn what_cannot_be_read_is_asked_for_again_with_a_reason() {
    let mut form = form("", Source::Default);
    play(&mut form, [Answer::Chosen(0), Answer::Chosen(1)]);
    for bad in ["", "10.0.0.5", "10.0.0.5/24 x"] {
        assert_eq!(form.take(typed(bad)), Turn::Ask);
        let question = form.question();
        assert!(question.title.starts_with("Which addresses"), "{question:?}");
        assert!(
            question.words.len() == 2 && question.kind == Kind::Text(bad.to_owned()),
            "{question:?}"
        );
    }
    play(&mut form, ["10.0.0.5/24", "", "", "+5"].map(typed));
    assert!(form.question().title.contains("VLAN"));
}

#[test]
fn what_does_not_fit_together_cannot_be_used() {
    for (vlan, mtu, word) in [("5000", "", "4094"), ("", "100", "mtu"), ("0", "", "between")] {
        let mut form = form("", Source::Default);
        play(&mut form, fixed(vlan, mtu));
        let question = form.question();
        assert!(question.words.iter().any(|line| line.contains(word)), "{question:?}");
        assert_eq!(question.kind, Kind::Choice(vec!["change them".to_owned(), "back".to_owned()]));
        assert_eq!(form.take(Answer::Chosen(0)), Turn::Ask);
        assert!(form.question().title.contains("eth0"));
    }
    let mut form = form("", Source::Default);
    let mut answers = vec![Answer::Chosen(0), Answer::Chosen(1)];
    answers.extend(["10.0.0.5/24", "10.9.0.1", "", "", ""].map(typed));
    play(&mut form, answers);
    assert!(form.question().words[0].contains("10.9.0.1"), "{:?}", form.question());
}

#[test]
fn escape_leads_back_and_only_what_was_typed_is_forgotten() {
    let mut form = form("", Source::Console);
    assert_eq!(play(&mut form.clone(), [Answer::Chosen(2)]), Turn::Forget);
    assert_eq!(play(&mut form.clone(), [Answer::Chosen(3)]), Turn::Leave);
    assert_eq!(form.take(Answer::Chosen(0)), Turn::Ask);
    assert_eq!(form.take(Answer::None), Turn::Ask);
    assert_eq!(form.take(Answer::None), Turn::Leave);
    assert_eq!(play(&mut self::form("", Source::File), [Answer::Chosen(2)]), Turn::Leave);
}

#[test]
fn any_answers_end_in_a_page_that_holds_or_in_another_question() {
    let texts =
        ["", "10.0.0.5/24", "fd00::5/64", "10.0.0.1", "5", "x", "9999999999", "1500", "ü/8"];
    let mut random = Random::new(17);
    let mut tries = 0;
    for round in 0..3000 {
        let sources = [Source::Default, Source::File, Source::Console];
        let mut form = form("", sources[round % 3]);
        for _ in 0..30 {
            let answer = match random.below(8) {
                0 => Answer::None,
                1 | 2 => Answer::Chosen(usize::try_from(random.below(5)).unwrap()),
                _ if matches!(form.question().kind, Kind::Choice(_)) => {
                    Answer::Chosen(usize::try_from(random.below(2)).unwrap())
                }
                _ => typed(texts[usize::try_from(random.below(texts.len() as u64)).unwrap()]),
            };
            match form.take(answer) {
                Turn::Try(page) => {
                    assert!(page.check().is_ok());
                    tries += 1;
                    break;
                }
                Turn::Ask => assert!(!form.question().title.is_empty()),
                Turn::Leave | Turn::Forget => break,
            }
        }
    }
    assert!(tries > 20, "only {tries} pages were tried");
}
