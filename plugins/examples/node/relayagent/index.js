'use strict';
// Agents of the relay in JavaScript: see README.md in the folder above.

const { Mailbox, join, matches, split } = require('./addresses');
const { serve } = require('./process');
const { SettingsError } = require('./settings');
const { Verdict, ...verdicts } = require('./verdicts');
const { encodedWords } = require('./words');

module.exports = { serve, ...verdicts, SettingsError, Mailbox, encodedWords, join, matches, split };
