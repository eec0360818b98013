// A collector on a real socket that gives the answers it was told to, in order, and then takes everything.

import { once } from "node:events";
import http from "node:http";
import { gunzipSync } from "node:zlib";

export class Collector {
  requests = [];
  answers = [];
  /** While it is a promise, requests wait for it. */
  passing = null;
  #server = http.createServer((request, response) => this.#serve(request, response));

  static async start(test) {
    const collector = new Collector();
    collector.#server.listen(0, "127.0.0.1");
    await once(collector.#server, "listening");
    collector.url = `http://127.0.0.1:${collector.#server.address().port}`;
    test.after(() => {
      collector.#server.close();
      collector.#server.closeAllConnections();
    });
    return collector;
  }

  get events() {
    return this.requests.flatMap((request) => request.body.batch ?? []);
  }

  /** Have requests wait; return what lets them pass. */
  hold() {
    const { promise, resolve } = withResolvers();
    this.passing = promise;
    return () => {
      this.passing = null;
      resolve();
    };
  }

  /** Wait until so many requests have come. */
  async until(requests) {
    while (this.requests.length < requests) await once(this.#server, "came");
  }

  async #serve(request, response) {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    let raw = Buffer.concat(pieces);
    if (request.headers["content-encoding"] === "gzip") raw = gunzipSync(raw);
    const { method, url: path, headers, socket } = request;
    const came = { method, path, headers, port: socket.remotePort, body: raw.length ? JSON.parse(raw) : {} };
    this.requests.push(came);
    this.#server.emit("came");
    const answer = (this.answers.shift() ?? take)(came);
    await this.passing;
    if (answer === null) {
      socket.destroy();
      return;
    }
    response.writeHead(answer.status, answer.headers).end(JSON.stringify(answer.body));
  }
}

/** 202, each event accepted. */
export function take({ body }) {
  return { status: 202, body: { results: body.batch?.map(() => ({ status: "accepted" })) } };
}

/** An error without verdicts. */
export function status(code, name, headers = {}) {
  return () => ({ status: code, headers, body: { error: { code: name, message: "no", reasons: [`because of ${name}`] } } });
}

/** The connection is closed without an answer. */
export function silence() {
  return null;
}

/** These events are refused. */
export function reject(...ids) {
  const refused = { status: "rejected", reasons: ["event_value: too long"] };
  return ({ body }) => ({
    status: 202,
    body: { results: body.batch.map(({ event_id }) => (ids.includes(event_id) ? refused : { status: "accepted" })) },
  });
}

function withResolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
