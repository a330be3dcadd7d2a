// The words of the page, in the language of whoever reads it.

export const LANGUAGES = { de: 'Deutsch', en: 'English' };
let words = {};
export let language = 'en';

/** The language: as switched here, else the subscriber's, else the browser's. */
export function preferred(own) {
  const asked = [stored(), own, ...navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase())];
  return asked.find((tag) => tag in LANGUAGES) ?? 'en';
}

function stored() {
  try { return localStorage.getItem('language'); } catch { return null; }
}

/** Loads the words of a language. */
export async function speak(tag, remember = false) {
  if (remember) { try { localStorage.setItem('language', tag); } catch { /* for this visit only */ } }
  if (tag === language && words.ok) return;
  const answer = await fetch(`/assets/${tag}.json`);
  words = await answer.json();
  language = tag;
  document.documentElement.lang = tag;
}

/** A text by its key, with values put in. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

/** A text for a number of things: `key.one` or `key.many`. */
export const count = (key, n) => words[`${key}.${n === 1 ? 'one' : 'many'}`].replace('{n}', n.toLocaleString(language));

export const has = (key) => key in words;

const format = (options) => (at) => new Intl.DateTimeFormat(language, options).format(new Date(at));
export const clock = (at) => format({ timeStyle: 'short' })(at);
export const day = (at) => format({ weekday: 'long', day: 'numeric', month: 'long' })(at);

/** In which zone times are shown and read, so that nobody on a journey is wrong about them. */
export const zoneHint = () => t('zone.here', { zone: Intl.DateTimeFormat().resolvedOptions().timeZone.replaceAll('_', ' ') });

/** A time as briefly as it is clear: the hour today, else the day too. */
export function when(at) {
  const date = new Date(at);
  const days = Math.round((new Date(date).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / 86400e3);
  if (days === 0) return clock(at);
  if (days === 1) return t('time.tomorrow', { time: clock(at) });
  if (days === -1) return t('time.yesterday', { time: clock(at) });
  const options = { weekday: 'short', day: 'numeric', month: 'numeric', hour: '2-digit', minute: '2-digit' };
  if (date.getFullYear() !== new Date().getFullYear()) options.year = 'numeric';
  return format(options)(at);
}

/** Seconds as people say them. */
export function lasting(seconds) {
  if (seconds < 60) return t('time.seconds', { n: seconds });
  if (seconds < 3600) return t('time.minutes', { n: Math.round(seconds / 60) });
  return t('time.hours', { h: Math.floor(seconds / 3600), m: Math.floor(seconds / 60) % 60 });
}
