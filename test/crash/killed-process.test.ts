import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { packageRoot } from '../../src/core/package-root.js'
import { type KillableScript, killableScript } from './killed-process.js'

const root = packageRoot()
let folder: string
let script: KillableScript
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-killable-'))
  const file = join(folder, 'script.ts')
  const source = join(root, 'src', 'core', 'package-root.js')
  writeFileSync(
    file,
    `import { packageRoot } from '${source}'\nconsole.log(JSON.stringify([packageRoot(), process.argv[1]]))\n`,
  )
  script = await killableScript(file)
})
afterEach(() => {
  script.remove()
  rmSync(folder, { recursive: true })
})

const said = z.tuple([z.string(), z.string()])
const paths = async () => said.parse(JSON.parse(String(await script.run([]))))

describe('a script for the crash tests', () => {
  it('finds the files of the checkout, and is gone once it is removed', async () => {
    const [found, path] = await paths()
    expect(found).toBe(root)
    expect(existsSync(path)).toBe(true)
    script.remove()
    expect(existsSync(path)).toBe(false)
  })

  it('lies where no build removes it, and where npm packs nothing', async () => {
    const [, path] = await paths()
    const packed = z.object({ files: z.array(z.string()) })
    const { files } = packed.parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))
    const [top = ''] = relative(root, path).split('/')
    expect(files.map((pattern) => pattern.split('/')[0])).not.toContain(top)
    expect(readFileSync(join(root, '.gitignore'), 'utf8').split('\n')).toContain(`${top}/`)
  })

  it('exits at its end, although Node would wait for its server', async () => {
    const file = join(folder, 'ending.ts')
    writeFileSync(
      file,
      `import { createServer } from 'node:net'\ncreateServer().listen(0, '127.0.0.1')\nconsole.log('end')\n`,
    )
    const ending = await killableScript(file)
    try {
      expect(await ending.run([])).toBe('end\n')
    } finally {
      ending.remove()
    }
  })

  it('is ended when it hangs, and the error says what it waits for', async () => {
    const file = join(folder, 'hanging.ts')
    writeFileSync(
      file,
      `import { createServer } from 'node:net'\ncreateServer().listen(0, '127.0.0.1')\nawait new Promise(() => {})\n`,
    )
    const hanging = await killableScript(file, 5_000)
    try {
      const run = hanging.run(['deploy'])
      await expect(run).rejects.toThrow(
        /^deploy has not ended after 5 s; its stack: .*"type":"tcp".*127\.0\.0\.1/,
      )
    } finally {
      hanging.remove()
    }
  })
})
