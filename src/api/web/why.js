// Why a status is in force, in words.
import { t, when } from './words.js';
import { baseOf, statusWord } from './ui.js';

/** The layers that somebody chose, not what came by itself. */
export const CHOSEN = ['held', 'chosen', 'available'];
export const SEGMENTS = ['business_hours', 'break', 'outside_hours', 'holiday'];

/** Why a layer says what it says. */
export function why(layer) {
  const since = layer.since ? when(layer.since) : '';
  const values = { cause: layer.cause ?? '', since, by: layer.by ?? (layer.cause === 'admin' ? t('role.the_administrator') : layer.cause) };
  switch (layer.layer) {
    case 'override': return t('why.override', values);
    case 'idle': return t(layer.cause === 'locked' ? 'why.locked' : since ? 'why.idle_since' : 'why.idle', values);
    case 'schedule': if (SEGMENTS.includes(layer.cause)) return t('hours.why', { cause: t('segment.' + layer.cause) });
    // falls through
    case 'event': case 'calendar': return t('why.' + layer.layer + (layer.cause ? '' : '_untitled'), values);
    default: return !layer.source ? t('why.default') : t(since ? 'why.chosen_since' : 'why.chosen', { ...values, source: t('source.' + layer.source) });
  }
}

/** "Away, because idle since 14:05; chosen: available". */
export function sentence(document) {
  const [top, ...beneath] = document.layers;
  if (!top || CHOSEN.includes(top.layer)) return '';
  const chosen = beneath.find((layer) => CHOSEN.includes(layer.layer));
  return t('status.sentence', { status: statusWord(baseOf(top)), why: why(top), chosen: chosen ? statusWord(baseOf(chosen)) : statusWord('available') });
}
