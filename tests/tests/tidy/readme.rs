//! The README's tables: every dependency has its reason, every promise its test.

use crate::manifest::Manifest;

/// Rows of the first table below a heading, as cells.
fn table<'a>(readme: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = readme.lines().skip_while(|line| line.trim() != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with("## "));
    let rows = section.filter(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Every direct dependency that is not ours has a line with a reason, and no line has outlived its dependency.
pub(crate) fn dependencies(readme: &str, packages: &[Manifest]) -> Vec<String> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut used: Vec<&str> = packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|(_, name)| name.as_str())
        .filter(|name| !ours.contains(name))
        .collect();
    used.sort_unstable();
    used.dedup();
    let rows = table(readme, "## Dependencies");
    let name = |row: &[&str]| row[0].trim_matches('`').to_owned();
    let mut complaints = Vec::new();
    for dependency in &used {
        let reason = rows.iter().find(|row| name(row) == *dependency).and_then(|row| row.get(1));
        if reason.is_none_or(|reason| reason.len() < 10) {
            complaints.push(format!(
                "README.md: {dependency} has no line with its reason under «Dependencies»"
            ));
        }
    }
    for row in &rows {
        if !used.contains(&name(row).as_str()) {
            complaints.push(format!(
                "README.md: {} is named under «Dependencies» but used nowhere",
                name(row)
            ));
        }
    }
    complaints
}

/// Every promise names at least one test file that exists, and every test file of `tests/tests` proves a promise.
pub(crate) fn promises(readme: &str, files: &[String]) -> Vec<String> {
    let rows = table(readme, "## Promises");
    let mut complaints = Vec::new();
    if rows.is_empty() {
        complaints.push("README.md: there is no table under «Promises»".to_owned());
    }
    let mut named: Vec<&str> = Vec::new();
    for row in &rows {
        let proofs: Vec<&str> = row[1..].iter().flat_map(|cell| paths(cell)).collect();
        if proofs.is_empty() {
            complaints.push(format!("README.md: the promise «{}» names no test", row[0]));
        }
        for proof in proofs {
            if !files.iter().any(|file| file == proof) {
                complaints.push(format!("README.md: {proof} does not exist"));
            }
            named.push(proof);
        }
    }
    let tests = files.iter().filter(|file| {
        file.strip_prefix("tests/tests/")
            .is_some_and(|name| name.ends_with(".rs") && !name.contains('/'))
    });
    for test in tests.filter(|test| !named.contains(&test.as_str())) {
        complaints.push(format!("README.md: no promise names {test}"));
    }
    complaints
}

/// Every claim of the section on security names tests that there are, as `file::test`, and every test of `hardening` is named by one.
///
/// `tests` has every test of `tests/tests`, in the same form.
pub(crate) fn claims(readme: &str, tests: &[String]) -> Vec<String> {
    let below = readme.split("\n## Security\n").nth(1).unwrap_or_default();
    let section = below.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = section
        .lines()
        .skip_while(|line| !line.starts_with("| claim | test | since |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let mut complaints = Vec::new();
    if rows.is_empty() {
        complaints.push("README.md: there is no table of claims under «Security»".to_owned());
    }
    let mut named = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let quoted: Vec<&str> =
            cells.get(1).map_or(Vec::new(), |cell| cell.split('`').skip(1).step_by(2).collect());
        if quoted.is_empty() || cells.len() != 3 {
            complaints.push(format!("README.md: the claim «{}» names no test", cells[0].trim()));
        }
        for test in quoted {
            if !tests.iter().any(|known| known == test) {
                complaints.push(format!("README.md: there is no test {test}"));
            }
            named.push(test);
        }
    }
    let hardening = tests.iter().filter(|test| test.starts_with("hardening::"));
    for test in hardening.filter(|test| !named.contains(&test.as_str())) {
        complaints.push(format!("README.md: no claim under «Security» names {test}"));
    }
    complaints
}

/// The tests of one file under `tests/tests`, as `file::test`: those of a folder are of the file beside it.
pub(crate) fn tests_of(path: &str, text: &str) -> Vec<String> {
    let Some(file) = path.strip_prefix("tests/tests/") else { return Vec::new() };
    let file = file.split(['/', '.']).next().unwrap_or_default();
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == "#[test]"
            && let Some(name) = lines.next().and_then(|line| line.trim().strip_prefix("fn "))
        {
            found.push(format!("{file}::{}", name.split('(').next().unwrap_or_default()));
        }
    }
    found
}

/// Files named in backticks.
fn paths(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|quoted| quoted.ends_with(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# X\n\n## Promises\n\nWords.\n\n| promise | test |\n| --- | --- |\n\
        | it works | `tests/tests/works.rs` |\n\n## Dependencies\n\n| crate | why |\n| --- | --- |\n\
        | `log` | all logging of the project |\n\n## More\n";

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn packages(dependencies: &str) -> Vec<Manifest> {
        let text = format!("[package]\nname = \"hal\"\n[dependencies]\n{dependencies}");
        vec![Manifest::parse("hal/Cargo.toml", &text)]
    }

    #[test]
    fn a_dependency_without_reason_and_a_reason_without_dependency_are_noticed() {
        assert!(dependencies(README, &packages("log = \"1\"\nhal = \"1\"\n")).is_empty());
        assert_eq!(dependencies(README, &packages("log = \"1\"\nserde = \"1\"\n")).len(), 1);
        assert_eq!(dependencies(README, &packages("")).len(), 1);
    }

    #[test]
    fn a_promise_without_test_and_a_test_without_promise_are_noticed() {
        assert!(
            promises(README, &files(&["tests/tests/works.rs", "tests/tests/tidy/x.rs"])).is_empty()
        );
        assert_eq!(promises(README, &files(&[])).len(), 1);
        let stray = files(&["tests/tests/works.rs", "tests/tests/stray.rs"]);
        assert_eq!(promises(README, &stray).len(), 1);
        let bare = README.replace("`tests/tests/works.rs`", "later");
        assert_eq!(promises(&bare, &files(&[])).len(), 1);
        assert_eq!(promises("# X\n", &files(&[])).len(), 1);
    }

    #[test]
    fn a_claim_without_test_and_an_attack_without_claim_are_noticed() {
        let readme = "# X\n\n## Security\n\n| who | can |\n| --- | --- |\n| a | b |\n\n| claim | test | since |\n\
            | --- | --- | --- |\n| it holds | `hardening::it_holds`, `update::x` | 0.1.0 |\n\n## More\n";
        let text = "#[test]\nfn it_holds() {\n}\nfn helper() {}\n";
        let mut tests = tests_of("tests/tests/hardening/secrets.rs", text);
        assert_eq!(tests, ["hardening::it_holds"]);
        assert_eq!(claims(readme, &tests).len(), 1, "update::x is not there");
        tests.push("update::x".to_owned());
        assert_eq!(claims(readme, &tests), [""; 0]);
        tests.push("hardening::another".to_owned());
        assert_eq!(claims(readme, &tests).len(), 1);
        assert_eq!(
            claims(&readme.replace("`hardening::it_holds`, `update::x`", "later"), &tests).len(),
            3
        );
        assert_eq!(claims("# X\n", &[]).len(), 1);
    }
}
