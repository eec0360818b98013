// One connection to a collector: a parcel becomes a request, and its response or its failure an answer.

import http from "node:http";
import https from "node:https";
import { gzipSync } from "node:zlib";

import { noAnswer, readAnswer } from "./answers.js";

/** An idle collector closes its end after 75 s; and a new connection finds collectors that were added meanwhile. */
const MAX_CONNECTION_AGE_MS = 60_000;
/** A longer answer is none. Verdicts of a full batch are about 60 KB. */
const MAX_ANSWER_BYTES = 1_048_576;
/** Smaller bodies gain nothing from compression. */
const MIN_GZIP_BYTES = 1_024;
const GZIP_LEVEL = 1;
/** After these the next try goes to another collector, if a balancer has one. */
const MOVE_ON = new Set([429, 500, 502, 503, 504]);

const TRACK = "/api/v1/events/track";
const SESSION = "/api/v1/events/session";

/** Opened when it is needed. Sends one parcel at a time. */
export class Connection {
  #url;
  #headers;
  #timeoutMs;
  #useGzip;
  #agent = null;
  #openedAtMs = 0;

  /** Talk to the collector at `url`, which may have a path in front of the API's. Throws if it is not an address. */
  constructor(url, headers, { timeoutMs, useGzip }) {
    const address = URL.canParse(url) ? new URL(url) : null;
    if (!["http:", "https:"].includes(address?.protocol) || address.search || address.hash) {
      throw new TypeError("url: must be such as https://collect.example.com");
    }
    if (address.username || address.password) throw new TypeError("url: give the key as writeKey, not in the address");
    this.#url = address.href.replace(/\/+$/, "");
    this.#headers = { ...headers, "Content-Type": "application/json" };
    this.#timeoutMs = timeoutMs;
    this.#useGzip = useGzip;
  }

  /** Send a parcel and return the answer. Never rejects for anything that the network or the collector does. */
  async send(parcel) {
    const [method, path, text] = requestOf(parcel);
    const headers = { ...this.#headers, ...parcel.items[0].headers };
    let body = Buffer.from(text);
    if (this.#useGzip && body.length >= MIN_GZIP_BYTES) {
      body = gzipSync(body, { level: GZIP_LEVEL });
      headers["Content-Encoding"] = "gzip";
    }
    headers["Content-Length"] = body.length;
    try {
      const answer = await this.#exchange(method, this.#url + path, headers, body);
      if (MOVE_ON.has(answer.status)) this.close();
      return answer;
    } catch (error) {
      this.close();
      return noAnswer(`no answer: ${error.code ?? error.name}: ${error.message}`);
    }
  }

  /** Close the connection, whatever is under way; the next request opens another one. */
  close() {
    this.#agent?.destroy();
    this.#agent = null;
  }

  #exchange(method, url, headers, body) {
    const { request } = url.startsWith("https:") ? https : http;
    return new Promise((resolve, reject) => {
      const sent = request(url, { method, headers, agent: this.#currentAgent(url) }, (response) => {
        readAll(response).then(
          (text) => resolve(readAnswer(response.statusCode, response.headers["retry-after"], text)),
          reject,
        );
      });
      sent.setTimeout(this.#timeoutMs, () => sent.destroy(new Error(`silent for ${this.#timeoutMs} ms`)));
      sent.on("error", reject);
      sent.end(body);
    });
  }

  #currentAgent(url) {
    const nowMs = performance.now();
    if (this.#agent !== null && nowMs - this.#openedAtMs > MAX_CONNECTION_AGE_MS) this.close();
    if (this.#agent === null) {
      this.#agent = new (url.startsWith("https:") ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
      this.#openedAtMs = nowMs;
    }
    return this.#agent;
  }
}

async function readAll(response) {
  const pieces = [];
  let bytes = 0;
  for await (const piece of response) {
    bytes += piece.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`more than ${MAX_ANSWER_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** Return the method, the path and the body. */
function requestOf({ items, isBatch }) {
  const sentAt = `{"sent_at":"${new Date().toISOString()}",`;
  if (isBatch) return ["POST", TRACK, `${sentAt}"batch":[${items.map((item) => item.body).join(",")}]}`];
  const [{ kind, sessionId, body }] = items;
  if (kind === "session") return ["POST", SESSION, sentAt + body.slice(1)];
  const path = `${SESSION}/${encodeURIComponent(sessionId)}`;
  return kind === "expire" ? ["DELETE", path, ""] : ["POST", `${path}/flush`, ""];
}
