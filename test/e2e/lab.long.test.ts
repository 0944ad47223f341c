import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'
import { type OperatorHost, operatorHost } from './operator.js'

const host: OperatorHost = operatorHost()
const minutes = 60_000

/** Runs the script of `npm run lab` or `npm run lab:down`. */
async function lab(verb: 'up' | 'down'): Promise<string> {
  const script = join(packageRoot(), 'scripts', 'lab')
  const { code, stdout, stderr } = await host.program([script, verb], { timeoutMs: 14 * minutes })
  if (code !== 0) throw new Error(`scripts/lab ${verb} exited with ${code}\n${stderr}\n${stdout}`)
  return `${stdout}${stderr}`
}

/** Returns the command that the lab prints after the given words. */
function printed(text: string, words: string): string[] {
  const line = text.split('\n').find((each) => each.includes(words)) ?? ''
  return (line.split(words)[1] ?? '').trim().split(/\s+/)
}

describe('the lab', () => {
  let up = ''

  afterAll(async () => {
    await host.run(['destroy', '-d', 'lab', '--yes'])
    host.dispose()
  })

  it('ends with a path that client accepts from ci, and a path that it refuses', async () => {
    up = await lab('up')
    expect(up).toMatch(
      /copying path '\/nix\/store\/\S+-hydra-ops-probe-\S+' from 'http:\/\/ci\/static-cache'/,
    )
    expect(up).toMatch(/\/nix\/store\/\S+-hydra-ops-probe-\S+\s.*\blab-ci-1:/)
    expect(up).toMatch(
      /'\/nix\/store\/\S+-stranger' from 'http:\/\/ci\/static-cache' is not signed by any of the keys in 'trusted-public-keys'/,
    )
  })

  it('reports the address of Hydra, and how to log in there', async () => {
    const [url = ''] = printed(up, 'Hydra  ')
    const [, ...show] = printed(up, 'her password:')
    const password = await host.ok(show)
    const answer = await fetch(`${url}/login`, {
      method: 'POST',
      headers: { accept: 'application/json', origin: url, 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'alice', password: password.trim() }),
      redirect: 'manual',
    })
    expect({ status: answer.status, to: answer.headers.get('location') }).toEqual({
      status: 302,
      to: `${url}/current-user`,
    })
  })

  it('has nothing to do the second time', async () => {
    const again = await lab('up')
    expect(again).toContain('client already has the newest build of Hydra')
    expect(again).toContain('Up-to-date: nothing was changed')
    expect(again).not.toContain('arguments now')
  })

  it('leaves nothing', async () => {
    expect(await lab('down')).toContain('the lab is removed')
  })
})
