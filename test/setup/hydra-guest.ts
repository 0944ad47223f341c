import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'
import { bindTask, type TaskMachine, type TaskRun, type WantedTask } from '../../src/core/setup-task.js'
import type { Host } from '../../src/core/ssh.js'
import { placeFiles } from '../../src/remote/place-files.js'
import { cacheKeyTask } from '../../src/setup/cache-key.js'
import { binaryCacheTask } from '../../src/setup/hydra/binary-cache.js'
import { hydraProofTask } from '../../src/setup/hydra/proof-task.js'
import { hydraTask } from '../../src/setup/hydra/task.js'
import { hydraAccountsTask } from '../../src/setup/hydra/unix-users.js'
import { adminUserTask } from '../../src/setup/hydra/web-users-task.js'
import { nginxTask } from '../../src/setup/nginx/task.js'
import { nixTask } from '../../src/setup/nix.js'
import { nixServeTask } from '../../src/setup/nix-serve.js'
import { postgresqlTask } from '../../src/setup/postgresql/task.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { ConnectedGuest } from '../fixtures/connected-guest.js'

const tasks: Readonly<Record<string, (machine: TaskMachine) => WantedTask | undefined>> = {
  nix: bindTask(nixTask),
  'hydra-accounts': bindTask(hydraAccountsTask),
  postgresql: bindTask(postgresqlTask),
  'cache-key': bindTask(cacheKeyTask),
  'binary-cache': bindTask(binaryCacheTask),
  'nix-serve': bindTask(nixServeTask),
  hydra: bindTask(hydraTask),
  nginx: bindTask(nginxTask),
  'admin-user': bindTask(adminUserTask),
  'hydra-proof': bindTask(hydraProofTask),
}

export const password = 'Kx7-päss "word" \\ $(false) `x` %n \'-Zq'

/** A guest on which Hydra's tasks run one by one. Hydra and nix-serve are stand-ins, which the guest builds. */
export class HydraGuest {
  readonly connected: ConnectedGuest
  private packages = { hydra: '', nixServe: '' }

  private constructor(connected: ConnectedGuest) {
    this.connected = connected
  }

  /** Starts a guest on which all tasks are done up to this one. */
  static async start(upTo?: string): Promise<HydraGuest> {
    const prepare = async (connected: ConnectedGuest) => {
      const guest = new HydraGuest(connected)
      await guest.apply('nix')
      await guest.buildPackages()
    }
    const guest = new HydraGuest(await ConnectedGuest.start({ name: 'hydra', key: sourcesKey(), prepare }))
    try {
      await guest.findPackages()
      if (upTo !== undefined) await guest.applyUpTo(upTo)
      return guest
    } catch (error) {
      await guest.dispose()
      throw error
    }
  }

  get host(): Host {
    return this.connected.host
  }

  get hydraPackage(): string {
    return this.packages.hydra
  }

  sh(text: string, ...args: string[]): Promise<string> {
    return this.connected.sh(text, ...args)
  }

  /** Runs a statement on Hydra's database, as the role that owns it. */
  sql(statement: string): Promise<string> {
    return this.sh('cd /; runuser -u hydra -- psql -XqAt -U hydra -d hydra -c "$1"', statement)
  }

  task(id: string, hydra: Record<string, unknown> = {}): WantedTask {
    const found = tasks[id]?.(taskMachine({ hydra: { ...this.options(), ...hydra } }))
    if (found === undefined) throw new Error(`no task ${id} is wanted`)
    return found
  }

  private options(): Record<string, unknown> {
    const alice = { userName: 'alice', fullName: 'Alice Q. User', emailAddress: 'alice@example.org' }
    return {
      enable: true,
      hostName: 'hydra.example.org',
      package: this.packages.hydra || null,
      cache: { enable: true },
      nginx: { enable: true, cacheHostName: 'cache.example.org' },
      nixServe: { enable: true, package: this.packages.nixServe || null },
      admin: { ...alice, password: { prompt: true } },
    }
  }

  /** Creates the input of a task; web requests reach the guest only over ssh. */
  run(more: { secrets?: Readonly<Record<string, string>> } = {}): TaskRun & { readonly lines: string[] } {
    const run = taskRun({ 'hydra-user-alice': password, ...more.secrets })
    return {
      ...run,
      connect: (port, bounds) => this.host.connectTcp('127.0.0.1', port, bounds),
    }
  }

  /** Applies a task and verifies it, as the engine does. */
  async apply(id: string, hydra?: Record<string, unknown>): Promise<void> {
    const task = this.task(id, hydra)
    await task.apply(this.host, this.run())
    await task.verify(this.host, this.run())
  }

  async applyUpTo(last: string): Promise<void> {
    for (const id of Object.keys(tasks)) {
      await this.apply(id)
      if (id === last) return
    }
  }

  /** Returns the state of each task that is not done. */
  async notDone(upTo = 'admin-user'): Promise<Record<string, unknown>> {
    const seen: [string, unknown][] = []
    for (const id of Object.keys(tasks)) {
      const state = await this.task(id).probe(this.host, this.run())
      if (state !== 'done') seen.push([id, state])
      if (id === upTo) break
    }
    return Object.fromEntries(seen)
  }

  async dispose(): Promise<void> {
    await this.connected.dispose()
  }

  private async buildPackages(): Promise<void> {
    const source = join(packageRoot(), 'test/fixtures/packages')
    const files = filesBelow(source).map((file) => ({
      path: join('/var/tmp/packages', relative(source, file)),
      content: readFileSync(file),
      mode: 0o644,
      user: 'root',
      group: 'root',
    }))
    await placeFiles(this.host, files, { run: this.run(), what: 'bring the stand-ins' })
    const build = (attribute: string) =>
      this.sh(
        'NIX_REMOTE=daemon nix-build /var/tmp/packages -A "$1" -o "/nix/var/nix/gcroots/$1" 2>/dev/null',
        attribute,
      )
    await build('hydra')
    await build('nix-serve')
  }

  private async findPackages(): Promise<void> {
    const find = (attribute: string) => this.sh('readlink -e "/nix/var/nix/gcroots/$1"', attribute)
    this.packages = { hydra: await find('hydra'), nixServe: await find('nix-serve') }
  }
}

/** Returns a key that changes with every source that a prepared guest may depend on. */
function sourcesKey(): string {
  const hash = createHash('sha256')
  for (const folder of ['src', 'nix', 'state', 'providers', 'target', 'test/setup', 'test/fixtures']) {
    const path = join(packageRoot(), folder)
    if (!existsSync(path)) continue
    for (const file of filesBelow(path).sort()) {
      hash.update(`${relative(path, file)}\0`).update(readFileSync(file))
    }
  }
  return hash.digest('hex')
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (name === '__pycache__') return []
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}
