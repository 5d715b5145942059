// Asking the service. The token lives in this module's memory and nowhere else.

const BASE = new URL("../", document.baseURI).href; // .../v1/
let token = takeFromAddress();

// A session's link carries the token behind #, which browsers do not send; it leaves the address bar and the history.
function takeFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (found) history.replaceState(null, "", location.pathname);
  return found;
}

export class Refused extends Error {}

export function useToken(text) {
  token = text;
}

export function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export function address(path) {
  return new URL(path, BASE).href;
}

export function isOurs(url) {
  return url.startsWith(BASE);
}

async function ask(path) {
  const answer = await fetch(address(path), { headers: headers(), credentials: "omit" });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const words = [problem.title, problem.detail, problem.hint].filter(Boolean).join(" · ") || answer.statusText;
  throw answer.status === 401 ? new Refused(words) : new Error(words);
}

export async function askJson(path) {
  return (await ask(path)).json();
}

export async function askPicture(path) {
  return URL.createObjectURL(await (await ask(path)).blob());
}
