//! The screen is always 80 by 25, whatever the machine is like.

use hal_sim::random::Random;

use super::*;

fn view() -> View {
    View {
        name: "site-one".into(),
        version: "0.1.0".into(),
        role: "appliance".into(),
        status: "ready".into(),
        time: "2026-11-22 20:04 UTC".into(),
        addresses: vec!["eth0 192.0.2.7/24".into(), "eth0 2001:db8::7/64".into()],
        vault: "azure://account/servers".into(),
        state: "kept on sda2".into(),
        disks: vec!["sda  1.82 TiB  ST2000NM0055  ZC20AAAA".into()],
        nics: vec!["eth0  up  52:54:00:12:34:56  virtio_net".into()],
        ..View::default()
    }
}

fn check(rows: &[String]) {
    assert_eq!(rows.len(), ROWS, "{rows:#?}");
    for row in rows {
        assert!(row.chars().count() < COLUMNS, "{row}");
        assert!(!row.chars().any(char::is_control), "{row:?}");
    }
}

#[test]
fn everything_a_person_needs_is_on_one_screen() {
    let rows = render(&view(), &Entry::default());
    check(&rows);
    let text = rows.join("\n");
    for word in [
        "Lifeboat 0.1.0",
        "site-one",
        "appliance",
        "20:04 UTC",
        "192.0.2.7",
        "2001:db8::7",
        "azure://account/servers",
        "ST2000NM0055",
        "virtio_net",
        "s shut down",
        "Certificate  none yet",
    ] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    assert!(!text.contains("Last error"));
}

#[test]
fn a_machine_without_anything_says_so() {
    let text = render(&View::default(), &Entry::default()).join("\n");
    assert!(text.contains("no disk found") && text.contains("no network card found"), "{text}");
}

#[test]
fn two_hundred_disks_are_counted_and_the_error_stays_in_sight() {
    let mut view = view();
    view.disks = (0..200).map(|number| format!("disk{number}")).collect();
    view.last_error = Some("the vault refuses: ".to_owned() + &"long ".repeat(100));
    let rows = render(&view, &Entry::default());
    check(&rows);
    let text = rows.join("\n");
    assert!(text.contains("and 196 more") && text.contains("the vault refuses"), "{text}");
    assert!(text.contains("s shut down"));
}

#[test]
fn what_is_wrong_with_the_vault_is_told_to_its_end() {
    let mut view = view();
    view.disks = (0..9).map(|number| format!("disk{number}")).collect();
    view.vault = "cannot be read, tried again every 60 s: azure://account/container-of-the-servers/vault: \
        10.20.30.40:443 refuses the connection (tried 8 times in 14 s); check the network, the firewall and the \
        endpoint, then run it again"
        .into();
    let rows = render(&view, &Entry::default());
    check(&rows);
    let text = rows.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["refuses the connection", "endpoint, then run it again", "disk0", "s shut down"] {
        assert!(text.contains(words), "{words} is missing:\n{}", rows.join("\n"));
    }
}

#[test]
fn what_keys_do_stays_in_sight_however_much_there_is_to_say() {
    let long = |words: &str| format!("{words} ").repeat(60);
    let mut view = view();
    view.addresses = vec![long("address"); 9];
    view.page = Some("https://192.0.2.7/".into());
    view.fingerprint = Some("AB:".repeat(32));
    for words in [&mut view.status, &mut view.vault, &mut view.state, &mut view.spool] {
        *words = long("trouble");
    }
    view.agents = "12 of 14 servers connected, 3.20 GiB for the vault, oldest point 35 s".into();
    view.disks = vec![long("disk"); 30];
    view.nics = vec![long("card"); 30];
    view.last_error = Some(long("failed"));
    view.job = Some(Job { title: "capture".into(), done: 1, total: 2, words: String::new() });
    let rows = render(&view, &Entry::default());
    check(&rows);
    let text = rows.join("\n");
    for words in ["12 of 14 servers", "50 %", "t token", "s shut down"] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
}

#[test]
fn a_list_is_shown_around_its_marker_and_secrets_are_not_shown() {
    let choices: Vec<String> = (0..60).map(|number| format!("point {number}")).collect();
    let kind = Kind::Choice(choices);
    let mut view = view();
    view.question = Some(Question { title: "Which point?".into(), words: Vec::new(), kind });
    let rows = render(&view, &Entry { text: String::new(), place: 41 });
    check(&rows);
    assert!(rows.iter().any(|row| row.contains(">") && row.contains("point 41")), "{rows:#?}");
    assert!(rows.iter().any(|row| row.contains("42 of 60")));
    view.question = Some(Question { title: "Key?".into(), words: Vec::new(), kind: Kind::Secret });
    let rows = render(&view, &Entry { text: "sesame".into(), place: 0 });
    assert!(rows.iter().any(|row| row.contains("> ******_")));
    assert!(!rows.join("").contains("sesame"));
}

#[test]
fn a_long_job_has_its_bar() {
    let mut view = view();
    let job = Job {
        title: "capture web1".into(),
        done: 1 << 30,
        total: 4 << 30,
        words: "9 min left".into(),
    };
    view.job = Some(job);
    let rows = render(&view, &Entry::default());
    check(&rows);
    let text = rows.join("\n");
    assert!(text.contains("25 %  1.00 GiB of 4.00 GiB  9 min left"), "{text}");
}

#[test]
fn words_are_wrapped_and_none_is_lost() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("", 7), [""]);
    assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
}

#[test]
fn any_view_fits_the_screen() {
    let mut random = Random::new(77);
    let mut some = |most: u64| -> String {
        let letters = ['a', ' ', '\n', '\x1b', 'é', '0', '\u{202e}'];
        let length = random.below(most);
        (0..length)
            .map(|_| letters[usize::try_from(random.below(letters.len() as u64)).unwrap()])
            .collect()
    };
    for round in 0..500 {
        let mut view = View {
            name: some(60),
            role: some(20),
            status: some(300),
            addresses: vec![some(200), some(90)],
            vault: some(200),
            disks: vec![some(100); 7],
            last_error: Some(some(900)),
            ..View::default()
        };
        view.messages = (0..30).map(|_| some(300)).collect();
        if round % 2 == 0 {
            view.job = Some(Job { title: some(100), done: 7, total: 3, words: some(90) });
        }
        if round % 3 == 0 {
            let kind = Kind::Choice((0..round).map(|_| some(120)).collect());
            let words = vec![some(400), some(400)];
            view.question = Some(Question { title: some(100), words, kind });
        }
        let mut terminal = crate::appliance::console::terminal::Terminal::default();
        let rows = render(&view, &Entry { text: some(300), place: usize::from(round > 50) * 40 });
        assert_eq!(rows.len(), ROWS);
        assert!(!terminal.draw(&rows).is_empty());
    }
}
