// Requests to the HTTP API: the token, the session, and what went wrong as one sentence.

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let session = null;
let token = null;

const given = new URLSearchParams(location.hash.slice(1)).get("token"); // behind the #, so that no server logs it
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
token = sessionStorage.getItem("token");

function headers(more = {}) {
  const found = { ...more };
  if (token) found.Authorization = `Bearer ${token}`;
  if (session) found["X-Session"] = session;
  return found;
}

async function fetched(path, body) {
  const how = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(`api/${path}`, { ...how, headers: headers(body && { "Content-Type": "application/json" }) });
  } catch {
    throw new Problem(0, "The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    await askForToken(token ? "The server does not take that token." : "");
    return fetched(path, body);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({ detail: `The server failed (${response.status}).` }));
    throw new Problem(response.status, told.detail);
  }
  return response;
}

export async function call(path, body) {
  return (await fetched(path, body)).json();
}

// Begins a session, unless there is one.
export async function opened() {
  if (!session) session = (await call("sessions", {})).session;
}

export async function download(path, name) {
  const url = URL.createObjectURL(await (await fetched(path)).blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Lets the server forget at once, even while the page is being left.
export function leave() {
  if (!session) return;
  const how = { method: "POST", body: "{}", keepalive: true };
  fetch("api/forget", { ...how, headers: headers({ "Content-Type": "application/json" }) }).catch(() => {});
  session = null;
}

function askForToken(problem) {
  const dialog = document.getElementById("token");
  dialog.querySelector("[role=alert]").textContent = problem;
  const input = dialog.querySelector("input");
  return new Promise((resolve) => {
    const go = () => {
      token = input.value.trim();
      sessionStorage.setItem("token", token);
      dialog.close();
    };
    dialog.querySelector("button").onclick = go;
    input.onkeydown = (event) => {
      if (event.key === "Enter") go();
    };
    dialog.onclose = resolve;
    if (!dialog.open) dialog.showModal();
  });
}
