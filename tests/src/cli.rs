//! Runs the program with a deadline and looks at how it ended: code, output, and the one line of a failure.

use core::time::Duration;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

/// No verb of a test takes longer, even where several builds share the machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
    what: String,
}

/// Runs a command to its end, its input empty. Panics where it takes longer than five minutes.
pub fn run(command: &mut Command) -> Ran {
    run_with_input(command, b"")
}

/// The same with something to read on its standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Ran {
    use std::os::unix::process::ExitStatusExt as _;

    let what = format!("{command:?}");
    let scratch = crate::azurite::Scratch::new("run").expect("a scratch folder");
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    command.stdin(Stdio::piped());
    command.stdout(File::create(&out).expect("a scratch file"));
    command.stderr(File::create(&err).expect("a scratch file"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends before it has read everything is its own business.
        let _ = pipe.write_all(input);
    }
    let began = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child of ours can be waited for") {
            Some(status) => break status,
            None if began.elapsed() > DEADLINE => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{what} did not end\n{}", text(&err));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ran { code: code.unwrap_or(-1), output: text(&out), errors: text(&err), what }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

impl Ran {
    /// Everything asked for was done.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}\n{}", self.what, self.output, self.errors);
        self
    }

    /// It failed with this code and one line on standard error that holds all these words. Gives the line.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, code, "{}\n{}\n{}", self.what, self.output, self.errors);
        let lines: Vec<&str> =
            self.errors.lines().filter(|line| !line.starts_with("lifeboat: warning:")).collect();
        let [line] = lines.as_slice() else {
            panic!("{}: not one line:\n{}", self.what, self.errors);
        };
        assert!(line.starts_with("lifeboat: "), "{}: {line}", self.what);
        for word in words {
            assert!(line.contains(word), "{}: «{word}» is not in: {line}", self.what);
        }
        (*line).to_owned()
    }

    /// The command line was wrong: code 2, nothing on standard output, and words that say what.
    #[track_caller]
    pub fn is_misuse(self, word: &str) {
        assert_eq!(self.code, 2, "{}\n{}\n{}", self.what, self.output, self.errors);
        assert!(self.errors.contains(word), "{}: {}", self.what, self.errors);
        assert!(self.output.is_empty(), "{}: {}", self.what, self.output);
    }

    /// Its answer as JSON: one document and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.output)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.what, self.output))
    }
}

/// A number of a JSON answer.
#[track_caller]
pub fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

/// Makes an image file of so many bytes from a seed: a third of its 64 KiB blocks random, a third text, a third holes.
pub fn image(path: &Path, bytes: usize, seed: u64) -> PathBuf {
    let file = File::create(path).expect("a scratch file");
    file.set_len(bytes as u64).expect("room in the scratch folder");
    let mut content = vec![0_u8; bytes];
    let mut random = Random(seed | 1);
    for block in content.chunks_mut(65_536) {
        match random.next() % 3 {
            0 => block.chunks_mut(8).for_each(|part| {
                let bytes = random.next().to_le_bytes();
                part.copy_from_slice(&bytes[..part.len()]);
            }),
            1 => block
                .iter_mut()
                .zip(b"all work and no play ".iter().cycle())
                .for_each(|(to, from)| *to = *from),
            _ => (),
        }
    }
    fs::write(path, content).expect("room in the scratch folder");
    path.to_owned()
}

/// Overwrites so many blocks of an image, and gives the lines of `--changed` that say so.
pub fn change(path: &Path, disk: &str, blocks: usize, seed: u64) -> String {
    let mut content = fs::read(path).expect("the image is there");
    let mut random = Random(seed | 1);
    let mut lines = String::from("# offsets and lengths in bytes\n");
    for _ in 0..blocks {
        let last = content.len() / 65_536;
        let block = usize::try_from(random.next() % last as u64).expect("a small number");
        let fresh = random.next().to_le_bytes();
        content[block * 65_536 + 512..block * 65_536 + 520].copy_from_slice(&fresh);
        lines.push_str(&format!("{disk} {} 8\n", block * 65_536 + 512));
    }
    fs::write(path, content).expect("room in the scratch folder");
    lines
}

/// A small seeded generator: xorshift64.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
