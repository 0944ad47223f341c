import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { updateResultFile } from '../../src/core/machine-places.js'
import { packageRoot } from '../../src/core/package-root.js'
import { type OperatorHost, operatorHost } from '../e2e/operator.js'
import { AptRelay } from '../fixtures/apt-relay.js'
import { freePort } from '../fixtures/free-port.js'
import { readDocument } from './documents.js'
import { codeBlocks } from './markdown.js'
import { readerShell, replaced } from './reader-shell.js'
import type { ShellSession } from './shell-session.js'

export const document = readDocument('docs/hydra-source.md')
export const heading = 'From an empty repository to a machine'
const minutes = 60_000
const pauseMs = 5_000
/** The time for Hydra to poll the repository, evaluate the network and build it, all under emulation. */
const evaluationMs = 35 * minutes

const Status = z.object({
  jobsets: z.array(
    z.looseObject({
      unfinished: z.number(),
      detail: z
        .looseObject({
          evaluation: z.looseObject({ id: z.number() }).optional(),
          inputs: z.record(z.string(), z.string()).default({}),
          gate: z.looseObject({ id: z.number(), state: z.string() }).optional(),
        })
        .optional(),
    }),
  ),
})
const QueueRunner = z.looseObject({
  machines: z.record(z.string(), z.looseObject({ nrStepsDone: z.number() })),
})
const Builds = z.array(
  z.looseObject({ job: z.string(), buildoutputs: z.record(z.string(), z.looseObject({ path: z.string() })) }),
)

/** The change that a push makes to the network. */
export interface Change {
  readonly greeting: string
  /** Whether the system of the machine `builder` fails to build. */
  readonly broken?: boolean
}

/** The network of the walkthrough in a git repository, with the reader's shell. */
export class HydraNetwork {
  readonly host: OperatorHost
  readonly shell: ShellSession
  readonly url: string
  private readonly repository: string
  private readonly relay: AptRelay
  private readonly text: string

  private constructor(host: OperatorHost, relay: AptRelay, text: string, url: string) {
    this.host = host
    this.relay = relay
    this.text = text
    this.url = url
    this.repository = join(host.folder, 'network')
    mkdirSync(this.repository)
    cpSync(join(packageRoot(), 'test/fixtures/packages'), join(this.repository, 'packages'), {
      recursive: true,
      filter: (path) => !path.endsWith('__pycache__'),
    })
    const real = process.env.HYDRA_OPS_HYDRA_PACKAGE
    const hydra = real === undefined ? '(import ./packages { }).hydra' : JSON.stringify(real)
    writeFileSync(join(this.repository, 'hydra.nix'), `${hydra}\n`)
    this.write(text)
    this.shell = readerShell(host, this.repository)
  }

  /** Writes the network of the document into an empty repository. */
  static async start(): Promise<HydraNetwork> {
    const relay = new AptRelay()
    const proxy = await relay.listen()
    const port = await freePort()
    const network = new HydraNetwork(
      operatorHost(),
      relay,
      networkText(port, proxy),
      `http://127.0.0.1:${port}`,
    )
    await network.shell.run('git init --quiet --initial-branch main', minutes)
    return network
  }

  /** Runs a command on a machine as root; returns its output. */
  async on(machine: string, command: string): Promise<string> {
    const output = await this.host.ok(['ssh', '-d', 'lab', machine, '--', command])
    return output.trimEnd()
  }

  /** Waits until a shell condition holds on a machine. */
  async until(machine: string, condition: string): Promise<void> {
    const loop = `for i in $(seq 600); do if ${condition}; then exit 0; fi; sleep 2; done; exit 1`
    await this.host.ok(['ssh', '-d', 'lab', machine, '--', loop], { timeoutMs: 25 * minutes })
  }

  /** Changes the network, and pushes the change as the walkthrough does. */
  async push({ greeting, broken = false }: Change): Promise<void> {
    const builder = 'builder.deployment.builder ='
    const packages = `builder.deployment.packages = [ (derivation {
      name = "broken"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "exit 1" ]; }) ];\n`
    const text = replaced(this.text, 'Hello from Hydra', greeting)
    this.write(broken ? replaced(text, builder, `${packages}  ${builder}`) : text)
    await this.shell.run(
      `hydra-ops hydra jobs init -d lab
git add . && git commit --quiet --message '${greeting}'
GIT_SSH_VARIANT=simple GIT_SSH_COMMAND='hydra-ops ssh -d lab' git push ci:/srv/network.git main`,
      10 * minutes,
    )
  }

  /** Waits until Hydra has evaluated the last push, and the gate has ended with the status `end`. */
  async evaluated(
    end: 'succeeded' | 'a dependency failed',
  ): Promise<{ readonly evaluation: number; readonly gate: number }> {
    const revision = (await this.shell.run('git rev-parse HEAD', minutes)).trim()
    const deadline = Date.now() + evaluationMs
    for (;;) {
      const status = await this.host.ok(['hydra', 'status', 'infra:main', '-d', 'lab', '--json'])
      const [{ detail = undefined, unfinished = 0 } = {}] = Status.parse(JSON.parse(status)).jobsets
      const { evaluation, gate, inputs } = detail ?? {}
      const ended = inputs?.network === revision && gate?.state === end && unfinished === 0
      if (ended && evaluation !== undefined && gate !== undefined)
        return { evaluation: evaluation.id, gate: gate.id }
      if (Date.now() > deadline) throw new Error(`the gate of ${revision} never became '${end}'\n${status}`)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  async queueRunner(): Promise<z.infer<typeof QueueRunner>> {
    return QueueRunner.parse(JSON.parse(await this.ask('/queue-runner-status')))
  }

  /** Returns the store path that Hydra built for a job of an evaluation. */
  async resultOf(job: string, evaluation: number): Promise<string> {
    const builds = Builds.parse(JSON.parse(await this.ask(`/eval/${evaluation}/builds`)))
    const path = builds.find((build) => build.job === job)?.buildoutputs.out?.path
    if (path === undefined) throw new Error(`evaluation ${evaluation} has no result of ${job}`)
    return path
  }

  /** Returns the narinfo of a store path from the cache. */
  narinfo(path: string): Promise<string> {
    return this.ask(`/static-cache/${this.hashOf(path)}.narinfo`)
  }

  hashOf(path: string): string {
    return path.replace('/nix/store/', '').slice(0, 32)
  }

  /** Returns the last result of the automatic update on `web`. */
  async updated(): Promise<unknown> {
    return JSON.parse(await this.on('web', `cat ${updateResultFile}`))
  }

  async operatorHas(path: string): Promise<boolean> {
    const store = { env: { NIX_REMOTE: join(this.host.state, 'nix') } }
    const { code } = await this.host.program(['nix-store', '--check-validity', path], store)
    return code === 0
  }

  async dispose(): Promise<void> {
    this.shell.dispose()
    await this.host.run(['destroy', '-d', 'lab', '--yes'])
    this.relay.dispose()
    this.host.dispose()
  }

  private write(text: string): void {
    writeFileSync(join(this.repository, 'network.nix'), text)
  }

  private async ask(path: string): Promise<string> {
    const answer = await fetch(`${this.url}${path}`, { headers: { accept: 'application/json' } })
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
    return answer.text()
  }
}

/** Returns the network of the document with another port. The guests of a test reach only each other. */
function networkText(port: number, proxy: number): string {
  const [block] = codeBlocks(document).filter((each) => each.heading === heading && each.language === 'nix')
  const here = 'deployment.targetEnv = "libvirtd";'
  const changes: readonly (readonly [string, string])[] = [
    ['http://127.0.0.1:8080', `http://127.0.0.1:${port}`],
    ['host = 8080;', `host = ${port};`],
    [here, `${here} deployment.libvirtd.outbound = false; deployment.aptProxy = "operator:${proxy}";`],
    // The stand-in for Hydra needs these packages.
    ['aptPackages = [ "git" ];', 'aptPackages = [ "git" "python3-psycopg2" "python3-cryptography" ];'],
  ]
  return changes.reduce((text, [before, after]) => replaced(text, before, after), block?.text ?? '')
}
