// Talks to /api/v1: one way for every request, every error, every login that is needed on the way.

/** What the appliance refused: for a person, with the field that is meant where there is one. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The appliance answered with the code ${status}.`);
    this.status = status;
    this.title = body.title || "";
    this.remedy = body.remedy || "";
    this.field = body.field || "";
  }

  /** In one sentence or two. */
  get words() {
    const said = this.title && !this.message.startsWith(this.title) ? `${this.title}: ${this.message}` : this.message;
    const whole = this.remedy ? `${said}; ${this.remedy}` : said;
    return /[.!?]$/.test(whole) ? whole : `${whole}.`;
  }
}

/** Who is logged in: name, role, csrf; null before. */
export const session = { current: null };

let askLogin = null;
let asked = null;

/** Names who shows the login when a request needs it. */
export function onLogin(ask) {
  askLogin = ask;
}

const RANKS = ["viewer", "operator", "administrator"];

/** Whether who is logged in may do what a role may. */
export function may(role) {
  return RANKS.indexOf(session.current?.role) >= RANKS.indexOf(role);
}

/** An address of the API; parts and parameters are encoded. */
export function path(parts, query) {
  const place = parts.map((part) => encodeURIComponent(part)).join("/");
  const pairs = Object.entries(query || {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `/api/v1/${place}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

/** Logs in over whatever is shown, once for all who wait. */
export function login() {
  asked ||= askLogin().finally(() => { asked = null; });
  return asked;
}

async function send(method, where, body, signal) {
  const headers = { accept: "application/json" };
  if (method !== "GET" && session.current) headers["x-csrf"] = session.current.csrf;
  if (body !== undefined) headers["content-type"] = typeof body === "string" ? "text/plain; charset=utf-8" : "application/json";
  let answer;
  try {
    answer = await fetch(where, {
      method, headers, body: body === undefined || typeof body === "string" ? body : JSON.stringify(body), credentials: "same-origin", signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The appliance did not answer", remedy: "it may be restarting, or the network is away: try again" });
  }
  const kind = answer.headers.get("content-type") || "";
  const value = kind.includes("json") ? await answer.json().catch(() => ({})) : await answer.text();
  if (answer.ok) return { status: answer.status, value };
  throw new Problem(answer.status, typeof value === "string" ? { detail: value.slice(0, 300).trim() } : value);
}

/** Asks; logs in on the way where the session has ended, and goes on. `where` is what `path` gives. */
export async function call(method, where, body, { quiet = false, signal } = {}) {
  for (;;) {
    try {
      return await send(method, where, body, signal);
    } catch (problem) {
      if (problem.status !== 401 || quiet) throw problem;
      await login();
    }
  }
}

/** The body of what is there alone: parts of the address, at the end what stands behind the question mark. */
export async function get(...parts) {
  const query = typeof parts.at(-1) === "object" ? parts.pop() : undefined;
  return (await call("GET", path(parts, query))).value;
}

/** The session as the appliance knows it, or null. */
export async function whoAmI() {
  try {
    session.current = (await call("GET", path(["session"]), undefined, { quiet: true })).value;
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    session.current = null;
  }
  return session.current;
}
