// A vitest reporter: appends a line `SECONDS LAYER FILE` for each test file to the file in HYDRA_OPS_TEST_SECONDS.
// vitest's own JSON report leaves out hooks and imports, and the tests start their guests in hooks.
import { appendFileSync } from 'node:fs'
import { relative } from 'node:path'

export default class SecondsReporter {
  begun = new Map()

  onTestModuleQueued(module) {
    this.begun.set(module.id, performance.now())
  }

  onTestModuleEnd(module) {
    const target = process.env.HYDRA_OPS_TEST_SECONDS
    if (target === undefined) return
    const seconds = (performance.now() - (this.begun.get(module.id) ?? performance.now())) / 1000
    const file = relative(process.cwd(), module.moduleId)
    appendFileSync(target, `${seconds.toFixed(1)} ${module.project.name} ${file}\n`)
  }
}
