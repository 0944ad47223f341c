import { join } from 'node:path'
import type { LocalCommands } from '../../../src/core/context.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import type { StandIn } from './install.js'
import { pretended } from './pretended.js'
import { run as runStandIn } from './program.js'

/** Answers calls of the stand-in without a process and without guests, because a test makes hundreds of calls. */
export function inProcess(
  standIn: StandIn,
  behaviour: () => readonly string[],
  recorded: string,
): Pick<LocalCommands, 'run'> {
  return {
    run: async (argv, options) => {
      const words = behaviour()
      if (argv[0] !== standIn.program || !words.includes('pretend')) return localCommands.run(argv, options)
      const answer = await runStandIn(argv.slice(1), {
        home: standIn.home,
        userHome: standIn.home,
        folder: process.cwd(),
        recorded,
        settings: {
          driver: !words.includes('no-driver'),
          slowMs: 0,
          lingerMs: 0,
          translated: words.includes('translated'),
          networksConf: join(standIn.home, '..', 'networks.conf'),
          serviceRestarted: words.includes('restarted'),
        },
        engine: pretended,
      })
      return { kind: 'exited', code: answer.exit, stdout: answer.stdout, stderr: answer.stderr }
    },
  }
}
