//! The names that scripts rely on, and what the parser refuses.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(line.split_whitespace())
}

const OPEN: &str = "--vault dir:v --key-file k";

#[test]
fn the_definition_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn every_line_of_the_issue_parses() {
    for line in [
        "vault create dir:v",
        "vault create azure://abc/def?endpoint=http://127.0.0.1:1 --key-out k",
        "protect OPEN --server web1 a.img",
        "protect OPEN --server web1 --changed r.txt root=/dev/sda b.img",
        "points OPEN",
        "points OPEN --server web1 --json",
        "restore OPEN --server web1 --disk sda --to x.img",
        "restore OPEN --server web1 --point latest --expect-point 00ff --disk sda --to /dev/x --confirm /dev/x",
        "restore OPEN --server web1 --point 0123abcd --disk sda --to x",
        "verify OPEN --deep --json",
        "prune OPEN --keep 72h,hourly=7d,daily=30d --dry-run",
        "vault info OPEN --json",
        "vault info dir:v --key-file k",
        "vault rekey OPEN",
        "vault rekey OPEN --recovery-key --key-out new.key",
        "vault rekey OPEN --shred web1 --confirm web1",
        "protect OPEN --server web1 --direct --level -3 --workers 2 --json a.img",
        "vault kit OPEN",
        "vault ticket OPEN --server web1",
        "serve OPEN",
        "serve OPEN --listen [::]:443 --state /var/lib/x --name site-one",
        "serve-nbd OPEN --server web1 --disk sda",
        "serve-nbd OPEN --server web1 --point 0123abcd --disk sda --listen unix:/tmp/x",
    ] {
        let line = format!("lifeboat {}", line.replace("OPEN", OPEN));
        assert!(
            parse(&line).is_ok(),
            "{line}: {:?}",
            parse(&line).err().map(|error| error.to_string())
        );
    }
}

#[test]
fn defaults_are_those_of_the_help() {
    let line = format!("lifeboat serve-nbd {OPEN} --server web1 --disk sda");
    let Ok(CommandLine { verb: Verb::ServeNbd(serve), .. }) = parse(&line) else {
        panic!("{line}")
    };
    assert_eq!(serve.listen.to_string(), "127.0.0.1:10809");
    assert_eq!(serve.chosen.point, PointChoice::Latest);
    let line = format!("lifeboat protect {OPEN} --server web1 a.img");
    let Ok(CommandLine { verb: Verb::Protect(protect), .. }) = parse(&line) else {
        panic!("{line}")
    };
    assert_eq!((protect.codec, protect.level), (CodecChoice::Zstd, None));
}

#[test]
fn wrong_lines_end_with_the_code_of_misuse() {
    for line in [
        "lifeboat",
        "lifeboat protect",
        "lifeboat protect --vault dir:v --key-file k --server web1",
        "lifeboat protect --vault nowhere --key-file k --server web1 a.img",
        "lifeboat protect --vault dir:v --key-file k --server a/b a.img",
        "lifeboat protect --vault dir:v --key-file k --server web1 --level 99 a.img",
        "lifeboat restore --vault dir:v --key-file k --server web1 --point newest --disk a --to b",
        "lifeboat serve-nbd --vault dir:v --key-file k --server web1 --disk a --listen nowhere",
        "lifeboat vault info --key-file k",
        "lifeboat vault info dir:v --vault dir:v --key-file k",
        "lifeboat vault rekey --vault dir:v --key-file k --shred web1",
        "lifeboat vault rekey --vault dir:v --key-file k --key-out n",
        "lifeboat vault create dir:v --passphrase-file p",
        "lifeboat frobnicate",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn every_verb_has_examples_and_exit_codes_in_its_help() {
    fn visit(command: &mut clap::Command, path: &str) {
        let leaf = command.get_subcommands().next().is_none();
        if leaf {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{path} has no example");
            assert!(help.contains("Exit codes:"), "{path} has no exit codes");
        }
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            visit(inner, &path);
        }
    }
    let mut command = CommandLine::command();
    visit(&mut command, "lifeboat");
    let help = command.render_long_help().to_string();
    for word in [
        "AZURE_STORAGE_KEY",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "Exit codes:",
        "dir:PATH",
        "azure://",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn every_example_of_the_help_parses() {
    let mut seen = 0;
    let texts = [
        CREATE, INFO, REKEY, KIT, TICKET, PROTECT, POINTS, RESTORE, VERIFY, PRUNE, SERVE, OVERVIEW,
    ];
    for text in texts.map(|text| text.replace("\\\n", " ")) {
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("AZURE_STORAGE_KEY=... ").unwrap_or(line);
            if line.starts_with("lifeboat ") {
                assert!(
                    parse(line).is_ok(),
                    "{line}: {:?}",
                    parse(line).err().map(|error| error.to_string())
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen}");
}
