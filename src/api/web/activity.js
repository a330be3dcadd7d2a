// Tells the server whether somebody is at this browser, so that they are shown as away when not.
import { ask } from './api.js';

const EVERY_MS = 60000;
const KEPT_MS = 180000;
const MOVES = ['pointermove', 'pointerdown', 'keydown', 'scroll', 'wheel', 'touchstart'];

let ours = null;

/** Whether the browser can tell of idleness beyond this page, and whether it may. */
export async function permission() {
  if (!('IdleDetector' in window)) return 'none';
  try { return (await navigator.permissions.query({ name: 'idle-detection' })).state; } catch { return 'none'; }
}

/** Asks for it; only a click may. */
export async function allow() {
  const isGranted = await IdleDetector.requestPermission() === 'granted';
  if (isGranted) await ours?.detect();
  return isGranted;
}

const instant = (ms) => new Date(ms).toISOString();

class Reporter {
  constructor(subscriber) {
    this.path = `subscribers/${encodeURIComponent(subscriber)}/signals`;
    this.id = sessionStorage.getItem('client') ?? `web-${crypto.getRandomValues(new Uint32Array(2)).join('')}`;
    sessionStorage.setItem('client', this.id);
    this.touched = Date.now();
    this.told = 0;
    this.locked = null;
    this.detector = null;
    this.moved = () => this.touch();
    this.hidden = () => this.vanish();
    this.shown = (event) => event.persisted && this.report();
    MOVES.forEach((kind) => addEventListener(kind, this.moved, { passive: true, capture: true }));
    addEventListener('pagehide', this.hidden);
    addEventListener('pageshow', this.shown);
    this.timer = setInterval(() => this.report(), EVERY_MS);
    this.report();
    permission().then((state) => state === 'granted' && this.detect());
  }

  touch() {
    const was = this.touched;
    this.touched = Date.now();
    if (this.touched - was > EVERY_MS) this.report();
  }

  signal(kept) {
    const now = Date.now();
    const signal = { kind: 'client', id: this.id, title: 'Browser', until: instant(now + kept) };
    if (now - this.touched >= EVERY_MS) signal.idle_since = instant(this.touched);
    if (this.locked) signal.locked_since = instant(this.locked);
    return signal;
  }

  async report() {
    this.told = Date.now();
    try { await ask('POST', this.path, this.signal(KEPT_MS)); } catch { /* the next report is near */ }
  }

  /** The whole computer's idleness, where the browser may tell it. */
  async detect() {
    try {
      this.detector = new AbortController();
      const detector = new IdleDetector();
      detector.addEventListener('change', () => {
        const isLocked = detector.screenState === 'locked';
        if (isLocked !== Boolean(this.locked)) this.locked = isLocked ? Date.now() : null;
        this.isIdle = detector.userState === 'idle';
        if (this.isIdle) this.touched = Math.min(this.touched, Date.now() - EVERY_MS);
        else this.touched = Date.now();
        this.report();
      });
      await detector.start({ threshold: EVERY_MS, signal: this.detector.signal });
      this.watch = setInterval(() => { if (detector.userState === 'active') this.touched = Date.now(); }, EVERY_MS / 2);
    } catch { this.detector = null; }
  }

  /** The tab goes: the report runs out at once instead of in minutes. */
  vanish() {
    const body = new Blob([JSON.stringify(this.signal(2000))], { type: 'application/json' });
    navigator.sendBeacon(`/api/v1/${this.path}`, body);
  }

  stop() {
    MOVES.forEach((kind) => removeEventListener(kind, this.moved, { capture: true }));
    removeEventListener('pagehide', this.hidden);
    removeEventListener('pageshow', this.shown);
    clearInterval(this.timer);
    clearInterval(this.watch);
    this.detector?.abort();
  }
}

/** Begins to report; answers how to stop. */
export function begin(subscriber) {
  ours?.stop();
  ours = new Reporter(subscriber);
  return () => { ours?.stop(); ours = null; };
}

/** Takes the report back, before somebody signs out. */
export async function end() {
  const leaving = ours;
  if (!leaving) return;
  leaving.stop();
  ours = null;
  await ask('DELETE', `${leaving.path}/client/${leaving.id}`);
}
