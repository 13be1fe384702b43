// Drives Chromium for the tests: a line of JSON in, {page, code}, a line of JSON out, {value} or {error}. `code` is the body of an
// async function of `page` and `context`; page "a" and page "b" are two browsers that know nothing of each other.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [, , modules, chromium, profile] = process.argv;
const require = createRequire(`${modules}/`);
const playwright = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await playwright.chromium.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--disk-cache-dir=${profile}`],
});
const pages = new Map();
const AsyncFunction = (async () => {}).constructor;

async function open(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(30_000);
  // LIFEBOAT_PAGE=FOLDER takes the page's files from there: changes are tried without building.
  const folder = process.env.LIFEBOAT_PAGE;
  if (folder) await context.route(/\.(js|css)$/, (route) => route.fulfill({ path: folder + new URL(route.request().url()).pathname }));
  const page = await context.newPage();
  const held = { context, page, complaints: [] };
  // Whatever the page's own code or the browser's policy complains of; what the network refuses is the tests' own doing.
  page.on("pageerror", (error) => held.complaints.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    const words = message.text();
    if (message.type() === "error" && !words.startsWith("Failed to load resource")) held.complaints.push(words);
  });
  page.on("dialog", (dialog) => { held.complaints.push(`a dialog of a script: ${dialog.message()}`); dialog.dismiss(); });
  pages.set(name, held);
  return held;
}

/** What axe-core finds in the page as it is. The page's own policy stays: the script comes by the debugger. */
async function axe(page) {
  await page.evaluate(`${axeSource};0`);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { page: name, code, options } = JSON.parse(line);
  let answer;
  try {
    const held = pages.get(name) || await open(name, options);
    const action = new AsyncFunction("page", "context", "complaints", "axe", code);
    answer = { value: await action(held.page, held.context, held.complaints, () => axe(held.page)) ?? null };
  } catch (error) {
    answer = { error: String(error.message || error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
