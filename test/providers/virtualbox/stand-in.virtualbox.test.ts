import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { play, realManager, standInManager } from '../../fixtures/virtualbox/both.js'
import { RealVirtualBox } from '../../fixtures/virtualbox/real-virtualbox.js'
import { runningScenes, stillScenes } from '../../fixtures/virtualbox/scenes.js'

describe.each([
  { kind: 'off', scenes: stillScenes, driverless: false },
  { kind: 'running', scenes: runningScenes, driverless: true },
])('the stand-in answers word for word as the real VBoxManage about VMs that are $kind', (about) => {
  let real: RealVirtualBox
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ho-vbox-'))
    real = await RealVirtualBox.open({ driverless: about.driverless })
  })
  afterAll(async () => {
    await real?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(about.scenes.map((scene, index) => ({ ...scene, index })))(
    'in the scene of $title',
    async (scene) => {
      const name = `scene${scene.index}`
      const answers = await play(scene, realManager(real, name))
      expect(await play(scene, standInManager(folder, name, about.driverless))).toEqual(answers)
    },
  )
})
