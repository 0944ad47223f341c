import { homedir } from 'node:os'
import { join } from 'node:path'
import { pretended } from './pretended.js'
import { run } from './program.js'
import { qemu } from './qemu.js'

/**
 * The stand-in as a program. `VBOX_STAND_IN` sets the behaviour of VirtualBox, as words separated by commas:
 * `no-driver`, `pretend` (no QEMU), `translated`, `restarted`, `slow=MS`, `linger=MS`.
 */
const words = (process.env.VBOX_STAND_IN ?? '').split(',')
const number = (key: string): number =>
  Number(words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? 0)

const { stdout, stderr, exit } = await run(process.argv.slice(2), {
  home: process.env.VBOX_USER_HOME ?? join(homedir(), '.config/VirtualBox'),
  userHome: process.env.HOME ?? homedir(),
  folder: process.cwd(),
  recorded: join(import.meta.dirname, 'recorded'),
  settings: {
    driver: !words.includes('no-driver'),
    slowMs: number('slow'),
    lingerMs: number('linger'),
    translated: words.includes('translated') || isForeign(),
    networksConf: process.env.VBOX_STAND_IN_NETWORKS ?? '/etc/vbox/networks.conf',
    serviceRestarted: words.includes('restarted'),
  },
  engine: words.includes('pretend') ? pretended : qemu,
})
await new Promise((resolve) => process.stdout.write(stdout, resolve))
await new Promise((resolve) => process.stderr.write(stderr, resolve))
// A process that simply ends may hang in Node's shutdown (nodejs/node#54918, once in thousands of runs).
process.exit(exit)

/** Tells whether the caller asked for a language other than the transcripts' language. */
function isForeign(): boolean {
  const language = process.env.LC_ALL || process.env.LC_MESSAGES || process.env.LANG || 'C'
  return !/^(C|POSIX|en)/.test(language)
}
