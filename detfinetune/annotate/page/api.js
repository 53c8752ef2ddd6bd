/** Requests to the server. The API is described in detfinetune/annotate/server.py. */

/** Names this window in the journal, so that it knows its own changes. */
export const WRITER = crypto.randomUUID();

const SECONDS = 20;

class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 where the server did not answer
   * @param {{error?: string}} content
   */
  constructor(status, content) {
    super(content.error ?? `The server answered with ${status}.`);
    this.status = status;
    this.content = content;
  }
}

/**
 * @param {string} path
 * @param {{method?: string, body?: object, revision?: number, keepalive?: boolean}} [options]
 * @returns {Promise<any>} the content of the answer
 */
export async function request(path, { method = "GET", body, revision, keepalive } = {}) {
  const headers = { "X-Writer": WRITER };
  if (revision !== undefined) headers["If-Match"] = `"${revision}"`;
  let answer, content;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      keepalive,
      signal: AbortSignal.timeout(SECONDS * 1000),
    });
    content = await answer.json();
  } catch {
    throw new ApiError(0, { error: "The server does not answer." });
  }
  if (!answer.ok) throw new ApiError(answer.status, content);
  return content;
}

/**
 * Follow the changes of all windows and processes, also after breaks.
 *
 * @param {{event: (event: object) => void, open: () => void, lost: () => void}} on
 */
export function follow(on) {
  const source = new EventSource("/api/events");
  source.onmessage = (message) => on.event(JSON.parse(message.data));
  source.onopen = on.open;
  source.onerror = () => {
    on.lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(on), 3000);
  };
}
