import type { Readable } from 'node:stream'
import { hydraOperator } from '../test/e2e/hydra-operator.js'
import type { SshOperator } from '../test/e2e/ssh-operator.js'
import { AptRelay } from '../test/fixtures/apt-relay.js'
import { startGuest } from '../test/fixtures/guest.js'
import { type Line, type Span, spans, spanTable } from './stage-spans.js'

const deployMs = 60 * 60_000

/**
 * Measures a Hydra's deploy on booted guests, stage by stage. One guest has all packages in its image, the other
 * has none. Each deploy is repeated without changes.
 */
export async function hydraStages(): Promise<string> {
  const relay = new AptRelay()
  const proxy = `deployment.aptProxy = "operator:${await relay.listen()}";`
  try {
    return [
      ...(await measured('debian-12', 'packages in the image', '')),
      ...(await measured('debian-12-bare', 'packages by apt', proxy)),
    ].join('\n\n')
  } finally {
    relay.dispose()
  }
}

async function measured(image: string, title: string, machine: string): Promise<string[]> {
  const guest = await startGuest({ name: 'ci', image })
  try {
    const operator = await hydraOperator(guest, 'of-the-benchmark-9', { machine })
    try {
      const first = await timedDeploy(operator)
      const second = await timedDeploy(operator)
      return [
        spanTable(`Hydra, ${title}: first deploy`, first),
        spanTable(`Hydra, ${title}: unchanged deploy`, second),
      ]
    } finally {
      operator.dispose()
    }
  } finally {
    await guest.dispose()
  }
}

async function timedDeploy(operator: SshOperator): Promise<Span[]> {
  const lines: Line[] = []
  const begin = performance.now()
  const listen = (stream: Readable | null) =>
    stream?.on('data', (text: string | Buffer) => {
      const at = performance.now()
      for (const line of String(text).split('\n')) lines.push({ at, text: line })
    })
  await operator.ok(['deploy', '-d', 'ci', '--yes'], {
    timeoutMs: deployMs,
    onSpawn(child) {
      listen(child.stdout)
      listen(child.stderr)
    },
  })
  return spans(lines, begin, performance.now())
}
