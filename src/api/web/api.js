// The server: requests, optimistic changes, and what it tells by itself.
import { language } from './words.js';

/** What a request met: the problem document of the server. */
export class Problem extends Error {
  constructor(status, document, wait) {
    super(document?.detail ?? `HTTP ${status}`);
    this.status = status;
    this.problems = document?.problems ?? [];
    this.wait = wait;
  }
}

const BASE = '/api/v1/';

/** Sends a request; answers with the document and its entity tag. */
export async function ask(method, path, body, etag) {
  const headers = { 'Accept-Language': language };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (etag) headers['If-Match'] = etag;
  let answer;
  try {
    answer = await fetch(path.startsWith('/') ? path : BASE + path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, { detail: '' });
  }
  const text = await answer.text();
  const isJson = /json/.test(answer.headers.get('Content-Type') ?? '');
  const document = isJson && text ? JSON.parse(text) : text;
  if (isJson && document && !answer.ok && answer.status !== 401) await translate(document);
  if (!answer.ok) {
    if (answer.status === 401 && path !== 'session') dispatchEvent(new Event('signed-out'));
    throw new Problem(answer.status, isJson ? document : null, Number(answer.headers.get('Retry-After')));
  }
  return { data: document, etag: answer.headers.get('ETag') };
}

/** Puts a refusal into the words of the page. */
async function translate(document) {
  try {
    const { said, saidOf } = await import('./said.js');
    document.detail = saidOf(document);
    document.problems = document.problems?.map((one) => ({ ...one, text: said(one.text) }));
  } catch { /* as the server said it */ }
}

export const get = (path) => ask('GET', path);

const plain = (value) => {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]));
};
export const same = (a, b) => JSON.stringify(plain(a)) === JSON.stringify(plain(b));

/** Somebody else changed the same since it was read. */
export class Overtaken extends Error {
  constructor(fresh) {
    super('overtaken');
    this.fresh = fresh;
  }
}

/**
 * Replaces what was seen, unless it is another by now. A subscriber's version also grows with what
 * clients report; that alone is no reason to bother anybody.
 */
export async function replace(path, seen, body, { method = 'PUT', read = path, part = (x) => x } = {}) {
  let { etag } = seen;
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask(method, path, body, etag);
    } catch (problem) {
      if (problem.status !== 412 || tries === 5) throw problem;
      const fresh = await get(read);
      if (!same(part(fresh.data), part(seen.data))) throw new Overtaken(fresh);
      etag = fresh.etag;
    }
  }
}

// --- what the server tells ---

const listeners = new Map();
let source = null;
let again = null;
let pause = 1000;

/** Calls `then` with each event of a kind; `resync` says that some were lost. Answers how to stop. */
export function on(kind, then) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(then);
  return () => listeners.get(kind).delete(then);
}

/** Calls `then` where something of one person changed, whether colleagues see it or not. */
export function onChange(id, then) {
  const stops = ['status', 'document'].map((kind) => on(kind, (news) => news.id === id && then()));
  return () => stops.forEach((stop) => stop());
}

const tell = (kind, data) => listeners.get(kind)?.forEach((then) => then(data));

/** Follows the server's events until `hangUp`. */
export function listen() {
  hangUp();
  source = new EventSource(`${BASE}events`);
  let isLate = pause > 1000;
  source.onopen = () => {
    if (isLate) tell('resync');
    isLate = false;
    pause = 1000;
    tell('line', true);
  };
  for (const kind of ['status', 'call', 'peer', 'document']) {
    source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  }
  source.addEventListener('lagged', () => tell('resync'));
  source.onerror = () => {
    tell('line', false);
    if (source?.readyState !== EventSource.CLOSED) return;
    pause = Math.min(pause * 2, 30000);
    again = setTimeout(() => { get('session').then(listen, (problem) => (problem.status === 401 ? dispatchEvent(new Event('signed-out')) : listen())); }, pause);
  };
}

/** Follows again where nobody does, and has everything read afresh. */
export function wake() {
  if (source) return;
  pause = Math.max(pause, 1001);
  listen();
}

export function hangUp() {
  clearTimeout(again);
  source?.close();
  source = null;
}
