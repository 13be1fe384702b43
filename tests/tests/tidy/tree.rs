//! Which files there are, how large, and what no committed file may hold.

/// What the top level may hold.
const TOP: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "firmware",
    "hal",
    "pipeline",
    "image",
    "qemu",
    "tests",
];
const DOTS: [&str; 8] = [
    ".ci",
    ".cargo",
    ".clippy.toml",
    ".rustfmt.toml",
    ".deny.toml",
    ".supply-chain",
    ".gitignore",
    ".config",
];

const BYTES_MAX: u64 = 256 * 1024;

/// Only what was fixed, at the top.
pub(crate) fn top_level(files: &[String]) -> Vec<String> {
    let firsts = files.iter().filter_map(|name| name.split('/').next());
    let mut strays: Vec<&str> =
        firsts.filter(|first| !TOP.contains(first) && !DOTS.contains(first)).collect();
    strays.sort_unstable();
    strays.dedup();
    strays.iter().map(|stray| format!("{stray}: does not belong at the top level")).collect()
}

/// No file that a reader or a clone would stumble over.
pub(crate) fn large(sizes: &[(String, u64)]) -> Vec<String> {
    let over = sizes.iter().filter(|(_, bytes)| *bytes > BYTES_MAX);
    over.map(|(name, bytes)| format!("{name}: {bytes} bytes, more than {BYTES_MAX}")).collect()
}

/// No folder that exists only where the file was written.
pub(crate) fn private_paths(name: &str, text: &str) -> Vec<String> {
    // Taken apart, so that this file does not complain about itself.
    let private = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in &private {
            let found = line.match_indices(folder.as_str()).any(|(at, _)| {
                !line[..at]
                    .ends_with(|letter: char| letter.is_alphanumeric() || "._-".contains(letter))
            });
            if found {
                complaints
                    .push(format!("{name}:{}: a path of somebody's machine: {folder}", number + 1));
            }
        }
    }
    complaints
}

/// A script says what runs it and does not go on after a failure.
pub(crate) fn script(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("#!") {
        complaints.push(format!("{name}: does not say what runs it"));
    }
    if text.starts_with("#!/usr/bin/env bash") && !text.contains("\nset -euo pipefail\n") {
        complaints.push(format!("{name}: goes on after a failure"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_at_the_top_is_noticed() {
        let files =
            |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
        assert!(top_level(&files(&["hal/src/lib.rs", "README.md", ".ci/run"])).is_empty());
        assert_eq!(top_level(&files(&["docs/a.md", "docs/b.md", "notes.txt", ".idea/x"])).len(), 3);
    }

    #[test]
    fn a_blob_is_noticed() {
        assert!(large(&[("a".into(), BYTES_MAX)]).is_empty());
        assert_eq!(large(&[("a".into(), BYTES_MAX + 1)]).len(), 1);
    }

    #[test]
    fn a_private_path_is_noticed() {
        let planted = ["see /wo", "rk/shared/x"].concat();
        assert_eq!(private_paths("a", &planted).len(), 1);
        let relative = ["target/wo", "rk/x and net", "/wo", "rk/"].concat();
        assert!(private_paths("a", &relative).is_empty());
    }

    #[test]
    fn a_careless_script_is_noticed() {
        assert!(script("x", "#!/usr/bin/env bash\n# why\nset -euo pipefail\n").is_empty());
        assert_eq!(script("x", "#!/usr/bin/env bash\necho\n").len(), 1);
        assert_eq!(script("x", "echo\n").len(), 1);
    }
}
