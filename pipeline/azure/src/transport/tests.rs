//! Which proxy is used, which certificates are trusted, and how an answer is read.

use super::proxy::Exceptions;
use super::*;

fn origin(url: &str) -> Origin {
    Origin::parse(url).expect(url).0
}

fn settled(choice: &ProxyChoice) -> proxy::Settled {
    choice.settle(&|_| None).expect("a choice")
}

#[test]
fn the_environment_names_proxies_by_scheme_and_never_for_loopback() {
    let set = [
        ("https_proxy", "http://secure.example:1"),
        ("HTTP_PROXY", "plain.example:2"),
        ("ALL_PROXY", "http://all.example:3"),
        ("NO_PROXY", "direct.example"),
    ];
    let from = |set: &[(&str, &str)]| {
        let lookup = |name: &str| {
            set.iter().find(|(has, _)| *has == name).map(|(_, value)| (*value).to_owned())
        };
        ProxyChoice::FromEnvironment.settle(&lookup)
    };
    let proxies = from(&set).expect("proxies");
    let shown = |proxies: &proxy::Settled, url: &str| {
        proxies.for_origin(&origin(url)).map(Proxy::shown).unwrap_or_default()
    };
    assert_eq!(shown(&proxies, "https://x.example"), "secure.example:1");
    assert_eq!(shown(&proxies, "http://x.example"), "plain.example:2");
    for direct in ["https://direct.example", "https://localhost", "http://127.0.0.1:1"] {
        assert_eq!(shown(&proxies, direct), "", "{direct}");
    }
    let proxies = from(&set[2..]).expect("proxies");
    assert_eq!(shown(&proxies, "https://x.example"), "all.example:3");
    assert!(from(&[("HTTPS_PROXY", "socks5://x:1")]).is_err(), "told before anything is sent");
}

#[test]
fn what_was_found_out_before_is_not_asked_of_the_environment_again() {
    let lookup = |name: &str| match name {
        "HTTPS_PROXY" => Some("http://table.example:1".to_owned()),
        "LIFEBOAT_CA_FILE" => Some("/ca.pem".to_owned()),
        _ => None,
    };
    let options = TransportOptions::from_lookup(&lookup).expect("options");
    assert_eq!(options.ca_files, [PathBuf::from("/ca.pem")]);
    let other = |_: &str| Some("http://other.example:2".to_owned());
    let settled = options.proxy.settle(&other).expect("a choice");
    let proxy = settled.for_origin(&origin("https://x.example")).expect("a proxy");
    assert_eq!(proxy.shown(), "table.example:1");
    assert!(settled.for_origin(&origin("http://x.example")).is_none());
    let wrong = |_: &str| Some("socks5://x:1".to_owned());
    assert!(TransportOptions::from_lookup(&wrong).is_err(), "told before anything is sent");
}

#[test]
fn the_metadata_service_is_never_reached_through_a_proxy() {
    let choice = ProxyChoice::explicit("http://proxy.example:3128").expect("a proxy");
    for url in ["http://169.254.169.254", "http://[fe80::1]", "http://169.254.1.1:80"] {
        assert!(settled(&choice).for_origin(&origin(url)).is_none(), "{url}");
    }
    for url in ["http://127.0.0.1:1", "https://account.blob.core.windows.net"] {
        let settled = settled(&choice);
        let proxy = settled.for_origin(&origin(url)).expect("a proxy");
        assert_eq!(proxy.shown(), "proxy.example:3128", "told so, it is used for all: {url}");
    }
}

#[test]
fn exceptions_match_as_no_proxy_does() {
    let exceptions = "*.a.example, .b.example ,c.example:8443,10.0.0.0/8,[::1],localhost,fd00::/8";
    let choice = ProxyChoice::Always {
        proxy: Proxy::parse("proxy.example:3128").expect("a proxy"),
        exceptions: Exceptions::parse(exceptions),
    };
    for (url, direct) in [
        ("https://x.a.example", true),
        ("https://a.example", true),
        ("https://aa.example", false),
        ("https://x.y.b.example", true),
        ("https://c.example:8443", true),
        ("https://c.example", false),
        ("https://10.200.3.4", true),
        ("https://11.0.0.1", false),
        ("http://[::1]:80", true),
        ("http://[fd12::1]:80", true),
        ("http://[2001:db8::1]", false),
        ("http://x.localhost", true),
        ("https://other.example", false),
    ] {
        assert_eq!(settled(&choice).for_origin(&origin(url)).is_none(), direct, "{url}");
    }
    let all = ProxyChoice::Always {
        proxy: Proxy::parse("proxy.example:3128").expect("a proxy"),
        exceptions: Exceptions::parse("*"),
    };
    assert!(settled(&all).for_origin(&origin("https://x.example")).is_none());
}

#[test]
fn a_proxy_that_is_none_is_refused_without_its_password() {
    for url in ["http://", "socks5://user:hunter2@x:1", "http://user:hunter2@:x", "ftp://x"] {
        let error = Proxy::parse(url).expect_err(url).to_string();
        assert!(error.contains("http://name:password@host:port"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let proxy = Proxy::parse("http://user:hunter2@proxy.example:3128").expect("a proxy");
    assert_eq!(format!("{proxy:?}"), "Proxy(proxy.example:3128)");
}

#[test]
fn certificate_files_that_are_none_say_which_file() {
    let file = std::env::temp_dir().join(format!("lifeboat-ca-{}", std::process::id()));
    for content in [Some(""), Some("hello"), None] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let options =
            TransportOptions { ca_files: vec![file.clone()], ..TransportOptions::default() };
        let error = HttpTransport::new(&options).expect_err("no certificate").to_string();
        assert!(error.contains("lifeboat-ca-") && error.contains("LIFEBOAT_CA_FILE"), "{error}");
    }
}

#[test]
fn an_answer_is_read_no_further_than_allowed() {
    let canned = |claimed: Option<&str>, body: &[u8]| {
        let headers = claimed.map(|length| ("content-length".to_owned(), length.to_owned()));
        let head = Head { status: 200, headers: headers.into_iter().collect() };
        Reply::canned(head, body.to_vec())
    };
    assert_eq!(canned(Some("5"), b"12345").read_all(5), Ok(b"12345".to_vec()));
    assert_eq!(canned(None, b"12345").read_all(5), Ok(b"12345".to_vec()));
    let longer = canned(Some("6"), b"123456").read_all(5).expect_err("too long");
    assert_eq!(longer.kind, Kind::Answer);
    assert_eq!(canned(None, b"123456").read_all(5).expect_err("too long").kind, Kind::Answer);
    let cut = canned(Some("9"), b"12345").read_all(10).expect_err("cut");
    assert_eq!(cut.kind, Kind::Broken);
    let mut into = [0; 8];
    let (came, failure) = canned(Some("5"), b"12345").read_into(&mut into);
    assert_eq!((came, failure), (5, None));
    assert_eq!(&into[..5], b"12345");
}

#[test]
fn every_failure_says_whether_it_passes_and_what_to_do() {
    let kinds = [
        (Kind::NoSuchName, false),
        (Kind::NoNameServer, true),
        (Kind::Connect, true),
        (Kind::Tls, false),
        (Kind::ProxyRefused, true),
        (Kind::ProxyAuthentication, false),
        (Kind::Timeout, true),
        (Kind::Broken, true),
        (Kind::Answer, false),
    ];
    for (kind, passing) in kinds {
        let failure = Failure::new(kind, "what happened");
        assert_eq!(failure.is_passing(), passing, "{kind:?}");
        let error = failure.into_error("object");
        assert!(error.to_string().starts_with("object: what happened; "), "{error}");
        assert!(error.remedy.len() > 20, "{kind:?}: {}", error.remedy);
    }
}
