import { failure } from '../core/errors.js'
import { ownedService } from '../core/owned-places.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskRun, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, type Facts, fact, runScript } from '../remote/run-script.js'
import { portPackages, refuseTakenPort } from '../remote/taken-port.js'
import { waitUntil } from '../remote/wait-until.js'
import { hydraSettings, mailHost } from './hydra/settings.js'
import { smtpGreeting } from './smtp-greeting.js'

interface PostfixOptions {
  /** Name for greetings and senders; `undefined` keeps Debian's name. */
  readonly hostName: string | undefined
  /** Whether Hydra sends mail to this machine's port 25. */
  readonly forHydra: boolean
}

const answerMs = 3 * 60_000
const greetingMs = 20_000

/** Line in main.cf that names the settings' author; a machine without this line has none of our settings yet. */
const mark =
  '# hydra-ops (set-up task "postfix") sets inet_interfaces, mydestination and myhostname; all else is yours.'

/**
 * A mail server that accepts mail only from the machine itself, and delivers it. The task does not change a mail server
 * that serves other hosts, or another program that sends the machine's mail.
 */
export const postfixTask: SetupTask<PostfixOptions> = {
  id: 'postfix',
  title: 'mail from this machine',
  after: [],
  stage: 'configure',
  // The alternative keeps apt from removing another program that sends the mail.
  debianPackages: () => ['postfix | mail-transport-agent', ...portPackages],
  debconf: () => debconfAnswers,
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings?.options.postfix.enable !== true) return undefined
    const { hostName, options } = settings
    return { hostName: isQualified(hostName) ? hostName : undefined, forHydra: options.smtpHost == null }
  },
  owns: () => [
    {
      path: '/etc/postfix/main.cf',
      instead: 'deployment.hydra.postfix.enable = false to set up postfix yourself',
    },
    ...ownedService('postfix.service'),
    ...ownedService('postfix@-.service'),
  ],
  probe: probePostfix,
  apply: applyPostfix,
  verify: verifyPostfix,
}

/**
 * Answers that make postfix listen only on the loopback interface from its first start. "Satellite system" has this
 * effect, and delivers mail itself without a relay host. "Internet Site", the default, listens on all interfaces until
 * this task runs. "Local only" refuses mail to other hosts (postinst of postfix 3.7).
 */
const debconfAnswers = [
  'postfix postfix/main_mailer_type select Satellite system',
  'postfix postfix/relayhost string ',
]

/** Says whether a name is qualified; postfix refuses an IP address as myhostname. */
function isQualified(name: string): boolean {
  return /\.[A-Za-z][^.]*$/.test(name)
}

/** State of the machine's mail; `ours` means that this task sets, or has set, the configuration. */
type Found =
  | { readonly kind: 'absent' }
  | { readonly kind: 'left alone'; readonly why: string }
  | { readonly kind: 'ours'; readonly facts: Facts }

async function look(host: Host, run: Run): Promise<Found> {
  const facts = await askMachine(
    host,
    { what: 'look at the mail server', script: 'tasks/postfix/look', values: { mark } },
    run,
  )
  if (fact(facts, 'postfix') !== 'yes') {
    const other = fact(facts, 'other')
    return other === ''
      ? { kind: 'absent' }
      : { kind: 'left alone', why: `${other} sends the mail of this machine` }
  }
  const relay = fact(facts, 'relayhost')
  const interfaces = fact(facts, 'interfaces')
  if (fact(facts, 'mark') === 'yes') return { kind: 'ours', facts }
  if (fact(facts, 'config') === 'absent')
    return { kind: 'left alone', why: 'postfix has no configuration (dpkg-reconfigure postfix)' }
  if (relay !== '') return { kind: 'left alone', why: `postfix sends all mail to ${relay} (relayhost)` }
  if (!isLoopback(interfaces))
    return {
      kind: 'left alone',
      why: `postfix accepts mail from other hosts (inet_interfaces = ${interfaces})`,
    }
  return { kind: 'ours', facts }
}

function isLoopback(interfaces: string): boolean {
  const loopback = ['loopback-only', 'localhost', '127.0.0.1', '[::1]', '::1']
  return interfaces.split(/[\s,]+/).every((each) => loopback.includes(each))
}

async function probePostfix(host: Host, options: PostfixOptions, run: Run): Promise<TaskState> {
  const found = await look(host, run)
  if (found.kind === 'left alone') return 'done'
  if (found.kind === 'absent' || fact(found.facts, 'mark') !== 'yes') return 'needed'
  const wrong = wrongOf(found.facts, options)
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

function wrongOf(facts: Facts, { hostName }: PostfixOptions): string[] {
  const seen = (name: string) => fact(facts, name)
  const rules: readonly (readonly [boolean, string])[] = [
    [seen('interfaces') === 'loopback-only', `inet_interfaces is ${seen('interfaces')}`],
    [seen('destinations') === seen('wanted'), `mydestination is ${seen('destinations')}`],
    [hostName === undefined || seen('hostname') === hostName, `myhostname is ${seen('hostname')}`],
    [seen('running') === 'yes', 'postfix is not running'],
    [seen('enabled') === 'enabled', 'postfix is not started at boot'],
    [seen('restart') !== 'due', 'postfix has not been restarted since its configuration changed'],
    [seen('open') === '', `port 25 is open to other hosts, at ${seen('open')}`],
  ]
  return rules.flatMap(([holds, otherwise]) => (holds ? [] : [otherwise]))
}

async function applyPostfix(
  host: Host,
  options: PostfixOptions,
  run: TaskRun,
): Promise<Record<string, string>> {
  const found = await look(host, run)
  if (found.kind === 'absent')
    throw failure(
      'NO_POSTFIX',
      `machine '${host.machine}': postfix is missing, although its package should be installed`,
      {
        machine: host.machine,
      },
    )
  if (found.kind === 'left alone') {
    run.log(`the mail setup stays unchanged: ${found.why}`)
    return { mail: `not changed: ${found.why}` }
  }
  // A running postfix, even one started by hand, already owns the port.
  if (fact(found.facts, 'running') !== 'yes') {
    const hint = 'stop that program, because postfix needs this port of the loopback interface'
    await refuseTakenPort(host, { port: 25, unit: 'postfix@-.service', hint }, run)
  }
  if (!options.forHydra)
    run.log('Hydra sends its mail to deployment.hydra.smtpHost, not through this postfix')
  const setUp = {
    what: 'set up postfix',
    script: 'tasks/postfix/apply',
    values: { mark, host_name: options.hostName ?? '' },
    hint: 'journalctl -u postfix@- on the machine shows more',
  }
  await runScript(host, setUp, run)
  return { mail: 'postfix, for this machine only' }
}

async function verifyPostfix(host: Host, options: PostfixOptions, run: TaskRun): Promise<void> {
  const found = await look(host, run)
  if (found.kind === 'left alone' && !options.forHydra) return
  const hint =
    found.kind === 'left alone'
      ? `${found.why}; let this mail server listen at ${mailHost}:25, or name another mail server in deployment.hydra.smtpHost`
      : 'journalctl -u postfix@- on the machine shows more'
  await waitUntil(host.machine, run, {
    what: `a mail server answers at ${mailHost}:25 of the machine`,
    deadlineMs: answerMs,
    hint,
    wrong: async () => {
      const greeting = await smtpGreeting({
        connect: (bounds) => host.connectTcp(mailHost, 25, bounds),
        signal: run.signal,
        timeoutMs: greetingMs,
      })
      if (!greeting.startsWith('220 ')) return `the mail server greets with "${greeting}"`
      const now = await look(host, run)
      const wrong = now.kind === 'ours' ? wrongOf(now.facts, options) : []
      return wrong.length === 0 ? undefined : wrong.join('; ')
    },
  })
}
