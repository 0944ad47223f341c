import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hydraConfig } from '../../../src/setup/hydra/config-text.js'
import {
  builderSettings,
  ownBuilder,
  queueRunnerSettings,
} from '../../../src/setup/hydra/joining-builders.js'
import { type HydraFacts, hydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { hydraUnits } from '../../../src/setup/hydra/units.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { type Daemon, type Ended, StandIns } from '../../hydra/stand-in-packages.js'

const name = 'hydra-database-url'
export const database = { name: 'hydra', port: 5432 }

interface Parts {
  readonly standIns: StandIns
  readonly postgres: PrivatePostgres
  readonly settings: HydraSettings
  readonly facts: HydraFacts
  readonly host: LocalShellHost
  readonly moved: Readonly<Record<string, string>>
  readonly units: ReadonlyMap<string, string>
}

/**
 * The units, hydra.conf and settings of a Hydra since March 2026, in the test's own folders. The test does systemd's
 * part for a unit: its environment and its program.
 */
export class UnitsByHand {
  readonly standIns: StandIns
  readonly root: string
  readonly postgres: PrivatePostgres
  readonly settings: HydraSettings
  readonly facts: HydraFacts
  readonly host: LocalShellHost
  readonly #moved: Readonly<Record<string, string>>
  readonly #units: ReadonlyMap<string, string>

  private constructor(parts: Parts) {
    this.standIns = parts.standIns
    this.root = parts.standIns.nix.folder
    this.postgres = parts.postgres
    this.settings = parts.settings
    this.facts = parts.facts
    this.host = parts.host
    this.#moved = parts.moved
    this.#units = parts.units
  }

  /** Creates the units for these options of Hydra; `instead` has more texts that are replaced, such as an address. */
  static async make(
    options: (root: string) => Readonly<Record<string, unknown>>,
    instead: Readonly<Record<string, string>> = {},
  ): Promise<UnitsByHand> {
    const standIns = new StandIns()
    const root = standIns.nix.folder
    const moved = {
      '/nix/var/nix/gcroots/hydra': join(root, 'gcroots'),
      '/var/lib/hydra': standIns.data,
      '/run/hydra-queue-runner': join(root, 'run'),
      '/etc/hydra': join(root, 'etc'),
      ...instead,
    }
    for (const folder of ['run', 'etc', 'gcroots', 'machine']) mkdirSync(join(root, folder))
    const program = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n'
    writeFileSync(join(root, 'machine/runuser'), program, { mode: 0o755 })
    const host = new LocalShellHost({ bin: join(root, 'machine'), moved })
    const placeholder = '/nix/store/00000000000000000000000000000000-hydra'
    const ports = { port: await freePort(), queueRunnerPort: await freePort() }
    const hydra = { enable: true, package: placeholder, ...ports, ...options(root) }
    const settings = hydraSettings(taskMachine({ hydra }))
    if (settings === undefined) throw new Error('no Hydra is wanted')
    await standIns.build(name)
    const path = dirname(standIns.bin(name))
    const facts = await hydraFacts(host, path, taskRun())
    const all = hydraUnits({ settings, package: path, facts, database, postgresql: 'p.service' })
    const units = new Map(all.map((unit) => [unit.name, unit.text]))
    const made = new UnitsByHand({ standIns, postgres: startPostgres(), settings, facts, host, moved, units })
    made.write('hydra.conf', hydraConfig(settings, facts))
    symlinkSync(join(root, 'etc/hydra.conf'), join(standIns.data, 'hydra.conf'))
    made.write('queue-runner.toml', queueRunnerSettings(settings, database))
    made.write('builder.toml', builderSettings(ownBuilder(settings.options, facts)))
    return made
  }

  /** Replaces the machine's paths with the paths of the test. */
  here(text: string): string {
    return Object.entries(this.#moved)
      .reduce((whole, [from, to]) => whole.replaceAll(from, to), text)
      .replaceAll('%2Frun%2Fpostgresql', encodeURIComponent(this.postgres.socket))
  }

  /** Writes a file of /etc/hydra. */
  write(file: string, text: string): void {
    writeFileSync(join(this.root, 'etc', file), this.here(text))
  }

  /** Parses a unit by the rules of systemd.syntax(7) that hydra-ops's units use. */
  commandOf(unit: string): { argv: string[]; env: Record<string, string> } {
    const text = this.#units.get(`${unit}.service`) ?? ''
    const [, line = ''] = /^ExecStart=(.*)$/m.exec(text) ?? []
    const [program = '', ...args] = line.split(' ')
    const variables = [...text.matchAll(/^Environment="(.*)"$/gm)].map(([, each = '']) =>
      this.here(each.replaceAll('%%', '%').replaceAll(/\\(.)/g, '$1')),
    )
    const env = Object.fromEntries(
      variables.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]),
    )
    return { argv: [program.split('/').pop() ?? '', ...args.map((each) => this.here(each))], env }
  }

  async start(
    unit: string,
    ready: (daemon: Daemon) => boolean,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Daemon> {
    const env = { ...(await this.environmentOf(unit)), ...more }
    return this.standIns.start(name, this.commandOf(unit).argv, env, async (daemon) => ready(daemon))
  }

  /** Runs a program of the package to its end, in the environment of a unit. */
  async run(unit: string, argv = this.commandOf(unit).argv): Promise<Ended> {
    return this.standIns.run(name, argv, await this.environmentOf(unit))
  }

  /** Returns a unit's environment with the test's store; LOGNAME has the value that systemd sets for `User=`. */
  async environmentOf(unit: string): Promise<Record<string, string>> {
    const own = await this.standIns.env({ LOGNAME: 'hydra-queue-runner' })
    const { NIX_REMOTE = '' } = own
    return { ...own, ...this.commandOf(unit).env, NIX_REMOTE }
  }

  async dispose(): Promise<void> {
    await this.standIns.dispose()
    this.postgres.stop()
  }
}
