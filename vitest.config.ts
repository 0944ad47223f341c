import { defineConfig } from 'vitest/config'

const layers = ['integration', 'nixpkgs', 'virtualbox', 'crash', 'guest', 'e2e', 'long'] as const

/** Deadlines of each layer in minutes, for two busy cores. Deadlines end tests that hang, and do not measure speed. */
const minutes = {
  unit: 0.5,
  integration: 3,
  nixpkgs: 10,
  virtualbox: 5,
  guest: 15,
  e2e: 15,
  crash: 10,
  long: 40,
}

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
      // No test may use this host's VirtualBox; a test names the VirtualBox that it has started.
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
      // A process for each file took two thirds of the unit tests' time. Each file still loads hydra-ops's modules
      // anew.
      layer('unit', 0, { maxWorkers: 2, isolate: false, setupFiles: ['test/fresh-modules.ts'] }),
      // Integration tests wait for other programs for a third of their time. Three at a time keep two cores busy.
      layer('integration', 1, { maxWorkers: 3 }),
      // These tests need a real nixpkgs, which HYDRA_OPS_NIXPKGS names. An evaluation takes gigabytes of memory.
      layer('nixpkgs', 2, { maxWorkers: 1 }),
      // These tests need the real VBoxManage, which only some releases of Debian have.
      layer('virtualbox', 2, { maxWorkers: 2 }),
      layer('crash', 3, { maxWorkers: 2 }),
      // Each of these tests has one guest, whose emulation keeps one of two cores busy.
      layer('guest', 4, { maxWorkers: 2 }),
      // These tests have several guests at once, and share a pool with the tests of one guest.
      layer('e2e', 4, { maxWorkers: 2 }),
      // These tests on guests take too long for every run; `scripts/test long` runs them.
      layer('long', 5, { maxWorkers: 1 }),
    ],
  },
})
