//! What may be set, what is refused and where, and that no secret leaves.

use firmware_web::api::views::alerts::SyslogBy;

use super::*;

fn webhook(name: &str, url: &str, secret: Option<&str>) -> ChannelSet {
    ChannelSet {
        name: name.to_owned(),
        way: Way::Webhook { url: url.to_owned() },
        secret: secret.map(str::to_owned),
        at_least: None,
    }
}

fn mail(tls: MailTls, user: Option<&str>, from: &str, to: &[&str]) -> ChannelSet {
    let to = to.iter().map(|one| (*one).to_owned()).collect();
    let (host, user, from) =
        ("mail.example.com".to_owned(), user.map(str::to_owned), from.to_owned());
    ChannelSet {
        name: "mail".to_owned(),
        way: Way::Mail { host, tls, user, from, to },
        ..ChannelSet::default()
    }
}

fn set(channels: Vec<ChannelSet>) -> AlertsSet {
    AlertsSet { channels, ..AlertsSet::default() }
}

#[test]
fn what_is_set_comes_back_from_the_document_and_no_view_has_a_secret() {
    let asked = set(vec![
        webhook("hook", "https://example.com/alert?team=7", Some("correct horse")),
        mail(MailTls::Starttls, Some("ops"), "lifeboat@example.com", &["ops@example.com"]),
    ]);
    let settings = Settings::default().replaced(&asked).unwrap();
    let again = Settings::read(&settings.write().unwrap()).unwrap();
    assert_eq!(again, settings);
    let views: Vec<ChannelView> = again.channels.iter().map(Channel::view).collect();
    assert_eq!((views[0].set, views[1].set), (true, false));
    let told = serde_json::to_string(&views).unwrap() + &format!("{settings:?}");
    assert!(!told.contains("correct horse"));
}

#[test]
fn a_secret_that_is_left_out_stays_unless_the_channel_leads_elsewhere() {
    let first = Settings::default()
        .replaced(&set(vec![webhook("hook", "https://example.com/a", Some("key"))]))
        .unwrap();
    let has =
        |asked: ChannelSet| first.replaced(&set(vec![asked])).unwrap().channels[0].secret.is_some();
    assert!(has(webhook("hook", "https://example.com/b", None)));
    assert!(
        !has(webhook("hook", "https://thief.example/a", None)),
        "nobody gets it by a new address"
    );
    assert!(!has(webhook("other", "https://example.com/a", None)));
    assert!(!has(webhook("hook", "https://example.com/a", Some(""))), "taken away");
}

#[test]
fn what_cannot_be_is_refused_beside_its_field() {
    let mut cases: Vec<(AlertsSet, &str)> = Vec::new();
    for url in [
        "",
        "example.com",
        "http://example.com/x",
        "https://user:pass@example.com/",
        "https://a b/",
        "ftp://x/",
    ] {
        cases.push((set(vec![webhook("hook", url, None)]), "/channels/0/way/url"));
    }
    for name in ["", "two words", "<script>", "x\n", &"x".repeat(41)] {
        cases.push((set(vec![webhook(name, "https://example.com", None)]), "/channels/0/name"));
    }
    let fine = webhook("hook", "https://example.com", None);
    cases.push((set(vec![fine.clone(), fine.clone()]), "/channels/1/name"));
    cases.push((
        set((0..9).map(|at| webhook(&at.to_string(), "https://example.com", None)).collect()),
        "/channels",
    ));
    cases.push((
        set(vec![webhook("hook", "https://example.com", Some("a\nb"))]),
        "/channels/0/secret",
    ));
    let to = ["ops@example.com"];
    cases.push((set(vec![mail(MailTls::None, Some("ops"), "a@b", &to)]), "/channels/0/way/tls"));
    cases.push((set(vec![mail(MailTls::Tls, Some(""), "a@b", &to)]), "/channels/0/way/user"));
    cases.push((
        set(vec![mail(MailTls::Tls, None, "a@b>\r\nRCPT TO:<x@y", &to)]),
        "/channels/0/way/from",
    ));
    cases.push((set(vec![mail(MailTls::Tls, None, "a@b", &[])]), "/channels/0/way/to"));
    cases.push((
        set(vec![mail(MailTls::Tls, None, "a@b", &["a@b", "nobody"])]),
        "/channels/0/way/to/1",
    ));
    for host in ["", "a b", "host:0", "host:70000", "[::1", "host\n"] {
        let way = Way::Syslog { host: host.to_owned(), by: SyslogBy::Udp };
        cases.push((
            set(vec![ChannelSet { name: "log".to_owned(), way, ..ChannelSet::default() }]),
            "/channels/0/way/host",
        ));
    }
    for (asked, field) in cases {
        let refusal = Settings::default().replaced(&asked).unwrap_err();
        assert_eq!((refusal.status, refusal.field.as_deref()), (422, Some(field)), "{asked:?}");
        assert!(refusal.remedy.is_some());
    }
    for rules in [
        AlertRules { rpo_percent: 99, ..AlertRules::default() },
        AlertRules { spool_percent: 100, ..AlertRules::default() },
        AlertRules { silent_seconds: 0, ..AlertRules::default() },
        AlertRules { tripwire_pin_days: 0, ..AlertRules::default() },
    ] {
        let refusal =
            Settings::default().replaced(&AlertsSet { rules, ..AlertsSet::default() }).unwrap_err();
        assert!(refusal.field.unwrap().starts_with("/rules/"));
    }
}

#[test]
fn hosts_are_read_with_and_without_port() {
    let read = |text: &str| host_and_port(text, 514).unwrap();
    assert_eq!(read("log.example.com"), ("log.example.com".to_owned(), 514));
    assert_eq!(read("192.0.2.7:6514"), ("192.0.2.7".to_owned(), 6514));
    assert_eq!(read("2001:db8::1"), ("2001:db8::1".to_owned(), 514));
    assert_eq!(read("[2001:db8::1]:7"), ("2001:db8::1".to_owned(), 7));
}

#[test]
fn damaged_documents_are_told_without_what_is_in_them() {
    let words =
        Settings::read(br#"{"channels":[{"name":"x","secret":"correct horse","#).unwrap_err();
    assert!(!words.contains("horse"), "{words}");
    assert!(Settings::read(b"").is_err() && Settings::read(b"\xff").is_err());
}
