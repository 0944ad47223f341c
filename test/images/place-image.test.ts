import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'
import { type NewImage, placeImage } from '../../src/images/place-image.js'
import { recipeHash, recipes } from '../../src/images/recipe.js'
import { createImageStore } from '../../src/images/store.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-place-'))
})
afterEach(() => rmSync(root, { recursive: true }))

const recipe = recipes[0]
const hash = recipe === undefined ? '' : recipeHash(recipe)
const reference = recipe?.name ?? ''
const debian = `${reference}-${hash}-20260101`

function placed(made: Partial<NewImage> & { id: string }, content: string) {
  const folder = join(root, '.building-1')
  mkdirSync(folder)
  for (const name of ['disk', ...(made.kernel === undefined ? [] : ['kernel'])])
    writeFileSync(join(folder, name), content)
  return placeImage(root, folder, {
    disk: 'disk',
    format: 'qcow2',
    virtualBytes: 1024,
    identity: 'fwcfg',
    reference,
    ...made,
  })
}

const build = (content: string) => placed({ id: debian, kernel: 'kernel', recipe: hash }, content)
const store = () => createImageStore({ root, local: localCommands })

describe('a new build of an image that lost a file', () => {
  it.each(['kernel', 'disk', 'image.json'])(
    'leaves the folder of the old image as it is, when %s is missing from it',
    async (lost) => {
      await build('old')
      rmSync(join(root, debian, lost))
      const again = await build('new')
      expect(again.id).toBe(`${debian}-2`)
      expect(readFileSync(again.disk, 'utf8')).toBe('new')
      const kept = join(root, debian, lost === 'disk' ? 'kernel' : 'disk')
      expect(readFileSync(kept, 'utf8')).toBe('old')
      expect(existsSync(join(root, debian, lost))).toBe(false)
      expect(existsSync(join(root, '.building-1'))).toBe(false)
    },
  )

  it('is found by its name, and gets a third id when the second lost a file too', async () => {
    await build('one')
    rmSync(join(root, debian, 'kernel'))
    await build('two')
    expect((await store().find(reference))?.id).toBe(`${debian}-2`)
    rmSync(join(root, `${debian}-2`, 'disk'))
    expect((await build('three')).id).toBe(`${debian}-3`)
    expect(readFileSync(join(root, debian, 'disk'), 'utf8')).toBe('one')
  })

  it('takes the same place when the id names the content', async () => {
    const id = `sha256-${'ab'.repeat(16)}`
    const first = await placed({ id }, 'same')
    rmSync(first.disk)
    expect((await placed({ id }, 'same')).disk).toBe(first.disk)
    expect(readFileSync(first.disk, 'utf8')).toBe('same')
  })

  it('is thrown away when a complete image has the id', async () => {
    await build('old')
    expect((await build('new')).id).toBe(debian)
    expect(readFileSync(join(root, debian, 'disk'), 'utf8')).toBe('old')
  })
})

describe('an image without a good record', () => {
  const damage: Readonly<Record<string, (file: string) => void>> = {
    'is gone': (file) => rmSync(file),
    'was cut off': (file) => writeFileSync(file, '{"schemaVersion":1,'),
    'is of another image': (file) =>
      writeFileSync(file, readFileSync(file, 'utf8').replaceAll(debian, `${debian}-9`)),
  }

  it.each(Object.keys(damage))(
    'is listed by its folder when the record %s, and is not an image',
    async (how) => {
      await build('old')
      damage[how]?.(join(root, debian, 'image.json'))
      const [listed, ...others] = await store().list()
      expect(listed).toEqual({ id: debian, bytes: expect.any(Number), missing: ['image.json'] })
      expect(listed?.bytes).toBeGreaterThan(0)
      expect(others).toEqual([])
      expect(await store().find(reference)).toBeUndefined()
      expect(await store().find('', debian)).toBeUndefined()
    },
  )

  it('is removed by its folder only, and a complete image of that name stays', async () => {
    await build('old')
    rmSync(join(root, debian, 'image.json'))
    await build('new')
    expect((await store().list()).map(({ id }) => id)).toEqual([`${debian}-2`, debian])
    expect(await store().remove(debian, new Set())).toMatchObject([{ id: debian }])
    expect(existsSync(join(root, debian))).toBe(false)
    expect((await store().find(reference))?.id).toBe(`${debian}-2`)
  })

  it('stays while a machine stands on it', async () => {
    await build('old')
    rmSync(join(root, debian, 'image.json'))
    await expect(store().remove(debian, new Set([debian]))).rejects.toMatchObject({ exitCode: 2 })
    expect(existsSync(join(root, debian, 'disk'))).toBe(true)
  })

  it('is not a folder of the lock or of a running build, and no file beside them', async () => {
    await build('old')
    mkdirSync(join(root, '.building-2'))
    writeFileSync(join(root, '.lock'), '')
    writeFileSync(join(root, 'notes'), '')
    expect((await store().list()).map(({ id }) => id)).toEqual([debian])
    await expect(store().remove('notes', new Set())).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('an image that lost a file', () => {
  it.each(['kernel', 'disk'])('is listed with the name of the missing file: %s', async (lost) => {
    await build('old')
    rmSync(join(root, debian, lost))
    expect(await store().list()).toMatchObject([{ id: debian, missing: [lost] }])
    expect(await store().find(reference)).toBeUndefined()
    expect(await store().find('', debian)).toBeUndefined()
  })

  it.each([debian, reference])('is removed by the name %s', async (name) => {
    await build('old')
    rmSync(join(root, debian, 'disk'))
    expect(await store().remove(name, new Set())).toMatchObject([{ id: debian }])
    expect(existsSync(join(root, debian))).toBe(false)
  })

  it('stays while a machine stands on it', async () => {
    await build('old')
    rmSync(join(root, debian, 'kernel'))
    await expect(store().remove(debian, new Set([debian]))).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('in use'),
    })
    expect(existsSync(join(root, debian, 'disk'))).toBe(true)
  })
})
