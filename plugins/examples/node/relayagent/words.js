'use strict';
// Texts of header fields: encoded words (RFC 2047) and folding (RFC 5322 §2.2.3). Raw values are
// strings with one character for each byte, Node's "latin1", so that every byte is kept.

const WORD = /=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?\s]*)\?=/g;

/**
 * The text of a raw value: unfolded, encoded words decoded, no white space around it. Words that
 * cannot be decoded stay as they are. Bytes beyond ASCII are UTF-8 (RFC 6532); where they are
 * not, they become U+FFFD.
 */
function decode(raw) {
  const text = trim(Buffer.from(raw.replace(/[\r\n]/g, ''), 'latin1').toString('utf8'));
  let out = '';
  let waiting = null; // charset and bytes of words that belong together
  let end = 0;
  const flush = () => (waiting ? new TextDecoder(waiting.charset).decode(waiting.bytes) : '');
  for (const match of text.matchAll(WORD)) {
    const between = text.slice(end, match.index);
    const bytes = content(match[2], match[3]);
    const charset = known(match[1]);
    if (!bytes || !charset) continue;
    if (waiting && waiting.charset === charset && trim(between) === '') {
      waiting.bytes = Buffer.concat([waiting.bytes, bytes]); // a character may be split, against §5
    } else {
      out += flush() + (waiting && trim(between) === '' ? '' : between);
      waiting = { charset, bytes };
    }
    end = match.index + match[0].length;
  }
  return out + flush() + text.slice(end);
}

function trim(text) {
  return text.replace(/^[ \t]+|[ \t]+$/g, '');
}

function content(encoding, text) {
  if (/[bB]/.test(encoding)) {
    return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, 'base64') : null;
  }
  if (/=(?![0-9A-Fa-f]{2})/.test(text)) return null;
  return Buffer.from(text.replace(/_/g, ' ').replace(/=(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
}

/** The decoder's name of a charset; null if there is none. */
function known(charset) {
  try {
    return new TextDecoder(charset).encoding;
  } catch {
    return null;
  }
}

/** The raw value of a field: a space, and the text with encoded words where it needs them. */
function encode(name, text) {
  text = Buffer.from(String(text).replace(/[\r\n\0]/g, ' ')).toString('utf8'); // no half a surrogate pair
  const long = text.split(' ').some((word) => word.length > 900);
  if (/^[ -~]*$/.test(text) && !text.includes('=?') && !long) return ' ' + fold(name.length + 2, text);
  return ' ' + encodedWords(text, name.length + 2);
}

/** Breaks lines before spaces that have something before and behind them. */
function fold(column, text) {
  const lines = [];
  let line = '';
  for (const part of text.match(/ *[^ ]+ *$| *[^ ]+| +/g) || []) {
    if (line.trim() && column + line.length + part.length > 78 && part.startsWith(' ')) {
      lines.push(line);
      line = part;
      column = 0;
    } else {
      line += part;
    }
  }
  return [...lines, line].join('\r\n');
}

/** A text as encoded words in Q, each on a line of its own where there are several. */
function encodedWords(text, column = 0) {
  const words = [];
  let word = '';
  for (const character of text) {
    const q = [...Buffer.from(character)].map(quote).join('');
    const room = Math.min(75, words.length ? 75 : 76 - Math.min(column, 40)) - '=?utf-8?q??='.length;
    if (word.length + q.length > room) {
      words.push(word);
      word = '';
    }
    word += q;
  }
  return [...words, word].map((w) => `=?utf-8?q?${w}?=`).join('\r\n ');
}

function quote(byte) {
  if (byte === 0x20) return '_';
  const plain = byte > 0x20 && byte < 0x7f && !'=?_'.includes(String.fromCharCode(byte));
  return plain ? String.fromCharCode(byte) : '=' + byte.toString(16).toUpperCase().padStart(2, '0');
}

module.exports = { decode, encode, encodedWords };
