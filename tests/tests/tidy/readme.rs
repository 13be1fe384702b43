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
}
