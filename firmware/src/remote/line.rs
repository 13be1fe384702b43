//! The words of a command line that goes elsewhere: what is for the way there is taken off, files go along, the rest is the verb's.
//!
//! It reads before the command line itself does, which would want a vault and its key.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;

use firmware_web::api::verbs::{FILE_BYTES_MAX, VerbAsked};
use pipeline_azure::Secret;
use pipeline_azure::address::Origin;
use pipeline_azure::encode::base64;
use pipeline_azure::transport::pin::Fingerprint;
use pipeline_vault::Error;

use super::straight::{self, Straight};
use super::table::{WORDS_MAX, find, why_not};
use crate::session::Settings;

/// Longest token with what is around it in its file.
const TOKEN_BYTES_MAX: u64 = 4096;

/// A verb for an appliance elsewhere.
#[derive(Debug)]
pub struct Line {
    /// Where.
    pub origin: Origin,
    /// What it is asked with.
    pub token: Secret,
    /// The certificate that it shows, where the person said so.
    pub fingerprint: Option<Fingerprint>,
    /// What is asked.
    pub asked: VerbAsked,
    /// The call that is made instead, where the verb is one.
    pub straight: Option<Straight>,
    /// Where the file that comes back is written.
    pub output: Option<PathBuf>,
}

/// What is for the way there.
#[derive(Debug, Default)]
struct Way {
    remote: Option<String>,
    token_file: Option<String>,
    fingerprint: Option<String>,
}

/// Reads the words behind the program's name. Nothing where the verb is run here.
///
/// Errors: it is to be run elsewhere, and cannot be.
pub fn read(words: &[OsString], settings: &Settings) -> Result<Option<Line>, Error> {
    let set = |name: &str| settings(name)?.into_string().ok().filter(|value| !value.is_empty());
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (mut way, rest, front) = take_way(&words)?;
    // Help is here, and so is a verb that names its vault: that one is meant, whatever the environment says.
    let is_help =
        words.iter().any(|word| matches!(word.as_str(), "-h" | "--help" | "-V" | "--version"))
            || rest.first().is_some_and(|word| word == "help");
    let behind = |word: &&String| {
        ["--remote", "--token-file", "--fingerprint"]
            .contains(&word.split('=').next().unwrap_or_default())
    };
    if let Some(word) = rest.iter().find(behind).filter(|_| !is_help) {
        let verb = rest.first().map_or("VERB", String::as_str);
        return Err(Error::misuse(word.clone(), "stands behind the verb").remedy(format!(
            "write it before: lifeboat --remote https://HOST --token-file FILE {verb}"
        )));
    }
    let names_vault = rest.iter().any(|word| word == "--vault" || word.starts_with("--vault="));
    if way.remote.is_none() && !names_vault {
        // What cannot be run elsewhere at all is run here without a word.
        way.remote = set("LIFEBOAT_REMOTE").filter(|_| why_not(rest).is_none());
    }
    let Some(remote) = way.remote else {
        return match way.token_file.or(way.fingerprint) {
            Some(_) if !is_help => Err(Error::misuse(
                "--token-file and --fingerprint",
                "are for a verb that is run elsewhere",
            )
            .remedy("say where with --remote https://HOST, or leave them out")),
            _ => Ok(None),
        };
    };
    if is_help || rest.is_empty() {
        return Ok(None);
    }
    let origin = origin(&remote)?;
    let token = token(way.token_file.as_deref(), set("LIFEBOAT_TOKEN"))?;
    let fingerprint = way.fingerprint.as_deref().map(fingerprint).transpose()?;
    let straight = straight::read(rest)?;
    let (asked, output) = match &straight {
        Some(_) => (VerbAsked::default(), None),
        None => verb(rest, front)?,
    };
    Ok(Some(Line { origin, token, fingerprint, asked, straight, output }))
}

/// What stands before the verb: the way there, and what every verb takes; then the verb and all behind it.
fn take_way(words: &[String]) -> Result<(Way, &[String], Vec<String>), Error> {
    let (mut way, mut front, mut at) = (Way::default(), Vec::new(), 0);
    while let Some(word) = words.get(at) {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let field = match option {
            "--remote" => &mut way.remote,
            "--token-file" => &mut way.token_file,
            "--fingerprint" => &mut way.fingerprint,
            _ if word.starts_with('-') => {
                front.push(word.clone());
                at += 1;
                continue;
            }
            _ => break,
        };
        at += if value.is_some() { 1 } else { 2 };
        let value = value.or_else(|| words.get(at - 1).cloned());
        *field = Some(value.ok_or_else(|| Error::misuse(option, "has nothing behind it"))?);
    }
    Ok((way, words.get(at..).unwrap_or_default(), front))
}

fn origin(text: &str) -> Result<Origin, Error> {
    let remedy = "write it like https://appliance.example.com or https://192.0.2.7:8443";
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let (origin, path) = Origin::parse(&whole)
        .map_err(|_| Error::misuse(format!("--remote {text}"), "is no address").remedy(remedy))?;
    if !origin.https || !path.is_empty() {
        let what = "is more than an appliance's address, or is without TLS";
        return Err(Error::misuse(format!("--remote {text}"), what).remedy(remedy));
    }
    Ok(origin)
}

fn token(file: Option<&str>, set: Option<String>) -> Result<Secret, Error> {
    let text = match (file, set) {
        (Some(path), _) => {
            let failed = |error: std::io::Error| {
                Error::misuse(format!("token file {path}"), format!("cannot be read: {error}"))
            };
            let mut text = String::new();
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
            text
        }
        (None, Some(text)) => text,
        (None, None) => {
            return Err(Error::misuse("--remote", "wants a token")
                .remedy("make one on the appliance's page, and give it by --token-file FILE or LIFEBOAT_TOKEN"));
        }
    };
    let token = text.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    // The text itself is never repeated.
    if token.is_empty() || !token.chars().all(plain) {
        return Err(
            Error::misuse("the token", "is none").remedy("it begins with lbt_, and is one word")
        );
    }
    Ok(Secret::new(token))
}

/// 32 bytes in hexadecimal, with colons or without, in any case.
fn fingerprint(text: &str) -> Result<Fingerprint, Error> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !b": ".contains(byte)).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? * 16 + digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        Error::misuse("--fingerprint", "is no SHA-256: 64 hexadecimal digits")
            .remedy("the appliance's console shows it, and so does its page")
    })
}

/// Takes the verb's words off, and files.
fn verb(words: &[String], front: Vec<String>) -> Result<(VerbAsked, Option<PathBuf>), Error> {
    let Some((row, count)) = find(words) else {
        let shown = words.iter().take(WORDS_MAX).cloned().collect::<Vec<_>>().join(" ");
        return Err(match why_not(words) {
            Some((why, remedy)) => Error::misuse(shown, why).remedy(remedy),
            None => Error::misuse(shown, "is no verb").remedy("lifeboat --help lists them"),
        });
    };
    let mut asked =
        VerbAsked { verb: words[..count].to_vec(), arguments: front, ..VerbAsked::default() };
    let (mut path, mut rest) = (None, words[count..].iter());
    while let Some(word) = rest.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let is = |known: Option<&str>| known == Some(option);
        if !is(row.input) && !is(row.output) {
            asked.arguments.push(word.clone());
            continue;
        }
        let value = value.or_else(|| rest.next().cloned());
        let value = value.ok_or_else(|| Error::misuse(option, "has no file behind it"))?;
        if is(row.input) {
            asked.input = Some(input(&value)?);
        } else {
            asked.output = Some(option.to_owned());
            path = Some(PathBuf::from(value));
        }
    }
    Ok((asked, path))
}

fn input(path: &str) -> Result<String, Error> {
    let failed = |what: String| Error::misuse(format!("file {path}"), what);
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = match path {
        "-" => std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes),
        path => {
            std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        }
    };
    read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(failed("is larger than 4 MiB, which is all that goes along".to_owned()));
    }
    Ok(base64(&bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn read_with(
        line: &str,
        set: &'static [(&'static str, &'static str)],
    ) -> Result<Option<Line>, Error> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let settings: Settings = Arc::new(move |name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        });
        read(&words, &settings)
    }

    const TOKEN: &[(&str, &str)] = &[("LIFEBOAT_TOKEN", "lbt_abc")];
    const BOTH: &[(&str, &str)] =
        &[("LIFEBOAT_TOKEN", "lbt_abc"), ("LIFEBOAT_REMOTE", "https://box")];

    #[test]
    fn what_is_for_the_way_is_taken_off_and_the_rest_goes() {
        let print = "AB:".repeat(31) + "ab";
        let line = format!(
            "--remote=https://Box:8443 -q --fingerprint {print} server policy web1 --interval 30s --json"
        );
        let line = read_with(&line, TOKEN).unwrap().unwrap();
        assert_eq!(line.origin.to_string(), "https://box:8443");
        assert_eq!(line.fingerprint, Some([0xab; 32]));
        assert_eq!(line.asked.verb, ["server", "policy"]);
        assert_eq!(line.asked.arguments, ["-q", "web1", "--interval", "30s", "--json"]);
        assert!(!format!("{line:?}").contains("lbt_abc"));
        let line = read_with("points", BOTH).unwrap().unwrap();
        assert_eq!(line.origin.to_string(), "https://box");
        let line =
            read_with("--remote box plan report shop --html=/tmp/x.html", TOKEN).unwrap().unwrap();
        assert_eq!(
            (line.asked.output.as_deref(), line.output),
            (Some("--html"), Some(PathBuf::from("/tmp/x.html")))
        );
        assert_eq!(line.asked.arguments, ["shop"]);
        let kit = read_with("--remote box vault kit --html --out k.html", TOKEN).unwrap().unwrap();
        assert_eq!(
            (kit.asked.arguments.as_slice(), kit.asked.output.as_deref()),
            (&["--html".to_owned()][..], Some("--out"))
        );
    }

    #[test]
    fn users_and_approvals_become_calls() {
        for (line, call) in [
            ("user list --json", "GET /api/v1/users"),
            ("user role ada viewer", "POST /api/v1/users/ada/role"),
            ("user remove ada@x", "DELETE /api/v1/users/ada@x"),
            ("approval list", "GET /api/v1/approvals"),
            ("approval refuse 12ab", "POST /api/v1/approvals/12ab"),
            ("call GET /servers/a%20b?x=1", "GET /api/v1/servers/a%20b?x=1"),
            ("call DELETE /api/v1/users/ada", "DELETE /api/v1/users/ada"),
            ("call GET /metrics", "GET /metrics"),
            ("call GET /of/a/newer/one", "GET /api/v1/of/a/newer/one"),
        ] {
            let line = read_with(&format!("--remote box {line}"), TOKEN).unwrap().unwrap();
            assert_eq!(format!("{:?}", line.straight.unwrap()), call);
        }
    }

    #[test]
    fn what_is_meant_for_here_stays_here() {
        for line in [
            "points --vault dir:/x --key-file k",
            "restore --server x",
            "vault create dir:/x",
            "serve",
            "--help",
            "drill --help",
            "help drill",
            "",
        ] {
            assert!(read_with(line, BOTH).unwrap().is_none(), "{line}");
        }
        for line in ["--remote box --help", "--remote box drill --help", "--remote box"] {
            assert!(read_with(line, TOKEN).unwrap().is_none(), "{line}");
        }
        assert!(read_with("points --vault dir:/x --key-file k", &[]).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_is_said_with_what_to_do() {
        for (line, set, words) in [
            ("--remote box points", &[][..], "wants a token"),
            ("--remote box points", &[("LIFEBOAT_TOKEN", "two words")][..], "the token"),
            ("--remote http://box points", TOKEN, "without TLS"),
            ("--remote https://box/path points", TOKEN, "more than"),
            ("--remote box --fingerprint abc points", TOKEN, "SHA-256"),
            ("--remote box --token-file /nowhere points", TOKEN, "cannot be read"),
            ("--remote box restore --server x", TOKEN, "no disk goes"),
            ("--remote box vault ticket --server x", TOKEN, "makes a key"),
            ("--remote box nothing", TOKEN, "is no verb"),
            ("--remote box user list --state /x", TOKEN, "is the appliance's own"),
            ("--remote box user role ada king", TOKEN, "king"),
            ("--remote box user remove ..", TOKEN, "the name"),
            ("--remote box user remove a/b", TOKEN, "the name"),
            ("--remote box approval grant a/b", TOKEN, "no such name"),
            ("--remote box call FETCH /servers", TOKEN, "FETCH"),
            ("--remote box call GET servers", TOKEN, "none of the API"),
            ("--remote box call GET /servers#x", TOKEN, "none of the API"),
            ("--remote box call PUT /vault/retention --file /nowhere", TOKEN, "cannot be read"),
            ("--remote box update --from x", TOKEN, "call PUT /appliance/update"),
            ("--remote box target set --server x --file /nowhere", TOKEN, "cannot be read"),
            ("--remote box target set --file", TOKEN, "no file behind"),
            ("--remote", TOKEN, "nothing behind"),
            ("points --remote https://box", TOKEN, "stands behind the verb"),
            ("--remote box points --fingerprint=ab", TOKEN, "stands behind the verb"),
            ("--token-file x points --vault dir:/y", &[], "for a verb that is run elsewhere"),
        ] {
            let error = read_with(line, set).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(words), "{line}: {error}");
            assert!(!error.to_string().contains("two words"));
        }
    }
}
