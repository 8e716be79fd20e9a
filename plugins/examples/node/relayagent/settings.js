'use strict';
// The operator's settings: every problem has the name of its field.

/** Settings that are refused: a list of { field, problem }; the field "" is the whole. */
class SettingsError extends Error {
  constructor(problems) {
    super(problems.map((p) => (p.field ? `${p.field}: ${p.problem}` : p.problem)).join('\n'));
    this.problems = problems;
  }
}

/**
 * The settings over their defaults, whose types they must have. A list's first element shows the
 * type of all; an empty one holds strings.
 */
function read(given, defaults) {
  if (!given.trim()) return { ...defaults };
  const problems = [];
  const values = table(JSON.parse(given), defaults, '', problems);
  if (problems.length) throw new SettingsError(problems);
  return values;
}

function table(given, defaults, path, problems) {
  if (!isTable(given)) {
    problems.push({ field: path.replace(/\.$/, ''), problem: `must be a table, not ${kind(given)}` });
    return defaults;
  }
  const values = { ...defaults };
  const known = Object.keys(defaults).sort();
  for (const name of Object.keys(given).sort()) {
    if (!known.includes(name)) {
      const there = known.length ? known.join(', ') : 'none';
      problems.push({ field: path + name, problem: `unknown setting; there are ${there}` });
    } else if (isTable(defaults[name])) {
      values[name] = table(given[name], defaults[name], `${path}${name}.`, problems);
    } else if (isLike(given[name], defaults[name])) {
      values[name] = given[name];
    } else {
      problems.push({ field: path + name, problem: `must be ${wanted(defaults[name])}, not ${kind(given[name])}` });
    }
  }
  return values;
}

function isTable(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sample(list) {
  return list.length ? list[0] : '';
}

function isLike(value, standard) {
  if (Array.isArray(standard)) return Array.isArray(value) && value.every((v) => isLike(v, sample(standard)));
  return typeof value === typeof standard;
}

function wanted(standard) {
  if (Array.isArray(standard)) return `a list (each ${wanted(sample(standard))})`;
  return { string: 'a string', boolean: 'true or false', number: 'a number' }[typeof standard];
}

function kind(value) {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return { string: 'a string', boolean: String(value), number: `the number ${value}`, object: 'a table' }[typeof value];
}

module.exports = { SettingsError, read };
