// Sends the message on standard input by Nodemailer and prints what the server answered.
// node nodemailer.js HOST PORT none|starttls|implicit CA FROM TO [USER PASSWORD METHOD]
const fs = require('node:fs')
const nodemailer = require('nodemailer')

const [host, port, mode, ca, from, to, user, pass, method] = process.argv.slice(2)
const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  name: 'client.example.net',
  secure: mode === 'implicit',
  requireTLS: mode === 'starttls',
  ignoreTLS: mode === 'none',
  tls: mode === 'none' ? undefined : { ca: fs.readFileSync(ca) },
  auth: user ? { user, pass } : undefined,
  authMethod: method || undefined,
  connectionTimeout: 30000,
})
transport.sendMail({ envelope: { from, to }, raw: fs.readFileSync(0) }).then(
  (info) => console.log(info.response),
  (err) => {
    console.log(err.response || err)
    process.exitCode = 1
  },
)
