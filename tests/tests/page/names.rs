//! Promise: every name that the page's scripts use is one that they have. A browser finds such a name out only where it comes by.
//!
//! Seen to fail: `loud` taken out of the imports of `access.js`, which no view needs until somebody waits for a second person.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::azurite::Scratch;
use tests::node::npm_install;

/// `ESLint`, as npm has it.
const ESLINT: &str = "10.15.0";

const RULES: &str = r#"
const names = ["AbortController", "Blob", "Date", "EventSource", "Intl", "Node", "ResizeObserver",
  "TextDecoderStream", "URLSearchParams", "addEventListener", "clearInterval", "clearTimeout", "console", "document",
  "fetch", "history", "location", "navigator", "performance", "print", "scrollTo", "setInterval", "setTimeout"];
export default [{
  files: ["**/*.js"],
  languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: Object.fromEntries(names.map((name) => [name, "readonly"])) },
  rules: { "no-undef": "error", "no-unused-vars": ["error", { args: "none", caughtErrors: "none" }], "no-dupe-keys": "error",
    "no-import-assign": "error", "no-const-assign": "error" },
}];
"#;

#[test]
fn every_name_that_the_scripts_use_is_there() {
    let (node, folder) =
        npm_install(&format!("eslint-{ESLINT}"), &[format!("eslint@{ESLINT}")]).expect("ESLint");
    let scratch = Scratch::new("names").expect("a folder");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/web/page");
    let mut scripts = 0;
    for entry in fs::read_dir(page).expect("the page").map(|entry| entry.expect("a file").path()) {
        if entry.extension().is_some_and(|end| end == "js") {
            let name = entry.file_name().expect("a name");
            fs::copy(&entry, scratch.path().join(name)).expect("a copy");
            scripts += 1;
        }
    }
    assert!(scripts > 10, "{scripts}");
    fs::write(scratch.path().join("eslint.config.mjs"), RULES).expect("rules");
    let mut lint = Command::new(node);
    lint.arg(folder.join("node_modules/eslint/bin/eslint.js")).arg(".");
    let told = lint.current_dir(scratch.path()).output().expect("ESLint starts");
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
}
