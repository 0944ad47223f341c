import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { document } from './morph-files.js'
import { MorphNetwork } from './morph-network.js'
import { missingLine, stepsOf } from './walkthrough.js'

/**
 * The unchanged commands of docs/morph.md, in order, in one shell, on two guests. Stand-ins replace nixpkgs, Hydra and
 * the NixOS of `pi`, as the page says. HYDRA_OPS_HYDRA_PACKAGE names another Hydra that replaces its stand-in.
 */
const steps = stepsOf(document)
const minutes = 60_000
/** A whole Hydra is set up, and builds run, under emulation on a busy host. */
const stepMs = 60 * minutes

let network: MorphNetwork
/** The system of `pi` after each deploy. */
const systems: string[] = []

beforeAll(async () => {
  network = await MorphNetwork.start()
}, 20 * minutes)
afterAll(() => network?.dispose())

/** Does the manual work that the page describes before a step without giving a command. */
async function before({ mark, commands }: (typeof steps)[number]): Promise<void> {
  if (commands.includes('hydra jobs init')) await network.placeNixpkgs()
  if (mark === 'after-a-change') await network.change()
  if (mark === 'after-hydra') await network.built()
}

describe('the walkthrough', () => {
  it.each(steps.map((step) => [`${step.heading}: ${step.commands.split('\n')[0]}`, step] as const))(
    'has steps that work: %s',
    async (_, step) => {
      await before(step)
      const output = await network.shell.run(step.commands, stepMs)
      expect(missingLine(step.prints, output), output).toBeUndefined()
      if (step.commands.includes('--from-hydra')) systems.push(await network.running())
    },
    stepMs,
  )
})

describe('the systems of the walkthrough', () => {
  it('were built for ARM by the Hydra alone, with a program for ARM', async () => {
    const said = await network.ci.sh('journalctl -u hydra-queue-runner -o cat --no-pager')
    // The stand-in for Hydra logs only the last step of a build on its own machine.
    expect(said).toMatch(/performing step ‘[^’]*-nixos-system-pi\.drv’ 1 times on ‘localhost’/)
    expect(await network.pi.sh('cat /etc/built-on')).toBe('aarch64\nchanged')
    const [deriver = ''] = (await network.ci.sh('ls -d /nix/store/*-built-on.drv')).split('\n')
    expect(await network.ci.sh(`cat ${deriver}`)).toContain('"aarch64-linux"')
  })

  it('are two, each signed in the cache by the key of this Hydra', async () => {
    expect(new Set(systems).size).toBe(2)
    for (const path of systems) expect(await network.narinfo(path)).toMatch(/^Sig: home-ci-1:/m)
  })

  it('came to `pi` through the laptop the first time, and then without the laptop', async () => {
    const [first = '', second = ''] = systems
    expect([await network.operatorHas(first), await network.operatorHas(second)]).toEqual([true, false])
    const hash = second.replace('/nix/store/', '').slice(0, 32)
    const log = await network.ci.sh('cat /var/log/nginx/access.log')
    expect(log).toMatch(new RegExp(`^192\\.0\\.2\\.2 .*GET /static-cache/${hash}\\.narinfo `, 'm'))
  })
})

it('the laptop cannot build for `pi` to this day', async () => {
  const ended = await network.onLaptop(['deploy', '-d', 'home', '--include', 'pi', '--build-only'])
  expect(ended.code).not.toBe(0)
  expect(ended.stderr).toContain("a 'aarch64-linux' with features {} is required to build ")
})
