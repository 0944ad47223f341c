import { describe, expect, it } from 'vitest'
import { bootableImage } from '../../src/core/image.js'
import { recipeHash, recipes } from '../../src/images/recipe.js'

const byName = new Map(recipes.map((recipe) => [recipe.name, recipe]))
const systems = [...byName.keys()].filter((name) => !name.endsWith('-grub'))

describe('the recipes', () => {
  it('pack each system for QEMU and for a machine that boots by its disk', () => {
    expect(systems).toEqual(['debian-12', 'debian-12-bare'])
    expect([...byName.keys()].sort()).toEqual(systems.flatMap((name) => [name, bootableImage(name)]).sort())
  })

  it.each(systems)('have all programs and files of %s in both, except kernel and boot loader', (name) => {
    const direct = byName.get(name)
    const bootable = byName.get(bootableImage(name))
    const packing = /^(?:linux-image-.*|grub-.*|fdisk)$/
    const programs = (packages: readonly string[] = []) => packages.filter((each) => !packing.test(each))
    expect(programs(bootable?.packages)).toEqual(programs(direct?.packages))
    const paths = (recipe = direct) => (recipe?.files ?? []).map(({ path }) => path)
    expect(paths(bootable)).toEqual(expect.arrayContaining(paths()))
  })

  it('give each image a hash of its own', () => {
    expect(new Set(recipes.map(recipeHash)).size).toBe(recipes.length)
  })

  it('keep the kernel of an image whose kernel lies beside its disk, and upgrade the other', () => {
    for (const { loader, configure } of recipes)
      expect(configure.includes('apt-mark')).toBe(loader === 'qemu')
  })

  it('bring both kinds what takes the identity from a seed disk', () => {
    for (const { files, configure } of recipes) {
      const seed = files.find(({ path }) => path === '/usr/lib/hydra-ops/take-seed')
      expect(seed?.text).toContain('systemd-tmpfiles --create')
      expect(configure).toMatch(/systemctl --quiet enable .*hydra-ops-seed\.service/)
    }
  })
})
