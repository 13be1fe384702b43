//! Which verbs can be run from elsewhere, what is added to them there, and why the others cannot.

/// What is added to a verb's options on the appliance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// Its words.
    pub(super) words: &'static [&'static str],
    /// The vault and its key.
    pub(super) vault: bool,
    /// The folder that `serve` keeps its documents in.
    pub(super) state: bool,
    /// The option whose file is sent along.
    pub(super) input: Option<&'static str>,
    /// The option whose file is sent back.
    pub(super) output: Option<&'static str>,
}

const fn row(words: &'static [&'static str]) -> Row {
    Row { words, vault: true, state: false, input: None, output: None }
}

impl Row {
    const fn with_state(self) -> Self {
        Self { state: true, ..self }
    }

    const fn without_vault(self) -> Self {
        Self { vault: false, ..self }
    }

    const fn takes(self, option: &'static str) -> Self {
        Self { input: Some(option), ..self }
    }

    const fn gives(self, option: &'static str) -> Self {
        Self { output: Some(option), ..self }
    }
}

/// Verbs that can be.
pub(super) const ROWS: &[Row] = &[
    row(&["points"]),
    row(&["files"]),
    row(&["verify"]),
    row(&["prune"]),
    row(&["hydrate"]),
    row(&["ready"]),
    row(&["drill"]).gives("--report"),
    row(&["failover"]).gives("--report"),
    row(&["commit"]),
    row(&["cleanup"]),
    row(&["vault", "info"]),
    row(&["vault", "kit"]).gives("--out"),
    row(&["server", "list"]).with_state(),
    row(&["server", "token"]).with_state(),
    row(&["server", "policy"]),
    row(&["server", "revoke"]),
    row(&["server", "accept"]),
    row(&["server", "drain"]),
    row(&["plan", "create"]).takes("--file"),
    row(&["plan", "show"]),
    row(&["plan", "run"]),
    row(&["plan", "continue"]),
    row(&["plan", "commit"]),
    row(&["plan", "report"]).gives("--html"),
    row(&["target", "show"]),
    row(&["target", "set"]).takes("--file"),
    row(&["target", "role"]).without_vault(),
    row(&["net", "show"]).without_vault(),
    row(&["net", "test"]).without_vault(),
];

/// Verbs that are calls of the API there.
pub(super) const STRAIGHT: &[&[&str]] = &[
    &["user", "list"],
    &["user", "add"],
    &["user", "password"],
    &["user", "role"],
    &["user", "remove"],
    &["approval", "list"],
    &["approval", "grant"],
    &["approval", "refuse"],
    &["call"],
];

/// Verbs that cannot be: why, and what to do instead.
pub(super) const NOT: &[(&[&str], &str, &str)] = &[
    (
        &["restore"],
        "brings a disk to where it is run, and no disk goes over this way",
        "run it where the disk is to be, with vault and key; single files are taken from the page",
    ),
    (
        &["protect"],
        "reads disks of the machine that it is run on",
        "a server's own disks are taken by its agent, by lifeboat send, or by the image in the role capture",
    ),
    (
        &["send"],
        "reads disks of the machine that it is run on",
        "run it without --remote, on the machine whose disks are to be sent",
    ),
    (
        &["push"],
        "goes out over SSH from where it is run, with keys that are there",
        "run it without --remote",
    ),
    (&["serve"], "is what answers here", "it runs already"),
    (
        &["serve-nbd"],
        "opens a port of its own, which has neither login nor TLS",
        "run it where the disk is wanted, with vault and key",
    ),
    (
        &["vault", "create"],
        "makes a vault and its key",
        "run it without --remote; an appliance is given its vault at its first run",
    ),
    (
        &["vault", "rekey"],
        "makes keys, and needs the recovery key at hand",
        "run it without --remote, where the recovery key is",
    ),
    (
        &["vault", "ticket"],
        "makes a key, and keys do not go over this way",
        "run it without --remote, where the recovery key is",
    ),
    (
        &["spool", "show"],
        "names a disk of the machine that it is run on",
        "the page shows the spool's disk",
    ),
    (
        &["spool", "format"],
        "names a disk of the machine that it is run on",
        "give the appliance its spool on its console, by key d",
    ),
    (
        &["update"],
        "puts a system into the machine that it is run on",
        "send it to the appliance: call PUT /appliance/update --file FILE, or choose it on its console, by key u",
    ),
    (
        &["net", "keep"],
        "takes the network of the machine over that it is run on",
        "set the appliance's network on its page or its console",
    ),
];

/// Options that name the vault, its key or files where the verb runs. They are the appliance's own.
pub(super) const REFUSED: &[&str] = &[
    "--vault",
    "--key-file",
    "--passphrase-file",
    "--older-key",
    "--state",
    "--config",
    "--key-out",
    "--names",
    "--with-key",
    "--file",
    "--changed",
    "--report",
    "--html",
    "--out",
];

/// Longest row of words.
pub(super) const WORDS_MAX: usize = 2;

/// The row of a verb by its first words, and how many those are.
pub(super) fn find(words: &[impl AsRef<str>]) -> Option<(&'static Row, usize)> {
    let begins = |row: &&Row| {
        let pairs = row.words.iter().zip(words);
        row.words.len() <= words.len()
            && pairs.into_iter().all(|(ours, theirs)| *ours == theirs.as_ref())
    };
    // `vault kit --html` is a page to print; `--html` names a file of `plan report` alone.
    ROWS.iter().find(begins).map(|row| (row, row.words.len()))
}

/// Why a verb cannot be.
pub(super) fn why_not(words: &[impl AsRef<str>]) -> Option<(&'static str, &'static str)> {
    let begins = |ours: &[&str]| {
        ours.len() <= words.len()
            && ours.iter().zip(words).all(|(ours, theirs)| *ours == theirs.as_ref())
    };
    NOT.iter().find(|(ours, ..)| begins(ours)).map(|(_, why, remedy)| (*why, *remedy))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::CommandLine;

    /// Every verb of the command line, by its words.
    fn verbs() -> Vec<Vec<String>> {
        let command = CommandLine::command();
        let mut verbs = Vec::new();
        for verb in command.get_subcommands() {
            let name = verb.get_name().to_owned();
            if verb.has_subcommands() {
                let inner = verb
                    .get_subcommands()
                    .map(|inner| vec![name.clone(), inner.get_name().to_owned()]);
                verbs.extend(inner);
            } else {
                verbs.push(vec![name]);
            }
        }
        verbs
    }

    #[test]
    fn every_verb_is_in_one_of_the_three_lists() {
        let verbs = verbs();
        for words in &verbs {
            let is_call = STRAIGHT.iter().any(|ours| ours == words);
            let lists = [find(words).is_some(), why_not(words).is_some(), is_call];
            assert!(
                lists.iter().filter(|is| **is).count() == 1,
                "{words:?}: say whether it can be run from elsewhere"
            );
        }
        assert_eq!(verbs.len(), ROWS.len() + NOT.len() + STRAIGHT.len());
        assert!(verbs.iter().all(|words| words.len() <= WORDS_MAX));
    }

    #[test]
    fn every_option_that_names_a_file_is_refused_or_known() {
        // What an option calls its value says what it is.
        let files = ["FILE", "FOLDER", "VAULT", "FILE|DEVICE", "memory|FILE"];
        let command = CommandLine::command();
        for row in ROWS {
            let mut verb = &command;
            for word in row.words {
                verb = verb.find_subcommand(word).unwrap();
            }
            for option in verb.get_arguments() {
                let names = option.get_value_names().unwrap_or_default();
                let is_file = names.iter().any(|name| files.contains(&name.as_str()));
                let Some(long) = option.get_long() else {
                    // The vault's place without its option: that one is given, and there is no second.
                    assert!(
                        !is_file || option.get_id() == "place",
                        "{:?} {}",
                        row.words,
                        option.get_id()
                    );
                    continue;
                };
                let long = format!("--{long}");
                assert!(!is_file || REFUSED.contains(&&*long), "{:?} {long}", row.words);
            }
            for option in [row.input, row.output].into_iter().flatten() {
                assert!(verb.get_arguments().any(|known| known.get_long() == Some(&option[2..])));
            }
        }
    }
}
