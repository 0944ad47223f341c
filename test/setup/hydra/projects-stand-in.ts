import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, vi } from 'vitest'
import { bindTask, type WantedTask } from '../../../src/core/setup-task.js'
import { hydraProjectsTask } from '../../../src/setup/hydra/projects-task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { StandIns } from '../../hydra/stand-in-packages.js'

/** The password `hunter2`; a hash with Hydra's own parameters takes 256 MiB at each login. */
const cheapHash = '$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$+55bGFBCI8ee8BNN4vbb/g'

/** The stand-in for Hydra on a real PostgreSQL, with the user `alice`. The tester plays all of Hydra's Unix users. */
export class ProjectsStandIn {
  readonly host: LocalShellHost
  readonly postgres: PrivatePostgres
  readonly port: number
  /** The folder behind /var/lib/hydra-ops. */
  readonly state: string
  /** The list of the projects that the task made. */
  readonly list: string
  private readonly root: string
  private readonly standIns: StandIns

  private constructor(root: string, standIns: StandIns, postgres: PrivatePostgres, port: number) {
    this.root = root
    this.standIns = standIns
    this.postgres = postgres
    this.port = port
    this.state = join(root, 'hydra-ops')
    this.list = join(this.state, 'hydra-projects')
    const moved = {
      '/var/lib/hydra-ops': this.state,
      '/var/lib/hydra': standIns.data,
      '/nix/store': standIns.nix.real('/nix/store'),
    }
    this.host = new LocalShellHost({ bin: join(root, 'bin'), moved, asRoot: true })
  }

  static async start(): Promise<ProjectsStandIn> {
    const standIns = new StandIns()
    const postgres = startPostgres()
    await standIns.build('hydra')
    for (const [name, value] of Object.entries(postgres.env)) vi.stubEnv(name, value)
    const started = new ProjectsStandIn(
      mkdtempSync(join(tmpdir(), 'ho-projects-')),
      standIns,
      postgres,
      await freePort(),
    )
    started.program(
      'pg_lsclusters',
      `if [ -S '${postgres.socket}/.s.PGSQL.5432' ]; then state=online; else state=down; fi; echo "15 main 5432 $state nobody /data /log"`,
    )
    started.program('runuser', 'shift 3; exec "$@"')
    await started.serve()
    return started
  }

  private program(name: string, body: string): void {
    mkdirSync(join(this.root, 'bin'), { recursive: true })
    writeFileSync(join(this.root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
  }

  private async serve(): Promise<void> {
    const { standIns, postgres, port } = this
    const env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
    writeFileSync(join(standIns.data, 'hydra.conf'), 'using_frontend_proxy = 1\n')
    expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
    const create = ['hydra-create-user', 'alice', '--password-hash', cheapHash, '--role', 'admin']
    expect(standIns.run('hydra', create, env).status).toBe(0)
    const server = ['hydra-server', '-h', '127.0.0.1', '-p', `${port}`]
    await standIns.start('hydra', server, env, async (daemon) => daemon.log.includes('Accepting connections'))
  }

  async dispose(): Promise<void> {
    vi.unstubAllEnvs()
    await this.standIns.dispose()
    this.postgres.stop()
    rmSync(this.root, { recursive: true, force: true })
  }

  /** Binds the task to these projects; Alice's password comes from a file, unless a test says otherwise. */
  wanted(
    projects: unknown,
    password: Record<string, unknown> = { file: '/secrets/alice' },
    url = `http://127.0.0.1:${this.port}`,
  ): WantedTask {
    const hydra = {
      ...{ enable: true, package: this.standIns.path('hydra'), url, port: this.port, projects },
      admin: { userName: 'alice', password },
    }
    const task = bindTask(hydraProjectsTask)(taskMachine({ hydra }))
    if (task === undefined) throw new Error('the task is not wanted')
    return task
  }

  listText(): string {
    return readFileSync(this.list, 'utf8')
  }

  placeList(text: string): void {
    mkdirSync(dirname(this.list), { recursive: true })
    writeFileSync(this.list, text)
  }
}
