import { commandFailure, requireSuccess } from '../../core/command-result.js'
import type { DebianMachine } from '../../core/definition.js'
import { failure, usageError } from '../../core/errors.js'
import type { PlanItem } from '../../core/plan.js'
import type { Run } from '../../core/run.js'
import type { WantedTask } from '../../core/setup-task.js'
import type { CommandResult, Host } from '../../core/ssh.js'
import { targetFile } from '../../core/target-file.js'
import { targetScript } from '../../remote/target-scripts.js'

/** Packages that one machine wants from apt. */
export interface WantedPackages {
  /** All packages, each once: `name`, `name=version`, or `name | other`. */
  readonly all: readonly string[]
  /**
   * Packages of `deployment.aptPackages`: recorded when hydra-ops installs them, and removed when the option no longer
   * lists them.
   */
  readonly own: readonly string[]
  /** Answers to debconf's questions: see `SetupTask.debconf`. */
  readonly answers?: readonly string[]
}

const inspectMs = 120_000
/** Deadline for an installation: hundreds of packages over a slow line, and apt's own waits (lock: 5 minutes). */
const installMs = 45 * 60_000
const evidenceLines = 20

/**
 * Merges `deployment.aptPackages` with the packages of the set-up tasks. A version that the option or a task requests
 * applies.
 */
export function wantedPackages(
  machine: Pick<DebianMachine, 'name' | 'options'>,
  tasks: readonly Pick<WantedTask, 'packages' | 'debconf'>[],
): WantedPackages {
  const own = machine.options.aptPackages
  const versions = new Map<string, string | undefined>()
  const wanted = [...own, ...tasks.flatMap((task) => task.packages)]
  for (const each of wanted.filter((one) => !hasAlternatives(one))) {
    const { name, version } = split(each)
    const known = versions.get(name)
    if (known !== undefined && version !== undefined && known !== version) {
      throw usageError(
        `machine '${machine.name}': two different versions of package ${name} are requested: ${known} and ${version}`,
        { machine: machine.name },
      )
    }
    versions.set(name, version ?? known)
  }
  const all = [...versions].map(([name, version]) => (version === undefined ? name : `${name}=${version}`))
  // A plain package name overrides `a | b`.
  const eitherOr = wanted.filter(
    (each) => hasAlternatives(each) && !versions.has(split(preferred(each)).name),
  )
  return {
    all: [...all, ...new Set(eitherOr)],
    own: [...new Set(own.map((each) => split(each).name))],
    answers: [...new Set(tasks.flatMap((task) => task.debconf ?? []))],
  }
}

function hasAlternatives(wanted: string): boolean {
  return wanted.includes('|')
}

/** Returns the package to install when no alternative is installed. */
function preferred(wanted: string): string {
  return wanted.split('|')[0]?.trim() ?? wanted
}

function split(wanted: string): { name: string; version: string | undefined } {
  const at = wanted.indexOf('=')
  return at < 0
    ? { name: wanted, version: undefined }
    : { name: wanted.slice(0, at), version: wanted.slice(at + 1) }
}

/** Lists wanted packages that are not completely installed, or not in the wanted version. */
export async function missingPackages(host: Host, wanted: WantedPackages, run: Run): Promise<string[]> {
  if (wanted.all.length === 0) return []
  const installed = await installedPackages(host, wanted, run)
  return missingOf(wanted, installed)
}

function missingOf(wanted: WantedPackages, installed: Installed): string[] {
  return wanted.all.filter((each) => !isInstalled(installed, each)).map(preferred)
}

/** Versions by package name; a virtual package that another package provides has no version. */
type Installed = ReadonlyMap<string, string | undefined>

function isInstalled(installed: Installed, wanted: string): boolean {
  return wanted.split('|').some((each) => {
    const { name, version } = split(each.trim())
    return installed.has(name) && (version === undefined || installed.get(name) === version)
  })
}

/** Finds out which wanted packages, and which alternatives to them, are installed. */
async function installedPackages(host: Host, wanted: WantedPackages, run: Run): Promise<Installed> {
  const what = 'read which packages are installed'
  const names = wanted.all.flatMap((each) => each.split('|').map((one) => split(one.trim()).name))
  const values = { wanted: names.join(' '), program: targetFile('debian/packages.awk') }
  const result = await host.script(targetScript('debian/packages', values), [], {
    signal: run.signal,
    timeoutMs: inspectMs,
    what,
  })
  return parseInstalled(requireSuccess(result, { machine: host.machine, what }).stdout)
}

/** Parses the output of dpkg-query(1). The second letter is the state; only `i` means unpacked and configured. */
export function parseInstalled(text: string): Installed {
  const installed = new Map<string, string | undefined>()
  for (const line of text.split('\n')) {
    const [state = '', name = '', version, provides = ''] = line.split('|')
    if (state[1] !== 'i') continue
    for (const provided of provides.split(',')) {
      const virtual = provided.trim().split(' ')[0] ?? ''
      if (virtual !== '' && !installed.has(virtual)) installed.set(virtual, undefined)
    }
    installed.set(name, version)
  }
  return installed
}

export function planPackages(action: 'add' | 'remove', names: readonly string[]): PlanItem[] {
  return names.length === 0 ? [] : [{ subject: 'packages', action, detail: names.join(', ') }]
}

/**
 * Installs the missing packages in one transaction, and returns them. The transaction runs in its own session on the
 * machine, so a lost connection does not stop it. The next deploy waits for its lock.
 */
export async function installPackages(
  host: Host,
  wanted: WantedPackages,
  options: { readonly proxy: string | null | undefined; readonly run: Run },
): Promise<string[]> {
  const { run } = options
  if (wanted.all.length === 0) return []
  const installed = await installedPackages(host, wanted, run)
  const missing = missingOf(wanted, installed)
  if (missing.length === 0) return []
  const names = missing.map((each) => split(each).name)
  const ours = wanted.own.filter((name) => names.includes(name) && !installed.has(name))
  const answers = (wanted.answers ?? []).filter((answer) => names.includes(answer.split(' ')[0] ?? ''))
  const proxy = await openProxy(host, options.proxy, run)
  try {
    run.log(`apt: installing ${missing.join(' ')}`)
    await runTransaction(host, { missing, ours, answers, proxyUrl: proxy?.url }, run)
  } finally {
    await proxy?.close()
  }
  return missing
}

async function runTransaction(
  host: Host,
  packages: {
    readonly missing: readonly string[]
    readonly ours: readonly string[]
    readonly answers: readonly string[]
    readonly proxyUrl?: string | undefined
  },
  run: Run,
): Promise<void> {
  const { missing, ours, answers, proxyUrl } = packages
  const said: string[] = []
  const transaction = targetScript('debian/apt-transaction', { packages: missing, ours, answers })
  const result = await host.script(targetScript('debian/install-packages', { transaction }), [], {
    signal: run.signal,
    timeoutMs: installMs,
    what: 'install packages',
    stdin: aptConfiguration(
      proxyUrl,
      missing.some((each) => each.includes('=')),
    ),
    onLine: (line) => {
      const safe = withoutCredentials(line)
      said.push(safe)
      run.log(`apt: ${safe}`)
    },
  })
  if (result.kind !== 'exited' || result.code !== 0) throw aptFailed(host, result, said)
}

/** Writes apt's configuration, for a file of mode 0600 because a proxy's URL may hold a password. */
export function aptConfiguration(proxyUrl: string | undefined, pinned: boolean): string {
  const lines = [
    'APT::Get::Assume-Yes "true";',
    'APT::Get::Fix-Broken "true";',
    'APT::Install-Recommends "false";',
    'APT::Update::Error-Mode "any";',
    'Acquire::Retries "3";',
    'DPkg::Lock::Timeout "300";',
    'DPkg::Use-Pty "false";',
    'DPkg::Options { "--force-confold"; };',
  ]
  // A pinned version overrides a newer installed version.
  if (pinned) lines.push('APT::Get::allow-Downgrades "true";')
  if (proxyUrl !== undefined) {
    lines.push(`Acquire::http::Proxy "${proxyUrl}";`, `Acquire::https::Proxy "${proxyUrl}";`)
  }
  return `${lines.join('\n')}\n`
}

/** Opens a proxy for apt; the connection forwards `operator:PORT` for as long as apt runs. */
async function openProxy(
  host: Host,
  proxy: string | null | undefined,
  run: Run,
): Promise<{ url: string; close(): Promise<void> } | undefined> {
  if (proxy == null) return undefined
  const port = /^operator:(\d+)$/.exec(proxy)?.[1]
  if (port === undefined) return { url: proxy, close: async () => {} }
  const forward = await host.forwardFromRemote(Number(port), { signal: run.signal })
  return { url: `http://127.0.0.1:${forward.port}`, close: () => forward.close() }
}

export function withoutCredentials(line: string): string {
  return line.replaceAll(/\/\/[^/@\s]+@/g, '//***@')
}

function aptFailed(host: Host, result: CommandResult, said: readonly string[]): Error {
  const { machine } = host
  const detail = said.slice(-evidenceLines).join('\n')
  if (result.kind !== 'exited') {
    return commandFailure(result, {
      machine,
      what: 'install packages',
      hint: 'apt continues on the machine; deploy again to see its result',
    })
  }
  const unknown = said.flatMap((line) => unknownPackage(line) ?? [])
  if (unknown.length > 0) {
    const names = [...new Set(unknown)].join(', ')
    return failure(
      'NO_PACKAGE',
      `machine '${machine}': the apt sources of the machine do not contain: ${names}`,
      {
        machine,
        detail,
        hint: 'check the package names, /etc/apt/sources.list on the machine, and deployment.aptProxy',
      },
    )
  }
  const why =
    said.findLast((line) => line.startsWith('E: '))?.slice(3) ?? `apt-get ended with status ${result.code}`
  return failure('APT', `machine '${machine}': packages could not be installed: ${why}`, { machine, detail })
}

/** Returns the package that apt could not find, according to apt's messages in the C locale. */
function unknownPackage(line: string): string | undefined {
  const patterns = [
    /^E: Unable to locate package (\S+)/,
    /^E: Package '(\S+)' has no installation candidate/,
    /^E: Version '\S+' for '(\S+)' was not found/,
  ]
  return patterns.flatMap((pattern) => pattern.exec(line)?.[1] ?? [])[0]
}
