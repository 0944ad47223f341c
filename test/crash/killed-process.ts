import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { build } from 'esbuild'
import { z } from 'zod'
import { withDeadline } from '../../src/core/deadline.js'
import { onAbort } from '../../src/core/on-abort.js'
import { packageRoot } from '../../src/core/package-root.js'

/** A script bundled into one file. Compiling the script at each start took two thirds of the crash tests' time. */
export interface KillableScript {
  /**
   * Runs the script, which may kill itself. Returns 'killed' or the printed text, and throws for any other end. The
   * error for a script that does not end shows what the script waits for.
   */
  run(args: readonly string[]): Promise<'killed' | string>
  remove(): void
}

/** Deadline for one run on two busy cores. The slowest run, which starts a guest, takes half a minute. */
const usualDeadlineMs = 180_000

export async function killableScript(script: string, deadlineMs = usualDeadlineMs): Promise<KillableScript> {
  // The folder is inside the package, so that the script finds the package's modules. The folder is not `dist`, because
  // builds empty `dist` and npm packs it.
  const cache = join(packageRoot(), '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'crash-'))
  const outfile = join(folder, basename(script).replace(/\.ts$/, '.mjs'))
  const shape = { bundle: true, packages: 'external', platform: 'node', format: 'esm' } as const
  // A process that simply ends may hang in Node's shutdown (nodejs/node#54918, once in thousands of runs). The script
  // therefore calls process.exit(), as hydra-ops does.
  const footer = { js: 'process.exit()' }
  await build({ entryPoints: [script], outfile, target: 'node20.11', logLevel: 'warning', footer, ...shape })
  return {
    run: (args) => runUntilKilled(outfile, args, deadlineMs),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

async function runUntilKilled(
  script: string,
  args: readonly string[],
  deadlineMs: number,
): Promise<'killed' | string> {
  const report = join(dirname(script), `report-${randomUUID()}.json`)
  const reporting = ['--report-on-signal', `--report-directory=${dirname(report)}`]
  const argv = [...reporting, `--report-filename=${basename(report)}`, script, ...args]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  const late = withDeadline(new AbortController().signal, deadlineMs)
  const overdue = new Promise<never>((_, reject) => {
    onAbort(late.signal, () => {
      void waitsOf(child, report).then((waits) => {
        reject(new Error(`${args.join(' ')} has not ended after ${deadlineMs / 1_000} s; ${waits}`))
      })
    })
  })
  try {
    return await Promise.race([endOf(child, args), overdue])
  } finally {
    late.stop()
  }
}

function endOf(
  child: ChildProcessByStdio<null, Readable, Readable>,
  args: readonly string[],
): Promise<'killed' | string> {
  return new Promise((resolve, reject) => {
    const said = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text) => {
        said[name] += text
      })
    }
    child.on('error', reject)
    // 'close' waits for children (virsh …) that outlive the process and hold its pipes.
    child.on('exit', (_, signal) => {
      if (signal === 'SIGKILL') resolve('killed')
    })
    child.on('close', (code) => {
      if (code === 0) resolve(said.stdout)
      else reject(new Error(`${args.join(' ')} ended with ${code}: ${said.stderr}`))
    })
  })
}

/** The parts of Node's diagnostic report that say what a process waits for. */
const Report = z.object({
  javascriptStack: z.object({ stack: z.array(z.string()).default([]) }),
  libuv: z.array(z.looseObject({ type: z.string(), is_active: z.boolean().optional() })),
})

/**
 * Time for a process to write its report. A process that is just starting is killed by the signal, without a report.
 */
const reportMs = 10_000

/** Kills a hanging process, and describes what the process was waiting for. */
async function waitsOf(child: ChildProcess, file: string): Promise<string> {
  child.kill('SIGUSR2')
  const givenUp = Date.now() + reportMs
  let report: z.infer<typeof Report> | undefined
  while (
    report === undefined &&
    child.exitCode === null &&
    child.signalCode === null &&
    Date.now() < givenUp
  ) {
    await setTimeout(50)
    report = readReport(file)
  }
  const end = child.exitCode ?? child.signalCode
  child.kill('SIGKILL')
  if (report === undefined) return end === null ? 'it makes no report' : `it has ended with ${end}`
  const { javascriptStack, libuv } = report
  const active = libuv.filter((handle) => handle.is_active !== false)
  return `its stack: ${javascriptStack.stack.join(' ')}; its handles: ${JSON.stringify(active)}`
}

/** Reads a report; returns undefined until Node has written the whole report. */
function readReport(file: string): z.infer<typeof Report> | undefined {
  try {
    return Report.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}
