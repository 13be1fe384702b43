//! What may be asked from elsewhere, by whom, and that nothing of the appliance's own can be named.

use super::*;

fn asked(line: &str) -> VerbAsked {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let count = match words[0].as_str() {
        "vault" | "server" | "plan" | "target" | "net" | "spool" => 2,
        _ => 1,
    };
    let (verb, arguments) = words.split_at(count.min(words.len()));
    VerbAsked { verb: verb.to_vec(), arguments: arguments.to_vec(), ..VerbAsked::default() }
}

fn read(asked: &VerbAsked) -> Answer<Checked> {
    let opening = Opening {
        vault: "dir:/srv/vault".parse().unwrap(),
        key_file: "/srv/vault.key".into(),
        passphrase_file: None,
        older_key: false,
    };
    let own = Own {
        opening: Some(&opening),
        state: Some(Path::new("/srv/state")),
        input: "/run/verb/input".into(),
        output: "/run/verb/output".into(),
    };
    check(asked, &own)
}

#[test]
fn each_verb_has_its_role_and_its_second_person() {
    use Role::{Administrator, Operator, Viewer};
    for (line, role, second, server) in [
        ("points --json", Viewer, false, None),
        ("files --server web1", Viewer, false, None),
        ("vault info", Viewer, false, None),
        ("vault kit --html", Viewer, false, None),
        ("verify --deep", Operator, false, None),
        ("prune --keep 72h --server web1", Administrator, true, Some("web1")),
        ("prune --keep 72h --dry-run", Administrator, false, None),
        ("ready --azure", Operator, false, None),
        ("drill --server web1 --fast", Operator, false, None),
        ("failover --server web1", Operator, true, Some("web1")),
        ("failover --server web1 --dry-run", Operator, false, Some("web1")),
        ("failover --server web1 --cancel", Operator, true, Some("web1")),
        ("failover --resume 12ab", Operator, true, None),
        ("commit --server web1", Operator, true, Some("web1")),
        ("cleanup", Operator, false, None),
        ("cleanup --order 12ab", Operator, true, None),
        ("cleanup --orphans", Operator, true, None),
        ("server list", Viewer, false, None),
        ("server policy web1", Viewer, false, None),
        ("server policy web1 --interval 30s", Operator, false, None),
        ("server policy web1 --pause", Operator, false, None),
        ("server policy web1 --keep 72h", Administrator, true, Some("web1")),
        ("server token --page 192.0.2.1:443", Operator, false, None),
        ("server token --page 192.0.2.1:443 --server web1", Operator, false, None),
        (
            "server token --page 192.0.2.1:443 --server web1 --readmit",
            Administrator,
            false,
            Some("web1"),
        ),
        ("server revoke web1", Administrator, true, Some("web1")),
        ("server accept web1", Administrator, false, Some("web1")),
        ("server drain web1", Operator, true, Some("web1")),
        ("server drain web1 --abort", Operator, false, Some("web1")),
        ("plan show", Viewer, false, None),
        ("plan run shop --drill", Operator, false, None),
        ("plan run shop", Operator, true, None),
        ("plan continue shop", Operator, true, None),
        ("plan commit shop", Operator, true, None),
        ("target show --server web1", Viewer, false, None),
        ("target set --server web1 --group rg", Operator, false, None),
        ("target role --subscription 1", Viewer, false, None),
        ("net show", Viewer, false, None),
        ("net test --cloud china", Operator, false, None),
    ] {
        let weight =
            read(&asked(line)).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}")).weight;
        assert_eq!(
            (weight.role, weight.second_person, weight.server.as_deref()),
            (role, second, server),
            "{line}"
        );
        assert_eq!(weight.words, line);
    }
}

#[test]
fn the_vault_its_key_and_files_of_the_appliance_cannot_be_named_however_it_is_written() {
    for line in [
        "points --vault dir:/other",
        "points --vault=dir:/other",
        "points --key-file /etc/shadow",
        "points --key-file=/etc/shadow",
        "points --passphrase-file /etc/shadow",
        "points --older-key",
        "server list --state /tmp",
        "net test --config /etc/shadow",
        "net test --vault dir:/x",
        "target set --server web1 --file /etc/shadow",
        "plan create --file /etc/shadow",
        "drill --server web1 --report /etc/cron.d/x",
        "drill --server web1 --report=/etc/cron.d/x",
        "plan report shop --html /etc/cron.d/x",
        "vault kit --out /etc/cron.d/x",
        "vault kit --with-key",
        "vault info dir:/other",
        "hydrate --server web1 --disk sda --to raw:/etc/passwd",
        "hydrate --server web1 --disk sda --to vhd:/etc/passwd",
        "hydrate --server web1 --disk sda --to /dev/sda",
        "hydrate --server web1 --disk sda --to sas:@/etc/shadow",
        "hydrate --server web1 --disk sda --to pageblob:azure://abc/seeds/a.vhd?endpoint=https://evil.example",
        "hydrate --server web1 --disk sda --to=pageblob:azure://abc/seeds/a.vhd?endpoint=http://127.0.0.1:1",
        "restore --server web1 --disk sda --to /etc/passwd",
        "protect --server x /etc/shadow",
        "serve",
        "serve-nbd --server web1 --disk sda",
        "send --token x --server y /dev/sda",
        "push host",
        "spool format /dev/sda --confirm x",
        "vault create dir:/x",
        "vault rekey --recovery-key",
        "vault ticket --server web1",
        "net keep",
        "points --help",
        "--version",
        "nothing",
        "points --no-such-option",
        "points extra",
        "drill",
    ] {
        let refusal = read(&asked(line)).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert_eq!(refusal.status, 422, "{line}: {refusal:?}");
        assert!(refusal.remedy.is_some() && !refusal.detail.is_empty(), "{line}: {refusal:?}");
        // What the appliance adds by itself is nobody's business.
        assert!(!format!("{refusal:?}").contains("/srv/"), "{line}: {refusal:?}");
    }
}

#[test]
fn what_opens_the_vault_is_shown_to_azure_and_at_the_vaults_own_endpoint_alone() {
    let to =
        |place: &str| asked(&format!("hydrate --server web1 --disk sda --to pageblob:{place}"));
    let own = |vault: &str| Opening {
        vault: vault.parse().unwrap(),
        key_file: "/srv/vault.key".into(),
        passphrase_file: None,
        older_key: false,
    };
    let takes = |vault: &str, place: &str| {
        let (opening, file) = (own(vault), PathBuf::from("/run/verb/x"));
        let (input, output) = (file.clone(), file);
        check(&to(place), &Own { opening: Some(&opening), state: None, input, output }).is_ok()
    };
    let private = "?endpoint=https://abc.private.example";
    for vault in ["dir:/srv/vault", "azure://abc/vault"] {
        assert!(takes(vault, "azure://abc/seeds/a.vhd"));
        assert!(takes(vault, "azure://other/seeds/a.vhd?cloud=usgov"));
        assert!(!takes(vault, &format!("azure://abc/seeds/a.vhd{private}")));
    }
    let vault = format!("azure://abc/vault{private}");
    assert!(takes(&vault, &format!("azure://abc/seeds/a.vhd{private}")));
    assert!(!takes(&vault, "azure://abc/seeds/a.vhd?endpoint=https://abc.evil.example"));
}

#[test]
fn files_and_words_that_no_verb_takes_are_refused() {
    let with = |verb: &str, input: Option<&str>, output: Option<&str>| {
        let (input, output) = (input.map(str::to_owned), output.map(str::to_owned));
        read(&VerbAsked { input, output, ..asked(verb) })
    };
    assert_eq!(with("points", Some("AA=="), None).err().unwrap().field.as_deref(), Some("/input"));
    assert_eq!(
        with("points", None, Some("--report")).err().unwrap().field.as_deref(),
        Some("/output")
    );
    assert!(with("drill --server web1", None, Some("--key-file")).is_err());
    assert!(read(&VerbAsked::default()).is_err());
    let many = VerbAsked {
        verb: vec!["points".to_owned()],
        arguments: vec!["x".to_owned(); 300],
        ..VerbAsked::default()
    };
    assert_eq!(read(&many).err().unwrap().status, 400);
    let nul = VerbAsked {
        verb: vec!["points".to_owned()],
        arguments: vec!["a\0b".to_owned()],
        ..VerbAsked::default()
    };
    assert_eq!(read(&nul).err().unwrap().status, 400);
}

#[test]
fn files_that_go_along_and_come_back_have_the_appliances_places() {
    let mut set = asked("target set --server web1");
    set.input = Some(String::new());
    let words = read(&set).unwrap().words;
    let place = words.iter().position(|word| word == "--file").unwrap();
    assert_eq!(words[place + 1], "/run/verb/input");
    let mut drill = asked("drill --server web1");
    drill.output = Some("--report".to_owned());
    let words = read(&drill).unwrap().words;
    let place = words.iter().position(|word| word == "--report").unwrap();
    assert_eq!(words[place + 1], "/run/verb/output");
    assert!(read(&drill).unwrap().weight.words.ends_with("web1"));
}

#[test]
fn an_address_that_opens_something_is_not_in_the_audit_log() {
    let line = "hydrate --server web1 --disk sda --to sas:https://md-x.blob.core.windows.net/a/b?sv=1&sig=c2VjcmV0";
    let weight = read(&asked(line)).unwrap().weight;
    assert!(!weight.words.contains("sig") && !weight.words.contains("sv="), "{}", weight.words);
    assert!(weight.words.starts_with("hydrate --server web1 --disk sda --to sas:"));
}
