#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs'

const argv = process.argv.slice(2)
if (argv[0] === '--version' || argv[0] === '-V') process.stdout.write(`${version()}\n`)
else {
  const status = await run(argv)
  await Promise.all([process.stdout, process.stderr].map(taken))
  process.exit(status)
}

/** Returns the package's own version; dist/src/cli.js lies one folder deeper than src/cli.ts. */
function version(): string {
  const files = ['../package.json', '../../package.json'].map((path) => new URL(path, import.meta.url))
  const file = files.find((each) => existsSync(each))
  if (file === undefined) return 'unknown'
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return version
}

async function run(args: readonly string[]): Promise<number> {
  // The reader of the output may close it early (`| head`). The work then continues, and the remaining output is
  // dropped.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreBrokenPipe)
  if (args.includes('--debug')) process.setSourceMapsEnabled(true)
  try {
    const { runProgram } = await import('./commands/program.js')
    return await runProgram(args, {
      signal: cancelOnSignals(),
      openOps: async (request) => (await import('./context.js')).openContext(request),
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const where =
      args.includes('--debug') && error instanceof Error ? error.stack : '--debug shows the stack trace'
    process.stderr.write(`error: this is a bug in hydra-ops: ${message}\n${where}\n`)
    return 70
  }
}

/**
 * Creates the signal of the run. The first Ctrl-C or SIGTERM requests an orderly end; the second ends the process at
 * once.
 */
function cancelOnSignals(): AbortSignal {
  const controller = new AbortController()
  const cancel = () => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', cancel)
  process.on('SIGTERM', cancel)
  return controller.signal
}

/**
 * Waits until the reader has taken the output. A pipe holds 64 KiB, and unread output would otherwise be lost with
 * the process.
 */
function taken(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()))
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}
