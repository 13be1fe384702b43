// Talks to /api/v1: one way for every request, every refusal, every login on the way.

export class Problem extends Error {
 constructor(status, { detail, title, remedy, field }) {
  super(detail || title || `The appliance answered with the code ${status}.`);
  Object.assign(this, { status, title, remedy, field });
 }

 get words() {
  const said = this.title && !this.message.startsWith(this.title) ? `${this.title}: ${this.message}` : this.message;
  const whole = this.remedy ? `${said}; ${this.remedy}` : said;
  return (/[.!?]$/.test(whole) ? whole : `${whole}.`).replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
 }
}

export const session = { current: null };

const RANKS = ["viewer", "operator", "administrator"];
export const may = (role) => RANKS.indexOf(session.current?.role) >= RANKS.indexOf(role);

export const operator = () => may("operator");
export const admin = () => may("administrator");

let askLogin = null;
let asked = null;

export function onLogin(ask) {
 askLogin = ask;
}

export function login() {
 asked ||= askLogin().finally(() => { asked = null; });
 return asked;
}

// Parts and parameters are encoded; empty ones are left out.
export const search = (query) => String(new URLSearchParams(Object.entries(query).filter(([, value]) => value != null && value !== "")));
export const path = (parts, query = {}) => `/api/v1/${parts.map(encodeURIComponent).join("/")}?${search(query)}`.replace(/\?$/, "");

async function send(method, where, body, signal) {
 const headers = { accept: "application/json" };
 if (method !== "GET" && session.current) headers["x-csrf"] = session.current.csrf;
 const plain = typeof body === "string";
 const file = body instanceof Blob;
 if (body !== undefined) headers["content-type"] = file ? "application/octet-stream" : plain ? "text/plain; charset=utf-8" : "application/json";
 let answer;
 try {
  answer = await fetch(where, { method, headers, body: file || plain ? body : JSON.stringify(body), signal });
 } catch (error) {
  if (error.name === "AbortError") throw error;
  throw new Problem(0, { detail: "The appliance did not answer", remedy: "it may be restarting, or the network is away: try again" });
 }
 const value = (answer.headers.get("content-type") || "").includes("json") ? await answer.json().catch(() => ({})) : await answer.text();
 if (answer.ok) return { status: answer.status, value };
 throw new Problem(answer.status, typeof value === "string" ? { detail: value.slice(0, 300).trim() } : value);
}

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

// The body of what is there alone: parts of the address, at the end what stands behind the question mark.
export async function get(...parts) {
 const query = typeof parts.at(-1) === "object" ? parts.pop() : undefined;
 return (await call("GET", path(parts, query))).value;
}

export async function whoAmI() {
 try {
  session.current = (await call("GET", path(["session"]), undefined, { quiet: true })).value;
 } catch (problem) {
  if (problem.status !== 401) throw problem;
 }
}
