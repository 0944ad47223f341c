import { defineConfig } from 'vitest/config'

const layers = ['integration', 'virtualbox', 'crash', 'guest', 'e2e', 'long'] as const

/** Deadlines per layer, for two busy cores: they end what hangs and measure nothing. */
const minutes = { unit: 0.5, integration: 3, virtualbox: 5, guest: 15, e2e: 15, crash: 10, long: 15 }

function layer(
  name: keyof typeof minutes,
  groupOrder: number,
  more: { maxWorkers?: number; isolate?: boolean; setupFiles?: string[] } = {},
) {
  const deadline = minutes[name] * 60_000
  return {
    test: {
      name,
      include: [name === 'unit' ? 'test/**/*.test.ts' : `test/**/*.${name}.test.ts`],
      exclude: name === 'unit' ? layers.map((other) => `test/**/*.${other}.test.ts`) : [],
      testTimeout: deadline,
      hookTimeout: deadline,
      // A VirtualBox of this host is nobody's to test with: a test names the one that it has made.
      env: { HYDRA_OPS_VBOXMANAGE: '/nonexistent/VBoxManage' },
      ...more,
      sequence: { groupOrder },
    },
  }
}

export default defineConfig({
  test: {
    // A test left out by `.only` would look like a green run.
    allowOnly: false,
    passWithNoTests: false,
    teardownTimeout: 60_000,
    projects: [
      // A process for each file took two thirds of their time. Each file still loads the modules of this tree anew.
      layer('unit', 0, { maxWorkers: 2, isolate: false, setupFiles: ['test/fresh-modules.ts'] }),
      // They wait for other programs for a third of their time: three at a time keep two cores busy.
      layer('integration', 1, { maxWorkers: 3 }),
      // The real VBoxManage, where Debian has it.
      layer('virtualbox', 2, { maxWorkers: 2 }),
      layer('crash', 3, { maxWorkers: 2 }),
      // One guest each: emulated, it keeps one of two cores busy.
      layer('guest', 4, { maxWorkers: 2 }),
      // Several guests at once, in one pool with those of one guest.
      layer('e2e', 4, { maxWorkers: 2 }),
      // On guests, too long for every run: run by `scripts/test long`.
      layer('long', 5, { maxWorkers: 1 }),
    ],
  },
})
