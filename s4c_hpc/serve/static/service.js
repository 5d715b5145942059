// Asking the service. The token lives in this module's memory and nowhere else.

const BASE = new URL("../", document.baseURI).href; // .../v1/
let token = takeFromAddress();

// A session's link carries the token behind #, which browsers do not send; it leaves the address bar and the history.
function takeFromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const found = parts.get("token") ?? "";
  parts.delete("token");
  if (found) history.replaceState(null, "", parts.size ? `#${parts}` : location.pathname);
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

export async function ask(path) {
  const answer = await fetch(address(path), { headers: headers(), credentials: "omit" }).catch(() => {
    throw new Error("The service does not answer: is it still running?");
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const where = problem.where && `(${problem.where})`;
  const words = [problem.detail ?? answer.statusText, where].filter(Boolean).join(" ");
  const found = problem.hint ? `${words}: ${problem.hint}` : words;
  throw Object.assign(answer.status === 401 ? new Refused(found) : new Error(found), { status: answer.status });
}

export async function askJson(path) {
  return (await ask(path)).json();
}

// Hands a file to the reader; a link alone would ask without the token.
export async function save(path, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await ask(path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
