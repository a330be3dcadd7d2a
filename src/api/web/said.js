// Why the server refused something, as people read it: in the page's language.
import { language } from './words.js';

/** A sentence of the server, in English where it is meant for programs, and in German. */
const SAID = [
  [/^(.+) may not be forwarded to: .*$/, 'Calls may not be forwarded to $1.', 'An $1 darf nicht weitergeleitet werden.'],
  [/^in_call is set by calls only.*$/, '“In a call” is set by calls only.', '„Im Gespräch“ setzen nur Gespräche.'],
  [/^lies in the past.*$/, 'That time has passed.', 'Dieser Zeitpunkt ist vorbei.'],
  [/^must be after `from`$/, 'The end is before the beginning.', 'Das Ende liegt vor dem Anfang.'],
  [/^1 to 64 characters of A-Z.*$/, '1 to 64 letters, digits and . _ ~ + -; no blanks.', '1 bis 64 Buchstaben ohne Umlaute, Ziffern und . _ ~ + -; keine Leerzeichen.'],
  [/^must be 5 to 120 seconds$|^expected whole seconds from 5 to 120.*$/, '5 to 120 seconds.', '5 bis 120 Sekunden.'],
  [/^0 \(never\) to 240 minutes$/, '0 (never) to 240 minutes.', '0 (nie) bis 240 Minuten.'],
  [/^must be a number, an extension, or a sip:.*$/, 'This is neither a number nor a SIP address.', 'Das ist weder eine Nummer noch eine SIP-Adresse.'],
  [/^a URI needs a user or host.*$/, 'This address is not complete.', 'Diese Adresse ist unvollständig.'],
  [/^a URI here has no blanks.*$/, 'An address has no blanks, quotes, brackets or commas.', 'In einer Adresse stehen keine Leerzeichen, Anführungszeichen, Klammern oder Kommas.'],
  [/^`(.*)` is no URI$/, 'This is no address: $1', 'Das ist keine Adresse: $1'],
  [/^must be an extension, a telephone number.*$/, '', 'Das ist weder eine Nebenstelle noch eine Rufnummer noch ein Name mit höchstens 64 Zeichen.'],
  [/^must be the id of a subscriber$|^there is no subscriber.*$/, 'Nobody here has this id.', 'Hier hat niemand diese Kennung.'],
  [/^there is a subscriber `(.*)` already.*$/, 'There is somebody with the id $1 already.', 'Die Kennung $1 ist schon vergeben.'],
  [/^`(.*)` belongs to `(.*)`$/, '$1 belongs to $2 already.', '$1 gehört schon zu $2.'],
  [/^(\d+); at most (\d+)$/, '$1 are too many; at most $2.', '$1 sind zu viele; höchstens $2.'],
  [/^at most (\d+)$/, 'At most $1.', 'Höchstens $1.'],
  [/^at most (\d+) names of 1 to (\d+) bytes$/, 'At most $1 names of up to $2 characters.', 'Höchstens $1 Namen mit bis zu $2 Zeichen.'],
  [/^(\d+) bytes long; at most (\d+)$/, 'Too long: $1 of at most $2 characters.', 'Zu lang: $1 von höchstens $2 Zeichen.'],
  [/^1 to (\d+) (?:characters|bytes)$/, '1 to $1 characters.', '1 bis $1 Zeichen.'],
  [/^must be (?:an https:\/\/ URL|begin with https).*$/, 'An address begins with https; files are named by the administrator.', 'Eine Adresse beginnt mit https; Dateien nennt nur die Verwaltung.'],
  [/^has a control character$/, 'There is a character in it that cannot be shown.', 'Darin ist ein Zeichen, das sich nicht anzeigen lässt.'],
  [/^must have at least (\d+) characters$/, 'At least $1 characters.', 'Mindestens $1 Zeichen.'],
  [/^missing$/, 'Something is missing here.', 'Hier fehlt etwas.'],
  [/^forward needs a target.*$/, 'To whom?', 'An wen?'],
  [/^`(.*)` are no hours;.*$/, '“$1” are no hours; write them as 09:00-12:30.', '„$1“ sind keine Zeiten; schreiben Sie sie so: 09:00-12:30.'],
  [/^(.+) begins before (.+) ends; .*$/, '$1 begins before $2 ends.', '$1 beginnt, bevor $2 endet.'],
  [/^`(.*)` is no time of day;.*$/, '“$1” is no time of day; write it as 08:30.', '„$1“ ist keine Uhrzeit; schreiben Sie sie so: 08:30.'],
  [/^`(.*)` is no time zone;.*$/, '“$1” is no time zone; one is Europe/Berlin.', '„$1“ ist keine Zeitzone; eine ist Europe/Berlin.'],
  [/^(?:`(.*)` is no status: use|there is no status `(.*)`; use) .*$/, 'There is no status “$1$2”.', 'Den Status „$1$2“ gibt es nicht.'],
  [/^is not the password in force$/, 'This is not your password so far.', 'Das ist nicht Ihr bisheriges Kennwort.'],
  [/^too many passwords are being checked.*$/, 'The server is busy; please try again in a moment.', 'Der Server ist beschäftigt; bitte gleich noch einmal versuchen.'],
  [/^`(.*)` is no delegate of `(.*)`.*$/, 'You are no delegate of $2.', 'Sie vertreten $2 nicht.'],
  [/^the token of .* does not (?:allow this|reach).*$/, 'You may not do this.', 'Das dürfen Sie nicht.'],
  [/^too many changes are waiting.*$/, 'The server is busy; please try again in a moment.', 'Der Server ist beschäftigt; bitte gleich noch einmal versuchen.'],
  [/^nothing was changed: the store refused.*$/, 'Nothing was changed; the server cannot save at the moment.', 'Nichts wurde geändert; der Server kann gerade nicht speichern.'],
  [/^the request ended in a fault.*$/, 'Something went wrong on the server.', 'Auf dem Server ist etwas schiefgegangen.'],
];

/** One sentence; what is not known stays as the server said it. */
export function said(text) {
  const [pattern, english, german] = SAID.find(([one]) => one.test(text)) ?? [];
  const now = language === 'de' ? german : english;
  return now ? text.replace(pattern, now) : text;
}

/** A refusal as a whole: what is wrong first. */
export const saidOf = (document) => (said(document.problems?.[0]?.text ?? document.detail ?? document.title ?? ''));
