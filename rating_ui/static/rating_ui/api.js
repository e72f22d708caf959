// Requests to the site: every outcome is a value or an ApiError with a sentence to show.

import { texts } from "./texts.js";

/** status 0 means that the site could not be reached. */
export class ApiError extends Error {
  constructor(status, message, { retryAfter_s = null, reason = null, code = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter_s = retryAfter_s;
    this.reason = reason;
    this.code = code;
  }

  /** Worth trying again without changing anything. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  get isSignedOut() {
    return this.status === 401;
  }

  /** Something must be done on another page before the next pair; /rate/ leads there. */
  get isElsewhere() {
    return this.status === 403 && this.code !== null;
  }

  /** The site no longer knows that requests come from this page; a reload mends it. */
  get isOutdated() {
    return this.status === 403 && this.reason === "csrf";
  }
}

function cookie(name) {
  const entry = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return entry ? decodeURIComponent(entry.slice(name.length + 1)) : "";
}

async function refusal(response, retryAfter_s) {
  let said = null;
  try {
    said = await response.json();
  } catch {
    // no JSON: the sentence below says what is known
  }
  const reason = said?.reason ?? null;
  const detail = reason === "csrf" ? texts.outdated : said?.detail;
  const sentence = typeof detail === "string" ? detail : texts.refused(response.status);
  return new ApiError(response.status, sentence, { retryAfter_s, reason, code: said?.code ?? null });
}

export class Api {
  constructor({ root, csrfCookie }) {
    this.root = root;
    this.csrfCookie = csrfCookie;
  }

  /** {status, body, retryAfter_s}; body is null for 204. */
  async send(method, path, body) {
    let response;
    try {
      response = await fetch(this.root + path, {
        method,
        credentials: "same-origin",
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "X-CSRFToken": cookie(this.csrfCookie),
        },
        body: JSON.stringify(body),
      });
    } catch {
      throw new ApiError(0, texts.unreachable);
    }
    const retryAfter_s = Number(response.headers.get("Retry-After")) || null;
    if (!response.ok) throw await refusal(response, retryAfter_s);
    if (response.status === 204) return { status: 204, body: null, retryAfter_s };
    return { status: response.status, body: await response.json(), retryAfter_s };
  }

  /** The bytes of a clip. */
  async audio(url) {
    let response;
    try {
      response = await fetch(url, { credentials: "same-origin" });
      if (response.ok) return await response.arrayBuffer();
    } catch {
      throw new ApiError(0, texts.unreachable);
    }
    throw new ApiError(response.status, texts.clipMissing(response.status));
  }
}
